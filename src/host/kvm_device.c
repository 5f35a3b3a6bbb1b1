/* SPDX-License-Identifier: Apache-2.0 */
#include "host/kvm_device.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"

#define GROUPS_MAX 256

/* Modules, and the parameter by which each tells that it uses nested paging. kvm_pvm, not part of
 * Linux, needs no hardware virtualization and is met in cloud machines. */
static const struct {
	const char *name;
	const char *nested_paging;
} modules[] = {
	{"kvm_intel", "ept"},
	{"kvm_amd", "npt"},
	{"kvm_pvm", NULL},
};

/* Room for one entry of the user database; a longer one counts as having no name. */
#define ENTRY_MAX 4096

static void user_name(char *name, size_t size, uid_t uid)
{
	struct passwd entry, *found;
	char room[ENTRY_MAX];

	if (!getpwuid_r(uid, &entry, room, sizeof(room), &found) && found)
		snprintf(name, size, "%s", entry.pw_name);
	else
		snprintf(name, size, "%u", (unsigned)uid);
}

static void group_name(char *name, size_t size, gid_t gid)
{
	struct group entry, *found;
	char room[ENTRY_MAX];

	if (!getgrgid_r(gid, &entry, room, sizeof(room), &found) && found)
		snprintf(name, size, "%s", entry.gr_name);
	else
		snprintf(name, size, "%u", (unsigned)gid);
}

static bool in_list(gid_t gid, const gid_t *list, int n)
{
	for (int i = 0; i < n; i++)
		if (list[i] == gid)
			return true;
	return false;
}

static void read_membership(struct host_kvm *kvm, gid_t gid)
{
	struct passwd entry, *found;
	char room[ENTRY_MAX];
	gid_t list[GROUPS_MAX];
	int n = GROUPS_MAX;

	if (!getpwuid_r(geteuid(), &entry, room, sizeof(room), &found) && found &&
	    getgrouplist(entry.pw_name, entry.pw_gid, list, &n) >= 0)
		kvm->listed = in_list(gid, list, n);
	n = getgroups(GROUPS_MAX, list);
	kvm->member = getegid() == gid || in_list(gid, list, n);
}

static void read_device(struct host_kvm *kvm, const char *root)
{
	char path[4096];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/dev/kvm", root);
	user_name(kvm->user, sizeof(kvm->user), geteuid());
	kvm->open_error = ENOENT;
	if (stat(path, &st)) {
		kvm->open_error = errno;
		return;
	}
	if (!S_ISCHR(st.st_mode))
		return;
	kvm->present = true;
	kvm->mode = st.st_mode & 0777;
	kvm->group_may_open = (st.st_mode & 0060) == 0060;
	user_name(kvm->owner, sizeof(kvm->owner), st.st_uid);
	group_name(kvm->group, sizeof(kvm->group), st.st_gid);
	read_membership(kvm, st.st_gid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	kvm->open_error = fd < 0 ? errno : 0;
	if (fd >= 0)
		close(fd);
}

static enum host_answer parameter(const char *path)
{
	FILE *f = fopen(path, "re");
	int c;

	if (!f)
		return HOST_UNKNOWN;
	c = fgetc(f);
	fclose(f);
	return c == 'Y' || c == '1' ? HOST_YES : HOST_NO;
}

static void read_module(struct host_kvm *kvm, const char *root)
{
	char path[4096];

	for (unsigned i = 0; i < ARRAY_LEN(modules); i++) {
		snprintf(path, sizeof(path), "%s/sys/module/%s", root, modules[i].name);
		if (access(path, F_OK))
			continue;
		snprintf(kvm->module, sizeof(kvm->module), "%s", modules[i].name);
		if (!modules[i].nested_paging)
			return;
		snprintf(path, sizeof(path), "%s/sys/module/%s/parameters/%s", root,
			 modules[i].name, modules[i].nested_paging);
		kvm->nested_paging = parameter(path);
		return;
	}
}

void host_kvm_read(struct host_kvm *kvm, const char *root)
{
	*kvm = (struct host_kvm){.nested_paging = HOST_UNKNOWN};
	read_device(kvm, root);
	read_module(kvm, root);
}
