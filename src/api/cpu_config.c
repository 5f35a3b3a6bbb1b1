/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a value cannot be is found by the library when the section is given; what engine
 * and host cannot give is found at the start.
 */
#include "api/cpu_config.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"

#define FLAGS_MAX 7 /* of KVM's CPUID entries: they follow from the leaf, here */

static const char *const registers[] = {"eax", "ebx", "ecx", "edx", NULL};

static const struct field register_fields[] = {
	{.name = "register", .type = FIELD_WORD, .required = true, .words = registers},
	{.name = "bitmap", .type = FIELD_TEXT, .required = true},
	{0},
};

static const struct field cpuid_fields[] = {
	{.name = "leaf", .type = FIELD_TEXT, .required = true},
	{.name = "subleaf", .type = FIELD_TEXT, .required = true},
	{.name = "flags", .type = FIELD_NUMBER, .required = true, .max = FLAGS_MAX},
	{.name = "modifiers", .type = FIELD_LIST, .required = true, .fields = register_fields},
	{0},
};

static const struct field msr_fields[] = {
	{.name = "addr", .type = FIELD_TEXT, .required = true},
	{.name = "bitmap", .type = FIELD_TEXT, .required = true},
	{0},
};

const struct field cpu_config_fields[] = {
	{.name = "kvm_capabilities", .type = FIELD_LIST},
	{.name = "cpuid_modifiers", .type = FIELD_LIST, .fields = cpuid_fields},
	{.name = "msr_modifiers", .type = FIELD_LIST, .fields = msr_fields},
	{.name = "vcpu_features", .type = FIELD_LIST},
	{.name = "reg_modifiers", .type = FIELD_LIST},
	{0},
};

/* "!56": is not asked for, as lodge asks for what it needs anyway. "56" would have to be. */
static int check_capability(const char *text, struct err *e)
{
	size_t len = strspn(text + (*text == '!'), "0123456789");

	if (!len || text[len + (*text == '!')])
		return err_set(e, EINVAL, "kvm_capabilities: '%.32s' is no number", text);
	if (*text != '!')
		return err_set(e, EINVAL,
			       "kvm_capabilities: %.32s cannot be asked for: lodge asks for what "
			       "its engine needs: leave it away",
			       text);
	return 0;
}

static int set(lodge_vm *vm, const char *name, struct buf *value, struct err *e)
{
	int rc = buf_failed(value) ? err_set(e, ENOMEM, "memory is out")
				   : lodge_vm_set(vm, name, buf_str(value));

	buf_release(value);
	return rc;
}

static int apply_leaf(lodge_vm *vm, const json_t *leaf, struct err *e)
{
	const json_t *modifier;
	int rc = 0;
	size_t i;

	json_array_foreach(json_object_get(leaf, "modifiers"), i, modifier)
	{
		struct buf b = BUF_INIT;

		if (rc)
			break;
		buf_printf(&b, "%s.%s:%s=%s", fields_text(leaf, "leaf", ""),
			   fields_text(leaf, "subleaf", ""), fields_text(modifier, "register", ""),
			   fields_text(modifier, "bitmap", ""));
		rc = set(vm, "cpuid", &b, e);
	}
	return rc;
}

static int apply_msr(lodge_vm *vm, const json_t *msr, struct err *e)
{
	struct buf b = BUF_INIT;

	buf_printf(&b, "%s=%s", fields_text(msr, "addr", ""), fields_text(msr, "bitmap", ""));
	return set(vm, "msr", &b, e);
}

int cpu_config_apply(lodge_vm *vm, const json_t *section, struct err *e)
{
	const json_t *item;
	int rc = 0;
	size_t i;

	if (json_array_size(json_object_get(section, "vcpu_features")) ||
	    json_array_size(json_object_get(section, "reg_modifiers")))
		return err_set(e, EINVAL,
			       "vcpu_features and reg_modifiers are of Arm: leave them away");
	json_array_foreach(json_object_get(section, "kvm_capabilities"), i, item) if (!rc)
		rc = check_capability(json_string_value(item), e);
	json_array_foreach(json_object_get(section, "cpuid_modifiers"), i, item) if (!rc)
		rc = apply_leaf(vm, item, e);
	json_array_foreach(json_object_get(section, "msr_modifiers"), i, item) if (!rc)
		rc = apply_msr(vm, item, e);
	return rc;
}
