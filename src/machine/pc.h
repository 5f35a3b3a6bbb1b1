/* SPDX-License-Identifier: Apache-2.0 */
/* The PC's devices and their wiring. */
#ifndef LODGE_MACHINE_PC_H
#define LODGE_MACHINE_PC_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct acpi_config;
struct acpi_mmio_device;
struct engine_stat;
struct machine;
struct machine_window;
struct pc;

/* Makes every device and connects it; 0, or -errno with e set and nothing made. Before vCPUs
 * run. */
int pc_new(struct pc **pc, struct machine *m, struct err *e);

/* No vCPU runs and the event loop has ended. */
void pc_free(struct pc *pc);

/* The guest runs no more: what the engine still holds of its writes reaches the devices, and then
 * none of them touches guest memory. vCPUs parked, I/O thread. */
void pc_stop(struct pc *pc);

/* Every device to its power-on state. vCPUs parked, I/O thread. */
void pc_reset(struct pc *pc);

/* Adds to config the devices that depend on the machine's configuration; devices has PARAVIRT_MAX
 * places (machine/paravirt.h). Any thread. */
void pc_describe(const struct pc *pc, struct acpi_config *config, struct acpi_mmio_device *devices);

/* The interrupt acknowledge cycle of the 8259s; a vCPU thread. */
uint8_t pc_intack(struct pc *pc);

/* The end of a level-triggered interrupt, for the I/O APIC; a vCPU thread. */
void pc_eoi(struct pc *pc, uint8_t vector);

/* Has empty called, once, when all of the consoles' output has left or is lost. vCPUs parked, I/O
 * thread. */
void pc_console_flush(struct pc *pc, void (*empty)(void *opaque), void *opaque);

/* Closes the consoles' descriptors; then, I/O thread. */
void pc_console_close(struct pc *pc);

/* Bytes of the consoles' output that could not be written; the errno of the first in *error. Any
 * thread. */
uint64_t pc_console_lost(struct pc *pc, int *error);

/* See machine_change. I/O thread. */
struct machine_change;
int pc_change(struct pc *pc, const struct machine_change *change, struct err *e);

/* The virtio devices; the PC's. */
struct paravirt;
struct paravirt *pc_paravirt(struct pc *pc);

/* The user's hands. Any thread. */
void pc_power_button(struct pc *pc);
void pc_ctrl_alt_del(struct pc *pc);
void pc_set_window(struct pc *pc, const struct machine_window *window);

#endif
