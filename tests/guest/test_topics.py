# SPDX-License-Identifier: Apache-2.0
"""Ring-0 guests, a topic each, that judge the processor they run on: under kvm in the lab and under
the software engine, with the same verdicts."""

import re
import subprocess

import build
import pytest

from lab import product

# What the lab's processor, QEMU's TCG, does otherwise than the manuals (and than processors): with
# kvm there, these verdicts fail; under bt none may. Under SVM it does not check segment limits and
# types, reserved bits of control registers, CR3, MXCSR and MSRs, DR7.GD, #NM for MMX; does not push
# RF; has no INT1, no #XM, no P in the error code of a reserved bit, and other error codes for IDT
# entries in 64-bit mode; and does not tell KVM of XSETBV. What modifies memory it reads first, so
# that a page not there is missed by a read (processors tell of a write); IRET's reads of a stack of
# ring 3 it makes as ring 0. It looks for LOCK, privilege, CR0.TS and pages before it finds that
# there is no such instruction, #AC or #MF due; has #GP for #SS of addresses that are none; does not
# hold data breakpoints off after MOV SS. VMRUN does not restore the interrupt shadow: where an
# interrupt of the lab's kernel ends the guest right behind STI, the next one may come too early.
TCG = {
    # KVM does not look whether CPUID has VME, which TCG's does not.
    "cpuid": ["CR4.VME", "CR4.PVI", "  reads back", "room for XCR0"],
    "crossing": [f"{operation}: {page}"
                 for operation in ("ADD to 2", "ADD to 8", "LOCK ADD", "INC", "SHL", "XCHG", "XADD",
                                   "CMPXCHG, not equal", "LOCK CMPXCHG", "CMPXCHG8B", "LOCK BTS")
                 for page in ("the second page absent", "the second ring 0's, in ring 3",
                              "the first absent")]
                + ["IRET: the upper page absent", "IRET: the lower page absent"],
    "debug": ["general detect", "  DR6.BD", "  GD is cleared", "INT1"],
    "fpu": ["MMX with TS", "MMX with EM", "an unmasked SSE exception",
            "  without OSXMMEXCPT", "reserved bits in MXCSR", "FXRSTOR with reserved bits in MXCSR",
            "CPUID.D: size for XCR0", "with XCR0.AVX"],
    "gates": ["  RF is pushed set", "int n in ring 3 through a DPL 0 gate",
              "a gate of the wrong type", "a gate not present",
              "an exception's gate not present", "#UD, then #NP: one after the other"],
    "msrs": ["LSTAR above the lower half", "CSTAR below the upper half",
             "GS.base not canonical"],
    "order": ["LOCK MOV, in no page: #UD", "LOCK HLT in ring 3: #UD", "MOV from CR5 in ring 3: #UD",
              "  by RBP: #SS", "  of PUSH in ring 3: #SS", "misaligned with AC, in no page: #AC",
              "TS and EM, SSE: #UD", "an x87 exception waits, the operand in no page: #MF",
              "  behind the next instruction",
              "  one instruction later", "  nothing", "  until then",
              "  the second holds nothing off",
              "an interrupt, then #NP: its error code says so"],
    "paging": ["address too high in a PTE", "reserved bit in a 1 GiB entry",
               "reserved bit in a 2 MiB entry", "NX is reserved without EFER.NXE",
               "store beyond the canonical half", "CR0 above bit 31", "CR4 reserved"],
    "paging32": ["a pointer changed in memory only", "a reserved bit in a pointer",
                 "a reserved bit in an entry"],
    "real32": ["a word at FFFF: #GP", "  in SS: #SS"],
    "segments32": ["beyond the limit", "across the limit", "wrapped", "beyond it",
                   "expand-down, at the limit", "expand-down, below",
                   "expand-down 16 bits, at 64 KiB", "read-only, write", "readable code, write",
                   "null, used"],
    "shadow": ["no interrupt between STI and the next page"],  # as "wake"
    "syscall": ["FS.base not canonical", "LSTAR not canonical",
                "KERNEL_GS_BASE not canonical"],
    "wake": ["no interrupt comes between STI and HLT"],  # see docs/lab.md
}

CPUS = {"cpuid": 4, "patch": 2, "remap": 2, "smp": 4, "wake": 8}
# Of those, the ones that have something to do with one processor, too.
ALONE = {"remap"}


def cpus(topic, engine):
    """How many processors; "bt,check" has one."""
    return 1 if engine == "bt,check" else CPUS.get(topic, 1)


def command(topic, engine):
    return ["lodge", "run", "--engine", engine, "--cpus", str(cpus(topic, engine)),
            "--memory", "64M", "--timeout", "100", "--kernel", build.kernel(topic)]


def judge(text, may_fail=()):
    """Verdicts in text; asserts that all are there and good but those in may_fail."""
    verdicts = re.findall(r"^(ok  |FAIL) (.*?)(?:: got .*)?\r?$", text, re.M)
    made = re.search(r"^checks ([0-9a-f]+) failures", text, re.M)
    assert made and int(made[1], 16) == len(verdicts) > 0, text[-3000:]
    bad = [name for verdict, name in verdicts if verdict == "FAIL" and name not in may_fail]
    assert not bad, text[-3000:]


def whole(topic, text):
    """Asserts that of what "wake" writes while other processors look at the UART all is there."""
    lines = re.findall(r"^line ([0-9a-f]+) of what is written while others look at the line's "
                       r"status\r?$", text, re.M)
    assert lines == ([f"{n:x}" for n in range(100)] if topic == "wake" else []), text[-3000:]


def ways():
    """(engine, topic): the software engine in its ways. Held against itself block by block it
    has one processor; and "crossing", which counts bytes by the million, then takes long."""
    for engine in ("bt", "bt,eager", "bt,hot", "bt,interp", "bt,check"):
        for topic in build.topics():
            if engine == "bt,check" and topic in CPUS and topic not in ALONE:
                continue
            slow = engine == "bt,check" and topic == "crossing"
            yield pytest.param(engine, topic, marks=pytest.mark.slow if slow else ())


@pytest.mark.parametrize("engine, topic", ways())
def test_bt(engine, topic):
    words = command(topic, engine)
    words[0] = product.lodge()
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    judge(done.stdout)
    whole(topic, done.stdout)


@pytest.mark.parametrize("topic", build.topics())
def test_kvm(lab, topic):
    done = lab.run(command(topic, "kvm"), timeout=150)
    assert done.status == 0, done.out[-2000:] + done.err[-2000:]
    judge(done.out, TCG.get(topic, ()))
    whole(topic, done.out)
