/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request's body is collected up to a limit, and read as JSON when it is whole. What
 * is too long is refused when its length is told, or else when it has come that far.
 *
 * Ten connections are served at a time, as the interface has it; some more are
 * accepted, and told so (503), so that a client learns why nothing happens. There is
 * no limit of time: the socket is its owner's, and clients keep connections.
 */
#include "api/server.h"

#include <errno.h>
#include <jansson.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "api/request.h"
#include "base/buf.h"
#include "base/dynlib.h"

#define LIBRARY "libmicrohttpd.so.12"
#define PACKAGE "libmicrohttpd12"

#define PLAIN_TEXT "text/plain; version=0.0.4"

#define CONNECTIONS_SERVED 10u
#define CONNECTIONS_MAX    128u

#define FUNCTIONS(f)                                                                             \
	f(MHD_start_daemon) f(MHD_stop_daemon) f(MHD_run) f(MHD_get_timeout)                     \
		f(MHD_get_daemon_info) f(MHD_get_connection_info) f(MHD_lookup_connection_value) \
			f(MHD_create_response_from_buffer) f(MHD_add_response_header)            \
				f(MHD_queue_response) f(MHD_destroy_response)

DYNLIB_NOTE(microhttpd, LIBRARY, "REST server");

static const char *const names[] = {FUNCTIONS(DYNLIB_NAME)};

struct server {
	struct {
		FUNCTIONS(DYNLIB_MEMBER)
	} calls;
	void *library;
	struct MHD_Daemon *daemon;
	const char *path;
	struct vmm *vmm;
	size_t body_max;
	unsigned connections;
};

/* A request that is coming. */
struct exchange {
	struct buf body;
	bool too_long;
};

static enum MHD_Result send_answer(struct server *s, struct MHD_Connection *c, struct api_answer *a)
{
	char *text = a->body ? json_dumps(a->body, JSON_COMPACT | JSON_ENCODE_ANY) : a->text;
	const char *type = a->body ? "application/json" : PLAIN_TEXT;
	struct MHD_Response *response = s->calls.MHD_create_response_from_buffer(
		text ? strlen(text) : 0, text,
		text ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
	enum MHD_Result result;

	json_decref(a->body);
	if (!response) {
		free(text);
		return MHD_NO;
	}
	if (text)
		s->calls.MHD_add_response_header(response, "Content-Type", type);
	if (a->deprecated)
		s->calls.MHD_add_response_header(response, "Deprecation", "true");
	result = s->calls.MHD_queue_response(c, a->status, response);
	s->calls.MHD_destroy_response(response);
	return result;
}

static enum MHD_Result refuse(struct server *s, struct MHD_Connection *c, unsigned status,
			      const char *why)
{
	struct api_answer a = {0};

	api_refuse(&a, status, why);
	return send_answer(s, c, &a);
}

/* The body is whole. */
static enum MHD_Result answer(struct server *s, struct MHD_Connection *c, const char *method,
			      const char *path, struct exchange *x)
{
	struct api_request r = {.method = method, .path = path};
	json_t *body = NULL;
	struct api_answer a;
	json_error_t error;

	if (x->too_long || buf_failed(&x->body))
		return refuse(s, c, 413, "the body is too long");
	if (x->body.len) {
		body = json_loadb((const char *)x->body.data, x->body.len,
				  JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
		if (!body) {
			char why[JSON_ERROR_TEXT_LENGTH + 64];

			snprintf(why, sizeof(why), "the body is no JSON: line %d: %s", error.line,
				 error.text);
			return refuse(s, c, 400, why);
		}
	}
	r.body = body;
	api_handle(s->vmm, &r, &a);
	json_decref(body);
	return send_answer(s, c, &a);
}

/* Whether the request's head says that its body is longer than may be. */
static bool says_too_long(struct server *s, struct MHD_Connection *c)
{
	const char *length = s->calls.MHD_lookup_connection_value(c, MHD_HEADER_KIND,
								  "Content-Length");

	return length && strtoull(length, NULL, 10) > s->body_max;
}

static bool is_one_too_many(struct server *s, struct MHD_Connection *c)
{
	const union MHD_ConnectionInfo *info = s->calls.MHD_get_connection_info(
		c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info && info->socket_context;
}

/* Called when a request's head has come, for each piece of its body, and at its end. */
static enum MHD_Result on_http(void *opaque, struct MHD_Connection *c, const char *path,
			       const char *method, const char *version, const char *data,
			       size_t *len, void **state)
{
	struct server *s = opaque;
	struct exchange *x = *state;

	(void)version;
	if (!x) {
		*state = x = calloc(1, sizeof(*x));
		if (!x)
			return MHD_NO;
		if (is_one_too_many(s, c))
			return refuse(s, c, 503, "there are ten connections already");
		return says_too_long(s, c) ? refuse(s, c, 413, "the body is too long") : MHD_YES;
	}
	if (!*len)
		return answer(s, c, method, path, x);
	if (*len > s->body_max - x->body.len)
		x->too_long = true;
	if (!x->too_long)
		buf_add(&x->body, data, *len);
	*len = 0;
	return MHD_YES;
}

static void on_end(void *opaque, struct MHD_Connection *c, void **state,
		   enum MHD_RequestTerminationCode why)
{
	struct exchange *x = *state;

	(void)opaque;
	(void)c;
	(void)why;
	if (x)
		buf_release(&x->body);
	free(x);
	*state = NULL;
}

static void on_connection(void *opaque, struct MHD_Connection *c, void **context,
			  enum MHD_ConnectionNotificationCode what)
{
	struct server *s = opaque;

	(void)c;
	if (what == MHD_CONNECTION_NOTIFY_CLOSED)
		s->connections--;
	else if (++s->connections > CONNECTIONS_SERVED)
		*context = s;
}

/* Whether a server listens at the address. */
static bool is_served(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool served = fd < 0 || !connect(fd, (const struct sockaddr *)address, sizeof(*address)) ||
		      errno == EAGAIN;

	if (fd >= 0)
		close(fd);
	return served;
}

/* Makes way where a dead server's socket lies. */
static int clear(const struct sockaddr_un *address, struct err *e)
{
	struct stat st;

	if (lstat(address->sun_path, &st))
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, EEXIST, "%s exists and is no socket: give another path",
			       address->sun_path);
	if (is_served(address))
		return err_set(e, EADDRINUSE, "%s is served by another process: give another path",
			       address->sun_path);
	unlink(address->sun_path);
	return 0;
}

static int listen_at(const char *path, struct err *e)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof(address.sun_path))
		return err_set(e, ENAMETOOLONG,
			       "the socket's path is too long: give up to %zu bytes",
			       sizeof(address.sun_path) - 1);
	strcpy(address.sun_path, path);
	if (clear(&address, e))
		return e->code;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(e, errno, "cannot make a socket");
	if (!bind(fd, (const struct sockaddr *)&address, sizeof(address)) &&
	    !listen(fd, CONNECTIONS_MAX))
		return fd;
	err_errno(e, errno, "cannot listen at %s", path);
	close(fd);
	return e->code;
}

struct server *server_new(const char *path, struct vmm *vmm, size_t body_max, struct err *e)
{
	struct server *s = calloc(1, sizeof(*s));
	int fd;

	if (!s) {
		err_set(e, ENOMEM, "memory is out");
		return NULL;
	}
	s->vmm = vmm;
	s->body_max = body_max;
	s->library = dynlib_open(LIBRARY, names, sizeof(names) / sizeof(names[0]), &s->calls);
	if (!s->library) {
		err_set(e, ENOENT, "the library " LIBRARY " is missing: install " PACKAGE);
		server_free(s);
		return NULL;
	}
	fd = listen_at(path, e);
	if (fd < 0) {
		server_free(s);
		return NULL;
	}
	s->path = path;
	s->daemon = s->calls.MHD_start_daemon(
		MHD_USE_EPOLL, 0, NULL, NULL, on_http, s, MHD_OPTION_LISTEN_SOCKET, fd,
		MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX, MHD_OPTION_NOTIFY_COMPLETED, on_end,
		s, MHD_OPTION_NOTIFY_CONNECTION, on_connection, s, MHD_OPTION_END);
	if (s->daemon)
		return s;
	close(fd);
	err_set(e, EIO, LIBRARY " cannot serve %s", path);
	server_free(s);
	return NULL;
}

void server_free(struct server *s)
{
	if (!s)
		return;
	if (s->daemon)
		s->calls.MHD_stop_daemon(s->daemon);
	if (s->path)
		unlink(s->path);
	dynlib_close(s->library);
	free(s);
}

int server_fd(const struct server *s)
{
	return s->calls.MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
}

int server_timeout(const struct server *s)
{
	MHD_UNSIGNED_LONG_LONG ms;

	if (s->calls.MHD_get_timeout(s->daemon, &ms) != MHD_YES)
		return -1;
	return ms > 1000000 ? 1000000 : (int)ms;
}

void server_run(struct server *s)
{
	s->calls.MHD_run(s->daemon);
}
