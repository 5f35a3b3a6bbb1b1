/* SPDX-License-Identifier: Apache-2.0 */
/* The signals that end a verb, and that of a terminal's new size, as bytes to read. */
#ifndef LODGE_CLI_SIGNALS_H
#define LODGE_CLI_SIGNALS_H

#include <stdbool.h>

/* Blocks them in this thread and those that it makes: a signalfd that does not wait, or -1 with
 * errno. One that was ignored when lodge began (nohup, a script's background job) is still; a
 * blocked one would be delivered all the same. */
int signals_open(void);

/* Reads what has come. True if one is to end the verb; *window if the terminal has a new size. */
bool signals_read(int fd, bool *window);

#endif
