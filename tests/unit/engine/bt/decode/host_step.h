/* SPDX-License-Identifier: Apache-2.0 */
/* Executes single instructions on the host's processor, each in a traced child that has nothing
 * but a page of code and a page of data: what the processor says about their bytes. */
#ifndef LODGE_TESTS_HOST_STEP_H
#define LODGE_TESTS_HOST_STEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

enum host_step_result {
	HOST_DONE,    /* executed, or ended by an exception that is not below */
	HOST_FETCH,   /* page fault: the instruction goes on beyond the bytes */
	HOST_INVALID, /* #UD */
	HOST_GP,      /* #GP, #SS, or a page fault at a non-canonical address */
	HOST_PF,      /* page fault of data */
};

#define HOST_DATA_SIZE 4096

struct host_step {
	pid_t child;
	struct user_fpregs_struct fpregs; /* as it began */
	uint8_t *code, *data;             /* of the child, too */
	uint64_t code_end;                /* no memory from here on */
	uint64_t data_start;              /* nor after data_start + HOST_DATA_SIZE */
	uint64_t fault;                   /* of the last step: its address */
	uint64_t rip;                     /* of the last step */
};

/* False: there may be no child to trace here. */
bool host_step_open(struct host_step *h);
void host_step_close(struct host_step *h);

/* Executes bytes[0..len) in 64-bit code (or 32-bit, with wide false), no more bytes following. All
 * general registers hold reg. */
enum host_step_result host_step(struct host_step *h, bool wide, const uint8_t *bytes, size_t len,
				uint64_t reg);

#endif
