/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compares what the two worlds made of a case.
 *
 * Everything is compared, with these exceptions:
 *   #PF at an address that is no user's: bit 0 of the error code (Linux sets it always, so as not
 *     to tell where the kernel has pages)
 *   CR2 of anything but #PF; RIP and CS where the case reached its end; all of a case that did not
 *     end in time on either side
 *   How long an undefined instruction with a VEX or XOP prefix is: so whether #UD comes first, or
 *     #GP(0) for more than 15 bytes, or #PF for bytes on a page that is not there (no manual says
 *     so; those without such a prefix are compared)
 *   The upper halves of general registers after a far transfer from 64-bit to other code (SDM
 *     vol. 1, 3.4.1.1); that of RSP in other code with a 16-bit stack
 *   RIP of a trap by INT1, which hypervisors that watch #DB report wrongly
 *   What Linux does of a page fault above 4 GiB in code that is not of 64 bits: nothing, for ever
 *   Null selectors in ES, DS, FS and GS: 1 to 3 become 0 whenever the host's kernel returns
 *   The header of the XSAVE area: which components are in their initial configuration may be
 *     more or less known to a processor (SDM vol. 1, 13.6, XINUSE)
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "segments.h"

#define USER_END 0x7ffffffff000 /* Linux's TASK_SIZE_MAX */

struct diff {
	const char *first;
	FILE *out;
};

static void differ(struct diff *d, const char *field, const char *format, ...)
{
	va_list args;

	if (!d->first)
		d->first = field;
	if (!d->out)
		return;
	fprintf(d->out, "  %-10s ", field);
	va_start(args, format);
	vfprintf(d->out, format, args);
	va_end(args);
	fputc('\n', d->out);
}

static void compare_number(struct diff *d, const char *field, uint64_t native, uint64_t lodge)
{
	if (native != lodge)
		differ(d, field, "native %#-18llx lodge %#-18llx differ in %#llx",
		       (unsigned long long)native, (unsigned long long)lodge,
		       (unsigned long long)(native ^ lodge));
}

static const char *const gpr_names[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
					  "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
static const char *const seg_names[SEGS] = {"es", "cs", "ss", "ds", "fs", "gs"};
static const char *const st_names[8] = {"st0", "st1", "st2", "st3", "st4", "st5", "st6", "st7"};
static const char *const xmm_names[16] = {"xmm0",  "xmm1",  "xmm2",  "xmm3", "xmm4",  "xmm5",
					  "xmm6",  "xmm7",  "xmm8",  "xmm9", "xmm10", "xmm11",
					  "xmm12", "xmm13", "xmm14", "xmm15"};
static const char *const ymm_names[16] = {"ymmh0",  "ymmh1",  "ymmh2",  "ymmh3", "ymmh4",  "ymmh5",
					  "ymmh6",  "ymmh7",  "ymmh8",  "ymmh9", "ymmh10", "ymmh11",
					  "ymmh12", "ymmh13", "ymmh14", "ymmh15"};

static void hex(FILE *out, const uint8_t *p, unsigned len)
{
	for (unsigned i = 0; i < len; i++)
		fprintf(out, "%02x", p[i]);
}

static void compare_bytes(struct diff *d, const char *field, const uint8_t *native,
			  const uint8_t *lodge, unsigned len)
{
	if (!memcmp(native, lodge, len))
		return;
	differ(d, field, "native, then lodge, from the lowest byte");
	if (!d->out)
		return;
	fprintf(d->out, "             ");
	hex(d->out, native, len);
	fprintf(d->out, "\n             ");
	hex(d->out, lodge, len);
	fputc('\n', d->out);
}

static const struct {
	const char *name;
	unsigned at, size;
} xsave_fields[] = {
	{"fcw", 0, 2}, {"fsw", 2, 2},  {"ftw", 4, 1},    {"fop", 6, 2},
	{"fip", 8, 8}, {"fdp", 16, 8}, {"mxcsr", 24, 4},
};

static void compare_xsave(struct diff *d, const uint8_t *native, const uint8_t *lodge)
{
	for (unsigned i = 0; i < sizeof xsave_fields / sizeof *xsave_fields; i++) {
		uint64_t a = 0, b = 0;

		memcpy(&a, native + xsave_fields[i].at, xsave_fields[i].size);
		memcpy(&b, lodge + xsave_fields[i].at, xsave_fields[i].size);
		compare_number(d, xsave_fields[i].name, a, b);
	}
	for (unsigned i = 0; i < 8; i++)
		compare_bytes(d, st_names[i], native + 32 + 16 * i, lodge + 32 + 16 * i, 10);
	for (unsigned i = 0; i < 16; i++)
		compare_bytes(d, xmm_names[i], native + 160 + 16 * i, lodge + 160 + 16 * i, 16);
	for (unsigned i = 0; i < 16; i++)
		compare_bytes(d, ymm_names[i], native + 576 + 16 * i, lodge + 576 + 16 * i, 16);
}

static void compare_memory(struct diff *d, const uint8_t *native, const uint8_t *lodge)
{
	unsigned shown = 0;

	if (!memcmp(native, lodge, DATA_SIZE))
		return;
	differ(d, "memory", "");
	for (unsigned i = 0; d->out && i < DATA_SIZE && shown < 16; i += 8) {
		if (!memcmp(native + i, lodge + i, 8))
			continue;
		fprintf(d->out, "             %#x: native ", DATA_ADDR + i);
		hex(d->out, native + i, 8);
		fprintf(d->out, " lodge ");
		hex(d->out, lodge + i, 8);
		fputc('\n', d->out);
		shown++;
	}
}

/* The code at an exception's RIP; NULL: it does not lie in the case. */
static const uint8_t *code_at(const struct test_case *c, const struct outcome *o)
{
	uint64_t at = o->s.rip + segment_base(o->s.sel[SEG_CS_]);

	if (o->s.sel[SEG_CS_] != SEL_CODE64)
		at = (uint32_t)at;
	at -= c->addr;

	return at < c->len + c->tail ? c->code + at : NULL;
}

/* INT1 (F1) under a hypervisor that watches #DB: its RIP is that of the instruction (head.c has it
 * excluded; a branch may find the byte all the same). */
static bool is_int1(const struct test_case *c, const struct outcome *native,
		    const struct outcome *lodge)
{
	const uint8_t *code = code_at(c, native);

	return native->end == 1 && code && *code == 0xf1 && lodge->s.rip == native->s.rip + 1;
}

static void compare_exception(struct diff *d, const struct test_case *c,
			      const struct outcome *native, const struct outcome *lodge)
{
	uint32_t ignored = native->end == 14 && native->cr2 >= USER_END ? 1 : 0;

	compare_number(d, "error", native->error | ignored, lodge->error | ignored);
	if (native->end == 14)
		compare_number(d, "cr2", native->cr2, lodge->cr2);
	compare_number(d, "rip", native->s.rip + is_int1(c, native, lodge), lodge->s.rip);
	compare_number(d, "cs", native->s.sel[SEG_CS_], lodge->s.sel[SEG_CS_]);
}

/* The instruction did not execute: #UD, or #GP(0) for over 15 bytes, or #PF in fetching its end. */
static bool not_executed(const struct outcome *o)
{
	return o->end == 6 || (o->end == 13 && o->error == 0) || (o->end == 14 && o->error & 0x10);
}

/* VEX, XOP, and another instruction's map; POP's opcode with another register than 0 may begin
 * XOP, too. */
static bool undefined_length(const struct test_case *c, const struct outcome *native,
			     const struct outcome *lodge)
{
	const uint8_t *code = code_at(c, native);
	struct head h;

	return code && not_executed(native) && not_executed(lodge) &&
	       native->s.rip == lodge->s.rip && (native->end == 6 || lodge->end == 6) &&
	       head_parse(&h, c->mode, code, CODE_MAX - (unsigned)(code - c->code)) &&
	       (h.map >= 4 || (h.map == 0 && h.opcode == 0x8f && h.modrm & 0x38));
}

/* A LOOP to itself for which the interpreter's time is not enough, and the processor's may be. */
static bool counts_longer(const struct test_case *c, const struct outcome *native,
			  const struct outcome *lodge)
{
	return lodge->end == END_TIMEOUT && native->s.gpr[1] != c->in.gpr[1] &&
	       lodge->s.gpr[1] != c->in.gpr[1];
}

/* IRETQ to a stack of 16 bits left the upper half of the host's RSP there: in code that is not of
 * 64 bits it means nothing, and far transfers may clear it. */
static bool rsp_is_half(const struct test_case *c)
{
	return c->mode != MODE_64 && segment_small(c->in.sel[SEG_SS_]);
}

/* ... until 64-bit code uses it. */
static bool rsp_is_random(const struct test_case *c, const struct outcome *native)
{
	return rsp_is_half(c) && native->end < END_REACHED && native->s.sel[SEG_CS_] == SEL_CODE64;
}

/* Linux takes a page fault above 4 GiB in code that is not of 64 bits for an erratum of old
 * Opterons and has the instruction executed again, for ever (arch/x86/mm/fault.c, is_errata100). A
 * far CALL to 64-bit code pushes at such addresses. */
static bool is_errata100(const struct outcome *native, const struct outcome *lodge)
{
	return native->end == END_TIMEOUT && lodge->end == 14 && lodge->cr2 >> 32 &&
	       lodge->s.sel[SEG_CS_] != SEL_CODE64;
}

/* Registers' upper halves mean nothing once 64-bit code has gone to a 32-bit segment. */
static uint64_t gpr_mask(const struct test_case *c, const struct outcome *native, unsigned n)
{
	bool left = c->mode == MODE_64 && native->end < END_REACHED &&
		    native->s.sel[SEG_CS_] != SEL_CODE64;

	return left || (n == 4 && rsp_is_half(c)) ? UINT32_MAX : UINT64_MAX;
}

/* On the host a jump follows the case, which clears RF. */
static uint64_t rflags_mask(const struct outcome *lodge)
{
	return lodge->end == END_REACHED ? ~(1ULL << 16) : UINT64_MAX;
}

const char *compare(const struct test_case *c, const struct outcome *native,
		    const struct outcome *lodge, const struct memory *nm, const struct memory *lm,
		    FILE *out)
{
	uint64_t lost = lodge->status_lost;
	struct diff d = {.out = out};

	if (undefined_length(c, native, lodge) || rsp_is_random(c, native) ||
	    is_errata100(native, lodge) || counts_longer(c, native, lodge))
		return NULL;
	if (native->end != lodge->end) {
		differ(&d, "end",
		       "native %u (error %#x, cr2 %#llx, rip %#llx), lodge %u (error %#x, "
		       "cr2 %#llx, rip %#llx)",
		       native->end, native->error, (unsigned long long)native->cr2,
		       (unsigned long long)native->s.rip, lodge->end, lodge->error,
		       (unsigned long long)lodge->cr2, (unsigned long long)lodge->s.rip);
	} else if (native->end == END_TIMEOUT) {
		return NULL;
	} else if (native->end < END_REACHED) {
		compare_exception(&d, c, native, lodge);
	}
	for (unsigned i = 0; i < 16; i++)
		compare_number(&d, gpr_names[i], native->s.gpr[i] & gpr_mask(c, native, i),
			       lodge->s.gpr[i] & gpr_mask(c, native, i));
	compare_number(&d, "rflags", native->s.rflags & ~lost,
		       lodge->s.rflags & rflags_mask(lodge) & ~lost);
	for (unsigned i = 0; i < SEGS; i++)
		if (i != SEG_CS_ && (native->s.sel[i] || lodge->s.sel[i] > 3))
			compare_number(&d, seg_names[i], native->s.sel[i], lodge->s.sel[i]);
	compare_number(&d, "fs.base", native->s.fs_base, lodge->s.fs_base);
	compare_number(&d, "gs.base", native->s.gs_base, lodge->s.gs_base);
	compare_xsave(&d, native->s.xsave, lodge->s.xsave);
	compare_memory(&d, nm->data, lm->data);
	return d.first;
}

static void disassemble(const struct test_case *c, FILE *out)
{
	static const char *const machines[MODES] = {"i386:x86-64", "i386", "i8086"};
	char name[] = "/tmp/insn.XXXXXX", line[256];
	int fd = mkstemp(name);
	FILE *p;

	if (fd < 0)
		return;
	if (write(fd, c->code, c->len) == (ssize_t)c->len) {
		snprintf(line, sizeof line,
			 "objdump -D -b binary -m %s --adjust-vma=%#x %s 2>/dev/null",
			 machines[c->mode], c->addr, name);
		p = popen(line, "r");
		while (p && fgets(line, sizeof line, p))
			if (strchr(line, '\t'))
				fprintf(out, "  %s", line);
		if (p)
			pclose(p);
	}
	close(fd);
	unlink(name);
}

void print_case(const struct test_case *c, FILE *out)
{
	const struct state *s = &c->in;

	fprintf(out, "  code at %#x, %s-bit (cs %x): ", c->addr, mode_names[c->mode],
		s->sel[SEG_CS_]);
	hex(out, c->code, c->len);
	fprintf(out, "%s\n", c->tail ? "" : " (no jump after it)");
	fflush(out);
	disassemble(c, out);
	for (unsigned i = 0; i < 16; i++)
		fprintf(out, "%s%-3s %016llx%s", i % 4 ? "  " : "  ", gpr_names[i],
			(unsigned long long)s->gpr[i], i % 4 == 3 ? "\n" : "");
	fprintf(out, "  rflags %llx  ds %x es %x ss %x fs %x (%llx) gs %x (%llx)\n",
		(unsigned long long)s->rflags, s->sel[SEG_DS_], s->sel[SEG_ES_], s->sel[SEG_SS_],
		s->sel[SEG_FS_], (unsigned long long)s->fs_base, s->sel[SEG_GS_],
		(unsigned long long)s->gs_base);
	fprintf(out, "  x87, mxcsr (xstate_bv %x): ", s->xsave[512]);
	hex(out, s->xsave, 28);
	fputc('\n', out);
	for (unsigned i = 0; i < 8; i++) {
		fprintf(out, "  st%u ", i);
		hex(out, s->xsave + 32 + 16 * i, 10);
		fputs(i % 2 ? "\n" : "", out);
	}
	for (unsigned i = 0; i < 16; i++) {
		fprintf(out, "  ymm%-2u ", i);
		hex(out, s->xsave + 160 + 16 * i, 16);
		hex(out, s->xsave + 576 + 16 * i, 16);
		fputs(i % 2 ? "\n" : "", out);
	}
	for (unsigned i = 0; i < c->patches; i++) {
		fprintf(out, "  memory %#x: ", DATA_ADDR + c->patch[i].offset);
		hex(out, c->patch[i].bytes, c->patch[i].len);
		fputc('\n', out);
	}
}
