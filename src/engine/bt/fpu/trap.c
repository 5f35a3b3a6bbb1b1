/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exceptions that the host's processor raises in a stub: signals, to this process.
 *
 * A guest that unmasks SIMD floating-point exceptions has its instructions executed
 * with them unmasked: only the processor itself knows exactly which flags an exception leaves
 * in MXCSR. The host's kernel then makes a SIGFPE of the #XM. The handler sends the thread
 * to the RET at the end of the stub; the signal frame holds all registers as they
 * were when the instruction faulted, with MXCSR's new flags, so the stub's caller
 * stores them as after any instruction.
 *
 * What the decoder takes for an instruction and the host's processor does not is SIGILL: a
 * difference between processors that nobody knew of, or a mistake of the decoder's. It ends the
 * stub in the same way, and not the VM.
 *
 * The handlers belong to the process, and a signal handler gets no argument: hence the
 * variables. They are installed when a guest first needs them and stay. A signal that is not of a
 * stub goes to the handler that was there before.
 */
#include <pthread.h>
#include <signal.h>
#include <ucontext.h>

#include "engine/bt/fpu/stubs.h"
#include "engine/bt/fpu/trap.h"

/* Initial-exec: accessible from a signal handler without allocating. */
static __thread struct fpu *catching __attribute__((tls_model("initial-exec")));
enum { FPE, ILL, SIGNALS };

static struct sigaction earlier[SIGNALS];
static pthread_once_t installed[SIGNALS] = {PTHREAD_ONCE_INIT, PTHREAD_ONCE_INIT};

static void hand_on(int sig, siginfo_t *info, void *context)
{
	const struct sigaction *before = &earlier[sig == SIGFPE ? FPE : ILL];

	if (before->sa_flags & SA_SIGINFO) {
		before->sa_sigaction(sig, info, context);
		return;
	}
	if (before->sa_handler == SIG_DFL || before->sa_handler == SIG_IGN) {
		/* The instruction faults again, and ends the process. */
		signal(sig, SIG_DFL);
		if (info->si_code <= 0)
			raise(sig); /* it was sent */
		return;
	}
	before->sa_handler(sig);
}

static void on_signal(int sig, siginfo_t *info, void *context)
{
	ucontext_t *u = context;
	struct fpu *fpu = catching;
	uintptr_t out = 0;

	if (fpu && info->si_code > 0)
		out = stubs_way_out(fpu->stubs, (uintptr_t)u->uc_mcontext.gregs[REG_RIP]);
	if (!out) {
		hand_on(sig, info, context);
		return;
	}
	fpu->trapped = sig;
	u->uc_mcontext.gregs[REG_RIP] = (greg_t)out;
}

static void install(int sig, struct sigaction *before)
{
	struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};

	sigemptyset(&action.sa_mask);
	sigaction(sig, NULL, before);
	sigaction(sig, &action, NULL);
}

static void install_fpe(void)
{
	install(SIGFPE, &earlier[FPE]);
}

static void install_ill(void)
{
	install(SIGILL, &earlier[ILL]);
}

void trap_catch(struct fpu *fpu, bool unmasked)
{
	pthread_once(&installed[ILL], install_ill);
	if (unmasked)
		pthread_once(&installed[FPE], install_fpe);
	fpu->trapped = 0;
	catching = fpu;
}

void trap_done(void)
{
	catching = NULL;
}
