/* SPDX-License-Identifier: Apache-2.0 */
/* For the tests of qcow2: qemu-img, which makes images and judges them, and a file in memory that
 * loses what was not flushed. */
#ifndef LODGE_TESTS_UNIT_HOST_QCOW2_RIG_H
#define LODGE_TESTS_UNIT_HOST_QCOW2_RIG_H

#include <stdint.h>

#include "host/disk_int.h"

/* A folder for images, and its end. */
void qrig_begin(void);
void qrig_end(void);

/* The path of a file in the folder; good for a few further calls. */
const char *qrig_path(const char *name);

/* Runs a command in the folder, its words made as by printf: its exit status. */
int qrig_run(const char *words, ...) __attribute__((format(printf, 1, 2)));

/* The same, of which the test fails where the status is not 0. */
void qrig_must(const char *words, ...) __attribute__((format(printf, 1, 2)));

/* Small numbers that are the same in each run. */
uint32_t qrig_random(uint32_t below);
void qrig_seed(uint32_t seed);

/* The file of an image, in memory. */
struct qrig_file;

/* Loads a file of the folder; dies after that many further writes (they, and all calls after, give
 * -EIO). The disk frees itself; the file lives on. */
struct qrig_file *qrig_file_load(const char *name, unsigned long writes);
struct disk *qrig_file_disk(struct qrig_file *f);
unsigned long qrig_file_writes(const struct qrig_file *f);

/* Stores it as a host that crashed might have it: flushed writes, and of the others any sectors. */
void qrig_file_crash(const struct qrig_file *f, const char *name);
void qrig_file_free(struct qrig_file *f);

#endif
