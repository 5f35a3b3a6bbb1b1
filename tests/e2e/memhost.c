/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host that does to memory's devices what the guest's console says: "change DEVICE VALUE" is
 * lodge_vm_change, "stats DEVICE" prints the device's numbers. All other lines are printed.
 *
 *	memhost ENGINE KERNEL INITRD CMDLINE
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lodge/lodge.h"

#define STATS_MAX 64

static void obey(lodge_vm *vm, char *line)
{
	char device[16], value[64];
	struct lodge_stat stats[STATS_MAX];
	int n;

	line[strcspn(line, "\r\n")] = '\0';
	if (sscanf(line, "change %15s %63s", device, value) == 2) {
		if (lodge_vm_change(vm, device, value))
			fprintf(stderr, "memhost: %s\n", lodge_vm_error(vm));
	} else if (sscanf(line, "stats %15s", device) == 1) {
		n = lodge_vm_device_stats(vm, device, stats, STATS_MAX);
		for (int i = 0; i < n && i < STATS_MAX; i++)
			printf("%s %s %" PRIu64 "\n", device, stats[i].name, stats[i].count);
	} else {
		printf("guest: %s\n", line);
	}
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static const char *const names[] = {"engine", "kernel", "initrd", "cmdline"};
	struct lodge_result result = {.end = LODGE_END_FAILED};
	lodge_vm *vm = lodge_vm_new();
	char line[512];
	FILE *console;
	int out[2], rc = 0;

	if (argc != 5 || !vm || pipe(out))
		return 2;
	for (int i = 0; !rc && i < 4; i++)
		rc = lodge_vm_set(vm, names[i], argv[1 + i]);
	if (rc || lodge_vm_set(vm, "memory", "256M") ||
	    lodge_vm_set(vm, "hotplug-memory", "max=512M") ||
	    lodge_vm_set(vm, "balloon", "deflate-on-oom,reporting,hinting,stats=600") ||
	    lodge_vm_console(vm, -1, out[1]) || lodge_vm_start(vm)) {
		fprintf(stderr, "memhost: %s\n", lodge_vm_error(vm));
		return 1;
	}
	close(out[1]);
	console = fdopen(out[0], "r");
	while (console && fgets(line, sizeof(line), console))
		obey(vm, line);
	lodge_vm_wait(vm, -1);
	lodge_vm_result(vm, &result);
	lodge_vm_free(vm);
	return result.end != LODGE_END_POWEROFF;
}
