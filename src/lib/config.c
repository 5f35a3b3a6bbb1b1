/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of names, each with the function that parses its value and the field
 * that it fills. Everything that configures a VM comes through here.
 */
#include "lib/config.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "core/engine.h"
#include "lib/config_number.h"

#define CONFIG_MEMORY_MIN MIB(8)
#define CONFIG_MEMORY_MAX GIB(1024)
#define CONFIG_NAME_MAX   64

#define CONFIG_CMDLINE_DEFAULT     "console=ttyS0"
#define CONFIG_CMDLINE_DEFAULT_HVC "console=hvc0"

struct setting {
	const char *name;
	int (*parse)(const struct setting *s, void *field, const char *value, struct err *e);
	size_t field;
};

static int parse_text(const struct setting *s, void *field, const char *value, struct err *e)
{
	char **text = field;
	char *copy = strdup(value);

	(void)s;
	if (!copy)
		return err_errno(e, ENOMEM, "cannot configure");
	free(*text);
	*text = copy;
	return 0;
}

static int parse_file(const struct setting *s, void *field, const char *value, struct err *e)
{
	if (!*value)
		return err_set(e, EINVAL, "%s is empty: give the name of a file", s->name);
	return parse_text(s, field, value, e);
}

/* The stage whose name is text[0..len), or 0. */
static unsigned dump_stage(const char *text, size_t len)
{
	static const struct {
		const char *name;
		unsigned stages;
	} stages[] = {
		{"guest", ENGINE_DUMP_GUEST}, {"decoded", ENGINE_DUMP_DECODED},
		{"flags", ENGINE_DUMP_FLAGS}, {"host", ENGINE_DUMP_HOST},
		{"links", ENGINE_DUMP_LINKS}, {"all", ENGINE_DUMP_ALL},
	};

	for (unsigned i = 0; i < ARRAY_LEN(stages); i++)
		if (strlen(stages[i].name) == len && !strncmp(text, stages[i].name, len))
			return stages[i].stages;
	return 0;
}

static int parse_dump(const struct setting *s, void *field, const char *value, struct err *e)
{
	struct config_dump *dump = field;
	size_t all = strcspn(value, ":");
	unsigned stages = 0;
	int rc = 0;

	for (size_t at = 0, len; at <= all; at += len + 1) {
		unsigned stage;

		len = strcspn(value + at, ",:");
		stage = dump_stage(value + at, len);
		if (!stage)
			return err_set(e, EINVAL,
				       "%s '%s' has no such stage: give some of guest, decoded, "
				       "flags, host, links, or all",
				       s->name, value);
		stages |= stage;
	}
	if (value[all])
		rc = parse_file(s, &dump->file, value + all + 1, e);
	if (!rc)
		dump->stages = stages;
	return rc;
}

static int parse_name(const struct setting *s, void *field, const char *value, struct err *e)
{
	size_t len = strlen(value);

	if (!len || len > CONFIG_NAME_MAX ||
	    strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") !=
		    len)
		return err_set(e, EINVAL,
			       "name '%s' cannot be used: give up to %d letters, digits, '-', '_' "
			       "and '.'",
			       value, CONFIG_NAME_MAX);
	return parse_text(s, field, value, e);
}

static int parse_model(const struct setting *s, void *field, const char *value, struct err *e)
{
	const char *name;

	for (unsigned i = 0; (name = cpuid_model_name(i)); i++)
		if (!strcmp(value, name))
			return parse_text(s, field, value, e);
	return err_set(e, EINVAL, "%s '%s' is unknown: give host, x86-64-v2 or x86-64-v3", s->name,
		       value);
}

static int parse_cpus(const struct setting *s, void *field, const char *value, struct err *e)
{
	uint64_t number;
	const char *end;

	(void)s;
	if (!config_number(value, &end, &number) || *end || number < 1 || number > ENGINE_VCPUS_MAX)
		return err_set(e, EINVAL, "cpus '%s' cannot be: give a number from 1 to %d", value,
			       ENGINE_VCPUS_MAX);
	*(unsigned *)field = (unsigned)number;
	return 0;
}

/* The sizes that a setting may have. */
struct size_range {
	const char *what;
	uint64_t min, max;
	const char *words; /* the two, for the user */
};

/* A size in bytes, rounded down to pages. */
static int parse_size(const struct size_range *range, const char *value, uint64_t *size,
		      struct err *e)
{
	const char *last = value + strlen(value) - 1;

	if (!config_bytes(value, size))
		return err_set(e, EINVAL, "%s '%s' is not a size: give a number with K, M or G",
			       range->what, value);
	if (*size < range->min || *size > range->max)
		return err_set(e, EINVAL, "%s '%s' cannot be: give %s%s", range->what, value,
			       range->words,
			       *last > '9' ? "" : " (a number without K, M or G is bytes)");
	*size = align_down(*size, GUEST_PAGE_SIZE);
	return 0;
}

static int parse_memory(const struct setting *s, void *field, const char *value, struct err *e)
{
	static const struct size_range range = {"memory", CONFIG_MEMORY_MIN, CONFIG_MEMORY_MAX,
						"8M to 1024G"};
	uint64_t size;
	int rc;

	(void)s;
	rc = parse_size(&range, value, &size, e);
	if (!rc)
		*(uint64_t *)field = size;
	return rc;
}

/* "NAME[,code=SIZE]" */
static int parse_engine(const struct setting *s, void *field, const char *value, struct err *e)
{
	static const char *const names[] = {"auto",   "kvm",       "bt",      "bt,eager",
					    "bt,hot", "bt,interp", "bt,check"};
	static const struct size_range range = {"engine code memory", ENGINE_CODE_MIN,
						ENGINE_CODE_MAX, "8M to 1G"};
	static const char code[] = ",code=";
	struct config_engine *engine = field;
	const char *option = strstr(value, code);
	size_t len = option ? (size_t)(option - value) : strlen(value);
	uint64_t size = 0;
	int rc;

	for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
		if (strlen(names[i]) != len || strncmp(value, names[i], len) != 0)
			continue;
		if (option && !strcmp(names[i], "kvm"))
			return err_set(e, EINVAL, "engine kvm translates no code: leave %s away",
				       option);
		rc = option ? parse_size(&range, option + strlen(code), &size, e) : 0;
		if (!rc)
			rc = parse_text(s, &engine->name, names[i], e);
		if (!rc)
			engine->code_memory = size;
		return rc;
	}
	return err_set(e, EINVAL, "engine '%s' is unknown: give auto, kvm, bt or bt,code=SIZE",
		       value);
}

static int parse_boot(const struct setting *s, void *field, const char *value, struct err *e)
{
	static const struct {
		const char *name;
		enum boot_protocol protocol;
	} protocols[] = {
		{"auto", BOOT_AUTO},
		{"bzimage", BOOT_BZIMAGE},
		{"pvh", BOOT_PVH},
		{"elf", BOOT_ELF},
	};

	(void)s;
	for (unsigned i = 0; i < ARRAY_LEN(protocols); i++) {
		if (!strcmp(value, protocols[i].name)) {
			*(enum boot_protocol *)field = protocols[i].protocol;
			return 0;
		}
	}
	return err_set(e, EINVAL, "boot '%s' is unknown: give auto, bzimage, pvh or elf", value);
}

static int parse_switch(const struct setting *s, void *field, const char *value, struct err *e)
{
	if (strcmp(value, "on") && strcmp(value, "off"))
		return err_set(e, EINVAL, "%s '%s' is neither on nor off: give on or off", s->name,
			       value);
	*(bool *)field = !strcmp(value, "on");
	return 0;
}

/* One limit, of len characters. */
static int parse_rng_limit(struct limiter_config *limits, const char *word, size_t len,
			   struct err *e)
{
	static const char bandwidth[] = "bandwidth=", ops[] = "ops=";
	size_t n = strlen(bandwidth);

	if (len > n && !strncmp(word, bandwidth, n))
		return config_limit(&limits->bandwidth, "rng: bandwidth", word + n, len - n, e);
	n = strlen(ops);
	if (len > n && !strncmp(word, ops, n))
		return config_limit(&limits->ops, "rng: ops", word + n, len - n, e);
	return err_set(e, EINVAL, "rng has no '%.*s': give bandwidth=RATE or ops=RATE", (int)len,
		       word);
}

static int parse_rng(const struct setting *s, void *field, const char *value, struct err *e)
{
	struct config_rng rng = {.on = !strncmp(value, "on", 2)};
	size_t len = strcspn(value, ",");
	int rc = 0;

	(void)s;
	if ((len != 2 || !rng.on) && strcmp(value, "off") != 0)
		return err_set(e, EINVAL, "rng '%s' is neither on nor off: give on or off", value);
	for (value += len; !rc && *value; value += len) {
		len = strcspn(++value, ",");
		rc = parse_rng_limit(&rng.limits, value, len, e);
	}
	if (!rc)
		*(struct config_rng *)field = rng;
	return rc;
}

static int parse_disk(const struct setting *s, void *field, const char *value, struct err *e)
{
	(void)s;
	return config_disks_add(field, value, e);
}

static int parse_net(const struct setting *s, void *field, const char *value, struct err *e)
{
	(void)s;
	return config_nets_add(field, value, e);
}

static int parse_metadata(const struct setting *s, void *field, const char *value, struct err *e)
{
	(void)s;
	return config_mmds_set(field, value, e);
}

static int parse_port(const struct setting *s, void *field, const char *value, struct err *e)
{
	(void)s;
	return config_ports_add(field, value, e);
}

static int parse_share(const struct setting *s, void *field, const char *value, struct err *e)
{
	(void)s;
	return config_shares_add(field, value, e);
}

static int parse_balloon(const struct setting *s, void *field, const char *value, struct err *e)
{
	(void)s;
	return config_balloon_set(field, value, e);
}

static int parse_hotplug(const struct setting *s, void *field, const char *value, struct err *e)
{
	(void)s;
	return config_memory_set(field, value, e);
}

static int parse_pmem(const struct setting *s, void *field, const char *value, struct err *e)
{
	(void)s;
	return config_pmems_add(field, value, e);
}

static int parse_vsock(const struct setting *s, void *field, const char *value, struct err *e)
{
	(void)s;
	return config_vsock_set(field, value, e);
}

static int parse_cpuid(const struct setting *s, void *field, const char *value, struct err *e)
{
	(void)s;
	return config_cpu_add_cpuid(field, value, e);
}

static int parse_msr(const struct setting *s, void *field, const char *value, struct err *e)
{
	(void)s;
	return config_cpu_add_msr(field, value, e);
}

static int parse_virtio(const struct setting *s, void *field, const char *value, struct err *e)
{
	if (strcmp(value, "pci") && strcmp(value, "mmio"))
		return err_set(e, EINVAL, "%s '%s' is unknown: give pci or mmio", s->name, value);
	*(bool *)field = !strcmp(value, "mmio");
	return 0;
}

#define FIELD(f) offsetof(struct config, f)

static const struct setting settings[] = {
	{"engine", parse_engine, FIELD(engine)},
	{"cpus", parse_cpus, FIELD(cpus)},
	{"memory", parse_memory, FIELD(memory)},
	{"kernel", parse_file, FIELD(kernel)},
	{"initrd", parse_file, FIELD(initrd)},
	{"cmdline", parse_text, FIELD(cmdline)},
	{"boot", parse_boot, FIELD(boot)},
	{"cpu-model", parse_model, FIELD(cpu_model)},
	{"name", parse_name, FIELD(name)},
	{"cpuid", parse_cpuid, FIELD(cpu)},
	{"msr", parse_msr, FIELD(cpu)},
	{"kvmclock", parse_switch, FIELD(kvmclock)},
	{"bt-dump", parse_dump, FIELD(dump)},
	{"reboot", parse_switch, FIELD(reboot)},
	{"debug-exit", parse_switch, FIELD(debug_exit)},
	{"boot-timer", parse_switch, FIELD(boot_timer)},
	{"rng", parse_rng, FIELD(rng)},
	{"virtio", parse_virtio, FIELD(virtio_mmio)},
	{"attach", parse_switch, FIELD(attach)},
	{"disk", parse_disk, FIELD(disks)},
	{"net", parse_net, FIELD(nets)},
	{"metadata", parse_metadata, FIELD(mmds)},
	{"port", parse_port, FIELD(ports)},
	{"share", parse_share, FIELD(shares)},
	{"balloon", parse_balloon, FIELD(balloon)},
	{"pmem", parse_pmem, FIELD(pmems)},
	{"hotplug-memory", parse_hotplug, FIELD(hotplug)},
	{"vsock", parse_vsock, FIELD(vsock)},
};

void config_init(struct config *c)
{
	*c = (struct config){.cpus = 1,
			     .memory = MIB(256),
			     .boot = BOOT_AUTO,
			     .kvmclock = true,
			     .reboot = true,
			     .attach = true};
}

void config_release(struct config *c)
{
	free(c->engine.name);
	free(c->dump.file);
	free(c->kernel);
	free(c->initrd);
	free(c->cmdline);
	free(c->cpu_model);
	free(c->name);
	config_cpu_release(&c->cpu);
	config_disks_release(&c->disks);
	config_nets_release(&c->nets);
	config_mmds_release(&c->mmds);
	config_ports_release(&c->ports);
	config_shares_release(&c->shares);
	config_vsock_release(&c->vsock);
	config_pmems_release(&c->pmems);
}

int config_set(struct config *c, const char *name, const char *value, struct err *e)
{
	for (unsigned i = 0; i < ARRAY_LEN(settings); i++)
		if (!strcmp(settings[i].name, name))
			return settings[i].parse(&settings[i], (char *)c + settings[i].field, value,
						 e);
	return err_set(e, ENOENT, "there is no setting '%s'", name);
}

const char *config_name(unsigned n)
{
	return n < ARRAY_LEN(settings) ? settings[n].name : NULL;
}

const char *config_cmdline(const struct config *c, bool hvc_alone)
{
	if (c->cmdline)
		return c->cmdline;
	return hvc_alone ? CONFIG_CMDLINE_DEFAULT_HVC : CONFIG_CMDLINE_DEFAULT;
}

int config_check(const struct config *c, struct err *e)
{
	int rc = config_mmds_check(&c->mmds, c->nets.count, e);

	if (rc)
		return rc;
	if (!c->kernel)
		return err_set(e, EINVAL, "no kernel is given: name a bzImage or vmlinux");
	if (c->balloon.size > c->memory)
		return err_set(e, EINVAL, "the balloon is larger than the memory: give less");
	if (c->dump.stages && c->engine.name &&
	    (!strcmp(c->engine.name, "kvm") || !strcmp(c->engine.name, "bt,interp")))
		return err_set(e, EINVAL, "engine %s translates no code: leave bt-dump away",
			       c->engine.name);
	return 0;
}
