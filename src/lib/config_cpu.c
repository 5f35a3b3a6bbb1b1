/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/config_cpu.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

/* "0x..." or "0b...", up to 32 bits, at *at, which is moved behind it. */
static bool parse_number(const char **at, uint32_t *number)
{
	static const char digits[] = "0123456789abcdefABCDEF";
	bool hex = !strncmp(*at, "0x", 2);
	const char *text = *at + 2;
	size_t len;
	unsigned long long n;

	if (!hex && strncmp(*at, "0b", 2) != 0)
		return false;
	len = hex ? strspn(text, digits) : strspn(text, "01");
	n = len && len <= 64 ? strtoull(text, NULL, hex ? 16 : 2) : UINT64_MAX;
	*number = (uint32_t)n;
	*at = text + len;
	return n <= UINT32_MAX;
}

/* The whole of text, as mask and value of up to `bits` bits. */
static bool parse_bits(const char *text, unsigned bits, uint64_t *mask, uint64_t *value)
{
	unsigned n = 0;

	*mask = *value = 0;
	if (strncmp(text, "0b", 2) != 0)
		return false;
	for (text += 2; *text; text++) {
		if (*text == '_')
			continue;
		if (!strchr("01x", *text) || n++ == bits)
			return false;
		*mask = *mask << 1 | (*text != 'x');
		*value = *value << 1 | (*text == '1');
	}
	return n;
}

/* Room for one more item of an array; NULL with e set. */
static void *grow(void **items, unsigned *count, size_t size, struct err *e)
{
	void *more;

	if (*count == CONFIG_CPU_EDITS_MAX) {
		err_set(e, EINVAL, "there are more than %d changes of the CPU: give fewer",
			CONFIG_CPU_EDITS_MAX);
		return NULL;
	}
	more = realloc(*items, (*count + 1) * size);
	if (!more) {
		err_errno(e, ENOMEM, "cannot configure");
		return NULL;
	}
	*items = more;
	return (char *)more + (*count)++ * size;
}

/* "eax=" to "edx=" at *at, which is moved behind it. */
static bool parse_register(const char **at, unsigned *reg)
{
	static const char letters[] = "abcd";
	const char *text = *at,
		   *letter = text[0] == 'e' && text[1] ? strchr(letters, text[1]) : NULL;

	if (!letter || strncmp(text + 2, "x=", 2) != 0)
		return false;
	*reg = (unsigned)(letter - letters);
	*at = text + 4;
	return true;
}

int config_cpu_add_cpuid(struct machine_cpu_edits *edits, const char *value, struct err *e)
{
	struct cpuid_edit edit = {0}, *place;
	const char *at = value;
	uint64_t mask, bits;
	bool good = parse_number(&at, &edit.leaf);

	if (good && *at == '.') {
		at++;
		good = parse_number(&at, &edit.subleaf);
	}
	good = good && *at++ == ':' && parse_register(&at, &edit.reg) &&
	       parse_bits(at, 32, &mask, &bits);
	if (!good)
		return err_set(e, EINVAL,
			       "cpuid '%s' cannot be: give LEAF[.SUBLEAF]:REGISTER=BITS such as "
			       "0x7.0x0:ebx=0b0xx",
			       value);
	edit.mask = (uint32_t)mask;
	edit.value = (uint32_t)bits;
	place = grow((void **)&edits->cpuid, &edits->cpuid_count, sizeof(edit), e);
	if (!place)
		return e->code;
	*place = edit;
	return 0;
}

int config_cpu_add_msr(struct machine_cpu_edits *edits, const char *value, struct err *e)
{
	struct machine_msr_edit edit = {0}, *place;
	const char *at = value;

	if (!parse_number(&at, &edit.index) || *at++ != '=' ||
	    !parse_bits(at, 64, &edit.mask, &edit.value))
		return err_set(e, EINVAL,
			       "msr '%s' cannot be: give NUMBER=BITS such as 0x1a0=0bx0xx", value);
	place = grow((void **)&edits->msr, &edits->msr_count, sizeof(edit), e);
	if (!place)
		return e->code;
	*place = edit;
	return 0;
}

void config_cpu_release(struct machine_cpu_edits *edits)
{
	free(edits->cpuid);
	free(edits->msr);
	*edits = (struct machine_cpu_edits){0};
}
