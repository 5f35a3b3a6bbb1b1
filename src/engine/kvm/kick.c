/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a vCPU's thread leave KVM_RUN.
 *
 * Two things end a KVM_RUN from outside: run->immediate_exit, which the kernel
 * reads once when KVM_RUN begins, and a signal, which counts from then on.
 *
 *	poker                          vCPU's thread
 *	attention |= reason            tid = own id
 *	read tid, none: done           read attention, see to it
 *	immediate_exit = 1             KVM_RUN: reads immediate_exit
 *	signal tid
 *
 * attention and tid are sequentially consistent: either the poker sees the thread,
 * or the thread sees the reason. A signal that comes between the look at attention
 * and KVM_RUN is not lost, because immediate_exit was set before it was sent. A
 * kick sets immediate_exit in any case, so that a next run() returns at once.
 *
 * KVM_RUN finishes a pending port or device access before it looks at
 * immediate_exit, so that when a kick ends run() the state is that of an
 * instruction boundary (api.rst, section 5, note at KVM_EXIT_MMIO).
 */
#include "engine/kvm/kvm.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/kvm/kvm_int.h"

int kvm_kick_signal(void)
{
	return SIGRTMIN + 6;
}

static void on_kick(int number)
{
	(void)number; /* arriving is all it has to do */
}

int kvm_kick_install(struct err *e)
{
	/* SA_RESTART spares the thread's other system calls; KVM_RUN returns EINTR all the same. */
	struct sigaction action = {.sa_handler = on_kick, .sa_flags = SA_RESTART};
	struct sigaction old;

	if (sigaction(kvm_kick_signal(), NULL, &old) < 0)
		return err_errno(e, errno, "cannot look at signal %d", kvm_kick_signal());
	if (old.sa_handler != SIG_DFL && old.sa_handler != SIG_IGN)
		return 0;
	sigfillset(&action.sa_mask);
	if (sigaction(kvm_kick_signal(), &action, NULL) < 0)
		return err_errno(e, errno, "cannot take signal %d", kvm_kick_signal());
	return 0;
}

void kvm_kick_enter(struct engine_vcpu *v)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, kvm_kick_signal());
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	atomic_store(&v->thread, pthread_self());
	atomic_store(&v->tid, (int)syscall(SYS_gettid));
}

void kvm_kick_leave(struct engine_vcpu *v)
{
	atomic_store(&v->tid, 0);
}

/* The thread inside run(), 0 if there is none or if it is the caller: then it is not in KVM_RUN. */
static int other_thread(struct engine_vcpu *v)
{
	int tid = atomic_load(&v->tid);

	return tid && pthread_equal(atomic_load(&v->thread), pthread_self()) ? 0 : tid;
}

static void interrupt(struct engine_vcpu *v, int tid)
{
	int saved = errno;

	__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	if (tid)
		syscall(SYS_tgkill, getpid(), tid, kvm_kick_signal());
	errno = saved;
}

void kvm_poke(struct engine_vcpu *v)
{
	int tid = other_thread(v);

	if (tid)
		interrupt(v, tid);
}

void kvm_kick(struct engine_vcpu *v)
{
	atomic_fetch_or(&v->attention, ATTEND_KICK);
	interrupt(v, other_thread(v));
}

bool kvm_kick_taken(struct engine_vcpu *v)
{
	/* An exchange, not a store: reading a poke's 1 makes what was written before it visible
	 * to run()'s caller. A poke that comes after it has its reason in attention already, or
	 * makes the next KVM_RUN return at once. */
	bool poked = __atomic_exchange_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	unsigned reasons = atomic_fetch_and(&v->attention, ~ATTEND_KICK);

	return !poked || (reasons & ATTEND_KICK);
}
