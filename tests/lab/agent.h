/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the lab's agent share; agent.c tells of it. */
#ifndef LODGE_TESTS_LAB_AGENT_H
#define LODGE_TESTS_LAB_AGENT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CHUNK        32768
#define MAX_COMMANDS 64

#define EXEC_PTY   1 /* on a pseudo-terminal: one stream, reported as 'o' */
#define EXEC_SPOOL 2 /* output goes to files, reported when the command ended */
#define EXEC_STDIN 4 /* standard input comes by 'I'; otherwise it is /dev/null */

/* Followed by NUL-ended strings: working directory, argc arguments, environment. */
struct exec {
	uint32_t flags;
	uint32_t timeout_ms; /* 0: none */
	uint32_t uid;
	uint32_t rows;
	uint32_t columns;
	uint32_t argc;
} __attribute__((packed));

struct ended {
	int32_t status; /* as wait4() gives it */
	uint32_t timed_out;
	uint64_t tsc_start;
	uint64_t tsc_end;
	uint64_t user_us;
	uint64_t system_us;
	uint64_t max_rss_kib;
} __attribute__((packed));

struct command {
	pid_t pid; /* 0: this slot is free */
	uint16_t channel;
	uint32_t flags;
	int in;     /* -1: closed, or never there */
	int out[2]; /* standard output and standard error, or spool files */
	int in_ends;
	char *input; /* what the command has not taken yet */
	size_t input_length;
	uint64_t deadline_ms;
	uint32_t timed_out;
	uint64_t tsc_start;
};

struct agent {
	int from;
	int to;
	int signals;
	int scripted; /* requests come from a file */
	int waiting;  /* an 'A' holds further requests back */
	int halting;
	int served; /* a request has come */
	uint8_t *buffer;
	size_t filled;
	int put_fd;
	int put_error;
	uint16_t put_channel;
	struct command commands[MAX_COMMANDS];
};

/* Sends a frame to the host; one of type '!' with the reason. */
void reply(struct agent *a, char type, uint16_t channel, const void *data, size_t length);
void reply_error(struct agent *a, uint16_t channel, const char *what, int error);

/* Commands (agent_command.c): the running one of this channel, or NULL; how many run. */
struct command *command_find(struct agent *a, uint16_t channel);
int commands_running(struct agent *a);

/* Starts the command that is described by struct exec and what follows it. */
void command_start(struct agent *a, uint16_t channel, uint8_t *data, size_t length);

/* Keeps input for a command (c may be NULL: it has ended; length 0: the end of its input), and
 * gives it what it takes of that. */
void command_input(struct command *c, const uint8_t *data, size_t length);
void command_feed(struct command *c);

/* Reports what the command has written; returns 0 at its end, or when nothing is left for now. */
int command_drain(struct agent *a, struct command *c, int which);

/* Reports the commands that have ended. */
void commands_reap(struct agent *a);

/* Kills what has run too long; returns the time in ms until the next one is due, -1 for never. */
int commands_check_deadlines(struct agent *a);

/* Files (agent_file.c): the requests P, p and G. */
void file_put(struct agent *a, uint16_t channel, uint8_t *data, size_t length);
void file_content(struct agent *a, uint16_t channel, const uint8_t *data, size_t length);
void file_get(struct agent *a, uint16_t channel, uint8_t *data, size_t length);

#endif
