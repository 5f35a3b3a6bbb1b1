/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PC, wired once.
 *
 *	PIT ch.0 -- IRQ 0 --+                        +-- 8259 pair -- INTR --> LINT0 of vCPU 0
 *	i8042 ----- IRQ 1 --+                        |
 *	COM1 ------ IRQ 4 --+--> isa line (a wire to +
 *	RTC ------- IRQ 8 --+    both controllers)   |
 *	ACPI ------ IRQ 9 --+                        +-- I/O APIC -- messages --> local APICs
 *	                                                  (IRQ 0 on its pin 2)
 *
 * The local APICs are the engine's (its extint and msi), or else the machine's
 * (local_apic.c).
 *
 * pc_wire() is the whole of it: every device, its lines, its addresses, from top to
 * bottom. What a device does to the machine (reset, power-off) is a request.
 */
#include "machine/pc.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "devices/acpi/erst.h"
#include "devices/acpi/pm.h"
#include "devices/acpi/reset.h"
#include "devices/acpi/slots.h"
#include "devices/irqchip/ioapic.h"
#include "devices/irqchip/pic.h"
#include "devices/legacy/boot_timer.h"
#include "devices/legacy/debug_exit.h"
#include "devices/legacy/i8042.h"
#include "devices/legacy/pit.h"
#include "devices/legacy/pvpanic.h"
#include "devices/legacy/rtc.h"
#include "devices/legacy/uart.h"
#include "devices/pci/host.h"
#include "machine/layout.h"
#include "machine/machine_int.h"
#include "machine/paravirt.h"
#include "machine/pci_setup.h"
#include "machine/posted.h"

/* How long the last output may take to leave when the machine goes away. */
#define CONSOLE_FLUSH_MS 2000

struct pc {
	struct machine *machine;
	struct pic pic;
	struct ioapic ioapic;
	struct pit pit;
	struct rtc rtc;
	struct i8042 i8042;
	struct uart com1;
	struct posted com1_posted;
	struct chardev *console;
	struct chardev *hvc; /* of the virtio console; NULL: none */
	unsigned unflushed;  /* of these two; I/O thread, as what follows */
	void (*flushed)(void *opaque);
	void *flushed_opaque;
	_Atomic int console_error; /* errno of the first output that was lost; 0: none */
	struct acpi_pm pm;
	struct acpi_slots slots;
	struct reset_control reset_control;
	struct erst erst;
	struct pci_host pci;
	struct pci_intx intx;
	struct paravirt *paravirt;
	struct pvpanic pvpanic;
	struct debug_exit debug_exit;
	struct boot_timer boot_timer;
};

/* An ISA interrupt line ends at both controllers; IRQ 0 is the I/O APIC's pin 2, as the MADT's
 * interrupt source override says. */
static void isa_set_irq(void *opaque, unsigned irq, bool level)
{
	struct pc *pc = opaque;

	pic_set_irq(&pc->pic, irq, level);
	ioapic_set_irq(&pc->ioapic, irq == LAYOUT_IRQ_PIT ? 2 : irq, level);
}

static void on_intr(void *opaque, bool level)
{
	struct machine *m = opaque;

	if (machine_has_lapics(m))
		lapics_lint(&m->lapics, 0, 0, level);
	else
		m->engine->extint(m->vm, level);
}

static void on_msi(void *opaque, const struct msi_msg *msg)
{
	struct machine *m = opaque;

	if (machine_has_lapics(m))
		lapics_msi(&m->lapics, msg);
	else
		m->engine->msi(m->vm, msg);
}

static void on_route(void *opaque, unsigned pin, const struct msi_msg *msg)
{
	struct machine *m = opaque;

	if (m->engine->route)
		m->engine->route(m->vm, pin, msg);
}

static void on_reset(void *opaque)
{
	machine_request(opaque, REQUEST_RESET);
}

static void on_poweroff(void *opaque)
{
	machine_request(opaque, REQUEST_POWEROFF);
}

static void on_slots_event(void *opaque)
{
	struct pc *pc = opaque;

	acpi_pm_gpe(&pc->pm, LAYOUT_GPE_SLOTS);
}

/* The guest has let go of what is in the slot: it finds nothing there from now on. */
static void on_ejected(void *opaque, unsigned slot)
{
	struct pc *pc = opaque;

	if (pci_host_detach(&pc->pci, PCI_DEVFN(slot, 0)))
		paravirt_ejected(pc->paravirt, slot);
}

static void on_eject_refused(void *opaque, unsigned slot)
{
	struct pc *pc = opaque;

	paravirt_refused(pc->paravirt, slot);
}

static void on_console_loss(void *opaque, int error)
{
	struct pc *pc = opaque;

	int none = 0;

	atomic_compare_exchange_strong(&pc->console_error, &none, error);
}

/* A kernel left its last words: a panic is one, an oops that it survives is not. */
static void on_error_record(void *opaque, const uint8_t *record, size_t len)
{
	struct machine *m = opaque;

	if (machine_note_record(m, record, len))
		machine_request(m, REQUEST_PANIC);
}

static void on_pvpanic(void *opaque, unsigned events)
{
	if (events & PVPANIC_PANICKED)
		machine_request(opaque, REQUEST_PANIC);
}

static void on_debug_exit(void *opaque, uint32_t value)
{
	struct machine *m = opaque;

	atomic_store(&m->debug_exit_code, (int)(value & 0xff));
	machine_request(m, REQUEST_DEBUG_EXIT);
}

static void on_booted(void *opaque)
{
	machine_tell(opaque, MACHINE_EVENT_BOOTED, "");
}

static void add(struct bus *bus, uint64_t base, uint64_t size, const struct bus_ops *ops, void *dev,
		pthread_mutex_t *lock)
{
	int rc = bus_add(bus, base, size, ops, dev, lock, NULL);

	assert(!rc); /* the layout is ours: a range that does not fit is a bug */
	(void)rc;
}

static struct irq_line isa_line(struct pc *pc, unsigned irq)
{
	return (struct irq_line){.set = isa_set_irq, .opaque = pc, .pin = irq};
}

/* Pins of the I/O APIC beyond the ISA interrupts: PCI's, and those of virtio-mmio. */
static void gsi_set_irq(void *opaque, unsigned gsi, bool level)
{
	struct pc *pc = opaque;

	ioapic_set_irq(&pc->ioapic, gsi, level);
}

static struct irq_line gsi_line(void *opaque, unsigned gsi)
{
	if (gsi < 16)
		return isa_line(opaque, gsi);
	return (struct irq_line){.set = gsi_set_irq, .opaque = opaque, .pin = gsi};
}

static void wire_irqchips(struct pc *pc, struct machine *m)
{
	const struct msi_sink sink = {.send = on_msi, .opaque = m};

	pic_init(&pc->pic, on_intr, m);
	add(&m->pio, LAYOUT_PIC_MASTER, 2, &pic_master_ops, &pc->pic, &pc->pic.lock);
	add(&m->pio, LAYOUT_PIC_SLAVE, 2, &pic_slave_ops, &pc->pic, &pc->pic.lock);
	add(&m->pio, LAYOUT_PIC_ELCR, 2, &pic_elcr_ops, &pc->pic, &pc->pic.lock);

	ioapic_init(&pc->ioapic, &sink, &m->clock, on_route, m);
	add(&m->mmio, LAYOUT_IOAPIC, IOAPIC_SIZE, &ioapic_ops, &pc->ioapic, &pc->ioapic.lock);
}

static void wire_timers(struct pc *pc, struct machine *m)
{
	uint64_t low = MIN(m->config.memory, LAYOUT_LOW_RAM_END);

	pit_init(&pc->pit, &m->clock, isa_line(pc, LAYOUT_IRQ_PIT));
	add(&m->pio, LAYOUT_PIT, PIT_PORTS, &pit_ops, &pc->pit, &pc->pit.lock);
	add(&m->pio, LAYOUT_SPEAKER, 1, &speaker_ops, &pc->pit, &pc->pit.lock);

	rtc_init(&pc->rtc, &m->clock, isa_line(pc, LAYOUT_IRQ_RTC));
	rtc_set_memory(&pc->rtc, low, m->config.memory - low);
	add(&m->pio, LAYOUT_RTC, RTC_PORTS, &rtc_ops, &pc->rtc, &pc->rtc.lock);
}

static void wire_keyboard(struct pc *pc, struct machine *m)
{
	i8042_init(&pc->i8042, isa_line(pc, LAYOUT_IRQ_KEYBOARD), isa_line(pc, LAYOUT_IRQ_MOUSE),
		   on_reset, m);
	add(&m->pio, LAYOUT_I8042, 1, &i8042_data_ops, &pc->i8042, &pc->i8042.lock);
	add(&m->pio, LAYOUT_I8042 + 4, 1, &i8042_command_ops, &pc->i8042, &pc->i8042.lock);
}

/* What only a guest that knows of it uses. */
static void wire_guest_reports(struct pc *pc, struct machine *m)
{
	pvpanic_init(&pc->pvpanic, on_pvpanic, m);
	add(&m->pio, LAYOUT_PVPANIC, 1, &pvpanic_ops, &pc->pvpanic, NULL);
	debug_exit_init(&pc->debug_exit, on_debug_exit, m);
	if (m->config.debug_exit)
		add(&m->pio, LAYOUT_DEBUG_EXIT, DEBUG_EXIT_PORTS, &debug_exit_ops, &pc->debug_exit,
		    NULL);
	boot_timer_init(&pc->boot_timer, on_booted, m);
	if (m->config.boot_timer)
		add(&m->mmio, LAYOUT_BOOT_TIMER, BOOT_TIMER_SIZE, &boot_timer_ops, &pc->boot_timer,
		    NULL);
}

static void wire_console(struct pc *pc, struct machine *m)
{
	const struct bus_posting posting = {
		.hint = posted_hint, .opaque = &pc->com1_posted, .on = &pc->com1_posted.on};

	posted_init(&pc->com1_posted, m->engine, m->vm, &m->clock);
	posted_target(&pc->com1_posted, &m->pio, LAYOUT_COM1 + UART_THR, 1);
	uart_init(&pc->com1, &m->clock, isa_line(pc, LAYOUT_IRQ_COM1), pc->console);
	uart_set_posting(&pc->com1, posting);
	add(&m->pio, LAYOUT_COM1, UART_PORTS, &uart_ops, &pc->com1, &pc->com1.lock);
}

static void wire_acpi(struct pc *pc, struct machine *m)
{
	const struct acpi_slots_user slots = {on_slots_event, on_ejected, on_eject_refused, pc};

	acpi_pm_init(&pc->pm, &m->clock, isa_line(pc, LAYOUT_IRQ_SCI), on_poweroff, m);
	add(&m->pio, LAYOUT_ACPI_PM, ACPI_PM_SIZE, &acpi_pm_ops, &pc->pm, &pc->pm.lock);
	acpi_slots_init(&pc->slots, &slots);
	if (!m->config.virtio_mmio && !m->config.fixed)
		add(&m->pio, LAYOUT_SLOTS, ACPI_SLOTS_SIZE, &acpi_slots_ops, &pc->slots,
		    &pc->slots.lock);
	reset_control_init(&pc->reset_control, on_reset, m);
	erst_init(&pc->erst, on_error_record, m);
	add(&m->mmio, LAYOUT_ERST, ERST_SIZE, &erst_ops, &pc->erst, &pc->erst.lock);
}

static void wire_pci(struct pc *pc, struct machine *m)
{
	struct irq_line lines[PCI_INTX_LINES];

	for (unsigned i = 0; i < PCI_INTX_LINES; i++)
		lines[i] = gsi_line(pc, layout_pci_gsi(i, 0));
	pci_intx_init(&pc->intx, lines);
	pci_host_init(&pc->pci);
	pci_host_set_cf9(&pc->pci, &reset_control_ops, &pc->reset_control, &pc->reset_control.lock);
	add(&m->pio, LAYOUT_PCI_CONFIG, PCI_HOST_PORTS, &pci_host_port_ops, &pc->pci,
	    &pc->pci.lock);
	add(&m->mmio, LAYOUT_ECAM, LAYOUT_ECAM_SIZE, &pci_host_ecam_ops, &pc->pci, &pc->pci.lock);
}

static int wire_paravirt(struct pc *pc, struct machine *m, struct err *e)
{
	const struct paravirt_wires wires = {
		.pci = &pc->pci,
		.slots = &pc->slots,
		.msi = {.send = on_msi, .opaque = m},
		.intx = &pc->intx,
		.line = gsi_line,
		.console = pc->hvc,
		.opaque = pc,
	};

	return paravirt_new(&pc->paravirt, m, &wires, e);
}

static void release(struct pc *pc)
{
	if (pc->paravirt)
		paravirt_free(pc->paravirt);
	posted_release(&pc->com1_posted);
	uart_release(&pc->com1);
	chardev_free(pc->console, CONSOLE_FLUSH_MS);
	chardev_free(pc->hvc, CONSOLE_FLUSH_MS);
	pci_host_release(&pc->pci);
	pci_intx_release(&pc->intx);
	erst_release(&pc->erst);
	reset_control_release(&pc->reset_control);
	acpi_slots_release(&pc->slots);
	acpi_pm_release(&pc->pm);
	i8042_release(&pc->i8042);
	rtc_release(&pc->rtc);
	pit_release(&pc->pit);
	ioapic_release(&pc->ioapic);
	pic_release(&pc->pic);
	free(pc);
}

static int open_consoles(struct pc *pc, struct machine *m, struct err *e)
{
	const struct machine_config *c = &m->config;

	pc->console = chardev_new(m->loop, c->console_in, c->console_out, e);
	if (!pc->console)
		return e->code;
	chardev_on_loss(pc->console, on_console_loss, pc);
	if (!c->virtio_console)
		return 0;
	pc->hvc = chardev_new(m->loop, c->virtio_console_in, c->virtio_console_out, e);
	if (!pc->hvc) {
		chardev_free(pc->console, 0);
		return e->code;
	}
	chardev_on_loss(pc->hvc, on_console_loss, pc);
	return 0;
}

int pc_new(struct pc **out, struct machine *m, struct err *e)
{
	struct pc *pc = calloc(1, sizeof(*pc));
	int rc;

	if (!pc)
		return err_errno(e, ENOMEM, "cannot make the devices");
	pc->machine = m;
	rc = open_consoles(pc, m, e);
	if (rc) {
		free(pc);
		return rc;
	}
	wire_irqchips(pc, m);
	wire_timers(pc, m);
	wire_keyboard(pc, m);
	wire_console(pc, m);
	wire_acpi(pc, m);
	wire_guest_reports(pc, m);
	wire_pci(pc, m);
	rc = wire_paravirt(pc, m, e);
	if (rc) {
		release(pc);
		return rc;
	}
	*out = pc;
	return 0;
}

void pc_free(struct pc *pc)
{
	pc_stop(pc);
	release(pc);
}

void pc_reset(struct pc *pc)
{
	posted_stop(&pc->com1_posted);
	uart_reset(&pc->com1);
	i8042_reset(&pc->i8042);
	rtc_reset(&pc->rtc);
	pit_reset(&pc->pit);
	acpi_pm_reset(&pc->pm);
	reset_control_reset(&pc->reset_control);
	erst_reset(&pc->erst);
	paravirt_take_asked(pc->paravirt);
	paravirt_reset(pc->paravirt);
	pci_host_reset(&pc->pci);
	pci_setup(&pc->pci);
	ioapic_reset(&pc->ioapic);
	pic_reset(&pc->pic);
}

void pc_stop(struct pc *pc)
{
	posted_stop(&pc->com1_posted);
	paravirt_reset(pc->paravirt);
}

int pc_change(struct pc *pc, const struct machine_change *change, struct err *e)
{
	return paravirt_change(pc->paravirt, change, e);
}

struct paravirt *pc_paravirt(struct pc *pc)
{
	return pc->paravirt;
}

void pc_describe(const struct pc *pc, struct acpi_config *config, struct acpi_mmio_device *devices)
{
	paravirt_describe(pc->paravirt, config, devices);
}

uint8_t pc_intack(struct pc *pc)
{
	return pic_intack(&pc->pic);
}

void pc_eoi(struct pc *pc, uint8_t vector)
{
	ioapic_eoi(&pc->ioapic, vector);
}

static void one_empty(void *opaque)
{
	struct pc *pc = opaque;

	if (!--pc->unflushed)
		pc->flushed(pc->flushed_opaque);
}

void pc_console_flush(struct pc *pc, void (*empty)(void *opaque), void *opaque)
{
	pc->flushed = empty;
	pc->flushed_opaque = opaque;
	pc->unflushed = pc->hvc ? 2 : 1;
	chardev_when_empty(pc->console, one_empty, pc);
	if (pc->hvc)
		chardev_when_empty(pc->hvc, one_empty, pc);
}

void pc_console_close(struct pc *pc)
{
	chardev_close(pc->console);
	if (pc->hvc)
		chardev_close(pc->hvc);
}

uint64_t pc_console_lost(struct pc *pc, int *error)
{
	*error = atomic_load(&pc->console_error);
	return chardev_lost(pc->console) + (pc->hvc ? chardev_lost(pc->hvc) : 0);
}

void pc_set_window(struct pc *pc, const struct machine_window *window)
{
	paravirt_set_window(pc->paravirt, window);
}

void pc_power_button(struct pc *pc)
{
	acpi_pm_power_button(&pc->pm);
}

void pc_ctrl_alt_del(struct pc *pc)
{
	i8042_ctrl_alt_del(&pc->i8042);
}
