/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What small controllers do: a linked list searched, turned round and sorted; a matrix of small
 * numbers; a state machine that reads numbers in a text; checksums of it all. One unit is one
 * round of the three.
 */
#include "bench/cpu/suite.h"

#define NODES 128
#define SIDE  28
#define TEXT  3000

struct node {
	struct node *next;
	int16_t key, value;
};

struct core {
	struct node nodes[NODES];
	int16_t a[SIDE][SIDE], b[SIDE][SIDE];
	int32_t product[SIDE][SIDE];
	char text[TEXT];
};

static uint16_t crc16(uint16_t crc, uint32_t value)
{
	for (int bit = 0; bit < 32; bit++, value >>= 1)
		crc = (uint16_t)(crc >> 1 ^ ((crc ^ value) & 1 ? 0xa001 : 0));
	return crc;
}

static struct node *list_make(struct node *nodes, uint64_t *state)
{
	for (int i = 0; i < NODES; i++) {
		nodes[i].next = i + 1 < NODES ? &nodes[i + 1] : NULL;
		nodes[i].key = (int16_t)(random_next(state) >> 40);
		nodes[i].value = (int16_t)i;
	}
	return nodes;
}

static struct node *list_reverse(struct node *list)
{
	struct node *done = NULL;

	while (list) {
		struct node *next = list->next;

		list->next = done;
		done = list;
		list = next;
	}
	return done;
}

static struct node *list_find(struct node *list, int16_t value)
{
	while (list && list->value != value)
		list = list->next;
	return list;
}

static struct node *list_merge(struct node *a, struct node *b)
{
	struct node head, *tail = &head;

	while (a && b) {
		struct node **less = a->key <= b->key ? &a : &b;

		tail->next = *less;
		tail = *less;
		*less = (*less)->next;
	}
	tail->next = a ? a : b;
	return head.next;
}

static struct node *list_sort(struct node *list)
{
	struct node *slow = list, *fast, *second;

	if (!list || !list->next)
		return list;
	for (fast = list->next; fast && fast->next; fast = fast->next->next)
		slow = slow->next;
	second = slow->next;
	slow->next = NULL;
	return list_merge(list_sort(list), list_sort(second));
}

static uint16_t lists(struct core *c, uint64_t *state)
{
	struct node *list = list_make(c->nodes, state);
	uint16_t crc = 0xffff;

	for (int16_t i = 0; i < NODES; i += 4) {
		struct node *found = list_find(list, (int16_t)(NODES - 1 - i));

		crc = crc16(crc, (uint32_t)(found ? found->key : i));
		list = list_reverse(list);
	}
	list = list_sort(list);
	for (const struct node *n = list; n; n = n->next)
		crc = crc16(crc, (uint32_t)n->value);
	return crc;
}

static uint16_t matrices(struct core *c, uint64_t *state)
{
	uint16_t crc = 0;

	for (int i = 0; i < SIDE; i++)
		for (int j = 0; j < SIDE; j++) {
			c->a[i][j] = (int16_t)(random_next(state) >> 52);
			c->b[i][j] = (int16_t)(c->a[i][j] + i - j);
		}
	for (int i = 0; i < SIDE; i++)
		for (int j = 0; j < SIDE; j++) {
			int32_t sum = 0;

			for (int k = 0; k < SIDE; k++)
				sum += c->a[i][k] * c->b[k][j];
			c->product[i][j] = (sum >> 2 & 0xf) * (sum >> 5 & 0x7f) + sum;
		}
	for (int i = 0; i < SIDE; i++)
		crc = crc16(crc, (uint32_t)c->product[i][SIDE - 1 - i]);
	return crc;
}

enum state { START, SIGN, INTEGER, FRACTION, EXPONENT, EXPONENT_SIGN, POWER, INVALID, STATES };

static enum state step(enum state s, char c)
{
	bool digit = c >= '0' && c <= '9';

	switch (s) {
	case START:
		return digit                  ? INTEGER
		       : c == '+' || c == '-' ? SIGN
		       : c == '.'             ? FRACTION
					      : INVALID;
	case SIGN:
		return digit ? INTEGER : c == '.' ? FRACTION : INVALID;
	case INTEGER:
		return digit ? INTEGER : c == '.' ? FRACTION : c == 'e' ? EXPONENT : INVALID;
	case FRACTION:
		return digit ? FRACTION : c == 'e' ? EXPONENT : INVALID;
	case EXPONENT:
		return digit ? POWER : c == '+' || c == '-' ? EXPONENT_SIGN : INVALID;
	case EXPONENT_SIGN:
	case POWER:
		return digit ? POWER : INVALID;
	default:
		return INVALID;
	}
}

static uint16_t states(struct core *c, uint64_t *state)
{
	static const char letters[] = "0123456789012345678901234567+-.e.,,,,,,,x";
	uint32_t ended[STATES] = {0}, passed[STATES] = {0};
	enum state s = START;
	uint16_t crc = 0;

	for (int i = 0; i < TEXT; i++)
		c->text[i] = letters[random_next(state) % (sizeof(letters) - 1)];
	for (int i = 0; i < TEXT; i++) {
		if (c->text[i] == ',') {
			ended[s]++;
			s = START;
			continue;
		}
		s = step(s, c->text[i]);
		passed[s]++;
	}
	for (int i = 0; i < STATES; i++)
		crc = crc16(crc16(crc, ended[i]), passed[i]);
	return crc;
}

uint64_t core_run(void *memory, uint64_t units)
{
	uint64_t state = 1, sum = 0;

	for (uint64_t i = 0; i < units; i++) {
		sum = mixed(sum, lists(memory, &state));
		sum = mixed(sum, matrices(memory, &state));
		sum = mixed(sum, states(memory, &state));
	}
	return sum;
}
