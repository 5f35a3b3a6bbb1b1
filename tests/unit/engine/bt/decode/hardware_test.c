/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoding against the host's processor: the same bytes are executed in a child, at the end of
 * its memory.
 *
 *   length     an instruction of n bytes does not fault on what follows n bytes, and does when the
 *              last one is missing
 *   validity   #UD where the decoder says so, and nowhere else
 *   memory     an operand of n bytes can lie in the last n bytes of a page and not one byte
 *              further on; not aligned, it is #GP where the decoder says so
 *
 * The expectations hold for AMD's processors, on which they were found; elsewhere, and where no
 * child may be traced, the tests are skipped. The seed is fixed. Every opcode with every
 * mandatory prefix comes up in the sweep of one, HARDWARE_SAMPLES=n in the environment makes the
 * random part as long as wanted.
 */
#include <cpuid.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "core/x86/vcpu_state.h"
#include "engine/bt/decode/decode.h"
#include "engine/bt/decode/feature.h"
#include "host_step.h"

#define SAMPLES      8000
#define OUT_OF_REACH 0x8000000000000000ULL /* not canonical */
#define OUT_32       0x80000000ULL         /* not mapped */
#define FILLER       0x21

struct bench {
	struct decoder *decoder;
	struct host_step host;
	bool features[FEATURE_COUNT];
	uint64_t random;
	unsigned samples;
	unsigned tried, wrong;
};

static uint32_t pick(struct bench *b, uint32_t below)
{
	b->random ^= b->random << 13;
	b->random ^= b->random >> 7;
	b->random ^= b->random << 17;
	return (uint32_t)(b->random >> 16) % below;
}

static void host_features(bool features[FEATURE_COUNT])
{
	struct cpuid_table t = {0};

	for (unsigned f = 0; f < FEATURE_COUNT; f++) {
		const struct insn_feature_bit *bit = insn_feature_cpuid(f);
		struct cpuid_entry e = {
			.leaf = bit->leaf, .subleaf = bit->subleaf, .indexed = true};

		if (bit->leaf &&
		    __get_cpuid_count(e.leaf, e.subleaf, &e.eax, &e.ebx, &e.ecx, &e.edx))
			cpuid_put(&t, &e);
	}
	insn_features_of(&t, features);
}

static bool host_is_amd(void)
{
	uint32_t max, ebx, ecx, edx;

	__cpuid(0, max, ebx, ecx, edx);
	return ebx == signature_AMD_ebx;
}

static void bench_open(struct bench *b)
{
	const char *samples = getenv("HARDWARE_SAMPLES");
	struct err e = ERR_INIT;

	*b = (struct bench){.random = 88172645463325252ULL};
	b->samples = samples ? strtoul(samples, NULL, 0) : SAMPLES;
	if (!host_is_amd()) {
		print_message("skipped: only an AMD processor shows what AMD's decode\n");
		skip();
	}
	if (!host_step_open(&b->host)) {
		print_message("skipped: no process may be traced here\n");
		skip();
	}
	b->decoder = decoder_new(true, &e);
	if (!b->decoder)
		fail_msg("%s", e.text);
	host_features(b->features);
}

static void bench_close(struct bench *b)
{
	host_step_close(&b->host);
	decoder_free(b->decoder);
	assert_true(b->tried > 0);
	if (b->wrong)
		fail_msg("%u of %u wrong", b->wrong, b->tried);
}

static bool is_prefix(uint8_t byte)
{
	return byte && strchr("\x66\xf2\xf3\xf0\x67\x2e\x3e\x26\x36\x64\x65", byte);
}

/* AVX-512's mask instructions, and system instructions in 0F 01 and 0F 00: what the host has
 * beyond our models, or a hypervisor below it answers. */
static bool beyond_models(const uint8_t *bytes)
{
	bool lock = false;

	while (is_prefix(*bytes))
		lock |= *bytes++ == 0xf0;
	if (bytes[0] == 0x62) /* EVEX */
		return true;
	if (bytes[0] == 0xc5 || bytes[0] == 0xc4) {
		unsigned map = bytes[0] == 0xc5 ? 1 : bytes[1] & 31;
		unsigned op = bytes[0] == 0xc5 ? bytes[2] : bytes[3];

		return (map == 1 && ((op >= 0x41 && op <= 0x4b) || (op >= 0x90 && op <= 0x99))) ||
		       (map == 3 && op >= 0x30 && op <= 0x33);
	}
	if ((bytes[0] & 0xf0) == 0x40)
		bytes++;
	if (bytes[0] != 0x0f)
		return false;
	/* VERR and VERW with LOCK look at their operand first; VMCALL, SVM's, MONITORX, SNP's. */
	return (bytes[1] == 0 && lock) ||
	       (bytes[1] == 1 &&
		(bytes[2] == 0xc1 || bytes[2] >= 0xfa || (bytes[2] >= 0xd8 && bytes[2] <= 0xdf)));
}

/* #UD is the handler's to raise. */
static bool handler_raises(unsigned op)
{
	switch (op) {
	case OP_UD0:
	case OP_UD1:
	case OP_UD2:
	case OP_RSM:
	case OP_SYSENTER: /* AMD, long mode */
	case OP_SYSEXIT:
	case OP_CLAC: /* at privilege 3 */
	case OP_STAC:
	case OP_MONITOR:
	case OP_MWAIT:
	case OP_RDPKRU: /* without CR4.PKE */
	case OP_WRPKRU:
	case OP_RDFSBASE: /* without CR4.FSGSBASE */
	case OP_RDGSBASE:
	case OP_WRFSBASE:
	case OP_WRGSBASE:
	case OP_VMCALL:
	case OP_VMMCALL:
		return true;
	default:
		return false;
	}
}

/* Entering the kernel from 32-bit code is its own world. */
static bool enters_kernel(const struct insn *insn)
{
	return insn->op == OP_SYSCALL || insn->op == OP_SYSENTER || insn->op == OP_INT;
}

static void wrong(struct bench *b, const uint8_t *bytes, unsigned len, const char *what)
{
	char text[3 * INSN_BYTES_MAX + 1] = "";

	for (unsigned i = 0; i < INSN_BYTES_MAX; i++)
		snprintf(text + 3 * i, 4, "%02x ", bytes[i]);
	if (b->wrong++ < 20)
		print_error("%s(length %u): %s\n", text, len, what);
}

static void check_valid(struct bench *b, bool wide, const uint8_t *bytes, const struct insn *insn)
{
	uint64_t reg = wide ? OUT_OF_REACH : OUT_32;
	bool have = b->features[insn->feature];
	enum host_step_result r = host_step(&b->host, wide, bytes, insn->len, reg);

	if (r == HOST_FETCH)
		return wrong(b, bytes, insn->len, "longer on the host");
	if (r == HOST_INVALID) {
		if (have && !handler_raises(insn->op))
			wrong(b, bytes, insn->len, "#UD on the host");
		return;
	}
	if (!have)
		return wrong(b, bytes, insn->len, "on a host without its feature");
	if (insn->len > 1 && host_step(&b->host, wide, bytes, insn->len - 1, reg) != HOST_FETCH)
		wrong(b, bytes, insn->len, "shorter on the host");
}

static void check(struct bench *b, bool wide, const uint8_t *bytes)
{
	uint64_t reg = wide ? OUT_OF_REACH : OUT_32;
	struct insn insn;

	if (beyond_models(bytes))
		return;
	b->tried++;
	switch (decode(b->decoder, wide ? DECODE_64 : DECODE_32, bytes, INSN_BYTES_MAX, &insn)) {
	case DECODE_OK:
		if (wide || !enters_kernel(&insn))
			check_valid(b, wide, bytes, &insn);
		break;
	case DECODE_INVALID:
		if (host_step(&b->host, wide, bytes, INSN_BYTES_MAX, reg) != HOST_INVALID)
			wrong(b, bytes, 0, "valid on the host");
		break;
	case DECODE_TOO_LONG:
		if (host_step(&b->host, wide, bytes, INSN_BYTES_MAX, reg) == HOST_DONE)
			wrong(b, bytes, 0, "not too long on the host");
		break;
	case DECODE_MORE:
		wrong(b, bytes, 0, "has 15 bytes");
		break;
	}
}

/* A random instruction: prefixes, an opcode map, anything. */
static void random_bytes(struct bench *b, bool wide, uint8_t *bytes)
{
	static const uint8_t prefixes[] = {0x66, 0xf2, 0xf3, 0xf0, 0x67, 0x2e,
					   0x3e, 0x26, 0x36, 0x64, 0x65};
	static const char *const maps[] = {"",         "",         "\x0f", "\x0f", "\x0f",
					   "\x0f\x38", "\x0f\x3a", "\xc5", "\xc4"};
	unsigned count = pick(b, 8), n = 0;
	const char *map = maps[pick(b, ARRAY_LEN(maps))];

	for (unsigned i = 0; i < INSN_BYTES_MAX; i++)
		bytes[i] = pick(b, 256);
	for (unsigned i = 0; count < 4 && i < count; i++)
		bytes[n++] = prefixes[pick(b, ARRAY_LEN(prefixes))];
	if (wide && !pick(b, 3))
		bytes[n++] = 0x40 | pick(b, 16);
	while (*map)
		bytes[n++] = *map++;
	if (bytes[n - (n > 0)] == 0xc4 && n > 0)
		bytes[n] = (bytes[n] & 0xe0) | pick(b, 4); /* a map that is in use */
}

static void random_mode(bool wide)
{
	struct bench b;
	uint8_t bytes[INSN_BYTES_MAX];

	bench_open(&b);
	for (unsigned i = 0; i < b.samples; i++) {
		random_bytes(&b, wide, bytes);
		check(&b, wide, bytes);
	}
	bench_close(&b);
}

static void random_64(void **state)
{
	(void)state;
	random_mode(true);
}

static void random_32(void **state)
{
	(void)state;
	random_mode(false);
}

/* Of every opcode with each prefix one ModRM of a register and one of memory. */
static void sweep_legacy(struct bench *b)
{
	static const char *const before[] = {"", "\x66", "\xf2", "\xf3", "\xf0"};
	static const char *const maps[] = {"", "\x0f", "\x0f\x38", "\x0f\x3a"};

	for (unsigned i = 0; i < ARRAY_LEN(before) * ARRAY_LEN(maps) * 256 * 2; i++) {
		uint8_t bytes[INSN_BYTES_MAX];
		const char *map = maps[(i >> 9) % ARRAY_LEN(maps)];
		const char *prefix = before[(i >> 9) / ARRAY_LEN(maps)];
		unsigned n = 0;

		memset(bytes, FILLER, sizeof(bytes));
		if (*prefix)
			bytes[n++] = *prefix;
		while (*map)
			bytes[n++] = *map++;
		bytes[n++] = i >> 1;
		bytes[n] = (i & 1 ? 0xc0 : 0) | pick(b, 8) << 3 | 1;
		check(b, true, bytes);
	}
}

/* Of every VEX opcode with each prefix, L and W, a register or memory. */
static void sweep_vex(struct bench *b)
{
	for (unsigned i = 0; i < 3 * 256 * 16; i++) {
		uint8_t bytes[INSN_BYTES_MAX];
		unsigned vvvv = pick(b, 2) ? 15 : 5;

		memset(bytes, FILLER, sizeof(bytes));
		bytes[0] = 0xc4;
		bytes[1] = 0xe1 + (i >> 12);
		bytes[2] = (i & 8) << 4 | vvvv << 3 | (i & 7);
		bytes[3] = i >> 4;
		bytes[4] = pick(b, 2) ? 0xd1 : 0x11;
		check(b, true, bytes);
	}
}

static void sweep(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b);
	sweep_legacy(&b);
	sweep_vex(&b);
	bench_close(&b);
}

static unsigned memory_size(const struct insn *insn)
{
	for (unsigned i = 0; i < insn->operands; i++)
		if (insn->operand[i].kind == OPERAND_MEM)
			return insn->operand[i].size;
	return 0;
}

/* Accesses exactly its operand, with all registers the same and zeroes there. */
static bool accesses_operand(const struct insn *insn)
{
	switch (insn->op) {
	case OP_BT:
	case OP_BTS:
	case OP_BTR:
	case OP_BTC: /* the register says where */
		return insn->operand[1].kind == OPERAND_IMM;
	case OP_NOP:
	case OP_UD0:
	case OP_UD1:
	case OP_CLFLUSH:
	case OP_CLFLUSHOPT:
	case OP_CLWB:
	case OP_VMASKMOVPS:
	case OP_VMASKMOVPD:
	case OP_VPMASKMOVD:
	case OP_VPMASKMOVQ:
	case OP_LGDT: /* privileged, or emulated by a kernel that uses UMIP */
	case OP_LIDT:
	case OP_LLDT:
	case OP_LTR:
	case OP_LMSW:
	case OP_INVPCID:
	case OP_SGDT:
	case OP_SIDT:
	case OP_SLDT:
	case OP_STR:
	case OP_SMSW:
		return false;
	default:
		return memory_size(insn) > 0;
	}
}

static void check_memory(struct bench *b, const uint8_t *bytes, const struct insn *insn)
{
	uint64_t end = b->host.data_start + HOST_DATA_SIZE;
	unsigned size = memory_size(insn);
	enum host_step_result r;

	b->tried++;
	memset(b->host.data, 0, HOST_DATA_SIZE);
	r = host_step(&b->host, true, bytes, insn->len, end - size);
	if (r == HOST_PF || r == HOST_INVALID || (r == HOST_GP && insn->unit != UNIT_INTEGER))
		wrong(b, bytes, insn->len, "memory operand is smaller on the host");
	r = host_step(&b->host, true, bytes, insn->len, end - size + 1);
	if (!insn->aligned && (r != HOST_PF || b->host.fault != end))
		wrong(b, bytes, insn->len, "memory operand is larger, or aligned, on the host");
	if (!insn->aligned)
		return;
	r = host_step(&b->host, true, bytes, insn->len, b->host.data_start + insn->aligned / 2);
	if (r != HOST_GP)
		wrong(b, bytes, insn->len, "memory operand need not be aligned on the host");
}

static void memory_operands(void **state)
{
	struct bench b;
	struct insn insn;
	uint8_t bytes[INSN_BYTES_MAX];

	(void)state;
	bench_open(&b);
	for (unsigned i = 0; i < 4 * b.samples; i++) {
		random_bytes(&b, true, bytes);
		if (decode(b.decoder, DECODE_64, bytes, sizeof(bytes), &insn) != DECODE_OK ||
		    !insn.at.modrm)
			continue;
		bytes[insn.at.modrm] = (bytes[insn.at.modrm] & 0x38) | 1; /* [RCX] or [R9] */
		if (decode(b.decoder, DECODE_64, bytes, sizeof(bytes), &insn) == DECODE_OK &&
		    insn.has_mem && b.features[insn.feature] && accesses_operand(&insn) &&
		    insn.mem.base < GPR_COUNT && insn.addr_size == 8 && insn.mem.seg < SEG_FS)
			check_memory(&b, bytes, &insn);
	}
	bench_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_64),
		cmocka_unit_test(random_32),
		cmocka_unit_test(sweep),
		cmocka_unit_test(memory_operands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
