/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine: a PC with its RAM, buses, devices, vCPU threads and I/O thread.
 *
 * A machine is built whole from a configuration, started once, ends once. In
 * between it runs by itself: one thread a vCPU, and one I/O thread on which
 * timers, host descriptors and every change of the machine's life (reset, end)
 * are handled, so that these never race with each other.
 */
#ifndef LODGE_MACHINE_MACHINE_H
#define LODGE_MACHINE_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "core/engine.h"
#include "core/x86/cpuid_edit.h"
#include "host/disk.h"
#include "host/endpoint.h"
#include "machine/boot/boot.h"
#include "virtio/limiter.h"

struct machine;

#define MACHINE_SERIAL_MAX      20
#define MACHINE_DISK_QUEUES_MAX 16

/* A disk image of the host, for virtio-blk. */
struct machine_disk {
	char *path;
	enum disk_format format;
	bool readonly;
	char serial[MACHINE_SERIAL_MAX + 1]; /* "": none */
	unsigned queues;                     /* 1 to MACHINE_DISK_QUEUES_MAX; 0: one a vCPU */
	unsigned block_size;                 /* 512 or 4096; 0: 512 */
	bool direct;                         /* past the host's page cache */
	struct limiter_config limits;
};

#define MACHINE_NET_NAME_MAX   15
#define MACHINE_NET_QUEUES_MAX 7

struct passt_forward;

/* A network interface of the host, for virtio-net. */
struct machine_net {
	char tap[MACHINE_NET_NAME_MAX + 1]; /* a tap device's name; "": user-mode, by passt */
	unsigned queues;                    /* pairs; tap only */
	struct limiter_config rx, tx;       /* what comes, what is sent */
	unsigned mtu;                       /* 0: what suits the interface */
	bool has_mac;                       /* else one is made up */
	uint8_t mac[6];
	struct passt_forward *forwards; /* passt only */
	unsigned forward_count;
};

/* The metadata service on the networks (mmds/mmds.h). */
struct machine_mmds {
	struct mmds_store *store; /* the caller's; held for as long as it is needed */
	bool tokens;              /* version 2 */
	bool text;                /* JSON is never answered */
	uint8_t address[4];
	unsigned nets; /* bit n: it is on network n; 0: on all */
};

#define MACHINE_PORTS_MAX     7
#define MACHINE_PORT_NAME_MAX 64

/* A named port of virtio-console, and where it ends on the host. */
struct machine_port {
	char *name;
	enum endpoint_kind kind;
	char *path;
};

#define MACHINE_PMEMS_MAX 8

/* A file that is persistent memory of the guest's. */
struct machine_pmem {
	char *path;
	bool readonly; /* what the guest writes stays in this VM */
	struct limiter_config limits;
};

/* The size of a console's window, in characters; 0: not known. */
struct machine_window {
	uint16_t columns, rows;
};

/* The socket device: the guest's context ID, and the host's sockets (host/portal_unix.h). */
struct machine_vsock {
	uint32_t cid;
	char *path;
};

#define MACHINE_SHARES_MAX 8
#define MACHINE_TAG_MAX    36

/* A directory of the host, for virtio-fs. */
struct machine_share {
	char *path;
	char tag[MACHINE_TAG_MAX + 1]; /* by which the guest mounts it */
	bool readonly;
};

/* The memory balloon. */
struct machine_balloon {
	bool present;
	uint64_t size; /* bytes that the guest is asked for */
	bool deflate_on_oom, reporting, hinting;
	unsigned stats_s; /* seconds between two statistics; 0: there are none */
};

/* What vCPUs have otherwise than their model. */
struct machine_cpu_edits {
	struct cpuid_edit *cpuid;
	unsigned cpuid_count;
	struct machine_msr_edit { /* bits of the value at power-on */
		uint32_t index;
		uint64_t mask, value;
	} * msr;
	unsigned msr_count;
};

/* Memory that the guest may be asked to plug, in bytes; size 0: none. */
struct machine_memory {
	uint64_t size;      /* whole slots */
	uint64_t requested; /* what it is asked for at first: whole blocks */
	uint64_t block;     /* a power of two, MEM_HUGE_SIZE or more */
	uint64_t slot;      /* whole blocks: what the engine maps at once, at least */
};

struct machine_config {
	const struct engine_ops *engine;
	struct engine_options engine_options;
	unsigned cpus;         /* 1 to ENGINE_VCPUS_MAX */
	uint64_t memory;       /* bytes of RAM, a multiple of the page size */
	const char *cpu_model; /* a name that cpuid_compose knows */
	/* What is to be otherwise than the model has it; the caller's, and outlives the machine. */
	const struct machine_cpu_edits *cpu_edits;
	bool kvmclock;    /* offer the KVM paravirtual leaves */
	bool debug_exit;  /* wire the debug-exit port */
	bool boot_timer;  /* wire the boot timer */
	bool reboot;      /* a guest's reset starts it again; else it ends the machine */
	bool virtio_mmio; /* virtio devices are virtio-mmio, not PCI */
	bool fixed;       /* none comes or goes: the guest need not look after their slots */
	bool rng;         /* virtio-rng */
	struct limiter_config rng_limits;
	const struct machine_disk *disks; /* the caller's, needed by machine_new only */
	unsigned disk_count;
	const struct machine_net *nets; /* the same */
	unsigned net_count;
	const struct machine_mmds *mmds;  /* the same; NULL: none */
	const struct machine_port *ports; /* the same */
	unsigned port_count;
	const struct machine_vsock *vsock;  /* the same; NULL: none */
	const struct machine_share *shares; /* the same */
	unsigned share_count;
	struct machine_balloon balloon;
	struct machine_memory hotplug;
	const struct machine_pmem *pmems; /* the same */
	unsigned pmem_count;
	struct boot_config boot; /* its strings are the caller's and outlive the machine */
	int console_in;          /* descriptors of the console, -1 for none; duplicated */
	int console_out;
	bool virtio_console;                       /* the console hvc0 */
	int virtio_console_in, virtio_console_out; /* its descriptors, in the same way */
	struct machine_window window;              /* its window's */
};

enum machine_end {
	MACHINE_RUNNING,
	MACHINE_POWEROFF,   /* the guest powered off */
	MACHINE_REBOOT,     /* the guest reset the machine, which was configured not to reboot */
	MACHINE_STOPPED,    /* machine_stop */
	MACHINE_CRASHED,    /* triple fault, or a panic reported by the guest */
	MACHINE_DEBUG_EXIT, /* the debug-exit port was written */
	MACHINE_FAILED,     /* the engine or the host failed */
};

struct machine_result {
	enum machine_end end;
	int code;             /* MACHINE_DEBUG_EXIT: the byte written */
	const char *text;     /* one line, "" for none; lives as long as the machine */
	const char *dump;     /* registers, several lines, "" for none; as long as the machine */
	const char *warnings; /* what went wrong meanwhile, a line each; as long as the machine */
	uint64_t lost;        /* bytes of console output that could not be written */
	int lost_error;       /* errno of the first of them */
};

enum machine_state { MACHINE_STATE_RUNNING, MACHINE_STATE_PAUSED, MACHINE_STATE_ENDED };

enum machine_event_kind {
	MACHINE_EVENT_WARNING, /* something went wrong on the host: text says what */
	MACHINE_EVENT_RESET,   /* the guest has reset the machine, once or more often */
	MACHINE_EVENT_PAUSED,
	MACHINE_EVENT_RESUMED,
	MACHINE_EVENT_ENDED,  /* the last one */
	MACHINE_EVENT_BOOTED, /* the boot timer was written */
	/* text names the device, as "disk1" */
	MACHINE_EVENT_ATTACHED,
	MACHINE_EVENT_DETACHED,
	MACHINE_EVENT_DETACH_REFUSED,
};

struct machine_event {
	enum machine_event_kind kind;
	const char *text; /* one line, "" for none */
	uint64_t lost;    /* events before this one that there was no room for */
	uint64_t time;    /* when: time_monotonic_ns */
	uint64_t cpu;     /* and time_process_cpu_ns */
};

/* Builds a machine; NULL with e set where the host, the engine or the configuration refuses.
 * The caller blocks SIGPIPE or ignores it, as any program that writes to pipes does. */
struct machine *machine_new(const struct machine_config *config, struct err *e);

/* Stops it if it runs, joins its threads and frees everything. NULL is allowed. */
void machine_free(struct machine *m);

/* Loads the guest and lets it run; 0, or -errno with e set. Once. */
int machine_start(struct machine *m, struct err *e);

/* Ends the machine at once with MACHINE_STOPPED, unless it ended before. A machine that ended by
 * itself counts as running while the reader of its console has not taken all. Any thread. */
void machine_stop(struct machine *m);

/* Stops vCPUs and the guest's clock, or lets them go on; returns when that is done. What devices
 * had begun, such as a disk's read, is ended meanwhile. Nothing happens where it is so already. 0,
 * or -ESRCH with e set: the machine has ended. After machine_start; any thread but
 * the machine's own. */
int machine_pause(struct machine *m, struct err *e);
int machine_resume(struct machine *m, struct err *e);
enum machine_state machine_state(struct machine *m);

/* A change of the running machine: called on its I/O thread, gives 0 or -errno with e set. */
typedef int machine_call_fn(struct machine *m, void *opaque, struct err *e);

/* Has run called, waits for it and gives what it gave; -ESRCH with e set if the machine has ended.
 * After machine_start; any thread but the machine's own, no lock held. */
int machine_call(struct machine *m, machine_call_fn *run, void *opaque, struct err *e);

/* A change of a device while the machine runs; devices count from 0, as configured. */
enum machine_change_kind {
	/* The disk's image has another size than before, which the guest is told. Nothing looks for
	 * that by itself. */
	MACHINE_CHANGE_DISK_SIZE,
	/* The disk's image is path from now on, of whatever size; all else stays as configured.
	 * Requests under way end on the old one, which is flushed and closed. Where path is the
	 * very image that the disk has, as MACHINE_CHANGE_DISK_SIZE. */
	MACHINE_CHANGE_DISK_FILE,
	MACHINE_CHANGE_DISK_LIMITS,   /* limits[0] */
	MACHINE_CHANGE_PMEM_LIMITS,   /* limits[0] */
	MACHINE_CHANGE_NET_LIMITS,    /* limits[0] of what comes, [1] of what is sent */
	MACHINE_CHANGE_MEMORY,        /* size */
	MACHINE_CHANGE_BALLOON,       /* size */
	MACHINE_CHANGE_BALLOON_STATS, /* seconds */
	MACHINE_CHANGE_BALLOON_HINTS, /* on, acknowledge (virtio_balloon_hint) */
};

struct machine_change {
	enum machine_change_kind kind;
	unsigned device;
	uint64_t size; /* bytes that the balloon's guest is asked for */
	unsigned seconds;
	bool on, acknowledge;
	const char *path; /* the caller's */
	/* Buckets that are given take effect at once; others stay as they are. One with size 0
	 * limits nothing. */
	struct machine_limits {
		bool has_bandwidth, has_ops;
		struct limiter_config to;
	} limits[2];
};

/* 0, or -errno with e set and nothing changed. As machine_call. */
int machine_change(struct machine *m, const struct machine_change *change, struct err *e);

enum machine_device {
	MACHINE_DEVICE_BALLOON,
	MACHINE_DEVICE_MEMORY,
	MACHINE_DEVICE_DISK,
	MACHINE_DEVICE_NET,
	MACHINE_DEVICE_PMEM,
	MACHINE_DEVICE_RNG,
	MACHINE_DEVICE_VSOCK,
	MACHINE_DEVICE_MMDS, /* the metadata service */
	MACHINE_DEVICES
};

/* One of them, with its number among those of its kind. */
struct machine_device_name {
	enum machine_device kind;
	unsigned number;
};

/* The n-th of those that there are now; -ENOENT with e set: there are no more. As machine_call, and
 * also when the machine has ended. */
int machine_device_at(struct machine *m, unsigned n, struct machine_device_name *device,
		      struct err *e);

/* Numbers of a device, by name, as lodge.h lists them: fills up to max, *count says how many there
 * are. 0; -ENOENT with e set: there is no such device. As machine_device_at. */
int machine_device_stats(struct machine *m, struct machine_device_name device,
			 struct engine_stat *stats, size_t max, size_t *count, struct err *e);

/* A device that comes while the machine runs; one of the pointers is set, to the caller's. */
struct machine_attachment {
	const struct machine_disk *disk;
	const struct machine_net *net;
};

/*
 * Puts a device on the PCI bus, and tells the guest. Its number among those of its kind, the
 * lowest that is free; or -errno with e set and nothing changed: -EOPNOTSUPP where devices are on
 * virtio-mmio. As machine_call.
 */
int machine_attach(struct machine *m, const struct machine_attachment *a, struct err *e);

/*
 * Asks the guest to give a disk or a net back, those of machine_new included.
 * MACHINE_EVENT_DETACHED comes when it is gone and what it had of the host is free again,
 * MACHINE_EVENT_DETACH_REFUSED if the guest does not; a guest that does not answer may be asked
 * again, and a reset answers for it. 0, or -errno with e set. As machine_call.
 */
int machine_detach(struct machine *m, enum machine_device kind, unsigned number, struct err *e);

/* The next of the machine's events, in order; false if there is none. Its text lives until the next
 * call. One thread at a time. The descriptor is readable while there are events. */
bool machine_next_event(struct machine *m, struct machine_event *event);
int machine_events_fd(const struct machine *m);

/* The user's hands on the machine. Any thread. */
void machine_power_button(struct machine *m);
void machine_ctrl_alt_del(struct machine *m);

/* The window of the console hvc0 has another size. Any thread. */
void machine_set_window(struct machine *m, const struct machine_window *window);

/* An eventfd that becomes readable, and stays so, when the machine has ended. */
int machine_ended_fd(const struct machine *m);

/* How it ended; result->end is MACHINE_RUNNING while it runs. Any thread. */
void machine_result(struct machine *m, struct machine_result *result);

/* Nanoseconds of processor time that the thread of each vCPU took; fills up to max, returns how
 * many vCPUs there are. Any thread, after machine_start. */
size_t machine_cpu_times(struct machine *m, uint64_t *ns, size_t max);

/* Counters of engine and buses; fills up to max, returns how many there are. Any thread. */
size_t machine_stats(struct machine *m, struct engine_stat *stats, size_t max);

#endif
