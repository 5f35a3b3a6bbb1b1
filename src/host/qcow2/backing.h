/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LODGE_HOST_QCOW2_BACKING_H
#define LODGE_HOST_QCOW2_BACKING_H

#include "host/qcow2/image.h"

/* Opens the backing file that the header names, if it names one: 0, or -errno with e set. depth: of
 * the image. */
int qcow2_backing_open(struct qcow2 *q, unsigned depth, struct err *e);

#endif
