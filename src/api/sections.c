/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A section's values become the library's settings, in one way for requests and for the
 * configuration file. Files are opened when they are named, so that whoever names a
 * wrong one is told at once.
 *
 * The command line of the kernel is the boot source's, and the root device that a drive
 * says it is.
 */
#include "api/sections.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/beyond.h"
#include "api/cpu_config.h"
#include "api/hotplug.h"
#include "api/mmds.h"
#include "base/bits.h"
#include "base/buf.h"

#define CPUS_MAX       32
#define MEMORY_MAX     (1 << 20) /* MiB */
#define MEMORY_DEFAULT 128
#define CMDLINE_MAX    2048
#define CMDLINE_PLAIN  "reboot=k panic=1 console=ttyS0"

static const char *const no_template[] = {"None", NULL};
static const char *const huge_pages[] = {"None", "Transparent", NULL};
static const char *const cache_types[] = {"Unsafe", "Writeback", NULL};
static const char *const formats[] = {"Raw", "Qcow2", NULL};
static const char *const io_engines[] = {"Sync", "Async", NULL};

const struct field sections_boot_source[] = {
	{.name = "kernel_image_path", .type = FIELD_TEXT, .required = true},
	{.name = "initrd_path", .type = FIELD_TEXT},
	{.name = "boot_args", .type = FIELD_TEXT},
	{0},
};

#define MACHINE_FIELDS(must)                                                     \
	{.name = "vcpu_count",                                                   \
	 .type = FIELD_NUMBER,                                                   \
	 .required = (must),                                                     \
	 .min = 1,                                                               \
	 .max = CPUS_MAX},                                                       \
		{.name = "mem_size_mib",                                         \
		 .type = FIELD_NUMBER,                                           \
		 .required = (must),                                             \
		 .min = 1,                                                       \
		 .max = MEMORY_MAX},                                             \
		{.name = "smt", .type = FIELD_FLAG},                             \
		{.name = "track_dirty_pages", .type = FIELD_FLAG},               \
		{.name = "cpu_template",                                         \
		 .type = FIELD_WORD,                                             \
		 .words = no_template,                                           \
		 .deprecated = true},                                            \
		{.name = "huge_pages", .type = FIELD_WORD, .words = huge_pages}, \
	{                                                                        \
		0                                                                \
	}

const struct field sections_machine_config[] = {MACHINE_FIELDS(true)};
const struct field sections_machine_patch[] = {MACHINE_FIELDS(false)};

static const struct field bucket_fields[] = {
	{.name = "size", .type = FIELD_NUMBER, .required = true, .max = INT64_MAX},
	{.name = "refill_time", .type = FIELD_NUMBER, .required = true, .max = INT64_MAX},
	{.name = "one_time_burst", .type = FIELD_NUMBER, .max = INT64_MAX},
	{0},
};

static const struct field limiter_fields[] = {
	{.name = "bandwidth", .type = FIELD_OBJECT, .fields = bucket_fields, .lenient = true},
	{.name = "ops", .type = FIELD_OBJECT, .fields = bucket_fields, .lenient = true},
	{0},
};

const struct field sections_network[] = {
	{.name = "iface_id", .type = FIELD_TEXT, .required = true},
	{.name = "host_dev_name", .type = FIELD_TEXT},
	{.name = "user_mode", .type = FIELD_FLAG},
	{.name = "forwards", .type = FIELD_LIST},
	{.name = "guest_mac", .type = FIELD_TEXT},
	{.name = "mtu", .type = FIELD_NUMBER, .min = 68, .max = 65535},
	{.name = "rx_rate_limiter", .type = FIELD_OBJECT, .fields = limiter_fields},
	{.name = "tx_rate_limiter", .type = FIELD_OBJECT, .fields = limiter_fields},
	{0},
};

const struct field sections_drive[] = {
	{.name = "drive_id", .type = FIELD_TEXT, .required = true},
	{.name = "is_root_device", .type = FIELD_FLAG, .required = true},
	{.name = "path_on_host", .type = FIELD_TEXT, .required = true},
	{.name = "partuuid", .type = FIELD_TEXT},
	{.name = "is_read_only", .type = FIELD_FLAG},
	{.name = "cache_type", .type = FIELD_WORD, .words = cache_types},
	{.name = "io_engine", .type = FIELD_WORD, .words = io_engines},
	{.name = "format", .type = FIELD_WORD, .words = formats},
	{.name = "rate_limiter", .type = FIELD_OBJECT, .fields = limiter_fields},
	{0},
};

const struct field sections_drive_patch[] = {
	{.name = "drive_id", .type = FIELD_TEXT, .required = true},
	{.name = "path_on_host", .type = FIELD_TEXT},
	{.name = "rate_limiter", .type = FIELD_OBJECT, .fields = limiter_fields},
	{0},
};

const struct field sections_network_patch[] = {
	{.name = "iface_id", .type = FIELD_TEXT, .required = true},
	{.name = "rx_rate_limiter", .type = FIELD_OBJECT, .fields = limiter_fields},
	{.name = "tx_rate_limiter", .type = FIELD_OBJECT, .fields = limiter_fields},
	{0},
};

const struct field sections_pmem[] = {
	{.name = "id", .type = FIELD_TEXT, .required = true},
	{.name = "path_on_host", .type = FIELD_TEXT, .required = true},
	{.name = "root_device", .type = FIELD_FLAG},
	{.name = "read_only", .type = FIELD_FLAG},
	{.name = "rate_limiter", .type = FIELD_OBJECT, .fields = limiter_fields},
	{0},
};

const struct field sections_pmem_patch[] = {
	{.name = "id", .type = FIELD_TEXT, .required = true},
	{.name = "rate_limiter", .type = FIELD_OBJECT, .fields = limiter_fields},
	{0},
};

const struct field sections_vsock[] = {
	{.name = "guest_cid", .type = FIELD_NUMBER, .required = true, .min = 3, .max = UINT32_MAX},
	{.name = "uds_path", .type = FIELD_TEXT, .required = true},
	{.name = "vsock_id", .type = FIELD_TEXT, .deprecated = true},
	{0},
};

const struct field sections_balloon[] = {
	{.name = "amount_mib", .type = FIELD_NUMBER, .required = true, .max = MEMORY_MAX},
	{.name = "deflate_on_oom", .type = FIELD_FLAG, .required = true},
	{.name = "stats_polling_interval_s", .type = FIELD_NUMBER, .max = UINT16_MAX},
	{.name = "free_page_hinting", .type = FIELD_FLAG},
	{.name = "free_page_reporting", .type = FIELD_FLAG},
	{0},
};

const struct field sections_balloon_patch[] = {
	{.name = "amount_mib", .type = FIELD_NUMBER, .required = true, .max = MEMORY_MAX},
	{0},
};

const struct field sections_entropy[] = {
	{.name = "rate_limiter", .type = FIELD_OBJECT, .fields = limiter_fields},
	{0},
};

const struct field sections_serial[] = {
	{.name = "serial_out_path", .type = FIELD_TEXT},
	{0},
};

json_t *sections_default_machine(void)
{
	return json_pack("{s:i, s:i, s:b, s:b, s:s}", "vcpu_count", 1, "mem_size_mib",
			 MEMORY_DEFAULT, "smt", 0, "track_dirty_pages", 0, "huge_pages", "None");
}

static int check_file(const char *what, const char *path, int flags, struct err *e)
{
	int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return err_errno(e, errno, "cannot open the %s %s", what, path);
	close(fd);
	return 0;
}

/* What drives and persistent memory add to the command line. */
static void root_arguments(const json_t *drives, const json_t *pmems, char *text, size_t size)
{
	const json_t *drive, *pmem;
	size_t i;

	text[0] = '\0';
	json_array_foreach(pmems, i, pmem)
	{
		if (fields_flag(pmem, "root_device"))
			snprintf(text, size, " root=/dev/pmem%zu %s", i,
				 fields_flag(pmem, "read_only") ? "ro" : "rw");
	}
	json_array_foreach(drives, i, drive)
	{
		const char *partuuid = fields_text(drive, "partuuid", NULL);

		if (!fields_flag(drive, "is_root_device"))
			continue;
		snprintf(text, size, " root=%s%.64s %s", partuuid ? "PARTUUID=" : "/dev/vda",
			 partuuid ? partuuid : "",
			 fields_flag(drive, "is_read_only") ? "ro" : "rw");
	}
}

static int apply_boot_source(lodge_vm *vm, const json_t *sections, struct err *e)
{
	const json_t *boot = json_object_get(sections, "boot-source");
	const char *kernel = fields_text(boot, "kernel_image_path", NULL);
	const char *initrd = fields_text(boot, "initrd_path", NULL);
	char line[CMDLINE_MAX + 1], root[128];
	int rc, len;

	if (!boot)
		return 0;
	root_arguments(json_object_get(sections, "drives"), json_object_get(sections, "pmem"), root,
		       sizeof(root));
	len = snprintf(line, sizeof(line), "%s%s", fields_text(boot, "boot_args", CMDLINE_PLAIN),
		       root);
	if (len > CMDLINE_MAX)
		return err_set(e, EINVAL, "boot_args are too long: give up to %d characters",
			       CMDLINE_MAX - (int)strlen(root));
	rc = check_file("kernel", kernel, O_RDONLY, e);
	if (!rc && initrd)
		rc = check_file("initrd", initrd, O_RDONLY, e);
	if (!rc)
		rc = lodge_vm_set(vm, "kernel", kernel);
	if (!rc && initrd)
		rc = lodge_vm_set(vm, "initrd", initrd);
	return rc ? rc : lodge_vm_set(vm, "cmdline", line);
}

static int apply_machine(lodge_vm *vm, const json_t *sections, struct err *e)
{
	const json_t *machine = json_object_get(sections, "machine-config");
	char number[32];
	int rc;

	if (fields_flag(machine, "smt"))
		return err_set(e, EINVAL,
			       "smt cannot be true: lodge's processors have one thread "
			       "a core");
	if (fields_flag(machine, "track_dirty_pages"))
		return err_set(e, EINVAL,
			       "track_dirty_pages cannot be true: there are no "
			       "snapshots yet");
	snprintf(number, sizeof(number), "%" PRId64, fields_number(machine, "vcpu_count", 1));
	rc = lodge_vm_set(vm, "cpus", number);
	snprintf(number, sizeof(number), "%" PRId64 "M",
		 fields_number(machine, "mem_size_mib", MEMORY_DEFAULT));
	return rc ? rc : lodge_vm_set(vm, "memory", number);
}

struct limit_words {
	const char *before, *after;
	bool none; /* what does not limit is said, too */
};

static const struct limit_words flag_words = {",", "", false};
static const struct limit_words change_words = {"", ";", true};

/* Adds a limiter's buckets, each as NAME=RATE between two strings. One without size or time limits
 * nothing: it is "none", or left out. */
static void add_limiter(struct buf *b, const struct limit_words *w, const char *prefix,
			const json_t *limits)
{
	static const char *const kinds[] = {"bandwidth", "ops"};

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		const json_t *bucket = json_object_get(limits, kinds[i]);
		int64_t size = fields_number(bucket, "size", 0);
		int64_t time = fields_number(bucket, "refill_time", 0);
		bool limited = size && time;

		if (!bucket || (!limited && !w->none))
			continue;
		buf_printf(b, "%s%s%s=", w->before, prefix, kinds[i]);
		if (limited)
			buf_printf(b, "%" PRId64 "/%" PRId64 "+%" PRId64, size, time,
				   fields_number(bucket, "one_time_burst", 0));
		else
			buf_printf(b, "none");
		buf_printf(b, "%s", w->after);
	}
}

int sections_drive_value(struct buf *b, const json_t *drive, struct err *e)
{
	const char *path = fields_text(drive, "path_on_host", "");
	bool readonly = fields_flag(drive, "is_read_only");
	int rc;

	if (strchr(path, ','))
		return err_set(e, EINVAL, "path_on_host cannot have a comma: give a link to %s",
			       path);
	rc = check_file("drive", path, readonly ? O_RDONLY : O_RDWR, e);
	if (rc)
		return rc;
	buf_printf(b, "%s%s,serial=%.20s", path, readonly ? ",ro" : "",
		   fields_text(drive, "drive_id", ""));
	if (json_object_get(drive, "format"))
		buf_printf(b, ",format=%s",
			   strcmp(fields_text(drive, "format", ""), "Raw") ? "qcow2" : "raw");
	add_limiter(b, &flag_words, "", json_object_get(drive, "rate_limiter"));
	return 0;
}

/* Sets what one of the two functions says of an item. */
static int apply_item(lodge_vm *vm, const char *name, const json_t *item,
		      int (*value)(struct buf *b, const json_t *item, struct err *e), struct err *e)
{
	struct buf b = BUF_INIT;
	int rc = value(&b, item, e);

	if (!rc)
		rc = buf_failed(&b) ? err_set(e, ENOMEM, "memory is out")
				    : lodge_vm_set(vm, name, buf_str(&b));
	buf_release(&b);
	return rc;
}

/* The root device is the first, whatever the order in which they came: it is /dev/vda. */
static int apply_drives(lodge_vm *vm, const json_t *drives, struct err *e)
{
	const json_t *drive;
	unsigned roots = 0;
	int rc = 0;
	size_t i;

	for (int root = 1; root >= 0; root--) {
		json_array_foreach(drives, i, drive)
		{
			if (rc || fields_flag(drive, "is_root_device") != root)
				continue;
			roots += (unsigned)root;
			rc = apply_item(vm, "disk", drive, sections_drive_value, e);
		}
	}
	if (!rc && roots > 1)
		return err_set(e, EINVAL,
			       "there is a root device already: give is_root_device "
			       "once");
	return rc;
}

int sections_network_value(struct buf *b, const json_t *network, struct err *e)
{
	const char *name = fields_text(network, "host_dev_name", "");
	const char *mac = fields_text(network, "guest_mac", NULL);
	int64_t mtu = fields_number(network, "mtu", 0);
	bool user = fields_flag(network, "user_mode");
	const json_t *forward;
	size_t i;

	if (!user == !*name)
		return err_set(e, EINVAL, "%s",
			       user ? "host_dev_name cannot be given with user_mode: leave it away"
				    : "the field 'host_dev_name' is missing");
	if (!user && json_object_get(network, "forwards"))
		return err_set(e, EINVAL, "forwards need user_mode: give that, too");
	if (strchr(name, ','))
		return err_set(e, EINVAL, "host_dev_name cannot have a comma");
	if (mac && strchr(mac, ','))
		return err_set(e, EINVAL, "guest_mac cannot have a comma");
	buf_printf(b, user ? "user" : "tap=%s", name);
	json_array_foreach(json_object_get(network, "forwards"), i, forward)
		buf_printf(b, ",forward=%s", json_string_value(forward));
	if (mac)
		buf_printf(b, ",mac=%s", mac);
	if (mtu)
		buf_printf(b, ",mtu=%" PRId64, mtu);
	add_limiter(b, &flag_words, "rx-", json_object_get(network, "rx_rate_limiter"));
	add_limiter(b, &flag_words, "tx-", json_object_get(network, "tx_rate_limiter"));
	return 0;
}

static int apply_networks(lodge_vm *vm, const json_t *networks, struct err *e)
{
	const json_t *network;
	int rc = 0;
	size_t i;

	json_array_foreach(networks, i, network) if (!rc)
		rc = apply_item(vm, "net", network, sections_network_value, e);
	return rc;
}

static int apply_pmem(lodge_vm *vm, const json_t *pmem, struct err *e)
{
	const char *path = fields_text(pmem, "path_on_host", "");
	bool readonly = fields_flag(pmem, "read_only");
	struct buf b = BUF_INIT;
	int rc;

	if (strchr(path, ','))
		return err_set(e, EINVAL, "path_on_host cannot have a comma: give a link to %s",
			       path);
	rc = check_file("memory file", path, readonly ? O_RDONLY : O_RDWR, e);
	if (rc)
		return rc;
	buf_printf(&b, "%s%s", path, readonly ? ",ro" : "");
	add_limiter(&b, &flag_words, "", json_object_get(pmem, "rate_limiter"));
	rc = buf_failed(&b) ? err_set(e, ENOMEM, "memory is out")
			    : lodge_vm_set(vm, "pmem", buf_str(&b));
	buf_release(&b);
	return rc;
}

/* In the order in which they came: the guest numbers them so. */
static int apply_pmems(lodge_vm *vm, const json_t *sections, struct err *e)
{
	const json_t *pmem, *drive;
	unsigned roots = 0, drives = 0;
	int rc = 0;
	size_t i;

	json_array_foreach(json_object_get(sections, "pmem"), i, pmem)
	{
		roots += fields_flag(pmem, "root_device");
		if (!rc)
			rc = apply_pmem(vm, pmem, e);
	}
	json_array_foreach(json_object_get(sections, "drives"), i, drive)
		drives += fields_flag(drive, "is_root_device");
	if (!rc && roots && roots + drives > 1)
		return err_set(e, EINVAL,
			       "there is a root device already: give root_device once, and no "
			       "drive's is_root_device");
	return rc;
}

static int apply_vsock(lodge_vm *vm, const json_t *vsock, struct err *e)
{
	struct buf b = BUF_INIT;
	int rc;

	if (!vsock)
		return 0;
	buf_printf(&b, "cid=%" PRId64 ",socket=%s", fields_number(vsock, "guest_cid", 0),
		   fields_text(vsock, "uds_path", ""));
	rc = buf_failed(&b) ? err_set(e, ENOMEM, "memory is out")
			    : lodge_vm_set(vm, "vsock", buf_str(&b));
	buf_release(&b);
	return rc;
}

static int apply_balloon(lodge_vm *vm, const json_t *balloon, const json_t *machine, struct err *e)
{
	int64_t amount = fields_number(balloon, "amount_mib", 0);
	int64_t interval = fields_number(balloon, "stats_polling_interval_s", 0);
	char value[128], stats[32] = "";

	if (!balloon)
		return 0;
	if (amount > fields_number(machine, "mem_size_mib", MEMORY_DEFAULT))
		return err_set(e, EINVAL, "amount_mib is more than the VM has: give less");
	if (interval)
		snprintf(stats, sizeof(stats), ",stats=%" PRId64, interval);
	snprintf(value, sizeof(value), "size=%" PRId64 "M%s%s%s%s", amount,
		 fields_flag(balloon, "deflate_on_oom") ? ",deflate-on-oom" : "",
		 fields_flag(balloon, "free_page_reporting") ? ",reporting" : "",
		 fields_flag(balloon, "free_page_hinting") ? ",hinting" : "", stats);
	return lodge_vm_set(vm, "balloon", value);
}

static int apply_entropy(lodge_vm *vm, const json_t *entropy, struct err *e)
{
	struct buf b = BUF_INIT;
	int rc;

	if (!entropy)
		return 0;
	buf_printf(&b, "on");
	add_limiter(&b, &flag_words, "", json_object_get(entropy, "rate_limiter"));
	rc = buf_failed(&b) ? err_set(e, ENOMEM, "memory is out")
			    : lodge_vm_set(vm, "rng", buf_str(&b));
	buf_release(&b);
	return rc;
}

int sections_open_serial(const char *path, struct err *e)
{
	int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	int fd = open(path, flags, 0644);

	return fd < 0 ? err_errno(e, errno, "cannot write the serial console to %s", path) : fd;
}

/* A file that cannot be written is told when it is named. Not so a FIFO: whoever reads there would
 * take this look for all that ever comes. */
static int check_serial(const json_t *serial, struct err *e)
{
	const char *path = fields_text(serial, "serial_out_path", NULL);
	struct stat st;
	int fd;

	if (!path || (!stat(path, &st) && S_ISFIFO(st.st_mode)))
		return 0;
	fd = sections_open_serial(path, e);
	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

int sections_apply(lodge_vm *vm, const json_t *sections, struct err *e)
{
	int rc = apply_machine(vm, sections, e);

	if (!rc)
		rc = apply_boot_source(vm, sections, e);
	if (!rc)
		rc = apply_drives(vm, json_object_get(sections, "drives"), e);
	if (!rc)
		rc = apply_networks(vm, json_object_get(sections, "network-interfaces"), e);
	if (!rc)
		rc = cpu_config_apply(vm, json_object_get(sections, "cpu-config"), e);
	if (!rc)
		rc = beyond_apply(vm, json_object_get(sections, "lodge"), e);
	if (!rc)
		rc = apply_pmems(vm, sections, e);
	if (!rc)
		rc = mmds_apply(vm, sections, e);
	if (!rc)
		rc = hotplug_apply(vm, json_object_get(sections, "memory-hotplug"));
	if (!rc)
		rc = apply_vsock(vm, json_object_get(sections, "vsock"), e);
	if (!rc)
		rc = apply_balloon(vm, json_object_get(sections, "balloon"),
				   json_object_get(sections, "machine-config"), e);
	if (!rc)
		rc = apply_entropy(vm, json_object_get(sections, "entropy"), e);
	if (!rc)
		rc = check_serial(json_object_get(sections, "serial"), e);
	return rc;
}

int sections_drive_place(const json_t *drives, size_t at)
{
	bool root = fields_flag(json_array_get(drives, at), "is_root_device");
	int before = 0;
	size_t i;
	const json_t *drive;

	json_array_foreach(drives, i, drive)
	{
		bool other = fields_flag(drive, "is_root_device");

		before += i != at && (other != root ? other : i < at);
	}
	return before;
}

int sections_change(const json_t *patch, char *values, size_t size, struct err *e)
{
	struct buf b = BUF_INIT;
	int rc = 0;

	add_limiter(&b, &change_words, "", json_object_get(patch, "rate_limiter"));
	add_limiter(&b, &change_words, "rx-", json_object_get(patch, "rx_rate_limiter"));
	add_limiter(&b, &change_words, "tx-", json_object_get(patch, "tx_rate_limiter"));
	if (buf_failed(&b) || b.len >= size)
		rc = err_set(e, ENOMEM, "memory is out");
	else
		memcpy(values, buf_str(&b), b.len + 1);
	buf_release(&b);
	return rc;
}
