/* SPDX-License-Identifier: Apache-2.0 */
/* The path is the last, so that it may have any character. */
#include "lib/config_vsock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/portal_unix.h"
#include "lib/config_number.h"

#define CID_MIN 3u
#define CID_MAX 0xfffffffeu

int config_vsock_set(struct machine_vsock *vsock, const char *value, struct err *e)
{
	static const char cid[] = "cid=", socket[] = ",socket=";
	const char *at = value + strlen(cid);
	uint64_t number;
	char *path;

	if (strncmp(value, cid, strlen(cid)) != 0 || !config_number(at, &at, &number) ||
	    strncmp(at, socket, strlen(socket)) != 0)
		return err_set(e, EINVAL, "vsock '%s' is unknown: give cid=N,socket=PATH", value);
	at += strlen(socket);
	if (number < CID_MIN || number > CID_MAX)
		return err_set(e, EINVAL,
			       "vsock: the context ID of '%s' cannot be: give a number from %u to "
			       "%u",
			       value, CID_MIN, CID_MAX);
	if (!*at || strlen(at) > PORTAL_PATH_MAX)
		return err_set(e, EINVAL,
			       "vsock: '%s' cannot be a socket's name: give 1 to %d bytes", at,
			       PORTAL_PATH_MAX);
	path = strdup(at);
	if (!path)
		return err_errno(e, ENOMEM, "cannot configure");
	free(vsock->path);
	*vsock = (struct machine_vsock){(uint32_t)number, path};
	return 0;
}

void config_vsock_release(struct machine_vsock *vsock)
{
	free(vsock->path);
	vsock->path = NULL;
}
