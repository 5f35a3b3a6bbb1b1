/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs that are mostly the kernel's work: system calls, processes, page faults, switches,
 * files. They run on one CPU, as they do in a guest that has only one. "gcc" and "python3" need
 * Debian's programs and run only when they are named.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/cpu/suite.h"

#define TMPFS "/dev/shm"

static void need(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t getppid_run(void *memory, uint64_t units)
{
	uint64_t same = 0;
	long parent = syscall(SYS_getppid);

	(void)memory;
	for (uint64_t i = 0; i < units * 2000; i++)
		same += syscall(SYS_getppid) == parent;
	return same;
}

/* Waits for a child; its exit status. */
static uint64_t ended(pid_t pid)
{
	int status;

	need(waitpid(pid, &status, 0) == pid && WIFEXITED(status), "a child");
	return (uint64_t)WEXITSTATUS(status);
}

static uint64_t fork_run(void *memory, uint64_t units)
{
	uint64_t sum = 0;

	(void)memory;
	for (uint64_t i = 0; i < units; i++) {
		pid_t pid = fork();

		need(pid >= 0, "fork");
		if (!pid)
			_exit((int)(i % 100));
		sum = mixed(sum, ended(pid));
	}
	return sum;
}

/* Runs a program with its standard output at descriptor out (-1: as it is); its exit status. */
static uint64_t execute(const char *const argv[], int out)
{
	static const char *const environment[] = {"PATH=/usr/bin:/bin", "LC_ALL=C",
						  "PYTHONDONTWRITEBYTECODE=1", "TMPDIR=" TMPFS,
						  NULL};
	pid_t pid = fork();

	need(pid >= 0, "fork");
	if (!pid) {
		if (out >= 0)
			dup2(out, 1);
		execve(argv[0], (char *const *)argv, (char *const *)environment);
		_exit(127);
	}
	return ended(pid);
}

static uint64_t exec_run(void *memory, uint64_t units)
{
	const char *const argv[] = {"/proc/self/exe", "--nothing", NULL};
	uint64_t sum = 1;

	(void)memory;
	for (uint64_t i = 0; i < units; i++)
		sum = mixed(sum, execute(argv, -1));
	return sum;
}

static uint64_t mmap_run(void *memory, uint64_t units)
{
	const size_t len = 1 << 20;
	uint64_t sum = 0;

	(void)memory;
	for (uint64_t i = 0; i < units; i++) {
		volatile uint8_t *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
					   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		need(p != MAP_FAILED, "mmap");
		madvise((void *)p, len, MADV_NOHUGEPAGE);
		for (size_t at = 0; at < len; at += 4096) {
			p[at] = (uint8_t)(at >> 12);
			sum += p[at];
		}
		munmap((void *)p, len);
	}
	return sum;
}

static void echo(int from, int to)
{
	uint8_t byte;

	while (read(from, &byte, 1) == 1) {
		byte++;
		if (write(to, &byte, 1) != 1)
			break;
	}
	_exit(0);
}

static uint64_t pipe_run(void *memory, uint64_t units)
{
	uint8_t byte = 0;
	uint64_t sum = 0;
	int to[2], from[2];
	pid_t pid;

	(void)memory;
	need(!pipe(to) && !pipe(from), "pipe");
	pid = fork();
	need(pid >= 0, "fork");
	if (!pid) {
		close(to[1]);
		close(from[0]);
		echo(to[0], from[1]);
	}
	for (uint64_t i = 0; i < units * 50; i++) {
		need(write(to[1], &byte, 1) == 1 && read(from[0], &byte, 1) == 1, "pipe");
		sum += byte;
	}
	close(to[1]);
	sum = mixed(sum, ended(pid));
	close(to[0]);
	close(from[0]);
	close(from[1]);
	return sum;
}

static bool tmpfs_possible(void)
{
	struct statfs fs;

	return !statfs(TMPFS, &fs) && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

static uint64_t file_run(void *memory, uint64_t units)
{
	uint64_t sum = 0;
	char name[64];

	(void)memory;
	for (uint64_t i = 0; i < units * 20; i++) {
		struct stat st;
		int fd;

		snprintf(name, sizeof(name), TMPFS "/bench-%d-%d", (int)getpid(), (int)(i % 7));
		fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0600);
		need(fd >= 0 && write(fd, name, 10 + i % 7) > 0 && !close(fd), name);
		need(!stat(name, &st) && !unlink(name), name);
		sum += (uint64_t)st.st_size;
	}
	return sum;
}

/* --- programs of Debian ---------------------------------------------------------------------- */

#define SOURCE TMPFS "/bench-source.c"
#define OBJECT TMPFS "/bench-object.o"

static bool gcc_possible(void)
{
	return tmpfs_possible() && !access("/usr/bin/gcc", X_OK);
}

static uint64_t file_sum(const char *name)
{
	FILE *f = fopen(name, "r");
	uint64_t sum = 0;
	int c;

	need(f, name);
	while ((c = getc(f)) != EOF)
		sum = mixed(sum, (uint64_t)c);
	fclose(f);
	return sum;
}

/* A program of some functions for each unit. */
static void gcc_prepare(void *memory, uint64_t units)
{
	FILE *f = fopen(SOURCE, "w");
	int n = (int)units;

	(void)memory;
	need(f, SOURCE);
	fprintf(f, "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n");
	for (int i = 0; i < n; i++)
		fprintf(f,
			"struct s%d { struct s%d *next; int v[%d]; char name[16]; };\n"
			"static int f%d(struct s%d *s, int n)\n{\n\tint sum = %d;\n"
			"\tfor (; s && n; s = s->next, n--) {\n"
			"\t\tfor (int i = 0; i < %d; i++)\n\t\t\tsum += s->v[i] * (i ^ n);\n"
			"\t\tif (!strcmp(s->name, \"n%d\"))\n\t\t\treturn sum;\n"
			"\t\tswitch (sum & 7) {\n\t\tcase 1: sum += n; break;\n"
			"\t\tcase 3: sum ^= 0x%x; break;\n\t\tcase 6: sum = -sum; break;\n\t\t}\n"
			"\t}\n\treturn sum;\n}\n",
			i, i, i % 9 + 2, i, i, i * 77, i % 9 + 2, i, i * 12345);
	fprintf(f, "int main(int argc, char **argv)\n{\n\tint sum = argc;\n");
	for (int i = 0; i < n; i++)
		fprintf(f, "\tsum += f%d((void *)argv, sum);\n", i);
	fprintf(f, "\tprintf(\"%%d\\n\", sum);\n\treturn 0;\n}\n");
	fclose(f);
}

static uint64_t gcc_run(void *memory, uint64_t units)
{
	const char *const argv[] = {"/usr/bin/gcc", "-O2", "-c", "-o", OBJECT, SOURCE, NULL};
	uint64_t sum;

	(void)memory;
	(void)units;
	need(!execute(argv, -1), "gcc");
	sum = file_sum(OBJECT);
	unlink(OBJECT);
	unlink(SOURCE);
	return sum;
}

static bool python3_possible(void)
{
	return !access("/usr/bin/python3", X_OK);
}

static uint64_t python3_run(void *memory, uint64_t units)
{
	const char *const argv[] = {"/usr/bin/python3", "-c",
				    "import json, re\n"
				    "print(len(json.dumps([re.sub('1', 'one', str(i))"
				    " for i in range(500)])))",
				    NULL};
	char text[64];
	uint64_t sum = 0;
	int out[2];

	(void)memory;
	need(!pipe(out), "pipe");
	for (uint64_t i = 0; i < units; i++) {
		ssize_t n;

		need(!execute(argv, out[1]), "python3");
		n = read(out[0], text, sizeof(text) - 1);
		need(n > 0, "python3");
		text[n] = '\0';
		sum = mixed(sum, strtoul(text, NULL, 10));
	}
	close(out[0]);
	close(out[1]);
	return sum;
}

const struct program system_programs[] = {
	{"getppid", KIND_SYSTEM, 800, 0, NULL, getppid_run, NULL, false},
	{"fork", KIND_SYSTEM, 3000, 0, NULL, fork_run, NULL, false},
	{"exec", KIND_SYSTEM, 600, 0, NULL, exec_run, NULL, false},
	{"mmap", KIND_SYSTEM, 700, 0, NULL, mmap_run, NULL, false},
	{"pipe", KIND_SYSTEM, 1200, 0, NULL, pipe_run, NULL, false},
	{"file", KIND_SYSTEM, 1000, 0, NULL, file_run, tmpfs_possible, false},
	{"gcc", KIND_SYSTEM, 40, 0, gcc_prepare, gcc_run, gcc_possible, true},
	{"python3", KIND_SYSTEM, 16, 0, NULL, python3_run, python3_possible, true},
	{NULL, KIND_SYSTEM, 0, 0, NULL, NULL, NULL, false},
};
