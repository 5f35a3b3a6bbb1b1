# SPDX-License-Identifier: Apache-2.0
"""Virtual machines as objects in Python: liblodge by ctypes, in one file.

    import lodge

    with lodge.VM(kernel="vmlinuz", initrd="initrd.img", memory="512M") as vm:
        console = vm.start()                 # a file: what the guest prints
        for line in console:
            print(line.decode(), end="")
        print(vm.wait())                     # Result(end=<End.POWEROFF: 0>, ...)

The functions are those of lodge/lodge.h, where each is described. What fails raises lodge.Error.
"""

import ctypes
import enum
import errno
import os
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint, c_uint16, c_uint64, c_void_p
from dataclasses import dataclass

__all__ = ["VM", "End", "Error", "Event", "EventKind", "Metadata", "Result", "State", "Usage",
           "version"]

_SO = "liblodge.so.0"
_STATS_MAX = 512


class End(enum.IntEnum):
    """enum lodge_end: how a VM ended."""

    POWEROFF = 0
    FAILED = 1
    CRASHED = 10
    STOPPED = 130
    DEBUG_EXIT = 256


class State(enum.IntEnum):
    """enum lodge_state: where a VM stands."""

    CREATED = 0
    RUNNING = 1
    PAUSED = 2
    ENDED = 3


class EventKind(enum.IntEnum):
    """enum lodge_event_kind."""

    WARNING = 0
    RESET = 1
    PAUSED = 2
    RESUMED = 3
    ENDED = 4
    BOOTED = 5
    ATTACHED = 6
    DETACHED = 7
    DETACH_REFUSED = 8


class Error(OSError):
    """What liblodge said to a call that failed; errno is its number."""


@dataclass(frozen=True)
class Result:
    """struct lodge_result."""

    end: End
    code: int
    text: str
    dump: str
    warnings: str
    lost: int
    lost_error: int


@dataclass(frozen=True)
class Event:
    """struct lodge_event."""

    kind: EventKind
    text: str
    lost: int
    time: int
    cpu_time: int


@dataclass(frozen=True)
class Usage:
    """struct lodge_usage; times in seconds, cpu_times by vCPU."""

    engine: str
    cpus: int
    memory: int
    uptime: float
    cpu_time: float
    cpu_times: tuple


class _Result(ctypes.Structure):
    _fields_ = [("end", c_int), ("code", c_int), ("text", c_char_p), ("dump", c_char_p),
                ("warnings", c_char_p), ("lost", c_uint64), ("lost_error", c_int)]


class _Event(ctypes.Structure):
    _fields_ = [("kind", c_int), ("text", c_char_p), ("lost", c_uint64), ("time", c_uint64),
                ("cpu_time", c_uint64)]


class _Usage(ctypes.Structure):
    _fields_ = [("engine", c_char_p), ("cpus", c_uint), ("memory", c_uint64),
                ("uptime", c_uint64), ("cpu_time", c_uint64)]


class _Stat(ctypes.Structure):
    _fields_ = [("name", c_char_p), ("count", c_uint64)]


# Names, results and arguments, as in the header.
_FUNCTIONS = {
    "lodge_version": (c_char_p,),
    "lodge_vm_new": (c_void_p,),
    "lodge_vm_free": (None, c_void_p),
    "lodge_vm_set": (c_int, c_void_p, c_char_p, c_char_p),
    "lodge_vm_console": (c_int, c_void_p, c_int, c_int),
    "lodge_vm_virtio_console": (c_int, c_void_p, c_int, c_int),
    "lodge_vm_window": (None, c_void_p, c_uint16, c_uint16),
    "lodge_metadata_new": (c_void_p, c_size_t),
    "lodge_metadata_free": (None, c_void_p),
    "lodge_metadata_put": (c_int, c_void_p, c_char_p, c_char_p, c_size_t),
    "lodge_metadata_patch": (c_int, c_void_p, c_char_p, c_char_p, c_size_t),
    "lodge_metadata_json": (c_void_p, c_void_p),
    "lodge_vm_metadata": (c_int, c_void_p, c_void_p),
    "lodge_vm_start": (c_int, c_void_p),
    "lodge_vm_fd": (c_int, c_void_p),
    "lodge_vm_state": (c_int, c_void_p),
    "lodge_vm_pause": (c_int, c_void_p),
    "lodge_vm_resume": (c_int, c_void_p),
    "lodge_vm_change": (c_int, c_void_p, c_char_p, c_char_p),
    "lodge_vm_attach": (c_int, c_void_p, c_char_p, c_char_p),
    "lodge_vm_detach": (c_int, c_void_p, c_char_p),
    "lodge_vm_event_fd": (c_int, c_void_p),
    "lodge_vm_next_event": (c_int, c_void_p, POINTER(_Event)),
    "lodge_vm_wait": (c_int, c_void_p, c_int),
    "lodge_vm_result": (c_int, c_void_p, POINTER(_Result)),
    "lodge_vm_stop": (None, c_void_p),
    "lodge_vm_power_button": (None, c_void_p),
    "lodge_vm_ctrl_alt_del": (None, c_void_p),
    "lodge_vm_stats": (c_size_t, c_void_p, POINTER(_Stat), c_size_t),
    "lodge_vm_usage": (c_int, c_void_p, POINTER(_Usage)),
    "lodge_vm_cpu_times": (c_size_t, c_void_p, POINTER(c_uint64), c_size_t),
    "lodge_vm_device": (c_int, c_void_p, c_uint, c_char_p, c_size_t),
    "lodge_vm_device_stats": (c_int, c_void_p, c_char_p, POINTER(_Stat), c_size_t),
    "lodge_vm_error": (c_char_p, c_void_p),
}


def _load():
    """The library: that which LODGE_LIBRARY names, else the installed one."""
    library = ctypes.CDLL(os.environ.get("LODGE_LIBRARY", _SO))
    for name, (result, *arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


_lib = _load()
_libc = ctypes.CDLL(None)
_libc.free.restype, _libc.free.argtypes = None, (c_void_p,)


def version():
    """The library's version."""
    return _lib.lodge_version().decode()


class Metadata:
    """What guests may read by HTTP: one JSON value, given and shown as text. It may serve several
    VMs, and be changed while they run."""

    def __init__(self, text=None, limit=0):
        self.handle = _lib.lodge_metadata_new(limit)
        if not self.handle:
            raise MemoryError
        if text is not None:
            self.put(text)

    def __del__(self):
        _lib.lodge_metadata_free(self.handle)

    def _call(self, function, text):
        why = ctypes.create_string_buffer(512)
        rc = function(self.handle, text.encode(), why, len(why))
        if rc:
            raise Error(-rc, why.value.decode(errors="replace"))

    def put(self, text):
        """Replaces it."""
        self._call(_lib.lodge_metadata_put, text)

    def patch(self, text):
        """Changes it by a JSON merge patch."""
        self._call(_lib.lodge_metadata_patch, text)

    def text(self):
        """It, as compact JSON."""
        text = _lib.lodge_metadata_json(self.handle)
        if not text:
            raise MemoryError
        try:
            return ctypes.string_at(text).decode()
        finally:
            _libc.free(text)


class VM:
    """A virtual machine: configured by keywords, which are lodge-run(1)'s flags with '_' for '-'.

    A keyword's value may be a list where the flag may be given more than once.
    """

    def __init__(self, **settings):
        self._vm = _lib.lodge_vm_new()
        if not self._vm:
            raise MemoryError
        for name, value in settings.items():
            for each in value if isinstance(value, (list, tuple)) else [value]:
                self.set(name.replace("_", "-"), each)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Ends the VM if it runs, and frees it. More than once does no harm."""
        vm, self._vm = self._vm, None
        _lib.lodge_vm_free(vm)

    def _check(self, rc):
        if rc < 0:
            raise Error(-rc, _lib.lodge_vm_error(self._vm).decode())
        return rc

    def set(self, name, value):
        """Sets one configuration value; True and False are on and off."""
        text = {True: "on", False: "off"}.get(value) if isinstance(value, bool) else str(value)
        self._check(_lib.lodge_vm_set(self._vm, name.encode(), os.fsencode(text)))

    def start(self, stdin=-1, stdout=None):
        """Starts it. With stdout (a descriptor) the console is written there and None is returned;
        else a file is, from which it can be read."""
        if stdout is not None:
            self._check(_lib.lodge_vm_console(self._vm, stdin, stdout))
            self._check(_lib.lodge_vm_start(self._vm))
            return None
        reader, writer = os.pipe()
        try:
            self._check(_lib.lodge_vm_console(self._vm, stdin, writer))
            self._check(_lib.lodge_vm_start(self._vm))
        except Error:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        return os.fdopen(reader, "rb", buffering=0)

    def metadata(self, metadata):
        """Before start, with the setting "metadata" (may be ""): the guest reads this Metadata."""
        self._check(_lib.lodge_vm_metadata(self._vm, metadata.handle))

    def virtio_console(self, stdin, stdout):
        """Before start: hvc0 on these descriptors, -1 for none."""
        self._check(_lib.lodge_vm_virtio_console(self._vm, stdin, stdout))

    def window(self, columns, rows):
        """Tells the guest the size of the window that hvc0 is shown in."""
        _lib.lodge_vm_window(self._vm, columns, rows)

    def fileno(self):
        """A descriptor that polls readable once the VM has ended."""
        return _lib.lodge_vm_fd(self._vm)

    @property
    def state(self):
        """The State that it is in."""
        return State(_lib.lodge_vm_state(self._vm))

    def pause(self):
        """Has it stand still."""
        self._check(_lib.lodge_vm_pause(self._vm))

    def resume(self):
        """Lets it go on."""
        self._check(_lib.lodge_vm_resume(self._vm))

    def change(self, device, value):
        """Changes a device: "disk0", "size"."""
        self._check(_lib.lodge_vm_change(self._vm, device.encode(), value.encode()))

    def attach(self, kind, value):
        """Adds a device, a "disk" or "net"; its number: 1 for "disk1"."""
        return self._check(_lib.lodge_vm_attach(self._vm, kind.encode(), value.encode()))

    def detach(self, device):
        """Asks the guest to give a device back; an event tells what it has done."""
        self._check(_lib.lodge_vm_detach(self._vm, device.encode()))

    def stop(self):
        """Stops it at once."""
        _lib.lodge_vm_stop(self._vm)

    def power_button(self):
        """Presses the ACPI power button."""
        _lib.lodge_vm_power_button(self._vm)

    def ctrl_alt_del(self):
        """Presses these keys."""
        _lib.lodge_vm_ctrl_alt_del(self._vm)

    def events(self):
        """What has happened and was not asked for before."""
        found = []
        event = _Event()
        while self._check(_lib.lodge_vm_next_event(self._vm, byref(event))):
            found.append(Event(EventKind(event.kind), event.text.decode(), event.lost,
                               event.time, event.cpu_time))
        return found

    def event_fileno(self):
        """A descriptor that polls readable while there are events."""
        return _lib.lodge_vm_event_fd(self._vm)

    def wait(self, seconds=None):
        """Waits for the end; its Result. TimeoutError if it still runs after that time."""
        rc = _lib.lodge_vm_wait(self._vm, -1 if seconds is None else int(seconds * 1000))
        if rc == -errno.ETIMEDOUT:
            raise TimeoutError(errno.ETIMEDOUT, _lib.lodge_vm_error(self._vm).decode())
        self._check(rc)
        return self.result()

    def result(self):
        """How it ended."""
        r = _Result()
        self._check(_lib.lodge_vm_result(self._vm, byref(r)))
        return Result(End(r.end), r.code, r.text.decode(), r.dump.decode(), r.warnings.decode(),
                      r.lost, r.lost_error)

    def usage(self):
        """What it has and the processor time that it took: its Usage. After start."""
        usage = _Usage()
        if _lib.lodge_vm_usage(self._vm, byref(usage)):
            raise Error(errno.EINVAL, "the VM was not started")
        times = (c_uint64 * usage.cpus)()
        _lib.lodge_vm_cpu_times(self._vm, times, usage.cpus)
        return Usage(usage.engine.decode(), usage.cpus, usage.memory, usage.uptime / 1e9,
                     usage.cpu_time / 1e9, tuple(ns / 1e9 for ns in times))

    def stats(self):
        """Counters by name."""
        stats = (_Stat * _STATS_MAX)()
        n = _lib.lodge_vm_stats(self._vm, stats, _STATS_MAX)
        return {s.name.decode(): s.count for s in stats[:min(n, _STATS_MAX)]}

    def devices(self):
        """The names of the devices that have numbers of their own: ["disk0", "rng"]."""
        names, name = [], ctypes.create_string_buffer(16)
        while True:
            rc = _lib.lodge_vm_device(self._vm, len(names), name, len(name))
            if rc == -errno.ENOENT:
                return names
            self._check(rc)
            names.append(name.value.decode())

    def device_stats(self, device):
        """Numbers of a device, such as "disk0", by name."""
        stats = (_Stat * _STATS_MAX)()
        n = self._check(_lib.lodge_vm_device_stats(self._vm, device.encode(), stats, _STATS_MAX))
        return {s.name.decode(): s.count for s in stats[:min(n, _STATS_MAX)]}
