/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In a guest: works on a shared directory, and says what went wrong.
 *
 *	fsworker torture DIR N    names, links, open files, directories, content; N files at once
 *	fsworker escape DIR       names and links that try to lead out of DIR; what was reached
 *	fsworker race DIR N       the same while names change under way
 *	fsworker use DIR          reads and creates; the errno of each
 *	fsworker code DIR N       executes N times what it has read into one page
 *	fsworker again DIR FILE N runs FILE, a program, N times, when DIR/go.I appears; says its
 *				  status each time
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOCK 4096u

static unsigned failures;

static void __attribute__((format(printf, 1, 2))) fail(const char *fmt, ...)
{
	va_list args;
	int error = errno;

	failures++;
	printf("failed: ");
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf(" (errno %d: %s)\n", error, strerror(error));
}

#define CHECK(what) ((what) ? (void)0 : fail("line %d: %s", __LINE__, #what))

/* The byte at offset of the file of that number. */
static uint8_t pattern(unsigned file, uint64_t offset)
{
	return (uint8_t)((offset * 2654435761u >> 13) + file * 167 + offset / BLOCK);
}

static bool write_pattern(int fd, unsigned file, uint64_t offset, size_t len)
{
	uint8_t *buf = malloc(len);
	bool good;

	for (size_t i = 0; i < len; i++)
		buf[i] = pattern(file, offset + i);
	good = pwrite(fd, buf, len, (off_t)offset) == (ssize_t)len;
	free(buf);
	return good;
}

static bool check_pattern(int fd, unsigned file, uint64_t offset, size_t len)
{
	uint8_t *buf = malloc(len);
	bool good = pread(fd, buf, len, (off_t)offset) == (ssize_t)len;

	for (size_t i = 0; good && i < len; i++)
		good = buf[i] == pattern(file, offset + i);
	free(buf);
	return good;
}

static unsigned make(const char *name, unsigned file, size_t len)
{
	int fd = open(name, O_CREAT | O_EXCL | O_RDWR, 0640);

	CHECK(fd >= 0);
	CHECK(!len || write_pattern(fd, file, 0, len));
	CHECK(!close(fd));
	return 1;
}

static bool has(const char *name, unsigned file, size_t len)
{
	int fd = open(name, O_RDONLY);
	struct stat st;
	bool good = fd >= 0 && !fstat(fd, &st) && st.st_size == (off_t)len &&
		    check_pattern(fd, file, 0, len);

	if (fd >= 0)
		close(fd);
	return good;
}

static unsigned entries(const char *dir)
{
	DIR *d = opendir(dir);
	unsigned n = 0;

	CHECK(d);
	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

static void names(void)
{
	struct stat a, b;
	char text[64] = "";

	make("one", 1, 5000);
	CHECK(!rename("one", "two"));
	CHECK(access("one", F_OK) < 0 && errno == ENOENT);
	CHECK(has("two", 1, 5000));
	make("three", 3, 100);
	CHECK(!rename("two", "three")); /* over one that is there */
	CHECK(has("three", 1, 5000));
	CHECK(!mkdir("d", 0755) && !mkdir("d/e", 0755));
	CHECK(mkdir("d", 0755) < 0 && errno == EEXIST);
	CHECK(!rename("three", "d/e/three") && has("d/e/three", 1, 5000));
	CHECK(rename("d", "d/e/d") < 0 && errno == EINVAL);
	CHECK(rmdir("d") < 0 && (errno == ENOTEMPTY || errno == EEXIST));
	CHECK(!link("d/e/three", "hard"));
	CHECK(!stat("hard", &a) && !stat("d/e/three", &b) && a.st_ino == b.st_ino);
	CHECK(a.st_nlink == 2);
	CHECK(!unlink("d/e/three") && has("hard", 1, 5000));
	CHECK(!stat("hard", &a) && a.st_nlink == 1);
	CHECK(!symlink("hard", "soft") && has("soft", 1, 5000));
	CHECK(readlink("soft", text, sizeof(text)) == 4 && !strcmp(text, "hard"));
	CHECK(!symlink("nowhere", "dangling") && open("dangling", O_RDONLY) < 0 && errno == ENOENT);
	CHECK(!unlink("soft") && !unlink("dangling") && !unlink("hard"));
	CHECK(!rmdir("d/e") && !rmdir("d"));
	CHECK(entries(".") == 2);
}

static void attributes(void)
{
	const struct timespec times[2] = {{1000000000, 123456789}, {1100000000, 987654321}};
	struct stat st;
	struct statvfs vfs;

	make("a", 7, 10000);
	CHECK(!chmod("a", 0604) && !stat("a", &st) && (st.st_mode & 07777) == 0604);
	CHECK(!chown("a", 12, 34) && !stat("a", &st) && st.st_uid == 12 && st.st_gid == 34);
	CHECK(!utimensat(AT_FDCWD, "a", times, 0) && !stat("a", &st));
	CHECK(st.st_mtim.tv_sec == 1100000000 && st.st_mtim.tv_nsec == 987654321);
	CHECK(!truncate("a", 3000) && has("a", 7, 3000));
	CHECK(!truncate("a", 1 << 20) && !stat("a", &st) && st.st_size == 1 << 20);
	CHECK(!statvfs(".", &vfs) && vfs.f_blocks);
	CHECK(open("a", O_CREAT | O_EXCL | O_RDWR, 0600) < 0 && errno == EEXIST);
	CHECK(!unlink("a"));
	CHECK(open(".", O_RDWR) < 0 && errno == EISDIR);
}

static void open_files(void)
{
	int fd = open("gone", O_CREAT | O_RDWR, 0600), other;
	uint8_t *map;

	CHECK(fd >= 0 && write_pattern(fd, 9, 0, 3 * BLOCK));
	CHECK(!unlink("gone") && access("gone", F_OK) < 0);
	CHECK(write_pattern(fd, 9, 3 * BLOCK, 77));
	CHECK(check_pattern(fd, 9, 0, 3 * BLOCK + 77));
	CHECK(!fsync(fd));
	map = mmap(NULL, 4 * BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(map != MAP_FAILED && map[BLOCK + 5] == pattern(9, BLOCK + 5));
	map[2 * BLOCK] ^= 0xff;
	CHECK(!msync(map, 4 * BLOCK, MS_SYNC) && !munmap(map, 4 * BLOCK));
	CHECK(!check_pattern(fd, 9, 2 * BLOCK, 1) && check_pattern(fd, 9, 2 * BLOCK + 1, 100));
	close(fd);
	fd = open("appended", O_CREAT | O_WRONLY | O_APPEND, 0600);
	other = open("appended", O_RDWR);
	CHECK(write(fd, "ab", 2) == 2 && pwrite(other, "XY", 2, 2) == 2 && write(fd, "cd", 2) == 2);
	CHECK(lseek(fd, 0, SEEK_END) == 6);
	CHECK(!ftruncate(other, 0) && write(fd, "e", 1) == 1 && lseek(fd, 0, SEEK_END) == 1);
	close(fd);
	close(other);
	CHECK(!unlink("appended"));
}

/* Holes, odd offsets, lengths around pages. */
static void content(void)
{
	static const struct {
		uint64_t offset;
		size_t len;
	} parts[] = {{0, 1},        {4095, 2},         {8192, 4096},
		     {12289, 9999}, {1 << 20, 300000}, {5 << 20, 1}};
	int fd = open("content", O_CREAT | O_RDWR, 0600);
	uint8_t byte = 1;

	for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		CHECK(write_pattern(fd, 11, parts[i].offset, parts[i].len));
	CHECK(!fsync(fd) && !posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		CHECK(check_pattern(fd, 11, parts[i].offset, parts[i].len));
	CHECK(pread(fd, &byte, 1, 100000) == 1 && !byte);
	CHECK(pread(fd, &byte, 1, (5 << 20) + 1) == 0);
	close(fd);
	CHECK(!unlink("content"));
}

/* The server has a file open for each that the kernel remembers, and its host may not let it have
 * very many: now and then all are forgotten. */
static void forget(unsigned i)
{
	int fd = i % 5000 == 4999 ? open("/proc/sys/vm/drop_caches", O_WRONLY) : -1;

	if (fd >= 0) {
		CHECK(write(fd, "2", 1) == 1);
		close(fd);
	}
}

static void many(unsigned n)
{
	char name[64], to[64];

	CHECK(!mkdir("many", 0755) && !mkdir("moved", 0755));
	for (unsigned i = 0; i < n && !failures; i++) {
		snprintf(name, sizeof(name), "many/a-file-whose-number-is-%u", i);
		make(name, i, i % 64 ? i % 7 : 6000);
		forget(i);
	}
	CHECK(entries("many") == n + 2);
	for (unsigned i = 0; i < n && !failures; i += 3) {
		snprintf(name, sizeof(name), "many/a-file-whose-number-is-%u", i);
		snprintf(to, sizeof(to), "moved/%u", i);
		CHECK(!rename(name, to));
		forget(i / 3);
	}
	CHECK(entries("many") == n - (n + 2) / 3 + 2 && entries("moved") == (n + 2) / 3 + 2);
	for (unsigned i = 0; i < n && !failures; i++) {
		snprintf(name, sizeof(name), i % 3 ? "many/a-file-whose-number-is-%u" : "moved/%u",
			 i);
		if (i % 5 == 0 || i % 64 == 0)
			CHECK(has(name, i, i % 64 ? i % 7 : 6000));
		CHECK(!unlink(name));
		forget(i);
	}
	CHECK(entries("many") == 2 && entries("moved") == 2);
	CHECK(!rmdir("many") && !rmdir("moved"));
}

/* Several at once, each in a directory of its own and all in one. */
static void *worker(void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg;
	char name[64], to[64];

	for (unsigned i = 0; i < 100 && !failures; i++) {
		snprintf(name, sizeof(name), "w%u-%u", me, i);
		snprintf(to, sizeof(to), "x%u-%u", me, i);
		make(name, me * 1000 + i, 9000);
		CHECK(!rename(name, to));
		CHECK(has(to, me * 1000 + i, 9000));
		CHECK(!unlink(to));
	}
	return NULL;
}

static void together(void)
{
	pthread_t threads[4];

	for (uintptr_t i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, worker, (void *)i);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	CHECK(entries(".") == 2);
}

static void torture(unsigned n)
{
	static void (*const parts[])(void) = {names, attributes, open_files, content, together};

	CHECK(!mkdir("torture", 0755) && !chdir("torture"));
	for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		parts[i]();
	many(n);
	CHECK(!chdir("..") && !rmdir("torture"));
}

/* Whether what is there has the words of the file outside the share. */
static bool is_secret(const char *name)
{
	char text[64] = "";
	int fd = open(name, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	return n > 0 && strstr(text, "outside");
}

/* Links that the host has made, and that the guest makes; the guest's own / has no such file. */
static void escape(void)
{
	static const char *const targets[] = {
		"../secret",
		"../../../../../../../../../../../../tmp/lodge-share-secret",
		"/tmp/lodge-share-secret",
		"/proc/1/root/tmp/lodge-share-secret",
		"/proc/self/fd/3",
		"d/../../secret"};
	char name[32];

	mkdir("d", 0755);
	for (unsigned i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
		snprintf(name, sizeof(name), "link%u", i);
		CHECK(!symlink(targets[i], name));
		CHECK(!is_secret(name));
		CHECK(!is_secret(targets[i]));
	}
	CHECK(!is_secret("host-absolute") && !is_secret("host-relative") &&
	      !is_secret("host-dir/secret"));
	CHECK(!is_secret("../secret") && !is_secret("d/../../secret"));
	CHECK(open("host-dir/made", O_CREAT | O_WRONLY, 0600) < 0);
	CHECK(open("../made", O_CREAT | O_WRONLY, 0600) < 0 || !unlink("../made"));
}

static volatile bool done;

static void *swap(void *arg)
{
	(void)arg;
	while (!done) {
		if (rename("dir", "aside") || rename("link", "dir") || rename("dir", "link") ||
		    rename("aside", "dir"))
			fail("swap");
	}
	return NULL;
}

/* dir is a directory with a file inside, or a link to outside: the name changes all the time. */
static void race(unsigned n)
{
	pthread_t thread;
	unsigned inside = 0, reached = 0;
	char text[32];

	CHECK(!mkdir("dir", 0755) && !symlink("..", "link"));
	make("dir/secret", 1, 10);
	pthread_create(&thread, NULL, swap, NULL);
	for (unsigned i = 0; i < n; i++) {
		int fd = open("dir/secret", O_RDONLY);

		memset(text, 0, sizeof(text));
		if (fd < 0)
			continue;
		inside++;
		if (read(fd, text, sizeof(text) - 1) > 0 && strstr(text, "outside"))
			reached++;
		close(fd);
	}
	done = true;
	pthread_join(thread, NULL);
	CHECK(!reached && inside);
	CHECK(!unlink("dir/secret") && !rmdir("dir") && !unlink("link"));
}

static void use(void)
{
	struct stat st;
	int fd = open("file", O_RDONLY);
	char byte;

	printf("open %d\n", fd < 0 ? errno : 0);
	printf("read %d\n", read(fd, &byte, 1) < 0 ? errno : 0);
	printf("stat %d\n", stat("other", &st) < 0 ? errno : 0);
	printf("create %d\n", open("new", O_CREAT | O_WRONLY, 0600) < 0 ? errno : 0);
	printf("write %d\n", open("file", O_WRONLY) < 0 ? errno : 0);
	printf("mkdir %d\n", mkdir("newdir", 0755) < 0 ? errno : 0);
	printf("unlink %d\n", unlink("file") < 0 ? errno : 0);
	printf("chmod %d\n", chmod("other", 0600) < 0 ? errno : 0);
	printf("rename %d\n", rename("file", "moved") < 0 ? errno : 0);
	printf("sub %d\n", open("sub/new", O_CREAT | O_WRONLY, 0600) < 0 ? errno : 0);
}

/* Code that is read into one page, again and again, past every cache: the daemon itself writes into
 * the page that was executed before. */
static void code(unsigned n)
{
	uint8_t *page = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE | PROT_EXEC,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	int out = open("code", O_CREAT | O_WRONLY, 0700), in = open("code", O_RDONLY | O_DIRECT);
	uint8_t body[BLOCK] = {0xb8, 0, 0, 0, 0, 0xc3}; /* MOV EAX, imm32; RET */
	unsigned (*function)(void) = (unsigned (*)(void))(void *)page;

	CHECK(page != MAP_FAILED && out >= 0 && in >= 0);
	for (unsigned i = 1; i <= n && !failures; i++) {
		memcpy(body + 1, &i, sizeof(i));
		CHECK(pwrite(out, body, BLOCK, 0) == BLOCK && !fsync(out));
		CHECK(pread(in, page, BLOCK, 0) == BLOCK);
		for (unsigned k = 0; k < 3000 && !failures; k++)
			CHECK(function() == i);
	}
	close(in);
	close(out);
	CHECK(!unlink("code"));
}

static void again(const char *program, unsigned n)
{
	char go[32];
	int status;

	for (unsigned i = 0; i < n; i++) {
		snprintf(go, sizeof(go), "go.%u", i);
		while (access(go, F_OK))
			usleep(100000);
		usleep(1200000); /* what the guest knows of the file is good for a second */
		for (unsigned k = 0; k < 3; k++) {
			pid_t pid = fork();

			if (!pid) {
				execl(program, program, (char *)NULL);
				_exit(125);
			}
			waitpid(pid, &status, 0);
			printf("ran %u %d\n", i, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
		}
		fflush(stdout);
	}
}

int main(int argc, char **argv)
{
	unsigned n = argc > 3 ? (unsigned)atoi(argv[argc - 1]) : 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc < 3 || chdir(argv[2]))
		return 2;
	if (!strcmp(argv[1], "torture"))
		torture(n);
	else if (!strcmp(argv[1], "escape"))
		escape();
	else if (!strcmp(argv[1], "race"))
		race(n);
	else if (!strcmp(argv[1], "use"))
		use();
	else if (!strcmp(argv[1], "code"))
		code(n);
	else if (!strcmp(argv[1], "again"))
		again(argv[3], n);
	printf("done %s %u\n", argv[1], failures);
	return failures != 0;
}
