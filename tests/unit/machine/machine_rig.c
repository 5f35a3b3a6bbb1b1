/* SPDX-License-Identifier: Apache-2.0 */
#include "machine_rig.h"

#include <dirent.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../core/engine_fake.h"
#include "boot_images.h"
#include "devices/acpi/pm.h"

/* Long enough for anything that is going to happen at all. */
#define PATIENCE_MS 60000

char *rig_kernel(struct buf *program)
{
	struct buf image = BUF_INIT;
	char *path;

	make_vmlinux64(&image, true);
	assert_in_range(program->len, 1, VMLINUX_NOTE - VMLINUX_TEXT - 0x150);
	memcpy(image.data + VMLINUX_TEXT + 0x150, program->data, program->len);
	path = make_file(image.data, image.len);
	buf_release(&image);
	buf_release(program);
	return path;
}

void rig_init(struct rig *r, struct buf *program)
{
	memset(r, 0, sizeof(*r));
	r->engine = fake_engine;
	r->kernel = rig_kernel(program);
	r->config = (struct machine_config){
		.engine = &r->engine,
		.cpus = 1,
		.memory = RIG_MEMORY,
		.cpu_model = "host",
		.debug_exit = true,
		.reboot = true,
		.boot = {.kernel = r->kernel},
		.console_in = -1,
		.console_out = -1,
	};
}

void rig_start(struct rig *r)
{
	struct err e = ERR_INIT;

	r->machine = machine_new(&r->config, &e);
	if (!r->machine || machine_start(r->machine, &e))
		fail_msg("%s", e.text);
}

void rig_ends(struct rig *r, enum machine_end end)
{
	if (!rig_readable(machine_ended_fd(r->machine), PATIENCE_MS))
		fail_msg("the machine does not end");
	machine_result(r->machine, &r->result);
	if (r->result.end != end)
		fail_msg("the end is %d, not %d: %s", r->result.end, end, r->result.text);
}

void rig_release(struct rig *r)
{
	machine_free(r->machine);
	r->machine = NULL;
	drop_file(r->kernel);
}

bool rig_readable(int fd, int timeout_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, timeout_ms) == 1 && p.revents == POLLIN;
}

unsigned rig_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

void rig_out(struct buf *program, unsigned size, uint16_t port, uint32_t value)
{
	fake_emit(program, FAKE_MOVI, GPR_RAX, 0, 0, (int32_t)value);
	fake_emit(program, FAKE_OUT, GPR_RAX, 0, size, port);
}

void rig_store(struct buf *program, unsigned size, uint32_t address, uint32_t value)
{
	fake_emit(program, FAKE_MOVI, GPR_RAX, 0, 0, (int32_t)value);
	fake_emit(program, FAKE_MOVI, GPR_RCX, 0, 0, (int32_t)address);
	fake_emit(program, FAKE_STORE, GPR_RAX, GPR_RCX, size, 0);
}

void rig_unless(struct buf *program, uint32_t address, int32_t value, int32_t count)
{
	fake_emit(program, FAKE_MOVI, GPR_RCX, 0, 0, (int32_t)address);
	fake_emit(program, FAKE_LOAD, GPR_RAX, GPR_RCX, 8, 0);
	fake_emit(program, FAKE_MOVI, GPR_RCX, 0, 0, 0);
	fake_emit(program, FAKE_ADD, GPR_RAX, GPR_RCX, 0, -value);
	fake_emit(program, FAKE_JNZ, GPR_RAX, 0, 0, count);
}

void rig_spin(struct buf *program)
{
	fake_emit(program, FAKE_JMP, 0, 0, 0, -1);
}

void rig_poweroff(struct buf *program)
{
	rig_out(program, 2, LAYOUT_ACPI_PM + ACPI_PM_CONTROL, ACPI_PM_SLP_TYP_S5 << 10 | 1 << 13);
}

void rig_triple_fault(struct buf *program)
{
	fake_emit(program, FAKE_UD, 0, 0, 0, 0);
}
