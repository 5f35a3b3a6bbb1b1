/* SPDX-License-Identifier: Apache-2.0 */
/* Changed metadata goes into the file. */
#ifndef LODGE_HOST_QCOW2_COMMIT_H
#define LODGE_HOST_QCOW2_COMMIT_H

#include "host/qcow2/image.h"

/* Writes all that was changed up to now; durable: and waits until it, and all data, is on the disk.
 * No lock is held. 0 or -errno: where the file may be half written, nothing is written any more. */
int qcow2_commit(struct qcow2 *q, bool durable);

/* Before something is changed: commits if so much has been changed that memory would grow. No lock
 * is held. */
int qcow2_relieve(struct qcow2 *q);

#endif
