/* SPDX-License-Identifier: Apache-2.0 */
/*
 * liblodge: virtual machines as objects in your program.
 *
 * A lodge_vm is configured by names and values, started once, and ends once:
 *
 *	lodge_vm *vm = lodge_vm_new();
 *	lodge_vm_set(vm, "kernel", "vmlinuz");
 *	lodge_vm_set(vm, "memory", "512M");
 *	if (lodge_vm_start(vm))
 *		errx(1, "%s", lodge_vm_error(vm));
 *	lodge_vm_wait(vm, -1);
 *	lodge_vm_result(vm, &result);
 *	lodge_vm_free(vm);
 *
 * Nothing here is global: several VMs may live in one process, and nothing exits it. No
 * signal handler is installed, but for SIGBUS where a VM has pmem (its file may be made
 * shorter by anybody), which hands on what is not of such a file; a program that has a
 * handler of its own installs it before the first such VM is started. Functions that
 * return int give 0 or a negative errno; the words to it are lodge_vm_error(). A lodge_vm
 * may be used from one thread at a time, except where a function says "any thread".
 */
#ifndef LODGE_H
#define LODGE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

typedef struct lodge_vm lodge_vm;

/* How a VM ended; the numbers are also the exit statuses of "lodge run". */
enum lodge_end {
	LODGE_END_POWEROFF = 0,     /* the guest powered off */
	LODGE_END_FAILED = 1,       /* a host failure: see text */
	LODGE_END_CRASHED = 10,     /* triple fault, or the guest reported a panic */
	LODGE_END_STOPPED = 130,    /* lodge_vm_stop */
	LODGE_END_DEBUG_EXIT = 256, /* the guest wrote to the debug-exit port: see code */
};

struct lodge_result {
	enum lodge_end end;
	int code;         /* LODGE_END_DEBUG_EXIT: what the guest wrote, 0 to 255 */
	const char *text; /* one line for the user, "" if there is nothing to say; lives until
			     lodge_vm_free */
	const char *dump; /* LODGE_END_CRASHED and FAILED: registers of the vCPU, several lines;
			     "" if there are none; lives until lodge_vm_free */
	const char
		*warnings; /* all LODGE_EVENT_WARNING of its life, a line each (a disk's first I/O
				 error), "" if there were none; lives until lodge_vm_free */
	uint64_t lost;     /* bytes of console output that could not be written */
	int lost_error; /* errno of the first of them: EPIPE, its reader went away; ENOSPC, ... */
};

/* The version of the library, e.g. "0.1.0". */
const char *lodge_version(void);

/* A VM to be configured; NULL if memory is out. */
lodge_vm *lodge_vm_new(void);

/* Ends the VM if it runs, waits for its threads, frees it. NULL is allowed. */
void lodge_vm_free(lodge_vm *vm);

/*
 * Sets one configuration value, before lodge_vm_start. Names: engine (auto, kvm, bt, or
 * bt,code=SIZE, lodge-run(1)), bt-dump, cpus, memory (bytes, or with K, M, G), kernel, initrd,
 * cmdline, boot (auto, bzimage, pvh, elf), cpu-model, name,
 * cpuid (LEAF[.SUBLEAF]:REGISTER=BITS) and msr (NUMBER=BITS), of which each call adds one,
 * boot-timer (on, off: Firecracker's, see LODGE_EVENT_BOOTED), kvmclock (on, off), reboot (on: a
 * guest's reset starts it again; off: it ends the VM), rng (on, off: a virtio
 * entropy device; limits as of a disk may follow: on,bandwidth=RATE,ops=RATE),
 * virtio (pci, mmio: the bus of virtio devices), attach (on, off: whether devices come and go while
 * it runs; off makes the boot a little shorter), vsock (cid=N,socket=PATH: virtio sockets),
 * hotplug-memory (max=SIZE,...: memory to be plugged, lodge-run(1)),
 * balloon (a virtio balloon, lodge-run(1)), metadata (JSON for the guest to read:
 * [FILE][,OPTION...], lodge-run(1); see lodge_vm_metadata), disk (FILE), net (user or tap=NAME),
 * pmem (FILE: persistent memory), share (a directory for the guest: DIR or DIR:TAG) and port (a
 * named port of a virtio console: NAME,socket=PATH or NAME,file=PATH or NAME,pty=LINK): these five
 * with options as in lodge-run(1), and each call adds one.
 * -ENOENT: no such name; -EINVAL: not a value for it.
 */
int lodge_vm_set(lodge_vm *vm, const char *name, const char *value);

/* The n-th configuration name, or NULL past the last. */
const char *lodge_config_name(unsigned n);

/* The console (COM1): the guest's input is read from in (-1: none), its output written to out (-1:
 * dropped). The descriptors are duplicated; where that fails there is no console. The duplicates
 * are closed when the VM has ended and its output was taken, at the latest by lodge_vm_free. Before
 * lodge_vm_start. */
int lodge_vm_console(lodge_vm *vm, int in, int out);

/* The virtio console (hvc0) in the same way; without this call there is none. A guest whose COM1
 * has no output and whose kernel command line was not set uses it from the start. Before
 * lodge_vm_start. */
int lodge_vm_virtio_console(lodge_vm *vm, int in, int out);

/* The size in characters of the window that the virtio console is shown in; 0: not known. Before
 * or after lodge_vm_start, whenever it changes: the guest is told. */
void lodge_vm_window(lodge_vm *vm, uint16_t columns, uint16_t rows);

/*
 * Metadata: one JSON value that guests read over HTTP from a link-local address, on their networks,
 * as from a cloud's metadata service; the setting "metadata" says how. It may be changed at any
 * time, and serve several VMs.
 */
typedef struct lodge_metadata lodge_metadata;

/* Makes metadata without a value, of up to limit bytes as compact JSON (0: 51200); NULL if memory
 * is out. Frees it, when no VM has it any more; NULL is allowed. Any thread. */
lodge_metadata *lodge_metadata_new(size_t limit);
void lodge_metadata_free(lodge_metadata *md);

/*
 * Replaces the value by a JSON text, or changes it by a JSON merge patch (RFC 7396). 0; -EINVAL: it
 * is no JSON, or nested more than 128 deep; -EMSGSIZE: it is over the limit; -ENOENT: there is
 * nothing to be patched yet. Nothing is changed then, and why, if not NULL, has one line of up to
 * size bytes. Any thread.
 */
int lodge_metadata_put(lodge_metadata *md, const char *json, char *why, size_t size);
int lodge_metadata_patch(lodge_metadata *md, const char *patch, char *why, size_t size);

/* The value as compact JSON, "{}" where there is none; free() it. NULL if memory is out. Any
 * thread. */
char *lodge_metadata_json(lodge_metadata *md);

/* Has the VM serve that metadata, of which md's owner need not keep his own hold; without this call
 * it has some of its own. NULL takes it away. Before lodge_vm_start. */
int lodge_vm_metadata(lodge_vm *vm, lodge_metadata *md);

/* Checks the whole configuration, builds the machine and lets it run. */
int lodge_vm_start(lodge_vm *vm);

/* A descriptor that polls readable once the VM has ended; owned by the VM. After start. */
int lodge_vm_fd(const lodge_vm *vm);

/* Where a VM stands. LODGE_ENDED: lodge_vm_result says how. Any thread. */
enum lodge_state { LODGE_CREATED, LODGE_RUNNING, LODGE_PAUSED, LODGE_ENDED };
enum lodge_state lodge_vm_state(const lodge_vm *vm);

/*
 * Has the VM stand still, and go on. They return when it does: no vCPU executes anything in a
 * paused VM and its timers rest; what its devices had begun is ended. The guest's clocks that are
 * the processor's (TSC, the paravirtual clock) go on, so that it sees a gap. 0 also where it is so
 * already; -ESRCH where the VM has ended. After start.
 */
int lodge_vm_pause(lodge_vm *vm);
int lodge_vm_resume(lodge_vm *vm);

/*
 * Changes a device of a VM that runs. device: "disk0", "net0", "pmem0", ..., by the order in which
 * they were set. value, for a disk: "size" (its image was made larger or smaller, which the guest
 * is now told; not of qcow2, which keeps its size: -EOPNOTSUPP), "file=FILE" (its image is another
 * from now on, its name all to the value's end, of the same format and as read-only or not as the
 * first; what is under way ends on the old one; on failure that stays), or limits:
 * "bandwidth=RATE", "ops=RATE"; for a network "rx-bandwidth=RATE", "rx-ops", "tx-bandwidth",
 * "tx-ops"; several with commas between. RATE as for lodge-run(1)'s flags, or "none". "memory":
 * "size=SIZE", what the guest is asked to have plugged. "balloon": "size=SIZE"; "stats=SECONDS"
 * (statistics now, and then that often, of a balloon that has them); "hinting=start" (the guest
 * tells what it has free, which goes back to the host; "hinting=hold": and keeps it free until
 * "hinting=stop"). -EINVAL, -ENOENT: there is no such device; -ESRCH: the VM has ended. After
 * start.
 */
int lodge_vm_change(lodge_vm *vm, const char *device, const char *value);

/*
 * Devices that come and go while a VM runs, on PCI (the setting virtio=pci). lodge_vm_attach adds
 * one, kind and value as lodge_vm_set has them: "disk" or "net". It gives the device's number, by
 * which lodge_vm_change and the others know it: 1 for "disk1"; the lowest that is free. The guest
 * is told by ACPI. A network that comes has no metadata service. lodge_vm_detach asks the guest to
 * give a device back, by ACPI as well, and returns; LODGE_EVENT_DETACHED comes when it is gone and
 * its file or interface is free, and LODGE_EVENT_DETACH_REFUSED if the guest keeps it. A guest
 * that does not answer may be asked again; at its next reset the device is gone. One whose driver
 * has left a device, but which cannot eject it, loses it all the same. -EINVAL: not a value for
 * it; -ENOENT: there is no such device; -EOPNOTSUPP: the VM's devices are on MMIO, or attach is
 * off; -ENOSPC: no slot is free; -ESRCH: the VM has ended. After start.
 */
int lodge_vm_attach(lodge_vm *vm, const char *kind, const char *value);
int lodge_vm_detach(lodge_vm *vm, const char *device);

/*
 * What happens to a VM, in order. lodge_vm_event_fd polls readable while there is something to be
 * asked for; lodge_vm_next_event gives it: 1, or 0 if there is nothing. 64 are kept for an owner
 * who does not ask, more of those that answer the owner's own calls; resets in a row are one until
 * the owner asks. Those that have no room are counted in the next one's `lost`. After start.
 */
enum lodge_event_kind {
	LODGE_EVENT_WARNING, /* something is wrong on the host: text says what */
	LODGE_EVENT_RESET,   /* the guest has reset its machine, once or more, and starts again */
	LODGE_EVENT_PAUSED,
	LODGE_EVENT_RESUMED,
	LODGE_EVENT_ENDED,  /* the last one: lodge_vm_result says more */
	LODGE_EVENT_BOOTED, /* the guest has written to its boot timer */
	/* text names the device: "disk1" */
	LODGE_EVENT_ATTACHED,
	LODGE_EVENT_DETACHED,
	LODGE_EVENT_DETACH_REFUSED, /* the guest keeps it; it may be asked again */
};
struct lodge_event {
	enum lodge_event_kind kind;
	const char *text; /* one line, "" for none; lives until the next call */
	uint64_t lost;
	uint64_t time;     /* when: CLOCK_MONOTONIC, in nanoseconds */
	uint64_t cpu_time; /* processor time of the process until then, in nanoseconds */
};
int lodge_vm_event_fd(const lodge_vm *vm);
int lodge_vm_next_event(lodge_vm *vm, struct lodge_event *event);

/* Waits for the end: 0, or -ETIMEDOUT after timeout_ms (-1: no limit). */
int lodge_vm_wait(lodge_vm *vm, int timeout_ms);

/* How it ended; -EBUSY while it runs. */
int lodge_vm_result(lodge_vm *vm, struct lodge_result *result);

/* Stops the VM at once, as by pulling the plug; lodge_vm_wait then returns. A VM that ended by
 * itself still runs, in this sense, until its console's output was taken. A stop during
 * lodge_vm_start ends the VM when it has started; one before that does nothing. Any thread. */
void lodge_vm_stop(lodge_vm *vm);

/* Presses the ACPI power button; or ctrl-alt-del on the keyboard. Any thread. */
void lodge_vm_power_button(lodge_vm *vm);
void lodge_vm_ctrl_alt_del(lodge_vm *vm);

/* Counters of the VM (exits by reason, unclaimed accesses, ...). Fills up to max, returns how
 * many there are. Any thread, after start. */
struct lodge_stat {
	const char *name;
	uint64_t count;
};
size_t lodge_vm_stats(lodge_vm *vm, struct lodge_stat *stats, size_t max);

/*
 * What a VM that was started has, and the processor time that it took: by the threads of its vCPUs,
 * which are guest code and the devices that it calls. -EINVAL: it was not started. Any thread.
 * lodge_vm_cpu_times gives that time of each vCPU, in nanoseconds: fills up to max, returns how
 * many vCPUs there are, 0 before lodge_vm_start.
 */
struct lodge_usage {
	const char *engine; /* what executes its code: "kvm" or "bt" */
	unsigned cpus;
	uint64_t memory;   /* bytes of RAM */
	uint64_t uptime;   /* nanoseconds since lodge_vm_start */
	uint64_t cpu_time; /* nanoseconds, of all vCPUs together */
};
int lodge_vm_usage(lodge_vm *vm, struct lodge_usage *usage);
size_t lodge_vm_cpu_times(lodge_vm *vm, uint64_t *ns, size_t max);

/*
 * The name of the VM's n-th device that has numbers, "disk0" or "rng", into name, of which size
 * bytes are written at most (16 are enough): 0; -ENOENT: there are no more; -EINVAL. The order is
 * always the same; devices that come and go meanwhile move those behind them. After start, also
 * when the VM has ended.
 */
int lodge_vm_device(lodge_vm *vm, unsigned n, char *name, size_t size);

/*
 * Numbers of one device: fills up to max, gives how many there are, or -ENOENT, -EINVAL.
 * "balloon": in bytes "target", "actual" (what the guest says to have given) and "returned" (what
 * the host was given back, ever); "hints_command" and "hints_guest_command" (virtio 1.2, 5.5.6.6);
 * and what the guest told last, if the balloon has statistics: "swap_in", "swap_out",
 * "major_faults", "minor_faults", "free_memory", "total_memory", "available_memory", "disk_caches",
 * "hugetlb_allocations", "hugetlb_failures", "oom_kill", "alloc_stall", "async_scan",
 * "direct_scan", "async_reclaim", "direct_reclaim". What the guest did not tell is not there.
 * "memory": in bytes "total", "slot", "block", "plugged" and "requested".
 *
 * And of every device, since the VM was started (a reset of the guest takes nothing away):
 * "notifications" (how often it was called upon to look at its queues), "resets_needed" (how often
 * its driver broke a rule); of those that can have limits "throttled", how often these had
 * something wait ("rx_throttled", "tx_throttled" of a network). Times are in nanoseconds, the sum
 * of all, the shortest and the longest. Those of a kind:
 *
 * "disk0", ...: requests that were done: "reads", "read_bytes", "read_ns", "read_ns_min",
 * "read_ns_max" (from the guest's request to its end, waits for limits included), the same of
 * "write", "flushes", "discards"; "errors" (that the host failed), "refused" (that ask for what
 * cannot be); "swaps" (changes of its file), "swap_errors". "net0", ...: frames that the guest got
 * and sent: "received", "received_bytes", "sent", "sent_bytes"; "filtered" (that came, and it does
 * not want), "dropped" (and do not fit its buffers), "lost" (that it sent, and did not leave),
 * "malformed" (of these: that are no frames), "no_buffer" (how often one had to wait for its
 * buffers), "rx_notifications", "tx_notifications". "pmem0", ...: "flushes", "errors" (of these).
 * "rng": "requests", "bytes". "vsock": "connections", "closed" (of these), "broken" (of those: that
 * were reset by lodge), "refused"; packets "received", "received_bytes", "sent", "sent_bytes";
 * "rx_notifications", "tx_notifications". "balloon": buffers of the guest's to give pages and to
 * take them, with statistics, and that tell of free pages: "inflations", "deflations", "updates",
 * "reports", "reported_bytes", "hints", "hinted_bytes". "memory": requests "plugs", "unplugs",
 * "unplug_alls" and "states", each with "_refused" (of these), "plugged_bytes" and
 * "unplugged_bytes" (ever), and the times "plug_ns", "unplug_ns", "unplug_all_ns" and "state_ns".
 *
 * "mmds": frames of the guest's to the metadata service, "frames", "unusual" (of these: that it can
 * do nothing with), and its own, "sent", "sent_bytes"; "connections", "closed"; "requests",
 * "refused" (of these), "without_token" and "invalid_token" (of the latter).
 *
 * The names of a device are always the same and in the same order, but for what a guest tells, and
 * constant strings. After start, also when the VM has ended.
 */
int lodge_vm_device_stats(lodge_vm *vm, const char *device, struct lodge_stat *stats, size_t max);

/* Why the last call on this VM failed: one line "what: why: what to do", "" if none did. */
const char *lodge_vm_error(const lodge_vm *vm);

/* What this host offers: a text for people, or a JSON object as lodge-host(1) describes it; free()
 * it. NULL if memory is out. Where usable is not NULL, *usable tells whether an engine can run a VM
 * here (1) or none can (0). Measures KVM's efficiency, which takes some tens of milliseconds. Any
 * thread. */
char *lodge_host_text(int *usable);
char *lodge_host_json(int *usable);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
