/* SPDX-License-Identifier: Apache-2.0 */
#include "core/x86/cpuid_edit.h"

#include <errno.h>

#include "base/bits.h"
#include "core/x86/cpuid_int.h"

/* Registers that tell what the processor is called, and nothing that software relies on. Sources:
 * those of core/x86/cpuid.h. */
static const struct {
	uint32_t first, last; /* leaves */
	unsigned regs;        /* bit 0 is EAX */
} names[] = {
	{0x00000001, 0x00000001, 1},   /* family, model, stepping */
	{0x00000002, 0x00000002, 0xf}, /* cache descriptors */
	{0x80000001, 0x80000001, 1},   /* AMD repeats leaf 1 */
	{0x80000002, 0x80000006, 0xf}, /* brand string, caches */
};

static bool is_name(const struct cpuid_edit *edit)
{
	for (unsigned i = 0; i < ARRAY_LEN(names); i++)
		if (edit->leaf >= names[i].first && edit->leaf <= names[i].last &&
		    names[i].regs & BIT(edit->reg))
			return true;
	return false;
}

static bool is_features(const struct cpuid_edit *edit)
{
	for (enum cpuid_word word = 0; word < CPUID_WORDS; word++)
		if (cpuid_word_is(word, edit->leaf, edit->subleaf, edit->reg))
			return true;
	return false;
}

static int refuse(const struct cpuid_edit *edit, const char *why, uint32_t bits, struct err *e)
{
	static const char *const registers[] = {"EAX", "EBX", "ECX", "EDX"};

	return err_set(e, ENOTSUP, "CPUID leaf %#x, subleaf %#x, %s: %s (bits %#x): leave them",
		       edit->leaf, edit->subleaf, registers[edit->reg], why, bits);
}

static int edit_one(struct cpuid_table *t, const struct cpuid_edit *edit, struct err *e)
{
	const struct cpuid_entry *found = cpuid_find(t, edit->leaf, edit->subleaf);
	struct cpuid_entry entry = found ? *found : (struct cpuid_entry){0};
	uint32_t *reg = (uint32_t *[]){&entry.eax, &entry.ebx, &entry.ecx, &entry.edx}[edit->reg];
	uint32_t now = (*reg & ~edit->mask) | (edit->value & edit->mask), changed = now ^ *reg;

	if (!changed)
		return 0;
	if (found && !entry.indexed && edit->subleaf)
		return refuse(edit, "the leaf has no subleaves", changed, e);
	if (is_features(edit) && now & ~*reg)
		return refuse(edit, "features that cannot be given", now & ~*reg, e);
	if (!found || (!is_features(edit) && !is_name(edit)))
		return refuse(edit, "what cannot be changed", changed, e);
	*reg = now;
	cpuid_put(t, &entry); /* it is there: there is room */
	return 0;
}

int cpuid_edit(struct cpuid_table *t, const struct cpuid_edit *edits, unsigned count, struct err *e)
{
	int rc = 0;

	for (unsigned i = 0; !rc && i < count; i++)
		rc = edit_one(t, &edits[i], e);
	return rc;
}
