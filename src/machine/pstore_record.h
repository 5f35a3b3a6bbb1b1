/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Linux's pstore wrote in an error record: the end of the kernel's log, with
 * the reason why it was saved.
 *
 * Source: UEFI 2.8, appendix N, for the record; Documentation/ABI/testing/pstore
 * and the section types of drivers/acpi/apei/erst.c for what is in it. The text
 * begins with a line "Panic#1 Part1", and may be compressed (raw deflate; zlib in
 * kernels before 4.17).
 */
#ifndef LODGE_MACHINE_PSTORE_RECORD_H
#define LODGE_MACHINE_PSTORE_RECORD_H

#include <stddef.h>
#include <stdint.h>

/* Room for a text: pstore compresses at most 100/45 of the exchange buffer into one record. */
#define PSTORE_TEXT_MAX 20480

enum pstore_reason {
	PSTORE_NONE,  /* the record is no kernel log */
	PSTORE_PANIC, /* the kernel has stopped */
	PSTORE_OOPS,  /* it goes on, for now */
	PSTORE_OTHER, /* shutdown, emergency restart, ... */
};

struct pstore_record {
	enum pstore_reason reason;
	unsigned part; /* 1 has the log's last lines, 2 those before; 0: not told */
	size_t len;    /* of text, without its NUL */
	size_t body;   /* where in text the log begins, after the line that tells the reason */
	char text[PSTORE_TEXT_MAX + 1];
};

/*
 * Reads record, len bytes that the guest chose. Text that is longer than its room, or whose
 * compressed form is damaged, is cut there. It is NUL-terminated, bytes as the guest wrote them.
 * Any thread. Returns out->reason.
 */
enum pstore_reason pstore_record_read(struct pstore_record *out, const uint8_t *record, size_t len);

#endif
