/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine that runs guests on VT-x, AMD-V and VIA VT through Linux's KVM.
 *
 * It needs /dev/kvm and Linux 4.11 or newer. The local APICs are KVM's; the
 * machine has the 8259s, the PIT and the I/O APIC.
 *
 * It takes one real-time signal of the process, kvm_kick_signal(), which makes a
 * thread leave KVM_RUN. Creating the first VM installs an empty handler for it,
 * unless the process has a handler there already, which then serves as well. The
 * signal must not be ignored, and no thread may wait for it.
 *
 * System calls made here: on a vCPU's thread ioctl, gettid, rt_sigprocmask and
 * tgkill; on any other thread that uses the engine also openat, mmap, munmap, close,
 * rt_sigaction; in a measuring probe also timer_create, timer_settime, timer_delete.
 */
#ifndef LODGE_ENGINE_KVM_KVM_H
#define LODGE_ENGINE_KVM_KVM_H

#include "core/engine.h"

extern const struct engine_ops kvm_engine;

/* The signal that a kick sends. */
int kvm_kick_signal(void);

#endif
