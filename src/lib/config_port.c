/* SPDX-License-Identifier: Apache-2.0 */
/* The path is the last, so that it may have any character. */
#include "lib/config_port.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

static const struct {
	const char *word;
	enum endpoint_kind kind;
} ends[] = {
	{"socket=", ENDPOINT_SOCKET},
	{"file=", ENDPOINT_FILE},
	{"pty=", ENDPOINT_PTY},
};

static int check_name(const struct config_ports *p, const char *name, size_t len, struct err *e)
{
	static const char allowed[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";

	if (!len || len > MACHINE_PORT_NAME_MAX || strspn(name, allowed) < len)
		return err_set(e, EINVAL,
			       "port: the name '%.*s' cannot be: give up to %d letters, digits, "
			       "'-', '_' and '.'",
			       (int)len, name, MACHINE_PORT_NAME_MAX);
	for (unsigned i = 0; i < p->count; i++)
		if (strlen(p->port[i].name) == len && !strncmp(p->port[i].name, name, len))
			return err_set(e, EINVAL,
				       "port: there are two of the name '%.*s': give one", (int)len,
				       name);
	return 0;
}

/* What text says of the host's end; the path's place in it, or NULL. */
static const char *parse_end(const char *text, enum endpoint_kind *kind)
{
	for (unsigned i = 0; i < ARRAY_LEN(ends); i++) {
		size_t len = strlen(ends[i].word);

		if (strncmp(text, ends[i].word, len) || !text[len])
			continue;
		*kind = ends[i].kind;
		return text + len;
	}
	return NULL;
}

int config_ports_add(struct config_ports *p, const char *value, struct err *e)
{
	struct machine_port port;
	size_t len = strcspn(value, ",");
	const char *path = value[len] ? parse_end(value + len + 1, &port.kind) : NULL;

	if (p->count == MACHINE_PORTS_MAX)
		return err_set(e, EINVAL, "port '%s' is one too many: give up to %d", value,
			       MACHINE_PORTS_MAX);
	if (!path)
		return err_set(e, EINVAL,
			       "port '%s' does not say where it ends: give NAME,socket=PATH or "
			       "NAME,file=PATH or NAME,pty=LINK",
			       value);
	if (check_name(p, value, len, e))
		return -EINVAL;
	port.name = strndup(value, len);
	port.path = strdup(path);
	if (!port.name || !port.path) {
		free(port.name);
		free(port.path);
		return err_errno(e, ENOMEM, "cannot configure");
	}
	p->port[p->count++] = port;
	return 0;
}

void config_ports_release(struct config_ports *p)
{
	for (unsigned i = 0; i < p->count; i++) {
		free(p->port[i].name);
		free(p->port[i].path);
	}
	p->count = 0;
}
