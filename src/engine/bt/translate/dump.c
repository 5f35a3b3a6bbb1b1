/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every line of a block begins with its linear address, so that grep finds what happened to
 * it. Pieces of host code that are data (struct access_site) stand in it as bytes.
 */
#include "engine/bt/translate/dump.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/engine.h"
#include "engine/bt/cpu.h"
#include "engine/bt/decode/format.h"
#include "engine/bt/translate/lower.h"
#include "engine/bt/vm.h"

/* One text, written at once. */
struct page_of_text {
	FILE *out; /* NULL: there was no memory */
	char *text;
	size_t len;
};

static void begin(struct page_of_text *p, const struct translator *t, uint64_t linear,
		  const char *stage)
{
	p->out = open_memstream(&p->text, &p->len);
	if (p->out)
		fprintf(p->out, "%016llx cpu %u %s", (unsigned long long)linear, t->cpu->id, stage);
}

static void end(struct page_of_text *p, const struct translator *t)
{
	ssize_t written;

	if (!p->out)
		return;
	fclose(p->out);
	written = write(t->dump.fd, p->text, p->len);
	(void)written; /* a full disk is no reason to stop a guest */
	free(p->text);
}

static bool asked(const struct translator *t, enum engine_dump stage)
{
	return t->dump.stages & stage;
}

static void put_bytes(FILE *out, const uint8_t *bytes, unsigned len)
{
	for (unsigned n = 0; n < len; n++)
		fprintf(out, "%02x%s", bytes[n], n + 1 < len ? " " : "");
}

static void put_insn(FILE *out, const struct translator *t, const struct region_insn *i)
{
	char text[DECODE_TEXT];

	decode_format(t->cpu->vm->decoder, (enum decode_mode)t->cpu->decode, i->insn.bytes,
		      i->insn.len, i->linear, text);
	fprintf(out, "  %016llx  %s", (unsigned long long)i->linear, text);
}

void dump_guest(const struct translator *t, const struct region *r)
{
	struct page_of_text p;

	if (!asked(t, ENGINE_DUMP_GUEST))
		return;
	begin(&p, t, r->linear, "guest");
	if (p.out)
		fprintf(p.out, ": %u bytes at %llx%s\n", r->bytes, (unsigned long long)r->gpa,
			r->crosses ? ", the last instruction in the next page, too" : "");
	for (unsigned n = 0; p.out && n < r->count; n++) {
		fprintf(p.out, "  %016llx  ", (unsigned long long)r->insn[n].linear);
		put_bytes(p.out, r->insn[n].insn.bytes, r->insn[n].insn.len);
		fputc('\n', p.out);
	}
	end(&p, t);
}

void dump_decoded(const struct translator *t, const struct region *r)
{
	struct page_of_text p;

	if (!asked(t, ENGINE_DUMP_DECODED))
		return;
	begin(&p, t, r->linear, "decoded");
	if (p.out)
		fprintf(p.out, ": %u instructions%s\n", r->count,
			r->count ? "" : ": the interpreter's");
	for (unsigned n = 0; p.out && n < r->count; n++) {
		put_insn(p.out, t, &r->insn[n]);
		fputc('\n', p.out);
	}
	end(&p, t);
}

/* As letters, OF to CF. */
static void put_flags(FILE *out, unsigned flags)
{
	static const struct {
		unsigned bit;
		char letter;
	} names[] = {{RFLAGS_OF, 'O'}, {RFLAGS_SF, 'S'}, {RFLAGS_ZF, 'Z'},
		     {RFLAGS_AF, 'A'}, {RFLAGS_PF, 'P'}, {RFLAGS_CF, 'C'}};

	for (unsigned n = 0; n < ARRAY_LEN(names); n++)
		fputc(flags & names[n].bit ? names[n].letter : '-', out);
}

void dump_flags(const struct translator *t, const struct region *r)
{
	struct page_of_text p;

	if (!asked(t, ENGINE_DUMP_FLAGS))
		return;
	begin(&p, t, r->linear, "flags: live before ");
	if (p.out) {
		put_flags(p.out, r->live);
		fputs(", and after\n", p.out);
	}
	for (unsigned n = 0; p.out && n < r->count; n++) {
		fputs("  ", p.out);
		put_flags(p.out, r->insn[n].live);
		put_insn(p.out, t, &r->insn[n]);
		fputc('\n', p.out);
	}
	end(&p, t);
}

/* Behind "lea r11, [rip + 5]; jmp" stands a struct access_site. */
static bool before_site(const uint8_t *code, const uint8_t *begin)
{
	static const uint8_t lea_jmp[] = {0x4c, 0x8d, 0x1d, 5, 0, 0, 0, 0xe9};
	enum { LEN = sizeof(lea_jmp) + 4 };

	return code - begin >= LEN && !memcmp(code - LEN, lea_jmp, sizeof(lea_jmp));
}

static unsigned put_host(FILE *out, const struct translator *t, const uint8_t *at,
			 const uint8_t *begin, const uint8_t *stop)
{
	unsigned len = (unsigned)MIN(stop - at, INSN_BYTES_MAX);
	char text[DECODE_TEXT];

	fprintf(out, "  %016llx  ", (unsigned long long)(uintptr_t)at);
	if (before_site(at, begin) && stop - at >= (ptrdiff_t)sizeof(struct access_site)) {
		struct access_site site;

		memcpy(&site, at, sizeof(site));
		fprintf(out, "site: retry %llx, access %x, of %llx\n",
			(unsigned long long)(uintptr_t)(at + site.retry), site.access,
			(unsigned long long)site.rip);
		return sizeof(site);
	}
	len = decode_format(t->cpu->vm->decoder, DECODE_64, at, len, (uintptr_t)at, text);
	fprintf(out, "%s\n", text);
	return len;
}

void dump_host(const struct translator *t, const struct block *b)
{
	const uint8_t *stop = b->far + b->host_bytes;
	struct page_of_text p;

	if (!asked(t, ENGINE_DUMP_HOST))
		return;
	begin(&p, t, b->linear, "host");
	if (p.out)
		fprintf(p.out, ": %u bytes; near entry %llx\n", b->host_bytes,
			(unsigned long long)(uintptr_t)b->near);
	for (const uint8_t *at = b->far; p.out && at < stop;)
		at += put_host(p.out, t, at, b->far, stop);
	end(&p, t);
}

static void dump_line(const struct translator *t, const struct block *b, const char *what)
{
	struct page_of_text p;

	if (!asked(t, ENGINE_DUMP_LINKS))
		return;
	begin(&p, t, b->linear, what);
	if (p.out)
		fprintf(p.out, ": context %u, code at %llx\n", b->context,
			(unsigned long long)(uintptr_t)b->far);
	end(&p, t);
}

void dump_installed(const struct translator *t, const struct block *b)
{
	dump_line(t, b, "installed");
}

void dump_forgotten(const struct translator *t, const struct block *b)
{
	dump_line(t, b, "forgotten");
}

void dump_linked(const struct translator *t, const struct block_exit *exit)
{
	struct page_of_text p;

	if (!asked(t, ENGINE_DUMP_LINKS))
		return;
	begin(&p, t, exit->target, "linked");
	if (p.out)
		fprintf(p.out, ": from code at %llx%s\n",
			(unsigned long long)(uintptr_t)(exit->distance + t->emit.shift),
			exit->guard ? ", guarded" : "");
	end(&p, t);
}
