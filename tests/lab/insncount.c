/* SPDX-License-Identifier: Apache-2.0 */
/*
 * insncount CMD ARGS...: runs a command between two marks (mark.h) and passes its exit status on.
 *
 * The first mark stands right before execve(), so what is counted begins with the kernel's loading
 * of the program.  Where no plugin counts, the marks are nothing.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mark.h"

int main(int argc, char **argv)
{
	int status;
	pid_t pid;

	if (argc < 2) {
		fprintf(stderr, "usage: insncount CMD ARGS...\n");
		return 125;
	}
	pid = fork();
	if (pid == 0) {
		MARK(MARK_START);
		execvp(argv[1], argv + 1);
		fprintf(stderr, "insncount: %s: %s\n", argv[1], strerror(errno));
		_exit(errno == ENOENT ? 127 : 126);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return 125;
	MARK(MARK_END);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
