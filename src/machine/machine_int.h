/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the machine share: not for other rooms. */
#ifndef LODGE_MACHINE_MACHINE_INT_H
#define LODGE_MACHINE_MACHINE_INT_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "base/event.h"
#include "devices/irqchip/lapic.h"
#include "machine/firmware.h"
#include "machine/machine.h"
#include "machine/pc.h"

/* What may be asked of the I/O thread, from any thread and with any lock held. */
enum machine_request {
	REQUEST_STOP = 1u << 0,
	REQUEST_FAIL = 1u << 1,  /* a vCPU cannot go on; it left words */
	REQUEST_CRASH = 1u << 2, /* triple fault; the vCPU left words */
	REQUEST_PANIC = 1u << 3, /* the guest reported its crash */
	REQUEST_DEBUG_EXIT = 1u << 4,
	REQUEST_POWEROFF = 1u << 5,
	REQUEST_RESET = 1u << 6,
};

struct machine_vcpu {
	struct machine *machine;
	struct engine_vcpu *engine_vcpu;
	unsigned id;
	pthread_t thread;
	bool started; /* the thread exists */
	bool parked;  /* guarded by machine->lock: it waits, and runs no guest code */
	bool halted;  /* guarded by machine->lock: it waits on woken */
	bool kicked;  /* guarded by machine->lock: something came that ends the wait */
	pthread_cond_t woken;
	/* With local APICs of the machine: */
	bool init; /* guarded by machine->lock: an INIT came */
	int sipi;  /* guarded by machine->lock: vector of a start-up message; -1: none */
	enum vcpu_activity activity; /* as set last; its own thread, or any while it is parked */
};

struct machine_told;

/* Events that wait for the machine's owner. */
struct machine_events {
	int fd;                          /* eventfd: there are some */
	struct machine_told *first;      /* guarded by machine->lock */
	struct machine_told *last_given; /* the owner's thread: its text is in use */
	unsigned count;                  /* guarded by machine->lock */
	uint64_t lost;                   /* the same: since the last one that had room */
};

struct machine {
	struct machine_config config;
	const struct engine_ops *engine;
	struct engine_vm *vm;
	struct engine_env env;
	struct mem mem;
	struct bus pio;
	struct bus mmio;
	struct clock clock;
	struct firmware_cpu cpu;
	struct boot_source *boot;
	struct pc *pc;
	struct lapics lapics; /* where the engine has none: machine_has_lapics */

	struct event_loop *loop;
	struct event_timer clock_timer;
	struct event_wake wake;
	pthread_t io_thread;
	bool io_started;
	_Atomic unsigned requests; /* enum machine_request bits not yet handled */
	_Atomic int debug_exit_code;

	struct machine_vcpu vcpus[ENGINE_VCPUS_MAX];

	pthread_mutex_t lock;   /* guards what follows; innermost of all locks */
	pthread_cond_t changed; /* run, quit or a vCPU's parked changed */
	pthread_cond_t called;  /* a call was answered */
	struct machine_pending *calls;
	bool calls_closed; /* the I/O thread takes no more */
	bool paused;       /* written by the I/O thread, which reads it without the lock */
	struct machine_events events;
	bool run;        /* vCPUs may run guest code */
	bool quit;       /* vCPU threads end */
	struct buf text; /* why it ended; the first words stay */
	struct buf dump;
	struct buf warnings;
	enum machine_end end; /* why it ended, from when that is known */
	bool ended;           /* and that the console's output has left: ended_fd is readable */
	int ended_fd;
};

/* Asks the I/O thread; the calling vCPU (if it is one) runs no further guest instruction once it
 * has completed the current one. Any thread, any lock held. */
void machine_request(struct machine *m, unsigned requests);

/* Where size bytes of memory other than RAM go: above all that there is. Before vCPUs run. 0 where
 * the processor's addresses do not reach so far, with e set. */
uint64_t machine_memory_place(const struct machine *m, uint64_t size, struct err *e);

/* control.c: calls of other threads, pauses. I/O thread. */
struct machine_pending;
void machine_run_calls(struct machine *m);
void machine_close_calls(struct machine *m); /* nothing runs them any more: refuses all */
void machine_go(struct machine *m);          /* vCPUs and clock, unless the machine is paused */

/* events.c. init: 0 or -errno; fd is -1 before. */
int machine_events_init(struct machine_events *q);
void machine_events_release(struct machine_events *q);
/* Notes an event. Any thread, any lock but the machine's held. */
void machine_tell(struct machine *m, enum machine_event_kind kind, const char *text);

/* vcpu.c: the vCPU threads. */
int machine_vcpus_create(struct machine *m, struct err *e);
int machine_vcpus_start(struct machine *m, struct err *e); /* threads begin parked */
void machine_vcpus_kick(struct machine *m);
void machine_vcpus_park(struct machine *m); /* returns when none runs guest code */
void machine_vcpus_resume(struct machine *m);
void machine_vcpus_join(struct machine *m);
void machine_vcpus_destroy(struct machine *m);
/* Ends the vCPU's wait for an interrupt, or the next one; kick has it leave run() too. Any thread,
 * any lock but the machine's held. */
void machine_vcpu_wake(struct machine_vcpu *v);
void machine_vcpu_kick(struct machine_vcpu *v);
/* Has the calling thread, and so the threads that it starts, block what the host program's threads
 * are to get: all but the signals by which a thread tells of its own bug, which blocked would kill
 * the process without a word from its handlers. The engine opens its own. */
void machine_block_signals(sigset_t *before);

/* local_apic.c: the local APICs, where the engine has none. */
static inline bool machine_has_lapics(const struct machine *m)
{
	return !m->engine->msi;
}

extern const struct engine_lapic_ops machine_lapic_ops; /* opaque is the machine */
void machine_lapics_init(struct machine *m);
void machine_lapics_offer(struct machine *m, const struct cpuid_table *cpuid);
void machine_lapics_reset(struct machine *m); /* vCPUs parked */
/* A vCPU's state with its local APIC's, whoever has that. While the vCPU does not run; its own
 * thread, or any while it is parked. */
int machine_get_state(struct machine_vcpu *v, struct vcpu_state *state, struct err *e);
int machine_set_state(struct machine_vcpu *v, const struct vcpu_state *state, struct err *e);
/* Executes an INIT and a SIPI that came; the vCPU's own thread. */
int machine_start_up(struct machine_vcpu *v, struct err *e);

/* Keeps a line for the user, who gets it at the end. Any thread, any lock but the machine's. */
void machine_warn(struct machine *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* crash.c: the words and registers of an end, first come first kept. */
void machine_note_vcpu(struct machine *m, struct machine_vcpu *v, const char *what,
		       const struct engine_detail *detail);
void machine_note_panic(struct machine *m);
/* A record that the guest left in the ERST: whether it tells of a panic. */
bool machine_note_record(struct machine *m, const uint8_t *record, size_t len);

#endif
