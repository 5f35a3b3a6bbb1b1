/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening of qcow2 images.
 *
 * An image is as hostile as a guest is: each number of it is checked before it is used. What its
 * header names as its backing file is opened, too, read only and locked: an image of a stranger can
 * so make any file that lodge may read a part of the disk.
 */
#ifndef LODGE_HOST_QCOW2_OPEN_H
#define LODGE_HOST_QCOW2_OPEN_H

#include "host/disk_int.h"

/* Backing files one behind the other. */
#define QCOW2_DEPTH_MAX 16u

/* Opens the image of that path, and its backing files; depth is the number of images in front of
 * it. NULL with e set. */
struct disk *qcow2_open(const struct disk_config *config, unsigned depth, struct err *e);

/* The same on a file that is open, which is the image's from now on, and closed where that fails.
 * */
struct disk *qcow2_open_file(struct disk *file, const char *name, unsigned depth, struct err *e);

#endif
