/* SPDX-License-Identifier: Apache-2.0 */
/* Interrupts: messages, the 8259s' INTR, NMI, EOI reports, eventfds, starting processors. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/x86/regs.h"
#include "engine/kvm/kvm.h"
#include "kvm_guest.h"

static struct msi_msg message(unsigned cpu, unsigned vector, uint32_t flags)
{
	return (struct msi_msg){MSI_ADDR_BASE | cpu << MSI_ADDR_DEST_SHIFT, vector | flags};
}

static void signal_fd(int fd)
{
	uint64_t one = 1;

	assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
}

/* Waits with HLT; each interrupt's handler writes its number to port 0x21 and ends it at the local
 * APIC (0xFEE000B0), which real mode reaches by a 4 GiB segment: so 64-bit mode, with an IDT. */
GUEST_ASM(waiter, 64,
	  "	lidt waiter_idtr(%rip)\n"
	  "	mov $0x8000, %esp\n"
	  "	out %al, $0x10\n"
	  "1:	sti\n"
	  "	hlt\n"
	  "	cli\n"
	  "	out %al, $0x11\n"
	  "	jmp 1b\n"
	  ".globl waiter_30, waiter_31, waiter_nmi, waiter_idtr\n"
	  "waiter_30: mov $0x30, %al\n"
	  "	jmp 2f\n"
	  "waiter_31: mov $0x31, %al\n"
	  "2:	out %al, $0x21\n"
	  "	mov $0xfee000b0, %edx\n"
	  "	movl $0, (%rdx)\n"
	  "	iretq\n"
	  "waiter_nmi: mov $2, %al\n"
	  "	out %al, $0x21\n"
	  "	iretq\n"
	  "waiter_idtr: .word 0xfff\n"
	  "	.quad 0x6000\n");
extern const char waiter_30[], waiter_31[], waiter_nmi[];

static void idt_gate(struct guest *g, unsigned vector, const char *handler)
{
	uint64_t at = GUEST_CODE + (uint64_t)(handler - waiter);
	uint64_t gate[2] = {(at & 0xffff) | 0x10 << 16 | 0x8e00ULL << 32 | (at >> 16 << 48), 0};

	assert_true(mem_write(&g->mem, 0x6000 + 16 * vector, gate, sizeof(gate)));
}

/* The GDT that IRETQ loads CS and SS from. */
static void load_waiter(struct guest *g, unsigned cpus)
{
	static const uint64_t gdt[5] = {0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0};
	struct vcpu_state s;

	guest_init(g, cpus);
	assert_true(mem_write(&g->mem, 0x7000, gdt, sizeof(gdt)));
	guest_load64(g, waiter, waiter_end);
	guest_get(g, 0, &s);
	s.gdt = (struct descriptor_table){.base = 0x7000, .limit = sizeof(gdt) - 1};
	guest_set(g, 0, &s);
	idt_gate(g, 0x30, waiter_30);
	idt_gate(g, 0x31, waiter_31);
	idt_gate(g, 2, waiter_nmi);
}

static void stop(struct guest *g)
{
	kvm_engine.kick(g->vcpus[0]);
	assert_int_equal(guest_join(g, 0), ENGINE_KICKED);
	guest_release(g);
}

static void a_message_wakes_a_halted_guest(void **state)
{
	struct msi_msg msg = message(0, 0x30, 0);
	struct guest g;

	(void)state;
	load_waiter(&g, 1);
	guest_start(&g, 0);
	guest_wait(&g, 1);
	for (unsigned i = 0; i < 5; i++) {
		kvm_engine.msi(g.vm, &msg);
		guest_wait(&g, 3 + 2 * i);
		guest_expect(&g, 1 + 2 * i, (struct guest_access){true, false, 0x21, 1, 0x30});
	}
	assert_int_equal(guest_stat(&g, "messages"), 5);
	assert_int_equal(g.eois, 0); /* edge-triggered: nobody is told */
	stop(&g);
}

static void note_port_11(struct guest *g, const struct guest_access *a)
{
	if (a->addr == 0x11)
		atomic_fetch_add((atomic_uint *)g->test, 1);
}

static void an_nmi_wakes_a_halted_guest(void **state)
{
	atomic_uint woken = 0;
	struct guest g;

	(void)state;
	load_waiter(&g, 1);
	g.test = &woken;
	g.seen = note_port_11;
	guest_start(&g, 0);
	guest_wait(&g, 1);
	/* One that comes between STI and HLT does not wake it, so send until one does; not so fast
	 * that a slow machine never gets from one to HLT. */
	for (useconds_t wait = 1000; atomic_load(&woken) == 0; wait = MIN(2 * wait, 1000000)) {
		kvm_engine.nmi(g.vcpus[0]);
		usleep(wait);
	}
	guest_expect(&g, 1, (struct guest_access){true, false, 0x21, 1, 2});
	stop(&g);
}

static void a_routed_level_interrupt_reports_its_eoi(void **state)
{
	struct msi_msg level = message(0, 0x31, MSI_DATA_LEVEL | MSI_DATA_ASSERT);
	struct msi_msg edge = message(0, 0x30, 0);
	struct guest g;

	(void)state;
	load_waiter(&g, 1);
	/* A booting kernel's writes: masked and edge-triggered pins cost no ioctl. */
	for (unsigned i = 0; i < ENGINE_GSIS_MAX; i++) {
		kvm_engine.route(g.vm, i, NULL);
		kvm_engine.route(g.vm, i, &edge);
	}
	assert_int_equal(guest_stat(&g, "routing-updates"), 0);
	kvm_engine.route(g.vm, 9, &level);
	kvm_engine.route(g.vm, 9, &level);
	assert_int_equal(guest_stat(&g, "routing-updates"), 1);

	guest_start(&g, 0);
	guest_wait(&g, 1);
	kvm_engine.msi(g.vm, &level);
	guest_wait(&g, 3);
	assert_int_equal(g.eois, 1);
	assert_int_equal(g.eoi_vector, 0x31);
	kvm_engine.msi(g.vm, &edge);
	guest_wait(&g, 5);
	assert_int_equal(g.eois, 1);

	/* Masked while its interrupt may be in service: the EOI is still reported. */
	kvm_engine.route(g.vm, 9, NULL);
	kvm_engine.msi(g.vm, &level);
	guest_wait(&g, 7);
	assert_int_equal(g.eois, 2);
	assert_int_equal(guest_stat(&g, "routing-updates"), 1);
	assert_int_equal(guest_stat(&g, "ioapic-eois"), 2);
	stop(&g);
}

static void an_eventfd_sends_its_message(void **state)
{
	struct msi_msg a = message(0, 0x30, 0), b = message(0, 0x31, 0);
	struct err e = ERR_INIT;
	struct guest g;
	int fd = eventfd(0, EFD_NONBLOCK);

	(void)state;
	load_waiter(&g, 1);
	assert_int_equal(kvm_engine.irqfd_add(g.vm, fd, &a, &e), 0);
	guest_start(&g, 0);
	guest_wait(&g, 1);
	signal_fd(fd);
	guest_wait(&g, 3);
	guest_expect(&g, 1, (struct guest_access){true, false, 0x21, 1, 0x30});
	/* Added again: another message. */
	assert_int_equal(kvm_engine.irqfd_add(g.vm, fd, &b, &e), 0);
	signal_fd(fd);
	guest_wait(&g, 5);
	guest_expect(&g, 3, (struct guest_access){true, false, 0x21, 1, 0x31});
	assert_int_equal(kvm_engine.irqfd_remove(g.vm, fd, &e), 0);
	signal_fd(fd); /* goes nowhere */
	kvm_engine.msi(g.vm, &a);
	guest_wait(&g, 7);
	guest_expect(&g, 5, (struct guest_access){true, false, 0x21, 1, 0x30});
	assert_int_equal(kvm_engine.irqfd_remove(g.vm, fd, &e), -ENOENT);
	assert_true(e.text[0]);
	stop(&g);
	close(fd);
}

static void many_eventfds_have_their_own_messages(void **state)
{
	struct msi_msg a = message(0, 0x30, 0), b = message(0, 0x31, 0);
	struct err e = ERR_INIT;
	struct guest g;
	int fds[40];

	(void)state;
	load_waiter(&g, 1);
	for (unsigned i = 0; i < 40; i++) {
		fds[i] = eventfd(0, EFD_NONBLOCK);
		assert_int_equal(kvm_engine.irqfd_add(g.vm, fds[i], i == 33 ? &b : &a, &e), 0);
	}
	for (unsigned i = 0; i < 40; i += 2)
		assert_int_equal(kvm_engine.irqfd_remove(g.vm, fds[i], &e), 0);
	assert_int_equal(kvm_engine.irqfd_add(g.vm, -1, &a, &e), -EBADF);
	guest_start(&g, 0);
	guest_wait(&g, 1);
	signal_fd(fds[33]);
	guest_wait(&g, 3);
	guest_expect(&g, 1, (struct guest_access){true, false, 0x21, 1, 0x31});
	stop(&g);
	for (unsigned i = 0; i < 40; i++)
		close(fds[i]);
}

GUEST_ASM(halted, 16,
	  "	out %al, $0x10\n"
	  "1:	sti\n"
	  "	hlt\n"
	  "	cli\n"
	  "	out %al, $0x11\n"
	  "	jmp 1b\n"
	  ".globl halted_handler\n"
	  "halted_handler: out %al, $0x32\n"
	  "	iretw\n");
extern const char halted_handler[];

static void intr_wakes_a_halted_guest(void **state)
{
	struct guest g;

	(void)state;
	guest_init(&g, 1);
	g.ack_vector = 0x21;
	guest_load16(&g, halted, halted_end);
	guest_vector(&g, 0x21, halted, halted_handler);
	guest_start(&g, 0);
	for (unsigned i = 0; i < 10; i++) {
		guest_wait(&g, 1 + 2 * i);
		kvm_engine.extint(g.vm, true);
		guest_wait(&g, 3 + 2 * i);
		guest_expect(&g, 1 + 2 * i, (struct guest_access){true, false, 0x32, 1, 0});
		assert_int_equal(g.acks, i + 1);
	}
	stop(&g);
}

/* INTR was high before the vCPU first ran, and the vCPU is halted: nothing in KVM wakes it. */
static void intr_wakes_a_guest_that_was_restored_halted(void **state)
{
	struct guest g;
	struct vcpu_state s;

	(void)state;
	guest_init(&g, 1);
	g.ack_vector = 0x21;
	guest_load16(&g, halted, halted_end);
	guest_vector(&g, 0x21, halted, halted_handler);
	guest_state16(&s, 0);
	s.rip += 4; /* behind OUT, STI and HLT */
	s.rflags |= RFLAGS_IF;
	s.activity = VCPU_HALTED;
	kvm_engine.extint(g.vm, true);
	guest_set(&g, 0, &s);
	guest_start(&g, 0);
	guest_wait(&g, 2);
	guest_expect(&g, 0, (struct guest_access){true, false, 0x32, 1, 0});
	assert_int_equal(g.acks, 1);
	stop(&g);
}

/* Kicked between the acknowledge cycle and its delivery: the vector must be in the state. Many
 * tries, of which some come in between; none may lose the interrupt. */
static void no_acknowledged_vector_is_lost(void **state)
{
	struct guest g;
	struct vcpu_state s;

	(void)state;
	guest_init(&g, 2);
	g.ack_vector = 0x21;
	guest_load16(&g, halted, halted_end);
	guest_vector(&g, 0x21, halted, halted_handler);
	guest_start(&g, 0);
	guest_wait(&g, 1);
	for (unsigned i = 0; i < 50; i++) {
		unsigned before = g.accesses;

		kvm_engine.extint(g.vm, true);
		kvm_engine.kick(g.vcpus[0]);
		assert_int_equal(guest_join(&g, 0), ENGINE_KICKED);
		/* As a snapshot would: read, and set again. */
		guest_get(&g, 0, &s);
		if (!s.events.interrupt_injected)
			guest_set(&g, 0, &s);
		guest_start(&g, 0);
		guest_wait(&g, before + 2);
		assert_int_equal(g.acks, i + 1);
	}
	stop(&g);
}

/* What an application processor runs after its SIPI with vector 0x20: 0x20000. */
GUEST_ASM(started, 16, "mov %cs, %ax\nout %ax, $0x50\n1: hlt\njmp 1b\n");

static void init_and_sipi_start_a_processor(void **state)
{
	struct msi_msg init = message(1, 0, 5 << MSI_DATA_DELIVERY_SHIFT | MSI_DATA_ASSERT);
	struct msi_msg sipi = message(1, 0x20, 6 << MSI_DATA_DELIVERY_SHIFT | MSI_DATA_ASSERT);
	struct guest g;
	struct vcpu_state s;

	(void)state;
	guest_init(&g, 2);
	vcpu_state_reset(&s, 1);
	guest_set(&g, 1, &s);
	assert_true(mem_write(&g.mem, 0x20000, started, (uint64_t)(started_end - started)));
	guest_start(&g, 1);
	kvm_engine.msi(g.vm, &init);
	kvm_engine.msi(g.vm, &sipi);
	guest_wait(&g, 1);
	guest_expect(&g, 0, (struct guest_access){true, false, 0x50, 2, 0x2000});
	kvm_engine.kick(g.vcpus[1]);
	assert_int_equal(guest_join(&g, 1), ENGINE_KICKED);
	guest_release(&g);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_wakes_a_halted_guest),
		cmocka_unit_test(an_nmi_wakes_a_halted_guest),
		cmocka_unit_test(a_routed_level_interrupt_reports_its_eoi),
		cmocka_unit_test(an_eventfd_sends_its_message),
		cmocka_unit_test(many_eventfds_have_their_own_messages),
		cmocka_unit_test(intr_wakes_a_halted_guest),
		cmocka_unit_test(intr_wakes_a_guest_that_was_restored_halted),
		cmocka_unit_test(no_acknowledged_vector_is_lost),
		cmocka_unit_test(init_and_sipi_start_a_processor),
	};

	guest_require_kvm(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
