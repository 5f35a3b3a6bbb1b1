/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/config_mmds.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/buf.h"
#include "lib/config_net.h"
#include "lib/config_number.h"
#include "mmds/mmds.h"
#include "mmds/store.h"

/* A file of the user's is not read without end. */
#define FILE_MAX MIB(16)

/* A link-local address that a host may have: RFC 3927, 2.1. */
static bool parse_address(uint8_t address[4], const char *text)
{
	return inet_pton(AF_INET, text, address) == 1 && address[0] == 169 && address[1] == 254 &&
	       address[2] >= 1 && address[2] <= 254;
}

static int parse_option(struct config_mmds *m, const char *word, struct err *e)
{
	static const char address[] = "address=", net[] = "net=";
	struct machine_mmds *s = &m->service;
	const char *end;
	uint64_t n;

	if (!strcmp(word, "version=1") || !strcmp(word, "version=2")) {
		s->tokens = word[strlen("version=")] == '2';
		return 0;
	}
	if (!strcmp(word, "imds")) {
		s->text = true;
		return 0;
	}
	if (!strncmp(word, address, strlen(address))) {
		if (parse_address(s->address, word + strlen(address)))
			return 0;
		return err_set(e, EINVAL,
			       "metadata: '%s' cannot be its address: give one from 169.254.1.0 to "
			       "169.254.254.255",
			       word + strlen(address));
	}
	if (!strncmp(word, net, strlen(net)) && config_number(word + strlen(net), &end, &n) &&
	    !*end && n < CONFIG_NETS_MAX) {
		s->nets |= 1u << n;
		return 0;
	}
	return err_set(e, EINVAL,
		       "metadata has no option '%s': give version=1, version=2, address=ADDRESS, "
		       "imds or net=N",
		       word);
}

int config_mmds_set(struct config_mmds *m, const char *value, struct err *e)
{
	static const uint8_t address[] = MMDS_ADDRESS_DEFAULT;
	char *rest = strdup(value), *at = rest, *word;
	struct config_mmds own = {.given = true};
	int rc = 0;

	if (!rest)
		return err_errno(e, ENOMEM, "cannot configure");
	memcpy(own.service.address, address, sizeof(address));
	own.file = strsep(&at, ",");
	while (!rc && (word = strsep(&at, ",")))
		rc = parse_option(&own, word, e);
	own.file = !rc && *own.file ? strdup(own.file) : NULL;
	if (!rc && *rest && !own.file)
		rc = err_errno(e, ENOMEM, "cannot configure");
	free(rest);
	if (rc)
		return rc;
	config_mmds_release(m);
	*m = own;
	return 0;
}

void config_mmds_release(struct config_mmds *m)
{
	free(m->file);
	m->file = NULL;
}

int config_mmds_check(const struct config_mmds *m, unsigned nets, struct err *e)
{
	if (!m->given)
		return 0;
	if (!nets)
		return err_set(e, EINVAL, "metadata needs a network: give the VM one");
	if (m->service.nets >> nets)
		return err_set(e, EINVAL, "metadata: net=N names none of the VM's %u networks",
			       nets);
	return 0;
}

int config_mmds_load(const struct config_mmds *m, struct mmds_store *store, struct err *e)
{
	struct buf text = BUF_INIT;
	uint8_t piece[4096];
	FILE *file;
	size_t n;
	int rc;

	if (!m->file)
		return 0;
	file = fopen(m->file, "re");
	if (!file)
		return err_errno(e, errno, "cannot read the metadata %s", m->file);
	while (text.len <= FILE_MAX && (n = fread(piece, 1, sizeof(piece), file)))
		buf_add(&text, piece, n);
	rc = ferror(file)        ? err_errno(e, EIO, "cannot read the metadata %s", m->file)
	     : buf_failed(&text) ? err_errno(e, ENOMEM, "cannot read the metadata %s", m->file)
				 : mmds_store_put(store, (const char *)text.data, text.len, e);
	fclose(file);
	buf_release(&text);
	return rc;
}
