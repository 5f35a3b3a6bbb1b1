/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An interpreter of a small stack machine, as many languages have one: a switch in a loop. The
 * program that it runs counts, for the numbers below 300, the steps of Collatz's sequence. One unit
 * is one run of that program.
 */
#include <stdlib.h>

#include "bench/cpu/suite.h"

enum op {
	PUSH,  /* constant */
	LOAD,  /* variable */
	STORE, /* variable */
	ADD,
	MUL,
	HALF,
	ODD,
	LESS,
	XOR,
	JUMP,    /* to */
	JUMP_IF, /* to */
	STOP,
};

struct code {
	uint8_t op;
	int32_t operand;
};

enum { N, X, STEPS, VARIABLES };

static const struct code program[] = {
	{PUSH, 1},      {STORE, N},    /* n = 1 */
	{LOAD, N},      {STORE, X},    /* 2: x = n */
	{LOAD, X},      {PUSH, 2},     /* 4: x < 2: next n */
	{LESS, 0},      {JUMP_IF, 25}, /* 6 */
	{LOAD, X},      {ODD, 0},      /* 8 */
	{JUMP_IF, 15},  {LOAD, X},     /* 10: x is even: x / 2 */
	{HALF, 0},      {STORE, X},    /* 12 */
	{JUMP, 21},     {LOAD, X},     /* 14; 15: 3 x + 1 */
	{PUSH, 3},      {MUL, 0},      /* 16 */
	{PUSH, 1},      {ADD, 0},      /* 18 */
	{STORE, X},     {LOAD, STEPS}, /* 20; 21: count */
	{PUSH, 1},      {ADD, 0},      /* 22 */
	{JUMP, 32},     {LOAD, N},     /* 24; 25: n + 1 */
	{PUSH, 1},      {ADD, 0},      /* 26 */
	{STORE, N},     {LOAD, N},     /* 28 */
	{PUSH, 300},    {JUMP, 34},    /* 30 */
	{STORE, STEPS}, {JUMP, 4},     /* 32 */
	{LESS, 0},      {JUMP_IF, 2},  /* 34 */
	{LOAD, STEPS},  {STOP, 0},     /* 36 */
};

/* The stack lies in memory, as it does where a language is to be general. */
static int64_t interpret(const struct code *code, int64_t *variables, int64_t *sp)
{
	const struct code *pc = code;

	for (;;) {
		struct code c = *pc++;

		switch (c.op) {
		case PUSH:
			*sp++ = c.operand;
			break;
		case LOAD:
			*sp++ = variables[c.operand];
			break;
		case STORE:
			variables[c.operand] = *--sp;
			break;
		case ADD:
			sp--;
			sp[-1] += sp[0];
			break;
		case MUL:
			sp--;
			sp[-1] *= sp[0];
			break;
		case HALF:
			sp[-1] >>= 1;
			break;
		case ODD:
			sp[-1] &= 1;
			break;
		case LESS:
			sp--;
			sp[-1] = sp[-1] < sp[0];
			break;
		case XOR:
			sp--;
			sp[-1] ^= sp[0];
			break;
		case JUMP:
			pc = code + c.operand;
			break;
		case JUMP_IF:
			if (*--sp)
				pc = code + c.operand;
			break;
		case STOP:
			return sp[-1];
		default:
			abort();
		}
	}
}

uint64_t bytecode_run(void *memory, uint64_t units)
{
	int64_t *stack = memory, variables[VARIABLES] = {0};
	uint64_t sum = 0;

	for (uint64_t i = 0; i < units; i++)
		sum = mixed(sum, (uint64_t)interpret(program, variables, stack));
	return sum;
}
