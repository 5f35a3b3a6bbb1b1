/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that unmasks SIMD floating-point exceptions has its instructions executed
 * with them unmasked: only the processor itself knows exactly which flags an exception leaves
 * in MXCSR. The host's kernel then makes a SIGFPE of the #XM. The handler sends the thread
 * to the RET at the end of the stub; the signal frame holds all registers as they
 * were when the instruction faulted, with MXCSR's new flags, so the stub's caller
 * stores them as after any instruction.
 *
 * The handler belongs to the process, and a signal handler gets no argument: hence the
 * variables. It is installed when a guest first needs it and stays. A SIGFPE that is not a
 * stub's goes to the handler that was there before.
 */
#include <pthread.h>
#include <signal.h>
#include <ucontext.h>

#include "engine/bt/fpu/stubs.h"
#include "engine/bt/fpu/trap.h"

/* Initial-exec: accessible from a signal handler without allocating. */
static __thread struct fpu *catching __attribute__((tls_model("initial-exec")));
static struct sigaction earlier;
static pthread_once_t installed = PTHREAD_ONCE_INIT;

static void hand_on(int sig, siginfo_t *info, void *context)
{
	if (earlier.sa_flags & SA_SIGINFO) {
		earlier.sa_sigaction(sig, info, context);
		return;
	}
	if (earlier.sa_handler == SIG_DFL || earlier.sa_handler == SIG_IGN) {
		/* The instruction faults again, and ends the process. */
		signal(sig, SIG_DFL);
		if (info->si_code <= 0)
			raise(sig); /* it was sent */
		return;
	}
	earlier.sa_handler(sig);
}

static void on_sigfpe(int sig, siginfo_t *info, void *context)
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
	fpu->trapped = true;
	u->uc_mcontext.gregs[REG_RIP] = (greg_t)out;
}

static void install(void)
{
	struct sigaction action = {.sa_sigaction = on_sigfpe, .sa_flags = SA_SIGINFO | SA_ONSTACK};

	sigemptyset(&action.sa_mask);
	sigaction(SIGFPE, NULL, &earlier);
	sigaction(SIGFPE, &action, NULL);
}

void trap_catch(struct fpu *fpu)
{
	pthread_once(&installed, install);
	fpu->trapped = false;
	catching = fpu;
}

void trap_done(void)
{
	catching = NULL;
}
