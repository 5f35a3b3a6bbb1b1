/* SPDX-License-Identifier: Apache-2.0 */
/* A file as memory: what is written to it, and what is left when the file goes away under it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bits.h"
#include "host/memfile.h"

#define LENGTH (3u << 20) /* one unit and a half */

static char path[64];
static int fd;
static struct sigaction ours; /* which cmocka puts its own in the place of */

static int setup(void **state)
{
	(void)state;
	strcpy(path, "/tmp/lodge-memfile-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, LENGTH), 0);
	assert_int_equal(pwrite(fd, "first", 5, 0), 5);
	assert_int_equal(pwrite(fd, "later", 5, 2 << 20), 5);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close(fd);
	unlink(path);
	return 0;
}

static struct memfile *open_it(bool readonly)
{
	struct err e = ERR_INIT;
	struct memfile *f = memfile_open(path, readonly, &e);

	assert_non_null(f);
	sigaction(SIGBUS, &ours, NULL);
	return f;
}

static bool is_lost(const struct memfile *f)
{
	struct pollfd p = {.fd = memfile_lost_fd(f), .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

/* Under KVM nobody gets a signal: what is missing is replaced when it is known. */
static void is_watched(void **state)
{
	struct memfile *f = open_it(false);
	struct pollfd p = {.fd = memfile_watch_fd(f), .events = POLLIN};

	(void)state;
	memfile_host(f)[1] = 1; /* no change that anybody need look at */
	assert_int_equal(poll(&p, 1, 0), 0);
	assert_int_equal(ftruncate(fd, 4096 + 5), 0);
	assert_int_equal(poll(&p, 1, 0), 1);
	memfile_look(f);
	assert_int_equal(poll(&p, 1, 0), 0);
	assert_true(is_lost(f));
	signal(SIGBUS, SIG_DFL);
	assert_int_equal(memfile_host(f)[2 << 20], 0);
	assert_int_equal(memfile_host(f)[0], 'f');
	/* Longer again is no use: the memory is the file's no more. */
	assert_int_equal(ftruncate(fd, LENGTH), 0);
	memfile_look(f);
	assert_int_equal(memfile_flush(f), -EIO);
	memfile_free(f);
}

static void writes_are_the_files(void **state)
{
	struct memfile *f = open_it(false);
	char text[6] = "";

	(void)state;
	assert_int_equal(memfile_size(f), 4 << 20);
	assert_int_equal(memfile_length(f), LENGTH);
	assert_int_equal((uintptr_t)memfile_host(f) % MEMFILE_UNIT, 0);
	assert_memory_equal(memfile_host(f), "first", 5);
	memcpy(memfile_host(f), "other", 5);
	memset(memfile_host(f) + LENGTH, 0xff, memfile_size(f) - LENGTH); /* nobody's */
	assert_int_equal(memfile_flush(f), 0);
	assert_int_equal(pread(fd, text, 5, 0), 5);
	assert_string_equal(text, "other");
	assert_false(is_lost(f));
	memfile_free(f);
}

static void a_private_one_keeps_its_writes(void **state)
{
	struct memfile *f = open_it(true);
	char text[6] = "";

	(void)state;
	memcpy(memfile_host(f), "other", 5);
	assert_int_equal(memfile_flush(f), 0);
	assert_int_equal(pread(fd, text, 5, 0), 5);
	assert_string_equal(text, "first");
	memfile_free(f);
}

static void what_the_file_lost_reads_as_zero(void **state)
{
	struct memfile *f = open_it(false);
	volatile uint8_t *host = memfile_host(f);

	(void)state;
	assert_int_equal(host[2 << 20], 'l');
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	assert_int_equal(host[0], 'f');
	assert_int_equal(memfile_flush(f), -EIO); /* before anybody touched it */
	assert_int_equal(host[2 << 20], 0);
	assert_true(is_lost(f));
	host[2 << 20] = 1;
	host[1 << 20] = 2;
	assert_int_equal(host[2 << 20], 1);
	assert_int_equal(host[0], 'f');
	assert_int_equal(ftruncate(fd, LENGTH), 0);
	assert_int_equal(memfile_flush(f), -EIO); /* for ever */
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(host[0], 0);
	assert_int_equal(host[2 << 20], 1);
	memfile_free(f);
}

/* Threads that find it gone at the same time, one of them with a stack of its own for it. */
static void *touch(void *opaque)
{
	volatile uint8_t *host = opaque;
	void *stack = memfile_enter();
	uint64_t sum = 0;

	for (unsigned at = 0; at < LENGTH; at += 4096)
		sum += host[at];
	memfile_leave(stack);
	return (void *)(uintptr_t)sum;
}

static void threads_that_touch_it_at_once(void **state)
{
	struct memfile *f = open_it(false);
	pthread_t threads[4];
	void *sum;

	(void)state;
	assert_int_equal(ftruncate(fd, 0), 0);
	for (unsigned i = 0; i < ARRAY_LEN(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, touch, memfile_host(f)), 0);
	for (unsigned i = 0; i < ARRAY_LEN(threads); i++) {
		pthread_join(threads[i], &sum);
		assert_null(sum);
	}
	memfile_free(f);
}

/* Has pages that nobody has touched yet be unreadable, as those that a bad disk does not give; the
 * descriptor that keeps them so, or -1: the host does not let us. */
static int make_unreadable(uint8_t *host, uint64_t len)
{
	struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_SIGBUS};
	struct uffdio_register range = {.range = {(uintptr_t)host, len},
					.mode = UFFDIO_REGISTER_MODE_MISSING};
	int faults = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

	if (faults < 0)
		return -1;
	if (!ioctl(faults, UFFDIO_API, &api) && !ioctl(faults, UFFDIO_REGISTER, &range))
		return faults;
	close(faults);
	return -1;
}

static sem_t found, go_on;
static _Atomic pthread_t late;

/* The one thread is late to its handler: another one has been there meanwhile. */
static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	if (pthread_equal(pthread_self(), atomic_load(&late))) {
		sem_post(&found);
		sem_wait(&go_on);
	}
	ours.sa_sigaction(sig, info, context);
}

static void *write_late(void *opaque)
{
	atomic_store(&late, pthread_self());
	((volatile uint8_t *)opaque)[1] = 'b';
	return NULL;
}

static void write_at_once(volatile uint8_t *host)
{
	const struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};
	pthread_t thread;

	sem_init(&found, 0, 0);
	sem_init(&go_on, 0, 0);
	sigaction(SIGBUS, &action, NULL);
	assert_int_equal(pthread_create(&thread, NULL, write_late, (void *)host), 0);
	sem_wait(&found);
	host[0] = 'a';
	sem_post(&go_on);
	pthread_join(thread, NULL);
	sigaction(SIGBUS, &ours, NULL);
	assert_int_equal(host[0], 'a');
	assert_int_equal(host[1], 'b');
}

static void what_is_written_to_a_bad_page_stays(void **state)
{
	int memory = memfd_create("memfile", MFD_CLOEXEC), faults;
	struct memfile *f;
	char name[32];

	(void)state;
	assert_int_equal(ftruncate(memory, LENGTH), 0);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", memory);
	f = memfile_open(name, false, NULL);
	assert_non_null(f);
	faults = make_unreadable(memfile_host(f), LENGTH);
	if (faults >= 0) {
		write_at_once(memfile_host(f));
		write_at_once(memfile_host(f) + 4096);
		assert_int_equal(memfile_flush(f), -EIO);
		close(faults);
	}
	memfile_free(f);
	close(memory);
	if (faults < 0) {
		print_message("skipped: this host gives no userfaultfd\n");
		skip();
	}
}

/* Somebody else's mapping of the same file is not ours to mend. */
static void other_faults_end_the_process(void **state)
{
	struct memfile *f = open_it(false);
	volatile uint8_t *own = mmap(NULL, LENGTH, PROT_READ, MAP_SHARED, fd, 0);
	int status;
	pid_t child;

	(void)state;
	assert_int_equal(ftruncate(fd, 0), 0);
	child = fork();
	if (!child) {
		struct sigaction none = {.sa_handler = SIG_DFL};

		sigaction(SIGSEGV, &none, NULL);
		_exit(own[0]);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) != 0); /* a sanitizer's exit */
	munmap((void *)own, LENGTH);
	memfile_free(f);
}

static void refuses(const char *name, bool readonly, const char *words)
{
	struct err e = ERR_INIT;

	assert_null(memfile_open(name, readonly, &e));
	assert_non_null(strstr(e.text, words));
}

static void what_cannot_be_mapped_is_refused(void **state)
{
	struct memfile *f;

	(void)state;
	refuses("/nonexistent/file", false, "no such file");
	refuses("/tmp", false, "is a directory");
	refuses("/dev/null", true, "is no file");
	f = open_it(false);
	refuses(path, false, "in use");
	refuses(path, true, "in use");
	memfile_free(f);
	f = open_it(true);
	memfile_free(open_it(true));
	refuses(path, false, "in use");
	memfile_free(f);
	assert_int_equal(ftruncate(fd, 0), 0);
	refuses(path, false, "is empty");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(writes_are_the_files),           TEST(is_watched),
		TEST(a_private_one_keeps_its_writes), TEST(what_the_file_lost_reads_as_zero),
		TEST(threads_that_touch_it_at_once),  TEST(what_is_written_to_a_bad_page_stays),
		TEST(other_faults_end_the_process),   TEST(what_cannot_be_mapped_is_refused),
	};

	setup(NULL);
	memfile_free(memfile_open(path, true, NULL));
	sigaction(SIGBUS, NULL, &ours);
	teardown(NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
