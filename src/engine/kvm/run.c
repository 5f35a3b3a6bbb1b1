/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The run loop, and the two exits that are most of all: port and device accesses.
 *
 * Between two KVM_RUN there is no other system call and no lock but the device's.
 * An access is answered in place: KVM completes the instruction with the answer
 * when KVM_RUN is entered again.
 */
#include "engine/kvm/kvm_int.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

/* Values of the sizes that KVM hands over: 1, 2 and 4 for ports. */
static inline uint64_t port_load(const uint8_t *p, unsigned size)
{
	switch (size) {
	case 1:
		return *p;
	case 2:
		return load_le(p, 2);
	default:
		return load_le(p, 4);
	}
}

static inline void port_store(uint8_t *p, unsigned size, uint64_t value)
{
	switch (size) {
	case 1:
		*p = (uint8_t)value;
		break;
	case 2:
		store_le(p, 2, value);
		break;
	default:
		store_le(p, 4, value);
		break;
	}
}

/* IN, OUT, and a piece of REP INS or REP OUTS: count values in a packed array. */
static void exit_io(struct engine_vcpu *v)
{
	struct kvm_run *run = v->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	unsigned size = run->io.size;
	uint16_t port = run->io.port;
	uint32_t count = run->io.count;

	if (run->io.direction == KVM_EXIT_IO_IN) {
		vcpu_count(v, COUNT_IO_READ);
		for (; count; count--, data += size)
			port_store(data, size, bus_read(v->pio, port, size));
	} else {
		vcpu_count(v, COUNT_IO_WRITE);
		for (; count; count--, data += size)
			bus_write(v->pio, port, size, port_load(data, size));
	}
}

static void exit_mmio(struct engine_vcpu *v)
{
	struct kvm_run *run = v->run;
	unsigned size = MIN(run->mmio.len, 8u);
	uint64_t value = 0;

	if (run->mmio.is_write) {
		vcpu_count(v, COUNT_MMIO_WRITE);
		value = load_le(run->mmio.data, 8) & MASK(size * 8);
		bus_write(v->mmio, run->mmio.phys_addr, size, value);
	} else {
		vcpu_count(v, COUNT_MMIO_READ);
		value = bus_read(v->mmio, run->mmio.phys_addr, size);
		store_le(run->mmio.data, 8, value);
	}
}

/* KVM_RUN failed: true if run() returns *why. */
static bool run_failed(struct engine_vcpu *v, int code, enum engine_exit *why,
		       struct engine_detail *detail)
{
	switch (code) {
	case EINTR:
		vcpu_count(v, COUNT_INTERRUPTED);
		*why = ENGINE_KICKED;
		return kvm_kick_taken(v);
	case EAGAIN: /* an application processor took its INIT or SIPI */
		return false;
	case EFAULT:
		snprintf(detail->text, sizeof(detail->text),
			 "KVM cannot reach guest memory (out of memory, or the mapping is gone)");
		break;
	default:
		snprintf(detail->text, sizeof(detail->text), "KVM_RUN failed: %s", strerror(code));
		break;
	}
	*why = ENGINE_ERROR;
	return true;
}

/* KVM_RUN, without the C library's way round by a variable argument list and errno: this is on the
 * path of every access. Returns 0 or the errno. */
static inline int enter_guest(int fd)
{
	long rc;

	__asm__ volatile("syscall"
			 : "=a"(rc)
			 : "0"((long)SYS_ioctl), "D"((long)fd), "S"((long)KVM_RUN), "d"(0L)
			 : "rcx", "r11", "memory");
	return (int)-rc;
}

enum engine_exit kvm_run(struct engine_vcpu *v, struct engine_detail *detail)
{
	struct kvm_run *run = v->run;
	enum engine_exit why;

	detail->text[0] = 0;
	detail->insn_len = 0;
	kvm_kick_enter(v);
	for (;;) {
		int code;

		if (atomic_load(&v->attention))
			kvm_attend(v);
		code = enter_guest(v->fd);
		kvm_post_check(v);
		if (code) {
			if (run_failed(v, code, &why, detail))
				break;
			continue;
		}
		vcpu_count(v, COUNT_EXITS);
		if (run->exit_reason == KVM_EXIT_IO)
			exit_io(v);
		else if (run->exit_reason == KVM_EXIT_MMIO)
			exit_mmio(v);
		else if (kvm_exit_other(v, &why, detail))
			break;
	}
	kvm_kick_leave(v);
	return why;
}
