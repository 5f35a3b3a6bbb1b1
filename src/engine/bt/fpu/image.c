/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The x87 state as FNSTENV, FNSAVE and FXSAVE put it into memory.
 *
 * Environments are made of 7 fields of 2 or 4 bytes. In protected mode a pointer is an
 * offset and a selector, with the opcode above the instruction's in the 32-bit form; in real
 * mode it is a linear address, with the opcode below its upper part:
 *
 *	protected 32     protected 16     real 32              real 16
 *	FCW              FCW              FCW                  FCW
 *	FSW              FSW              FSW                  FSW
 *	FTW              FTW              FTW                  FTW
 *	FIP              FIP              IP 15..0             IP 15..0
 *	FOP:FCS          FCS              IP 31..16 << 12:FOP  IP 19..16 << 12:FOP
 *	FDP              FDP              DP 15..0             DP 15..0
 *	FDS              FDS              DP 31..16 << 12      DP 19..16 << 12
 *
 * Unused upper halves read as ones, as on hardware. FTW has two bits a register here, computed
 * from its value; the area, like FXSAVE, keeps one: empty or not.
 *
 * Source: Intel SDM vol. 1 8.1.10, 10.5.1; vol. 2A FXSAVE.
 */
#include <string.h>

#include "core/x86/regs.h"
#include "engine/bt/fpu/image.h"

#define ST_SIZE  10
#define ST_SPACE 16 /* in the area */

#define TOP_SHIFT 11
#define FOP_MASK  0x7ffu

/* The fields of an environment. */
enum { ENV_FCW, ENV_FSW, ENV_FTW, ENV_IP, ENV_CS, ENV_DP, ENV_DS, ENV_FIELDS };

enum tag { TAG_VALID, TAG_ZERO, TAG_SPECIAL, TAG_EMPTY };

static unsigned field_size(enum fpu_format format)
{
	return format == FPU_PROTECTED_32 || format == FPU_REAL_32 ? 4 : 2;
}

static bool is_real(enum fpu_format format)
{
	return format == FPU_REAL_32 || format == FPU_REAL_16;
}

unsigned fpu_image_size(enum fpu_format format, bool with_registers)
{
	return field_size(format) * ENV_FIELDS + (with_registers ? 8 * ST_SIZE : 0);
}

static unsigned get_top(const struct fpu *fpu)
{
	return load_le(fpu->area + XSAVE_FSW, 2) >> TOP_SHIFT & 7;
}

void image_set_top(struct fpu *fpu, unsigned top)
{
	unsigned old = get_top(fpu), fsw = load_le(fpu->area + XSAVE_FSW, 2);
	uint8_t st[8 * ST_SPACE];

	memcpy(st, fpu->area + XSAVE_ST, sizeof(st));
	for (unsigned i = 0; i < 8; i++)
		memcpy(fpu->area + XSAVE_ST + i * ST_SPACE, st + ((i + top - old) & 7) * ST_SPACE,
		       ST_SPACE);
	store_le(fpu->area + XSAVE_FSW, 2, (fsw & ~(7u << TOP_SHIFT)) | top << TOP_SHIFT);
}

static enum tag tag_of(const uint8_t *st)
{
	uint64_t mantissa = load_le(st, 8);
	unsigned exponent = load_le(st + 8, 2) & 0x7fff;

	if (!exponent && !mantissa)
		return TAG_ZERO;
	if (!exponent || exponent == 0x7fff || !(mantissa >> 63))
		return TAG_SPECIAL;
	return TAG_VALID;
}

static unsigned full_tags(const struct fpu *fpu)
{
	unsigned used = load_le(fpu->area + XSAVE_FTW, 1), top = get_top(fpu), tags = 0;

	for (unsigned i = 0; i < 8; i++) {
		const uint8_t *st = fpu->area + XSAVE_ST + ((i - top) & 7) * ST_SPACE;

		tags |= (used & 1u << i ? tag_of(st) : TAG_EMPTY) << 2 * i;
	}
	return tags;
}

static uint8_t used_of_tags(unsigned tags)
{
	uint8_t used = 0;

	for (unsigned i = 0; i < 8; i++)
		if ((tags >> 2 * i & 3) != TAG_EMPTY)
			used |= 1u << i;
	return used;
}

static void put_pointers(const struct fpu *fpu, enum fpu_format format, uint32_t *env)
{
	uint64_t ip = load_le(fpu->area + XSAVE_FIP, 8), dp = load_le(fpu->area + XSAVE_FDP, 8);
	uint32_t fop = load_le(fpu->area + XSAVE_FOP, 2);

	if (is_real(format)) {
		ip = (uint32_t)(ip + ((uint32_t)fpu->fcs << 4));
		dp = (uint32_t)(dp + ((uint32_t)fpu->fds << 4));
		env[ENV_IP] = 0xffff0000 | ip;
		env[ENV_CS] = (ip >> 16 & 0xffff) << 12 | fop;
		env[ENV_DP] = 0xffff0000 | dp;
		env[ENV_DS] = (dp >> 16 & 0xffff) << 12;
		return;
	}
	env[ENV_IP] = ip;
	env[ENV_CS] = fop << 16 | fpu->fcs;
	env[ENV_DP] = dp;
	env[ENV_DS] = 0xffff0000 | fpu->fds;
}

void fpu_store_image(const struct fpu *fpu, enum fpu_format format, bool with_registers,
		     uint8_t *buf)
{
	unsigned size = field_size(format);
	uint32_t env[ENV_FIELDS];

	env[ENV_FCW] = 0xffff0000 | load_le(fpu->area + XSAVE_FCW, 2);
	env[ENV_FSW] = 0xffff0000 | load_le(fpu->area + XSAVE_FSW, 2);
	env[ENV_FTW] = 0xffff0000 | full_tags(fpu);
	put_pointers(fpu, format, env);
	for (unsigned i = 0; i < ENV_FIELDS; i++)
		store_le(buf + i * size, size, env[i]);
	for (unsigned i = 0; with_registers && i < 8; i++)
		memcpy(buf + ENV_FIELDS * size + i * ST_SIZE, fpu->area + XSAVE_ST + i * ST_SPACE,
		       ST_SIZE);
}

static void take_pointers(struct fpu *fpu, enum fpu_format format, const uint32_t *env)
{
	uint64_t ip = env[ENV_IP], dp = env[ENV_DP];

	fpu->fcs = 0;
	fpu->fds = 0;
	if (is_real(format)) {
		ip = (ip & 0xffff) | (env[ENV_CS] >> 12 & 0xffff) << 16;
		dp = (dp & 0xffff) | (env[ENV_DS] >> 12 & 0xffff) << 16;
		store_le(fpu->area + XSAVE_FOP, 2, env[ENV_CS] & FOP_MASK);
	} else {
		if (fpu->host.selectors) {
			fpu->fcs = env[ENV_CS];
			fpu->fds = env[ENV_DS];
		}
		store_le(fpu->area + XSAVE_FOP, 2, env[ENV_CS] >> 16 & FOP_MASK);
	}
	store_le(fpu->area + XSAVE_FIP, 8, ip);
	store_le(fpu->area + XSAVE_FDP, 8, dp);
}

void fpu_load_image(struct fpu *fpu, enum fpu_format format, bool with_registers,
		    const uint8_t *buf)
{
	unsigned size = field_size(format);
	uint32_t env[ENV_FIELDS];

	for (unsigned i = 0; i < ENV_FIELDS; i++)
		env[i] = load_le(buf + i * size, size);
	image_set_top(fpu, env[ENV_FSW] >> TOP_SHIFT & 7);
	store_le(fpu->area + XSAVE_FCW, 2, env[ENV_FCW]);
	store_le(fpu->area + XSAVE_FSW, 2, env[ENV_FSW]);
	store_le(fpu->area + XSAVE_FTW, 1, used_of_tags(env[ENV_FTW]));
	take_pointers(fpu, format, env);
	for (unsigned i = 0; with_registers && i < 8; i++)
		memcpy(fpu->area + XSAVE_ST + i * ST_SPACE, buf + ENV_FIELDS * size + i * ST_SIZE,
		       ST_SIZE);
	fpu_normalise(fpu);
}

void fpu_store_x87(const struct fpu *fpu, bool wide, uint8_t buf[160])
{
	memcpy(buf, fpu->area, XSAVE_XMM);
	if (fpu->host.hides_pointer && !fpu_pending(fpu)) {
		memset(buf + XSAVE_FOP, 0, XSAVE_MXCSR - XSAVE_FOP);
		return;
	}
	if (wide)
		return;
	store_le(buf + XSAVE_FIP + 4, 4, fpu->fcs);
	store_le(buf + XSAVE_FDP + 4, 4, fpu->fds);
}

/* A 64-bit pointer as the processor keeps it. */
static void cut_pointer(struct fpu *fpu, unsigned offset)
{
	unsigned unused = 64 - fpu->host.pointer_bits;
	int64_t pointer = (int64_t)(load_le(fpu->area + offset, 8) << unused) >> unused;

	store_le(fpu->area + offset, 8, (uint64_t)pointer);
}

void fpu_load_x87(struct fpu *fpu, bool wide, const uint8_t buf[160])
{
	memcpy(fpu->area, buf, XSAVE_MXCSR);
	memcpy(fpu->area + XSAVE_ST, buf + XSAVE_ST, XSAVE_XMM - XSAVE_ST);
	store_le(fpu->area + XSAVE_FOP, 2, load_le(buf + XSAVE_FOP, 2) & FOP_MASK);
	fpu->fcs = 0;
	fpu->fds = 0;
	if (wide) {
		cut_pointer(fpu, XSAVE_FIP);
		cut_pointer(fpu, XSAVE_FDP);
	} else {
		store_le(fpu->area + XSAVE_FIP + 4, 4, 0);
		store_le(fpu->area + XSAVE_FDP + 4, 4, 0);
		if (fpu->host.selectors) {
			fpu->fcs = load_le(buf + XSAVE_FIP + 4, 2);
			fpu->fds = load_le(buf + XSAVE_FDP + 4, 2);
		}
	}
	fpu_normalise(fpu);
}
