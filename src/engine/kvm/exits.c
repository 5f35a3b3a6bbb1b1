/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rarer exits of KVM_RUN: those that end run(), with words for the user, and
 * those that are answered and done. Reasons: Linux Documentation/virt/kvm/api.rst,
 * section 5.
 */
#include "engine/kvm/kvm_int.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

static void say_instruction(struct engine_detail *d)
{
	size_t at = strlen(d->text);

	for (unsigned i = 0; i < d->insn_len && at < sizeof(d->text); i++)
		at += (size_t)snprintf(d->text + at, sizeof(d->text) - at, " %02x", d->insn[i]);
}

static void emulation_failed(struct kvm_run *run, struct engine_detail *d)
{
	unsigned len = 0;

	if (run->emulation_failure.ndata >= 3 &&
	    (run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES))
		len = MIN(run->emulation_failure.insn_size, sizeof(d->insn));
	memcpy(d->insn, run->emulation_failure.insn_bytes, len);
	d->insn_len = len;
	snprintf(d->text, sizeof(d->text), "KVM's instruction emulator cannot do%s",
		 len ? " this instruction:" : " an instruction (KVM does not say which)");
	say_instruction(d);
}

static void internal_error(struct kvm_run *run, struct engine_detail *d)
{
	static const char *const words[] = {
		[KVM_INTERNAL_ERROR_SIMUL_EX] = "two exceptions at once",
		[KVM_INTERNAL_ERROR_DELIVERY_EV] = "an exit while delivering an event",
		[KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON] = "an unexpected hardware exit",
	};
	unsigned suberror = run->internal.suberror;
	const char *word = suberror < ARRAY_LEN(words) ? words[suberror] : NULL;
	int at;

	if (suberror == KVM_INTERNAL_ERROR_EMULATION) {
		emulation_failed(run, d);
		return;
	}
	at = snprintf(d->text, sizeof(d->text), "KVM internal error %u (%s), data", suberror,
		      word ? word : "unknown");
	for (unsigned i = 0; i < MIN(run->internal.ndata, 6u) && at < (int)sizeof(d->text); i++)
		at += snprintf(d->text + at, sizeof(d->text) - (size_t)at, " 0x%llx",
			       (unsigned long long)run->internal.data[i]);
}

static enum engine_exit system_event(struct kvm_run *run, struct engine_detail *d)
{
	switch (run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		return ENGINE_POWEROFF;
	case KVM_SYSTEM_EVENT_RESET:
		return ENGINE_RESET;
	case KVM_SYSTEM_EVENT_CRASH:
		snprintf(d->text, sizeof(d->text), "the guest reported a crash");
		return ENGINE_CRASHED;
	default:
		snprintf(d->text, sizeof(d->text), "unknown KVM system event %u",
			 run->system_event.type);
		return ENGINE_ERROR;
	}
}

/* An exit that lodge never asked for, or does not know. */
static enum engine_exit unexpected(struct kvm_run *run, struct engine_detail *d)
{
	switch (run->exit_reason) {
	case KVM_EXIT_UNKNOWN:
		snprintf(d->text, sizeof(d->text), "unknown hardware exit 0x%llx",
			 (unsigned long long)run->hw.hardware_exit_reason);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		snprintf(d->text, sizeof(d->text),
			 "the CPU refuses to enter the guest: hardware reason 0x%llx on CPU %u",
			 (unsigned long long)run->fail_entry.hardware_entry_failure_reason,
			 run->fail_entry.cpu);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		internal_error(run, d);
		break;
	case KVM_EXIT_DEBUG:
		snprintf(d->text, sizeof(d->text),
			 "debug exit: exception %u at 0x%llx, DR6 0x%llx, DR7 0x%llx",
			 run->debug.arch.exception, (unsigned long long)run->debug.arch.pc,
			 (unsigned long long)run->debug.arch.dr6,
			 (unsigned long long)run->debug.arch.dr7);
		break;
	default:
		snprintf(d->text, sizeof(d->text), "KVM exit %u, which lodge does not know",
			 run->exit_reason);
		break;
	}
	return ENGINE_ERROR;
}

/* AMD-V leaves a guest's VMCB undefined after the SHUTDOWN intercept (APM vol. 2, chapter 15), and
 * KVM puts the vCPU to reset state: the user should not take that for what the guest had. */
static void shutdown_words(struct engine_vcpu *v, struct engine_detail *d)
{
	struct kvm_regs regs;

	if (!ioctl(v->fd, KVM_GET_REGS, &regs) && regs.rip == 0xfff0 && regs.rflags == 2)
		snprintf(d->text, sizeof(d->text),
			 "the processor did not keep its registers, they read as after a reset");
}

bool kvm_exit_other(struct engine_vcpu *v, enum engine_exit *why, struct engine_detail *detail)
{
	struct kvm_run *run = v->run;
	const struct engine_env *env = v->vm->env;

	switch (run->exit_reason) {
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		vcpu_count(v, COUNT_IRQ_WINDOW);
		run->request_interrupt_window = 0; /* asked for again if INTR is still high */
		return false;
	case KVM_EXIT_IOAPIC_EOI:
		vcpu_count(v, COUNT_IOAPIC_EOI);
		if (env->eoi)
			env->eoi(env->opaque, run->eoi.vector);
		return false;
	case KVM_EXIT_X86_RDMSR:
	case KVM_EXIT_X86_WRMSR:
		kvm_msr_exit(v);
		return false;
	case KVM_EXIT_INTR: /* with it KVM_RUN fails with EINTR; not seen here */
	case KVM_EXIT_X86_BUS_LOCK:
	case KVM_EXIT_SET_TPR:
		vcpu_count(v, COUNT_OTHER);
		return false;
	case KVM_EXIT_HLT:
		*why = ENGINE_HALTED;
		return true;
	case KVM_EXIT_SHUTDOWN:
		shutdown_words(v, detail);
		*why = ENGINE_SHUTDOWN;
		return true;
	case KVM_EXIT_SYSTEM_EVENT:
		*why = system_event(run, detail);
		return true;
	default:
		*why = unexpected(run, detail);
		return true;
	}
}
