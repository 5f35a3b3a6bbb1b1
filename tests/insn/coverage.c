/* SPDX-License-Identifier: Apache-2.0 */
#include "coverage.h"

#include <cpuid.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <Zydis/Zydis.h>

#include "base/dynlib.h"
#include "engine/bt/decode/decode.h"
#include "engine/bt/decode/feature.h"
#include "execute.h"

/* Classes of prefixes: those that choose an operand size or an instruction, and LOCK. */
static const char *const prefixes[] = {"",         "\x66",     "\xf3", "\xf2",
				       "\x66\xf3", "\x66\xf2", "\xf0", "\xf0\x66"};
#define PREFIXES 8
#define MAPS     8  /* as in struct head: the legacy ones, then VEX's */
#define MODRMS   72 /* memory by .reg, registers by .reg and .rm */
#define REGISTER 8  /* the first of those */
#define FORMS    (MODES * PREFIXES * MAPS * 256u * MODRMS * 4u)

/* The parts of a form; its number is made of them. */
struct form_key {
	unsigned mode, prefix, map, opcode, modrm, w, l;
};

struct count {
	uint32_t cases, completed;
};

struct coverage {
	struct decoder *decoder;
	struct count count[FORMS];
};

static const enum decode_mode decode_modes[MODES] = {
	[MODE_64] = DECODE_64, [MODE_32] = DECODE_32, [MODE_16] = DECODE_16};

static unsigned number_of(const struct form_key *k)
{
	unsigned n = (k->mode * PREFIXES + k->prefix) * MAPS + k->map;

	n = (n * 256 + k->opcode) * MODRMS + k->modrm;
	return (n * 2 + k->w) * 2 + k->l;
}

static struct form_key key_of(unsigned number)
{
	struct form_key k;

	k.l = number & 1;
	k.w = number >> 1 & 1;
	number >>= 2;
	k.modrm = number % MODRMS;
	number /= MODRMS;
	k.opcode = number & 255;
	number >>= 8;
	k.map = number % MAPS;
	number /= MAPS;
	k.prefix = number % PREFIXES;
	k.mode = number / PREFIXES;
	return k;
}

struct coverage *coverage_new(void)
{
	struct coverage *v = mmap(NULL, sizeof *v, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct err e = {0};
	unsigned a, b, c, d;

	if (v == MAP_FAILED)
		return NULL;
	__cpuid(0, a, b, c, d);
	v->decoder = decoder_new(c == signature_AMD_ecx, &e);
	return v->decoder ? v : NULL;
}

/* ModRM's .reg says what it is: groups, and segment, control and debug registers. */
static bool reg_matters(const struct form_key *k)
{
	const struct head h = {.map = k->map, .opcode = (uint8_t)k->opcode};

	if (k->map == 0 && (k->opcode == 0x8c || k->opcode == 0x8e))
		return true;
	return head_is_group(&h) || (k->map == 1 && k->opcode >= 0x20 && k->opcode <= 0x23);
}

/* Its .rm does, with .mod of 3. */
static bool rm_matters(const struct form_key *k)
{
	return (k->map == 0 && (k->opcode & 0xf8) == 0xd8) || (k->map == 1 && k->opcode == 0x01);
}

static unsigned modrm_index(const struct form_key *k, uint8_t modrm)
{
	unsigned reg = reg_matters(k) ? modrm >> 3 & 7 : 0;

	if (modrm < 0xc0)
		return reg;
	return REGISTER + reg * 8 + (rm_matters(k) ? modrm & 7 : 0);
}

static unsigned prefix_class(const struct head *h)
{
	unsigned rep = h->pp == 0xf3 ? 2 : h->pp == 0xf2 ? 3 : 0;

	if (h->map >= 4)
		return rep ? rep : h->pp == 0x66;
	if (h->lock)
		return 6u + h->opsize;
	return rep ? rep + (h->opsize ? 2u : 0) : h->opsize;
}

/* The form of the instruction at code; false: the decoder does not know it. */
static bool form_of(const struct coverage *v, unsigned mode, const uint8_t *code, unsigned len,
		    struct form_key *k, struct insn *insn)
{
	struct head h;

	if (!head_parse(&h, mode, code, len) || h.map >= MAPS ||
	    decode(v->decoder, decode_modes[mode], code, len, insn) != DECODE_OK)
		return false;
	*k = (struct form_key){
		.mode = mode,
		.prefix = prefix_class(&h),
		.map = h.map,
		.opcode = h.opcode,
		.w = h.rex >> 3 & 1,
		.l = h.map >= 4 && h.l,
	};
	if (insn->at.modrm)
		k->modrm = modrm_index(k, code[insn->at.modrm]);
	return true;
}

void coverage_count(struct coverage *v, const struct test_case *c, unsigned end)
{
	struct form_key k;
	struct insn insn;
	struct count *n;

	if (!form_of(v, c->mode, c->code, INSN_BYTES_MAX, &k, &insn))
		return;
	n = &v->count[number_of(&k)];
	n->cases++;
	n->completed += end == END_REACHED || end == 1;
}

/* An instruction of that form, in 15 bytes; variant: other values of what is open. */
static void write_form(const struct form_key *k, unsigned variant, uint8_t code[INSN_BYTES_MAX])
{
	static const uint8_t pps[] = {0, 1, 2, 3};
	unsigned modrm = k->modrm < REGISTER ? k->modrm << 3 : 0xc0 | (k->modrm - REGISTER);
	unsigned n = 0, vvvv = variant & 1 ? 8 : 15;

	memset(code, 0, INSN_BYTES_MAX);
	if (variant & 2 && modrm < 0xc0)
		modrm |= 4; /* a SIB byte */
	if (k->map >= 4) {
		code[n++] = 0xc4;
		code[n++] = (uint8_t)(0xe0 | (k->map - 4));
		code[n++] = (uint8_t)(k->w << 7 | vvvv << 3 | k->l << 2 | pps[k->prefix & 3]);
	} else {
		n = (unsigned)strlen(prefixes[k->prefix]);
		memcpy(code, prefixes[k->prefix], n);
		if (k->w)
			code[n++] = 0x48;
		if (k->map)
			code[n++] = 0x0f;
		if (k->map > 1)
			code[n++] = k->map == 2 ? 0x38 : 0x3a;
	}
	code[n++] = (uint8_t)k->opcode;
	code[n++] = (uint8_t)modrm;
	if (variant & 2)
		code[n++] = 0x0a;
}

/* Whether there is that form: the decoder knows it, the processor has it, it can be compared. */
static bool exists(const struct coverage *v, const bool *features, const struct form_key *k,
		   uint8_t code[INSN_BYTES_MAX])
{
	struct form_key back;
	struct insn insn;
	struct head h;

	if ((k->map >= 4 && k->prefix > 3) ||
	    (k->map < 4 && (k->l || (k->w && k->mode != MODE_64))))
		return false;
	for (unsigned variant = 0; variant < 4; variant++) {
		write_form(k, variant, code);
		if (form_of(v, k->mode, code, INSN_BYTES_MAX, &back, &insn) &&
		    !memcmp(&back, k, sizeof back) && features[insn.feature])
			return head_parse(&h, k->mode, code, INSN_BYTES_MAX) &&
			       !excluded(&h, k->mode, code, insn.len);
	}
	return false;
}

/* --- the table ------------------------------------------------------------------------------- */

#define CALLS(X) X(ZydisDecoderInit) X(ZydisDecoderDecodeInstruction) X(ZydisMnemonicGetString)

struct names {
	struct {
		CALLS(DYNLIB_MEMBER)
	} calls;
	ZydisDecoder decoder[MODES];
};

static bool names_open(struct names *n)
{
	static const char *const calls[] = {CALLS(DYNLIB_NAME)};
	static const ZydisMachineMode modes[MODES] = {[MODE_64] = ZYDIS_MACHINE_MODE_LONG_64,
						      [MODE_32] = ZYDIS_MACHINE_MODE_LEGACY_32,
						      [MODE_16] = ZYDIS_MACHINE_MODE_LEGACY_16};
	static const ZydisStackWidth widths[MODES] = {[MODE_64] = ZYDIS_STACK_WIDTH_64,
						      [MODE_32] = ZYDIS_STACK_WIDTH_32,
						      [MODE_16] = ZYDIS_STACK_WIDTH_16};

	if (!dynlib_open("libZydis.so.4.0", calls, sizeof calls / sizeof *calls, &n->calls))
		return false;
	for (unsigned m = 0; m < MODES; m++)
		if (!ZYAN_SUCCESS(n->calls.ZydisDecoderInit(&n->decoder[m], modes[m], widths[m])))
			return false;
	return true;
}

static unsigned mnemonic_of(const struct names *n, const struct form_key *k, const uint8_t *code)
{
	ZydisDecodedInstruction z;

	if (!ZYAN_SUCCESS(n->calls.ZydisDecoderDecodeInstruction(&n->decoder[k->mode], NULL, code,
								 INSN_BYTES_MAX, &z)))
		return ZYDIS_MNEMONIC_INVALID;
	return z.mnemonic;
}

struct row {
	unsigned forms, reached, completed;
	uint64_t cases;
};

static void print_missing(const struct form_key *k, const uint8_t *code, FILE *out)
{
	char name[NAME_MAX];
	struct head h;

	if (!head_parse(&h, k->mode, code, INSN_BYTES_MAX))
		return;
	head_name(&h, k->mode, name);
	fprintf(out, "  no case of %s%s:", name, k->w ? " W" : "");
	for (unsigned i = 0; i < 8; i++)
		fprintf(out, " %02x", code[i]);
	fputc('\n', out);
}

static void print_rows(const struct names *n, const struct row *rows, FILE *out)
{
	struct row all = {0};

	fprintf(out, "%-16s %7s %7s %9s %12s\n", "", "forms", "reached", "completed", "cases");
	for (unsigned m = 0; m <= ZYDIS_MNEMONIC_MAX_VALUE; m++) {
		const struct row *r = &rows[m];
		const char *name = n->calls.ZydisMnemonicGetString((ZydisMnemonic)m);

		if (!r->forms)
			continue;
		fprintf(out, "%-16s %7u %7u %9u %12llu\n", name ? name : "?", r->forms, r->reached,
			r->completed, (unsigned long long)r->cases);
		all.forms += r->forms;
		all.reached += r->reached;
		all.completed += r->completed;
		all.cases += r->cases;
	}
	fprintf(out, "%-16s %7u %7u %9u %12llu\n", "all", all.forms, all.reached, all.completed,
		(unsigned long long)all.cases);
}

unsigned coverage_print(const struct coverage *v, FILE *out)
{
	static struct row rows[ZYDIS_MNEMONIC_MAX_VALUE + 1];
	static struct cpuid_table cpuid;
	bool features[FEATURE_COUNT];
	unsigned missing = 0;
	struct names names;

	if (!names_open(&names))
		return 1;
	host_cpuid(&cpuid);
	insn_features_of(&cpuid, features);
	for (unsigned i = 0; i < FORMS; i++) {
		struct form_key k = key_of(i);
		uint8_t code[INSN_BYTES_MAX];
		struct row *r;

		if (!exists(v, features, &k, code))
			continue;
		r = &rows[mnemonic_of(&names, &k, code)];
		r->forms++;
		r->cases += v->count[i].cases;
		r->reached += v->count[i].cases != 0;
		r->completed += v->count[i].completed != 0;
		if (!v->count[i].cases && missing++ < 200)
			print_missing(&k, code, out);
	}
	print_rows(&names, rows, out);
	return missing;
}
