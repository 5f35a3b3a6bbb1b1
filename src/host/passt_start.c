/* SPDX-License-Identifier: Apache-2.0 */
/*
 * passt is started as its manual has it: it reads its options, opens its sockets, goes
 * into the background (a process of its own session, in namespaces of its own), and
 * only then does the process that was started end, with status 0. So there is no
 * guessing when it is ready, and what it refuses, it refuses before a guest runs: its
 * words on standard error are what the user gets.
 *
 * Whatever version: --fd came with Debian 12's. A passt that was started by root
 * becomes nobody by itself, and says so; that is no error.
 */
#include "host/passt.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/time.h"

#define PROGRAM "passt"

/* Asked of the kernel for what is on its way to the guest; it gives what its administrator
 * allows. */
#define SOCKET_BUFFER (4 << 20)

/* The socket's number in passt. */
#define CHILD_FD   3
#define CHILD_FD_S "3"

/* It takes some 50 ms. */
#define READY_TIMEOUT (20 * NS_PER_SEC)

#define WORDS_MAX 4096u

extern char **environ;

struct start {
	char **argv;
	unsigned argc;
	int socket;           /* passt's end */
	int words[2];         /* a pipe of what it says */
	char text[WORDS_MAX]; /* that */
	size_t len;
	pid_t pid;
};

static bool add_word(struct start *s, const char *word)
{
	char **more = realloc(s->argv, (s->argc + 2) * sizeof(*more));

	if (!more)
		return false;
	s->argv = more;
	s->argv[s->argc] = strdup(word);
	if (!s->argv[s->argc])
		return false;
	s->argv[++s->argc] = NULL;
	return true;
}

static bool add_forward(struct start *s, const struct passt_forward *f)
{
	char ports[sizeof(f->from) + 8];

	snprintf(ports, sizeof(ports), "%s:%u", f->from, f->to);
	return add_word(s, f->udp ? "--udp-ports" : "--tcp-ports") && add_word(s, ports);
}

static bool make_words(struct start *s, const struct passt_config *config)
{
	char mtu[16];
	bool good = add_word(s, PROGRAM) && add_word(s, "--quiet") && add_word(s, "--fd") &&
		    add_word(s, CHILD_FD_S);

	snprintf(mtu, sizeof(mtu), "%u", config->mtu);
	good = good && add_word(s, "--mtu") && add_word(s, mtu);
	for (unsigned i = 0; good && i < config->forward_count; i++)
		good = add_forward(s, &config->forwards[i]);
	return good;
}

/* The same file under a number that none in the child will have; -1: none is left. */
static int move_up(int fd)
{
	int higher = fcntl(fd, F_DUPFD_CLOEXEC, CHILD_FD + 1);

	close(fd);
	return higher;
}

/* In the child: nothing on standard input and output, its words into the pipe, and the socket. */
static int make_actions(posix_spawn_file_actions_t *a, const struct start *s)
{
	int rc = posix_spawn_file_actions_addopen(a, 0, "/dev/null", O_RDWR, 0);

	if (!rc)
		rc = posix_spawn_file_actions_adddup2(a, s->socket, CHILD_FD);
	if (!rc)
		rc = posix_spawn_file_actions_adddup2(a, s->words[1], 2);
	return rc ? rc : posix_spawn_file_actions_adddup2(a, 0, 1);
}

/* In the child: a process group of its own, so that a terminal's keys do not reach it, and signals
 * as for any program. */
static int make_attributes(posix_spawnattr_t *a)
{
	sigset_t none, all;
	int rc = posix_spawnattr_setflags(a, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
						     POSIX_SPAWN_SETSIGDEF);

	sigemptyset(&none);
	sigfillset(&all);
	if (!rc)
		rc = posix_spawnattr_setpgroup(a, 0);
	if (!rc)
		rc = posix_spawnattr_setsigmask(a, &none);
	return rc ? rc : posix_spawnattr_setsigdefault(a, &all);
}

/* 0 or an errno. */
static int spawn(struct start *s)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int rc = posix_spawn_file_actions_init(&actions);

	if (rc)
		return rc;
	rc = posix_spawnattr_init(&attributes);
	if (!rc) {
		rc = make_actions(&actions, s);
		if (!rc)
			rc = make_attributes(&attributes);
		if (!rc)
			rc = posix_spawnp(&s->pid, PROGRAM, &actions, &attributes, s->argv,
					  environ);
		posix_spawnattr_destroy(&attributes);
	}
	posix_spawn_file_actions_destroy(&actions);
	return rc;
}

/* Reads its words until it closes the pipe, which it does when it is ready or ends; false: it did
 * neither in time. */
static bool listen_to(struct start *s)
{
	uint64_t end = time_monotonic_ns() + READY_TIMEOUT;
	struct pollfd pipe = {.fd = s->words[0], .events = POLLIN};
	char rest[256];

	for (;;) {
		uint64_t now = time_monotonic_ns();
		size_t room = sizeof(s->text) - 1 - s->len;
		ssize_t n;

		if (now >= end || !poll(&pipe, 1, (int)((end - now) / NS_PER_MS + 1)))
			return false;
		n = read(pipe.fd, room ? s->text + s->len : rest, room ? room : sizeof(rest));
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			return true;
		if (room)
			s->len += (size_t)n;
	}
}

/* The last line that it said, without its end; that is where the reason stands. */
static const char *last_words(struct start *s)
{
	char *last;

	while (s->len && (s->text[s->len - 1] == '\n' || s->text[s->len - 1] == ' '))
		s->len--;
	s->text[s->len] = 0;
	last = strrchr(s->text, '\n');
	return last ? last + 1 : s->text;
}

static int wait_ready(struct start *s, struct err *e)
{
	const char *words;
	int status = 0;

	if (!listen_to(s)) {
		kill(-s->pid, SIGKILL);
		waitpid(s->pid, &status, 0);
		return err_set(e, ETIMEDOUT, "cannot start passt: it does not get ready");
	}
	while (waitpid(s->pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return 0;
	words = last_words(s);
	if (WIFSIGNALED(status))
		return err_set(e, EIO, "cannot start passt: it ended by signal %d",
			       WTERMSIG(status));
	return err_set(e, EIO, "passt refuses: %s",
		       *words ? words : "it gives no reason: see the system's log");
}

static int start(struct start *s, const struct passt_config *config, struct err *e)
{
	int rc;

	if (!make_words(s, config))
		return err_errno(e, ENOMEM, "cannot start passt");
	if (pipe2(s->words, O_CLOEXEC))
		return err_errno(e, errno, "cannot start passt");
	s->words[1] = move_up(s->words[1]);
	rc = s->words[1] < 0 ? EMFILE : spawn(s);
	if (s->words[1] >= 0)
		close(s->words[1]);
	if (!rc)
		rc = wait_ready(s, e);
	else if (rc == ENOENT)
		rc = err_set(e, rc,
			     "cannot use '--net user': passt is not installed: install the package "
			     "passt");
	else
		rc = err_errno(e, rc, "cannot start passt");
	close(s->words[0]);
	return rc;
}

struct netif *passt_open(struct event_loop *loop, const struct passt_config *config, struct err *e)
{
	struct start *s = calloc(1, sizeof(*s));
	int ends[2], size = SOCKET_BUFFER, rc;

	if (!s || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends)) {
		err_errno(e, s ? errno : ENOMEM, "cannot start passt");
		free(s);
		return NULL;
	}
	/* What does not fit passt throws away and sends again later, at least up to 2023. */
	setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	s->socket = move_up(ends[1]);
	rc = s->socket < 0 ? err_errno(e, EMFILE, "cannot start passt") : start(s, config, e);
	if (s->socket >= 0)
		close(s->socket);
	for (unsigned i = 0; i < s->argc; i++)
		free(s->argv[i]);
	free(s->argv);
	free(s);
	if (!rc)
		return passt_connect(loop, ends[0], e);
	close(ends[0]);
	return NULL;
}
