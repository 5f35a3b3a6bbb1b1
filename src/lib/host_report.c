/* SPDX-License-Identifier: Apache-2.0 */
/* lodge_host_text and lodge_host_json: facts gathered from this host, judged and told. */
#include "lib/host_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "lodge/lodge.h"
#include "machine/engines.h"

#define DMI "/sys/class/dmi/id/"

/* Appends a line of firmware's text to the len bytes in use; what is not ASCII becomes '?'. */
static void append_line(char *text, size_t size, const char *path)
{
	size_t len = strlen(text);
	FILE *f = fopen(path, "re");

	if (!f)
		return;
	if (len > 0 && len + 1 < size) {
		text[len++] = ' ';
		text[len] = 0;
	}
	if (fgets(text + len, (int)(size - len), f))
		text[strcspn(text, "\n")] = 0;
	fclose(f);
	for (char *p = text; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
}

void host_facts_read(struct host_facts *facts)
{
	const struct engine_ops *ops;
	struct utsname name;

	memset(facts, 0, sizeof(*facts));
	host_cpu_read(&facts->cpu, NULL);
	host_kvm_read(&facts->kvm, "");
	if (!uname(&name))
		snprintf(facts->kernel, sizeof(facts->kernel), "%.32s %.64s", name.sysname,
			 name.release);
	append_line(facts->machine, sizeof(facts->machine), DMI "sys_vendor");
	append_line(facts->machine, sizeof(facts->machine), DMI "product_name");
	for (unsigned i = 0; i < HOST_ENGINES_MAX && (ops = engines_get(i)); i++) {
		struct host_engine *engine = &facts->engines[facts->engine_count++];

		engine->name = ops->name;
		ops->probe(&engine->offer, true);
		if (ops->features)
			engine->feature_count = ops->features(engine->features, HOST_FEATURES_MAX);
		engine->feature_count = MIN(engine->feature_count, HOST_FEATURES_MAX);
	}
}

static char *report(int *usable, bool json)
{
	struct host_facts *facts = malloc(sizeof(*facts));
	struct host_verdict verdict;
	struct buf out = BUF_INIT;
	char *text = NULL;

	if (!facts)
		return NULL;
	host_facts_read(facts);
	host_verdict(&verdict, facts);
	if (usable)
		*usable = verdict.engine >= 0;
	if (json) {
		text = host_json(facts, &verdict);
	} else {
		host_text(&out, facts, &verdict);
		if (!buf_failed(&out))
			text = strdup(buf_str(&out));
		buf_release(&out);
	}
	free(facts);
	return text;
}

char *lodge_host_text(int *usable)
{
	return report(usable, false);
}

char *lodge_host_json(int *usable)
{
	return report(usable, true);
}
