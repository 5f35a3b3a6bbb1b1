/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/bt/emit/emit.h"

#include <assert.h>
#include <string.h>

#include "core/x86/vcpu_state.h"

#define PREFIX_GS 0x65
#define REX       0x40
#define REX_W     0x08
#define REX_R     0x04
#define REX_X     0x02
#define REX_B     0x01

#define MOD_NONE     0x00
#define MOD_DISP8    0x40
#define MOD_DISP32   0x80
#define MOD_REG      0xc0
#define RM_SIB       4u
#define SIB_NO_INDEX 4u
#define SIB_NO_BASE  5u /* with MOD_NONE: a displacement of 32 bits */

/* Of a distance that is not known yet. */
#define DISTANCE 4

#define INSN_BYTES_MAX 15

void emit_bytes(struct emit *e, const void *bytes, size_t len)
{
	if ((size_t)(e->end - e->at) < len) {
		e->full = true;
		return;
	}
	memcpy(e->at, bytes, len);
	e->at += len;
}

void emit_byte(struct emit *e, uint8_t byte)
{
	if (e->at == e->end)
		e->full = true;
	else
		*e->at++ = byte;
}

void emit_le(struct emit *e, unsigned size, uint64_t value)
{
	if (size == 4 && e->end - e->at >= 4) {
		memcpy(e->at, &value, 4);
		e->at += 4;
	} else {
		emit_bytes(e, &value, size);
	}
}

/* Where an instruction of up to INSN_BYTES_MAX bytes is put together, to be followed by e->at = its
 * end; NULL: no room. */
static uint8_t *begin(struct emit *e)
{
	if ((size_t)(e->end - e->at) < INSN_BYTES_MAX)
		e->full = true;
	return e->full ? NULL : e->at;
}

/* size: 0, 1, 4 or 8. Returns what is behind, as all below. */
static inline uint8_t *le(uint8_t *p, unsigned size, uint64_t value)
{
	if (size == 4)
		memcpy(p, &value, 4);
	else if (size == 8)
		memcpy(p, &value, 8);
	else if (size)
		*p = (uint8_t)value;
	return p + size;
}

/* A REX prefix if there is something to say. */
static uint8_t *rex(uint8_t *p, unsigned size, unsigned reg, unsigned index, unsigned rm)
{
	unsigned bits = 0;

	if (size == 8)
		bits |= REX_W;
	if (reg & 8)
		bits |= REX_R;
	if (index & 8)
		bits |= REX_X;
	if (rm & 8)
		bits |= REX_B;
	if (bits)
		*p++ = (uint8_t)(REX | bits);
	return p;
}

static uint8_t modrm(unsigned mod, unsigned reg, unsigned rm)
{
	return mod | (reg & 7) << 3 | (rm & 7);
}

static bool fits8(int32_t v)
{
	return v == (int8_t)v;
}

void emit_reg(struct emit *e, enum emit_op op, unsigned size, unsigned reg, unsigned rm)
{
	uint8_t *p = begin(e);

	if (!p)
		return;
	p = rex(p, size, reg, 0, rm);
	*p++ = (uint8_t)op;
	*p++ = modrm(MOD_REG, reg, rm);
	e->at = p;
}

/* ModRM, SIB and displacement of [disp]. */
static uint8_t *absolute(uint8_t *p, unsigned reg, int32_t disp)
{
	*p++ = modrm(MOD_NONE, reg, RM_SIB);
	*p++ = (uint8_t)(SIB_NO_INDEX << 3 | SIB_NO_BASE);
	return le(p, 4, (uint32_t)disp);
}

void emit_ctx(struct emit *e, enum emit_op op, unsigned size, unsigned reg, int32_t disp)
{
	uint8_t *p = begin(e);

	if (!p)
		return;
	*p++ = PREFIX_GS;
	if (size == 2)
		*p++ = 0x66;
	p = rex(p, size, reg, 0, 0);
	*p++ = (uint8_t)(size == 1 ? op & ~1u : op);
	p = absolute(p, reg, disp);
	e->at = p;
}

void emit_ctx_index(struct emit *e, enum emit_op op, unsigned size, unsigned reg, unsigned index,
		    int32_t disp)
{
	uint8_t *p = begin(e);

	if (!p)
		return;
	*p++ = PREFIX_GS;
	p = rex(p, size, reg, 0, index);
	*p++ = (uint8_t)op;
	*p++ = modrm(MOD_DISP32, reg, index);
	p = le(p, 4, (uint32_t)disp);
	e->at = p;
}

void emit_ctx_scaled(struct emit *e, enum emit_op op, unsigned size, unsigned reg, unsigned index,
		     int32_t disp)
{
	uint8_t *p = begin(e);

	if (!p)
		return;
	*p++ = PREFIX_GS;
	p = rex(p, size, reg, index, 0);
	*p++ = (uint8_t)op;
	*p++ = modrm(MOD_NONE, reg, RM_SIB);
	*p++ = (uint8_t)(3 << 6 | (index & 7) << 3 | SIB_NO_BASE);
	p = le(p, 4, (uint32_t)disp);
	e->at = p;
}

void emit_rorx(struct emit *e, unsigned reg, unsigned rm, unsigned count)
{
	uint8_t *p = begin(e);

	if (!p)
		return;
	*p++ = 0xc4;
	/* R, X and B are inverted; 0f 3a */
	*p++ = (uint8_t)((reg & 8 ? 0 : 0x80) | 0x40 | (rm & 8 ? 0 : 0x20) | 3);
	*p++ = 0x7b; /* no vvvv, F2 */
	*p++ = 0xf0;
	*p++ = modrm(MOD_REG, reg, rm);
	*p++ = (uint8_t)count;
	e->at = p;
}

void emit_mem(struct emit *e, enum emit_op op, unsigned size, unsigned reg, unsigned base)
{
	uint8_t *p = begin(e);

	if (!p)
		return;
	p = rex(p, size, reg, 0, base);
	*p++ = (uint8_t)op;
	*p++ = modrm(MOD_NONE, reg, base);
	e->at = p;
}

/* ModRM and displacement of [base + disp]. */
static uint8_t *based(uint8_t *p, unsigned reg, unsigned base, int32_t disp)
{
	assert((base & 7) != RM_SIB);
	if (!disp && (base & 7) != GPR_RBP) {
		*p++ = modrm(MOD_NONE, reg, base);
		return p;
	}
	*p++ = (uint8_t)(modrm(fits8(disp) ? MOD_DISP8 : MOD_DISP32, reg, base));
	return le(p, fits8(disp) ? 1 : 4, (uint32_t)disp);
}

void emit_mem_disp(struct emit *e, enum emit_op op, unsigned size, unsigned reg, unsigned base,
		   int32_t disp)
{
	uint8_t *p = begin(e);

	if (!p)
		return;
	p = rex(p, size, reg, 0, base);
	*p++ = (uint8_t)op;
	p = based(p, reg, base, disp);
	e->at = p;
}

void emit_mem_set(struct emit *e, unsigned size, unsigned base, int32_t disp, int32_t imm)
{
	uint8_t *p = begin(e);

	if (!p)
		return;
	p = rex(p, size, 0, 0, base);
	*p++ = 0xc7;
	p = based(p, 0, base, disp);
	p = le(p, 4, (uint32_t)imm);
	e->at = p;
}

void emit_imm(struct emit *e, enum emit_group op, unsigned size, unsigned rm, int32_t imm)
{
	uint8_t *p = begin(e);

	if (!p)
		return;
	p = rex(p, size, 0, 0, rm);
	*p++ = (uint8_t)(fits8(imm) ? 0x83 : 0x81);
	*p++ = modrm(MOD_REG, op, rm);
	p = le(p, fits8(imm) ? 1 : 4, (uint32_t)imm);
	e->at = p;
}

void emit_ctx_imm32(struct emit *e, enum emit_group op, unsigned size, int32_t disp, int32_t imm)
{
	uint8_t *p = begin(e);

	if (!p)
		return;
	*p++ = PREFIX_GS;
	p = rex(p, size, 0, 0, 0);
	*p++ = 0x81;
	p = absolute(p, op, disp);
	p = le(p, 4, (uint32_t)imm);
	e->at = p;
}

void emit_ctx_set(struct emit *e, unsigned size, int32_t disp, int32_t imm)
{
	uint8_t *p = begin(e);

	if (!p)
		return;
	*p++ = PREFIX_GS;
	p = rex(p, size, 0, 0, 0);
	*p++ = 0xc7;
	p = absolute(p, 0, disp);
	p = le(p, 4, (uint32_t)imm);
	e->at = p;
}

void emit_set(struct emit *e, unsigned reg, uint64_t imm)
{
	uint8_t *p = begin(e);

	if (!p)
		return;
	if (imm == (uint32_t)imm) {
		p = rex(p, 4, 0, 0, reg);
		*p++ = (uint8_t)(0xb8 | (reg & 7));
		p = le(p, 4, imm);
	} else if (imm == (uint64_t)(int32_t)imm) {
		p = rex(p, 8, 0, 0, reg);
		*p++ = 0xc7;
		*p++ = modrm(MOD_REG, 0, reg);
		p = le(p, 4, imm);
	} else {
		p = rex(p, 8, 0, 0, reg);
		*p++ = (uint8_t)(0xb8 | (reg & 7));
		p = le(p, 8, imm);
	}
	e->at = p;
}

void emit_shift(struct emit *e, bool left, unsigned size, unsigned reg, unsigned count)
{
	uint8_t *p = begin(e);

	if (!p)
		return;
	p = rex(p, size, 0, 0, reg);
	*p++ = 0xc1;
	*p++ = modrm(MOD_REG, left ? 4 : 5, reg);
	*p++ = (uint8_t)count;
	e->at = p;
}

void emit_lea(struct emit *e, unsigned size, unsigned reg, const struct emit_address *a)
{
	bool based = a->base != EMIT_NONE, indexed = a->index != EMIT_NONE;
	bool sib = indexed || !based || (a->base & 7) == RM_SIB;
	unsigned mod = MOD_DISP32, disp_size = 4;
	uint8_t *p = begin(e);

	if (!p)
		return;
	if (!based) {
		mod = MOD_NONE;
	} else if (!a->disp && (a->base & 7) != GPR_RBP) {
		mod = MOD_NONE;
		disp_size = 0;
	} else if (fits8(a->disp)) {
		mod = MOD_DISP8;
		disp_size = 1;
	}
	p = rex(p, size, reg, indexed ? a->index : 0, based ? a->base : 0);
	*p++ = 0x8d;
	*p++ = modrm(mod, reg, sib ? RM_SIB : a->base);
	if (sib)
		*p++ = (uint8_t)(a->shift << 6 | (indexed ? a->index & 7 : SIB_NO_INDEX) << 3 |
				 (based ? a->base & 7 : SIB_NO_BASE));
	p = le(p, disp_size, (uint32_t)a->disp);
	e->at = p;
}

void emit_lea_disp(struct emit *e, unsigned size, unsigned reg, unsigned base, int32_t disp)
{
	emit_lea(e, size, reg,
		 &(struct emit_address){.base = base, .index = EMIT_NONE, .disp = disp});
}

void emit_jmp_ctx(struct emit *e, int32_t disp)
{
	uint8_t *p = begin(e);

	if (!p)
		return;
	*p++ = PREFIX_GS;
	*p++ = 0xff;
	p = absolute(p, 4, disp);
	e->at = p;
}

void emit_jmp_ctx_index(struct emit *e, unsigned index, int32_t disp)
{
	uint8_t *p = begin(e);

	if (!p)
		return;
	*p++ = PREFIX_GS;
	p = rex(p, 4, 0, 0, index);
	*p++ = 0xff;
	*p++ = modrm(MOD_DISP32, 4, index);
	p = le(p, 4, (uint32_t)disp);
	e->at = p;
}

uint8_t *emit_jcc(struct emit *e, unsigned cond)
{
	emit_byte(e, 0x0f);
	emit_byte(e, 0x80 | cond);
	emit_le(e, DISTANCE, 0);
	return e->at - DISTANCE;
}

uint8_t *emit_jmp(struct emit *e)
{
	emit_byte(e, 0xe9);
	emit_le(e, DISTANCE, 0);
	return e->at - DISTANCE;
}

void emit_patch_to(uint8_t *distance, intptr_t shift, const uint8_t *target)
{
	int32_t value = (int32_t)(target - (distance + shift + DISTANCE));

	memcpy(distance, &value, sizeof(value));
}

void emit_patch(struct emit *e, uint8_t *distance)
{
	if (!e->full)
		emit_patch_to(distance, e->shift, emit_here(e));
}

void emit_jmp_to(struct emit *e, const uint8_t *target)
{
	uint8_t *distance = emit_jmp(e);

	if (!e->full)
		emit_patch_to(distance, e->shift, target);
}

void emit_jcc_to(struct emit *e, unsigned cond, const uint8_t *target)
{
	uint8_t *distance = emit_jcc(e, cond);

	if (!e->full)
		emit_patch_to(distance, e->shift, target);
}
