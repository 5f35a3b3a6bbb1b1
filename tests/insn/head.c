/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an instruction is, from its first bytes: for names of groups, and for the list
 * of those that cannot be compared.
 */
#include <string.h>

#include "insn.h"

/* Legacy prefixes and REX; the offset of the opcode. */
static unsigned parse_prefixes(struct head *h, unsigned mode, const uint8_t *code, unsigned len)
{
	unsigned i = 0, rep = 0;

	for (; i < len; i++) {
		uint8_t b = code[i];

		if (mode == MODE_64 && (b & 0xf0) == 0x40) {
			h->rex = b;
			continue;
		}
		if (b == 0x66)
			h->opsize = true;
		else if (b == 0x67)
			h->addrsize = true;
		else if (b == 0xf0)
			h->lock = true;
		else if (b == 0xf2 || b == 0xf3)
			rep = b;
		else if (b == 0x26 || b == 0x2e || b == 0x36 || b == 0x3e || b == 0x64 || b == 0x65)
			h->seg = b;
		else
			break;
		h->rex = 0; /* one that is not last does not count */
	}
	h->pp = (uint8_t)(rep ? rep : h->opsize ? 0x66 : 0);
	return i;
}

static bool parse_vex(struct head *h, const uint8_t *code, unsigned i, unsigned len)
{
	static const uint8_t pps[] = {0, 0x66, 0xf3, 0xf2};
	unsigned last = code[i] == 0xc5 ? i + 1 : i + 2, map = 1;

	if (last + 2 >= len)
		return false;
	if (code[i] != 0xc5)
		map = code[i + 1] & 0x1f;
	h->map = code[i] == 0x8f ? 8 : map < 4 ? 4 + map : 7 + map;
	h->rex = (uint8_t)(code[i] != 0xc5 && code[last] & 0x80 ? 8 : 0);
	h->pp = pps[code[last] & 3];
	h->l = code[last] & 4;
	h->opcode = code[last + 1];
	h->modrm = code[last + 2];
	h->modrm_at = last + 2;
	h->has_modrm = true;
	return true;
}

bool head_parse(struct head *h, unsigned mode, const uint8_t *code, unsigned len)
{
	unsigned i;

	*h = (struct head){0};
	i = parse_prefixes(h, mode, code, len);
	if (i + 1 >= len)
		return false;
	h->opcode = code[i];
	if ((code[i] == 0xc4 || code[i] == 0xc5) && (mode == MODE_64 || code[i + 1] >= 0xc0))
		return parse_vex(h, code, i, len);
	if (code[i] == 0x8f && (code[i + 1] & 0x1f) >= 8)
		return parse_vex(h, code, i, len);
	if (code[i] == 0x62 && (mode == MODE_64 || code[i + 1] >= 0xc0)) {
		h->map = 9;
		return true;
	}
	if (code[i] == 0x0f) {
		h->map = 1;
		h->opcode = code[++i];
		if ((h->opcode == 0x38 || h->opcode == 0x3a) && i + 1 < len) {
			h->map = h->opcode == 0x38 ? 2 : 3;
			h->opcode = code[++i];
		}
	}
	if (i + 1 >= len)
		return false;
	h->modrm_at = i + 1;
	h->modrm = code[i + 1];
	return true;
}

bool head_is_group(const struct head *h)
{
	static const uint8_t base[] = {0x80, 0x81, 0x82, 0x83, 0x8f, 0xc0, 0xc1, 0xc6, 0xc7,
				       0xd0, 0xd1, 0xd2, 0xd3, 0xd8, 0xd9, 0xda, 0xdb, 0xdc,
				       0xdd, 0xde, 0xdf, 0xf6, 0xf7, 0xfe, 0xff};
	static const uint8_t escape[] = {0x00, 0x01, 0x0d, 0x18, 0x71,
					 0x72, 0x73, 0xae, 0xba, 0xc7};

	if (h->map == 0)
		return memchr(base, h->opcode, sizeof base);
	if (h->map == 1 || h->map == 5)
		return memchr(escape, h->opcode, sizeof escape);
	return h->map == 6 && h->opcode == 0xf3;
}

const char *const mode_names[MODES] = {"64", "32", "16"};

void head_name(const struct head *h, unsigned mode, char name[NAME_MAX])
{
	static const char *const maps[] = {"",       "0f.",      "0f38.",    "0f3a.", "vex0.",
					   "vex0f.", "vex0f38.", "vex0f3a.", "xop.",  "evex."};
	const char *map = h->map < 10 ? maps[h->map] : "vex?.";
	int n = snprintf(name, NAME_MAX, "%s:%s%s%s%s%02x", mode_names[mode],
			 h->lock ? "lock." : "",
			 h->pp == 0x66   ? "66."
			 : h->pp == 0xf2 ? "f2."
			 : h->pp == 0xf3 ? "f3."
					 : "",
			 map, h->map >= 4 && h->l ? "L1." : "", h->opcode);

	if (head_is_group(h))
		snprintf(name + n, NAME_MAX - (size_t)n, "/%u%s", h->modrm >> 3 & 7,
			 h->modrm >= 0xc0 ? "r" : "m");
}

#define ANY   -1
#define REG   (1 << 8)  /* ModRM.mod is 3 */
#define MEM   (1 << 9)  /* ... is not */
#define EXACT (1 << 10) /* the whole ModRM byte */

#define SVM "SVM: not in the CPU models; the host's processor has it, whatever its CPUID says"

/* Instructions that are not compared: map, opcodes from first to last, ModRM (ANY, or .reg with REG
 * or MEM, or EXACT), why. */
static const struct {
	int map;
	uint8_t first, last;
	int modrm;
	const char *why;
} exclusions[] = {
	{1, 0x05, 0x05, ANY, "SYSCALL: a system call of the host"},
	{1, 0x34, 0x34, ANY, "SYSENTER: a system call of the host"},
	{1, 0x31, 0x31, ANY, "RDTSC: time"},
	{1, 0xa2, 0xa2, ANY, "CPUID: a guest has its own"},
	{1, 0x01, 0x01, EXACT | 0xf9, "RDTSCP: time"},
	{1, 0x01, 0x01, EXACT | 0xd0, "XGETBV: the host's XCR0 has more components"},
	{1, 0x01, 0x01, EXACT | 0xc1, "VMCALL: the host may be a guest itself"},
	{1, 0x01, 0x01, EXACT | 0xd9, "VMMCALL: the host may be a guest itself"},
	{1, 0x01, 0x01, EXACT | 0xfa, "MONITORX, MCOMMIT: not in the CPU models"},
	{1, 0x01, 0x01, EXACT | 0xfb, "MWAITX: not in the CPU models"},
	{1, 0x01, 0x01, EXACT | 0xfc, "CLZERO: not in all CPU models"},
	{1, 0x01, 0x01, EXACT | 0xfd, "RDPRU: not in the CPU models"},
	{1, 0x01, 0x01, EXACT | 0xfe, "INVLPGB, RMPADJUST: not in the CPU models"},
	{1, 0x01, 0x01, EXACT | 0xff, "TLBSYNC, PSMASH, PVALIDATE: not in the CPU models"},
	{1, 0x01, 0x01, MEM | 0, "SGDT: Linux emulates it where UMIP forbids it"},
	{1, 0x01, 0x01, MEM | 1, "SIDT: Linux emulates it where UMIP forbids it"},
	{1, 0x01, 0x01, MEM | 4, "SMSW: Linux emulates it where UMIP forbids it"},
	{1, 0x01, 0x01, REG | 4, "SMSW: Linux emulates it where UMIP forbids it"},
	{1, 0x00, 0x00, MEM | 0, "SLDT: Linux emulates it where UMIP forbids it"},
	{1, 0x00, 0x00, REG | 0, "SLDT: Linux emulates it where UMIP forbids it"},
	{1, 0x00, 0x00, MEM | 1, "STR: Linux emulates it where UMIP forbids it"},
	{1, 0x00, 0x00, REG | 1, "STR: Linux emulates it where UMIP forbids it"},
	{1, 0xc7, 0xc7, REG | 6, "RDRAND: random"},
	{1, 0xc7, 0xc7, REG | 7, "RDSEED, RDPID: random; the host's CPU number"},
	{1, 0x01, 0x01, EXACT | 0xd8, SVM},
	{1, 0x01, 0x01, EXACT | 0xda, SVM},
	{1, 0x01, 0x01, EXACT | 0xdb, SVM},
	{1, 0x01, 0x01, EXACT | 0xdc, SVM},
	{1, 0x01, 0x01, EXACT | 0xdd, SVM},
	{1, 0x01, 0x01, EXACT | 0xde, SVM},
	{1, 0x01, 0x01, EXACT | 0xdf, SVM},
	{0, 0xf1, 0xf1, ANY, "INT1: hypervisors that watch #DB report the wrong RIP"},
	{0, 0xc7, 0xc7, EXACT | 0xf8, "XBEGIN: TSX is not in the CPU models"},
	{0, 0xc6, 0xc6, EXACT | 0xf8, "XABORT: TSX is not in the CPU models"},
	{5, 0x41, 0x4b, ANY, "AVX-512 mask registers: not in the CPU models"},
	{5, 0x90, 0x93, ANY, "AVX-512 mask registers: not in the CPU models"},
	{5, 0x98, 0x99, ANY, "AVX-512 mask registers: not in the CPU models"},
	{7, 0x30, 0x33, ANY, "AVX-512 mask registers: not in the CPU models"},
	{9, 0x00, 0xff, ANY, "EVEX: AVX-512 is not in the CPU models"},
};

/* INT 0x80 is a system call of the host, wherever in the code a branch may reach it; so are the
 * others. */
static const char *unsafe_bytes(const uint8_t *code, unsigned len)
{
	for (unsigned i = 0; i + 1 < len; i++) {
		if (code[i] == 0xcd && code[i + 1] == 0x80)
			return "INT 80: a system call of the host";
		if (code[i] == 0x0f && (code[i + 1] == 0x05 || code[i + 1] == 0x34))
			return "SYSCALL, SYSENTER: a system call of the host";
	}
	return NULL;
}

static bool modrm_fits(int wanted, uint8_t modrm)
{
	if (wanted == ANY)
		return true;
	if (wanted & EXACT)
		return modrm == (wanted & 0xff);
	return (modrm >> 3 & 7) == (wanted & 7) && (modrm >= 0xc0) == !!(wanted & REG);
}

const char *excluded(const struct head *h, unsigned mode, const uint8_t *code, unsigned len)
{
	(void)mode;
	for (unsigned i = 0; i < sizeof exclusions / sizeof *exclusions; i++)
		if ((int)h->map == exclusions[i].map && h->opcode >= exclusions[i].first &&
		    h->opcode <= exclusions[i].last && modrm_fits(exclusions[i].modrm, h->modrm))
			return exclusions[i].why;
	return unsafe_bytes(code, len);
}
