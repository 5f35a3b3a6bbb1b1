/* SPDX-License-Identifier: Apache-2.0 */
/*
 * There are two programs of this name: QEMU's in C, which must be root, and its
 * successor in Rust, which makes itself a user namespace where it is not. For the
 * first, the child makes that namespace before it becomes the daemon. Who is not root
 * can give the guest his own user only: all others are "nobody" there.
 *
 * The child has a socket that listens, under a name of the kernel's choice, and lodge
 * has called there already when the child is started: who else calls is never
 * answered, since a daemon answers one caller. It has, too, one end of a pipe, that it
 * knows nothing of: it is closed when the last process of the daemon is gone, and with
 * it all that maps guest memory.
 *
 * Its words go to a memory file of fixed size: a pipe would have to be read, and who
 * makes it complain often could have it wait for that, or fill the host's memory.
 *
 * Between fork and exec the child may only make system calls: other threads of this
 * process may have held the locks of anything else.
 */
#include "host/virtiofsd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/time.h"
#include "host/vhost_user.h"

/* Descriptors in the child. */
#define CHILD_SOCKET   3
#define CHILD_SOCKET_S "3"
#define CHILD_ALIVE    4

#define WORDS_MAX 4096u

/* ms for its processes to be gone once they are killed. */
#define END_PATIENCE 5000

#define ARGS_MAX 16u
#define MAP_MAX  64u

extern char **environ;

struct program {
	const char *path;
	bool rust;
};

static const struct program programs[] = {
	{"/usr/libexec/virtiofsd", true},
	{"/usr/lib/virtiofsd", true},
	{"/usr/lib/qemu/virtiofsd", false},
};

struct virtiofsd {
	pid_t pid;
	int alive; /* a pipe that ends with the last of its processes */
	int words; /* a memory file of what it says */
	char said[WORDS_MAX];
};

/* What the child is told; all of it made before the fork. */
struct child {
	const char *program;
	char *args[ARGS_MAX];
	const char *path;
	bool readonly;  /* by a mount of the child's */
	bool user;      /* in a user namespace of the child's */
	bool privilege; /* root: it sees to its own limits */
	char uid_map[MAP_MAX], gid_map[MAP_MAX];
	int socket, alive, words;
};

static const struct program *find_program(void)
{
	for (unsigned i = 0; i < ARRAY_LEN(programs); i++)
		if (!access(programs[i].path, X_OK))
			return &programs[i];
	return NULL;
}

/* --- the child ----------------------------------------------------------------------------- */

static void __attribute__((noreturn)) fail(const char *what)
{
	const char *why = strerrordesc_np(errno);
	ssize_t n = write(2, what, strlen(what));

	if (why) {
		n = write(2, ": ", 2);
		n = write(2, why, strlen(why));
	}
	(void)n;
	_exit(127);
}

static bool write_file(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));

	if (fd >= 0)
		close(fd);
	return n == (ssize_t)strlen(text);
}

/* QEMU's wants to leave all groups but one, and ends if it cannot; in a user namespace that a user
 * makes nobody can (setgroups must be denied). Those are the groups of the user for whom it works
 * anyway: it is told that it has left them. */
static void keep_groups(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_setgroups, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO), /* errno 0: it succeeds */
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {ARRAY_LEN(filter), filter};

	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		fail("cannot keep its groups");
}

/* In a user namespace, in which this user is root. */
static void enter_user(const struct child *c)
{
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS))
		fail("the host permits no user namespaces");
	if (!write_file("/proc/self/setgroups", "deny") ||
	    !write_file("/proc/self/uid_map", c->uid_map) ||
	    !write_file("/proc/self/gid_map", c->gid_map))
		fail("cannot become root of a user namespace");
	keep_groups();
}

/* The directory, and all that is mounted below it, read-only for this process and its children. */
static void make_readonly(const struct child *c)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};

	if (!c->user && unshare(CLONE_NEWNS))
		fail("cannot share read-only: the host permits no mount namespaces");
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) ||
	    mount(c->path, c->path, NULL, MS_BIND | MS_REC, NULL) ||
	    syscall(SYS_mount_setattr, AT_FDCWD, c->path, AT_RECURSIVE, &attr, sizeof(attr)))
		fail("cannot share read-only");
}

/* Each file that the guest's kernel remembers is one that the daemon has open. Root's goes on from
 * here by itself, where it may. */
static void raise_limit(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files))
		return;
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
}

static void place_fds(const struct child *c)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	/* All of ours are above the numbers that they get. */
	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(c->words, 2) < 0 ||
	    dup2(c->socket, CHILD_SOCKET) < 0 || dup2(c->alive, CHILD_ALIVE) < 0)
		_exit(127);
	syscall(SYS_close_range, CHILD_ALIVE + 1, ~0u, 0);
}

static void __attribute__((noreturn)) run_child(const struct child *c)
{
	sigset_t none;

	setpgid(0, 0);
	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	place_fds(c);
	if (c->user)
		enter_user(c);
	if (c->readonly)
		make_readonly(c);
	raise_limit();
	execve(c->program, c->args, environ);
	fail("cannot run it");
}

/* --- lodge --------------------------------------------------------------------------------- */

/* Whether all its processes are gone, or are within that time. */
static bool gone_within(const struct virtiofsd *d, int ms)
{
	struct pollfd pipe = {.fd = d->alive, .events = POLLIN};
	int n;

	do
		n = poll(&pipe, 1, ms);
	while (n < 0 && errno == EINTR);
	return n > 0;
}

/* Kills all of it, and waits until it is gone. One that the kernel does not let go, as where a
 * network file system hangs, is not waited for any longer: it executes nothing any more. */
static void end(void *opaque)
{
	struct virtiofsd *d = opaque;
	bool gone;

	if (d->pid < 0)
		return;
	gone = gone_within(d, 0);
	if (!gone) {
		kill(-d->pid, SIGKILL);
		kill(d->pid, SIGKILL); /* it may not have had the time to lead a group */
		gone = gone_within(d, END_PATIENCE);
	}
	while (waitpid(d->pid, NULL, gone ? 0 : WNOHANG) < 0 && errno == EINTR)
		;
	d->pid = -1;
}

static void release(void *opaque)
{
	struct virtiofsd *d = opaque;

	end(d);
	if (d->alive >= 0)
		close(d->alive);
	if (d->words >= 0)
		close(d->words);
	free(d);
}

/* The last line that it has said, or NULL; valid until the next call. */
static const char *last_words(struct virtiofsd *d)
{
	ssize_t n = pread(d->words, d->said, sizeof(d->said) - 1, 0);
	char *last;

	d->said[MAX(n, 0)] = 0;
	n = (ssize_t)strlen(d->said);
	while (n > 0 && (unsigned char)d->said[n - 1] <= ' ')
		d->said[--n] = 0;
	last = strrchr(d->said, '\n');
	return *d->said ? (last ? last + 1 : d->said) : NULL;
}

static int make_words(struct virtiofsd *d)
{
	d->words = memfd_create("lodge-words", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (d->words < 0 || ftruncate(d->words, WORDS_MAX) ||
	    fcntl(d->words, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL))
		return -errno;
	return 0;
}

/* A socket that listens and has been called: *ours is the caller's end. */
static int make_socket(int *listening, int *ours)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	socklen_t len = sizeof(sa_family_t); /* no name: the kernel makes one up */

	*listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	*ours = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*listening < 0 || *ours < 0 || bind(*listening, (struct sockaddr *)&name, len) ||
	    listen(*listening, 1))
		return -errno;
	len = sizeof(name);
	if (getsockname(*listening, (struct sockaddr *)&name, &len) ||
	    connect(*ours, (struct sockaddr *)&name, len))
		return -errno;
	return 0;
}

/* The same file under a number that is above the child's. */
static int move_up(int fd)
{
	int higher = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, CHILD_ALIVE + 1);

	if (fd >= 0)
		close(fd);
	return higher;
}

static int spawn(struct virtiofsd *d, struct child *c, int *ours)
{
	int ends[2] = {-1, -1}, rc;

	rc = make_words(d);
	c->socket = -1;
	if (!rc)
		rc = make_socket(&c->socket, ours);
	if (!rc && pipe2(ends, O_CLOEXEC))
		rc = -errno;
	d->alive = ends[0];
	c->socket = move_up(c->socket);
	c->alive = move_up(ends[1]);
	c->words = move_up(d->words < 0 ? -1 : fcntl(d->words, F_DUPFD_CLOEXEC, 0));
	if (!rc && (c->socket < 0 || c->alive < 0 || c->words < 0))
		rc = -EMFILE;
	if (!rc) {
		d->pid = fork();
		if (!d->pid)
			run_child(c);
		rc = d->pid < 0 ? -errno : 0;
	}
	if (c->socket >= 0)
		close(c->socket);
	if (c->alive >= 0)
		close(c->alive);
	if (c->words >= 0)
		close(c->words);
	return rc;
}

/* "source=PATH" as QEMU's has options: a comma would begin the next one. */
static char *source_option(const char *path)
{
	char *option = malloc(strlen("source=") + strlen(path) * 2 + 1), *p;

	if (!option)
		return NULL;
	p = stpcpy(option, "source=");
	for (; *path; path++) {
		if (*path == ',' || *path == '\\')
			*p++ = '\\';
		*p++ = *path;
	}
	*p = 0;
	return option;
}

static char *path_option(const char *path)
{
	char *option = malloc(strlen("--shared-dir=") + strlen(path) + 1);

	return option ? strcat(strcpy(option, "--shared-dir="), path) : NULL;
}

/* What it is told; source is the option with the path. */
static void make_args(struct child *c, bool rust, bool chroot, char *source)
{
	unsigned n = 0;
	char **a = c->args;

	a[n++] = (char *)(uintptr_t) "virtiofsd";
	a[n++] = (char *)(uintptr_t) "--fd=" CHILD_SOCKET_S;
	if (!c->privilege)
		a[n++] = (char *)(uintptr_t) "--rlimit-nofile=0";
	if (rust) {
		a[n++] = source;
		a[n++] = (char *)(uintptr_t) "--log-level=error";
		a[n++] = (char *)(uintptr_t)(chroot ? "--sandbox=chroot" : "--sandbox=namespace");
		if (c->readonly && !c->privilege) {
			a[n++] = (char *)(uintptr_t) "--readonly";
			c->readonly = false;
		}
	} else {
		a[n++] = (char *)(uintptr_t) "-f";
		a[n++] = (char *)(uintptr_t) "-o";
		a[n++] = source;
		a[n++] = (char *)(uintptr_t) "-o";
		a[n++] = (char *)(uintptr_t) "log_level=err";
		a[n++] = (char *)(uintptr_t) "-o";
		a[n++] = (char *)(uintptr_t)(chroot ? "sandbox=chroot" : "sandbox=namespace");
	}
	a[n] = NULL;
}

/* Starts it confined in that way, and agrees with it. */
static struct vhost_user *start(struct event_loop *loop, const struct virtiofsd_config *config,
				struct child *c, struct err *e)
{
	struct virtiofsd *d = calloc(1, sizeof(*d));
	struct vhost_user_config vc = {
		.fd = -1,
		.mem = config->mem,
		.queues = VIRTIOFSD_QUEUES,
		.begin = VHOST_USER_BEGIN,
		.patience = VHOST_USER_PATIENCE,
		.daemon = {.end = end, .free = release, .opaque = d},
	};
	struct vhost_user *v;
	struct err why = ERR_INIT;
	const char *words;
	int rc;

	if (!d) {
		err_errno(e, ENOMEM, "cannot start virtiofsd");
		return NULL;
	}
	*d = (struct virtiofsd){.pid = -1, .alive = -1, .words = -1};
	rc = spawn(d, c, &vc.fd);
	if (rc) {
		err_errno(e, -rc, "cannot start virtiofsd");
		if (vc.fd >= 0)
			close(vc.fd);
		release(d);
		return NULL;
	}
	v = vhost_user_open(loop, &vc, &why);
	if (v)
		return v;
	end(d);
	words = last_words(d);
	err_set(e, EIO, "cannot share '%s': virtiofsd refuses: %s", config->path,
		words ? words : why.text);
	release(d);
	return NULL;
}

static struct vhost_user *open_program(struct event_loop *loop,
				       const struct virtiofsd_config *config,
				       const struct program *program, bool *chroot_only,
				       struct err *e)
{
	bool root = !geteuid();
	char *source = program->rust ? path_option(config->path) : source_option(config->path);
	struct vhost_user *v = NULL;

	*chroot_only = false;
	if (!source)
		err_errno(e, ENOMEM, "cannot start virtiofsd");
	for (unsigned i = 0; source && !v && i < (root ? 2 : 1); i++) {
		struct child c = {
			.program = program->path,
			.path = config->path,
			.readonly = config->readonly,
			.user = !root && !program->rust,
			.privilege = root,
		};

		*chroot_only = i;
		snprintf(c.uid_map, sizeof(c.uid_map), "0 %u 1", geteuid());
		snprintf(c.gid_map, sizeof(c.gid_map), "0 %u 1", getegid());
		make_args(&c, program->rust, *chroot_only, source);
		err_clear(e);
		v = start(loop, config, &c, e);
	}
	free(source);
	return v;
}

struct vhost_user *virtiofsd_open(struct event_loop *loop, const struct virtiofsd_config *config,
				  bool *chroot_only, struct err *e)
{
	const struct program *program = find_program();
	struct virtiofsd_config real = *config;
	struct vhost_user *v;
	struct stat st;
	char *path;

	path = realpath(config->path, NULL);
	if (!path || stat(path, &st)) {
		err_errno(e, errno, "cannot share '%s'", config->path);
		free(path);
		return NULL;
	}
	if (!S_ISDIR(st.st_mode)) {
		err_set(e, ENOTDIR, "cannot share '%s': it is not a directory: name one",
			config->path);
		free(path);
		return NULL;
	}
	if (!program) {
		err_set(e, ENOENT,
			"cannot share '%s': virtiofsd is not installed: install the package "
			"virtiofsd, or qemu-system-common where there is none",
			config->path);
		free(path);
		return NULL;
	}
	real.path = path;
	v = open_program(loop, &real, program, chroot_only, e);
	free(path);
	return v;
}
