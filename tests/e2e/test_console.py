# SPDX-License-Identifier: Apache-2.0
"""The guest's serial console at the other end: pipes, files and terminals.

Most of it is shown by a bare guest that reads and writes the UART itself, so that every byte is
known; a shell in a Debian guest shows that a real driver agrees.  What the console does with much
is the same under every engine and is shown under bt: a byte is an exit, which in the lab's emulated
machine takes a tenth of a millisecond.
"""

import hashlib
import random
import re
import signal

import pytest

import bare
from lab import guests
from lab.host import Host
from place import NO_SELF_TESTS

MIB = 1 << 20

# 64 KiB without a byte that a terminal interprets.
TEXT = bytes(random.Random(2).choices(b"abcdefghijklmnopqrstuvwxyz0123456789 -.", k=65536))


def in_shell(machine, script, words, *flags, **options):
    """A bare guest by a shell script, in which "$@" is its command line."""
    engine = "bt" if isinstance(machine, Host) else "kvm"
    return machine.run(["sh", "-c", script, "sh", *bare.command(words, *flags, engine=engine)],
                       **options)


@pytest.fixture
def host():
    """This machine, for guests under bt."""
    return Host()


# Output


@pytest.mark.parametrize("machine, size", [("host", MIB), ("lab", 150_000)])
def test_a_slow_reader_loses_nothing(request, machine, size):
    """It begins when the guest has long been stopped by a full line, and dawdles."""
    machine = request.getfixturevalue(machine)
    done = in_shell(machine, "{ { \"$@\"; echo $? >&3; } | { sleep 3; dd bs=1000 count=50; "
                    "sleep 3; cat; } 2>/dev/null; } 3>&2", f"flood {size}", timeout=300)
    assert done.err == "0\n"
    assert done.stdout == bare.pattern(size)


def test_the_end_waits_for_a_slow_reader(host):
    """All fits into lodge's own buffer, the guest is gone at once; the reader begins later."""
    done = in_shell(host, "{ \"$@\"; echo $? >&2; } | { sleep 4; cat; }", "flood 120000",
                    timeout=120)
    assert done.err == "0\n"
    assert done.stdout == bare.pattern(120000)


def test_a_signal_ends_the_wait_for_a_reader(lab):
    done = in_shell(lab, "mkfifo /tmp/fifo$$; exec 3<>/tmp/fifo$$; \"$@\" >/tmp/fifo$$ & "
                    "sleep 3; kill -TERM $!; wait $!; echo status $?", "flood 120000", timeout=120)
    assert done.out == "status 130\n"


def test_a_reader_that_goes_away_costs_the_rest_and_nothing_else(host):
    done = in_shell(host, "{ { \"$@\"; echo $? >&3; } | head -n 1; } 3>&2", "flood 200000",
                    timeout=300)
    assert (done.stdout, done.err) == (bare.pattern(64), "0\n")


def test_a_file_gets_the_output_and_there_is_no_input(host, tmp_path):
    log = tmp_path / "log"
    log.write_text("old\n")
    done = in_shell(host, "echo typed | \"$@\"; echo $?", "flood 100000", "--console",
                    f"file={log}", timeout=120)
    assert (done.out, done.err) == ("0\n", "")
    assert log.read_bytes() == bare.pattern(100000)


def test_a_fifo_with_a_reader_gets_the_output(host, tmp_path):
    fifo = tmp_path / "fifo"
    done = in_shell(host, f"mkfifo {fifo}; cat {fifo} & sleep 1; \"$@\"; echo $? >&2; wait",
                    "flood 100000", "--console", f"file={fifo}", timeout=120)
    assert done.err == "0\n"
    assert done.stdout == bare.pattern(100000)


@pytest.mark.parametrize("machine, size", [("host", 100_000), ("lab", 2_000)])
def test_no_console_is_silent(request, machine, size):
    machine = request.getfixturevalue(machine)
    done = in_shell(machine, "exec \"$@\"", f"flood {size}", "--console", "none", stdin=b"typed",
                    timeout=120)
    assert (done.status, done.stdout, done.stderr) == (0, b"", b"")


# Input


@pytest.mark.parametrize("machine, size", [("host", 20_000), ("lab", 2_000)])
def test_piped_input_comes_whole(request, machine, size):
    machine = request.getfixturevalue(machine)
    data = bytes(random.Random(1).randrange(256) for _ in range(size))
    done = in_shell(machine, "exec \"$@\"", f"echo {len(data)}", stdin=data, timeout=300)
    assert done.status == 0, done.err
    assert done.stdout == b"bare\n" + data


@pytest.mark.parametrize("source", ["</dev/null", "<&-", "</tmp/empty"])
def test_no_input_is_no_harm(lab, source):
    done = in_shell(lab, f": >/tmp/empty; \"$@\" {source}; echo $?", "flood 1000")
    assert (done.out, done.err) == (bare.pattern(1000).decode() + "0\n", "")


@pytest.mark.parametrize("source", ["</dev/null", "<&-", "<>/tmp/never"])
def test_a_signal_still_counts_without_input(lab, source):
    """A closed standard input must not become the name of another descriptor."""
    done = in_shell(lab, "rm -f /tmp/never; mkfifo /tmp/never; : >/tmp/said; "
                    f"\"$@\" {source} >/tmp/said & "
                    "until grep -q bare /tmp/said; do sleep 0.1; done; sleep 1; "
                    "kill -TERM $!; wait $!; s=$?; cat /tmp/said; echo $s", "wait")
    assert (done.out, done.err) == ("bare\n130\n", "")


def test_a_file_as_input(host, tmp_path):
    data = TEXT[:8000]
    (tmp_path / "typed").write_bytes(data)
    done = in_shell(host, f"\"$@\" <{tmp_path / 'typed'}", f"echo {len(data)}", timeout=300)
    assert (done.status, done.stdout) == (0, b"bare\n" + data)


# A shell in a Debian guest


def shell(lab, kernel, initrd, script, **options):
    """lodge's result for a guest whose shell was sent `script`."""
    return lab.run(["lodge", "run", "--engine", "kvm", "--kernel", kernel("cloud"), "--initrd",
                    initrd(), "--cmdline",
                    f"console=ttyS0 {NO_SELF_TESTS} quiet lodge.do=shell"],
                   stdin=script, timeout=300, **options)


def test_commands_piped_in_reach_the_guests_shell(lab, kernel, initrd):
    """All of it lies in the pipe before the guest's first instruction. (BusyBox's shell, which asks
    the terminal for its cursor's place, takes the first byte for the answer: an empty line.)"""
    lines = "".join(f"echo line-$(({n} * 7))\n" for n in range(200))
    done = shell(lab, kernel, initrd, f"\nstty -echo\n{lines}exit\n")
    assert done.status == 0, done.err
    said = [line for line in done.out.replace("\r", "").splitlines() if "$((" not in line]
    assert re.findall(r"line-(\d+)", "\n".join(said)) == [str(n * 7) for n in range(200)]


def test_a_large_input_reaches_a_program_in_the_guest(lab, kernel, initrd):
    """64 KiB at once, to a program that reads: in raw mode, as the terminal's own line discipline
    takes at most 4,095 characters a line."""
    session = lab.spawn(["lodge", "run", "--engine", "kvm", "--kernel", kernel("cloud"),
                         "--initrd", initrd(), "--cmdline",
                         f"console=ttyS0 {NO_SELF_TESTS} quiet lodge.do=shell"], timeout=300)
    session.expect(guests.MARKER, timeout=200)
    session.send("\nstty raw -echo; echo rea''dy; head -c 65536 | md5sum; stty sane; exit\n")
    session.expect("ready", timeout=100)
    session.send(TEXT)
    session.expect(hashlib.md5(TEXT).hexdigest(), timeout=200)
    assert session.wait(timeout=60).status == 0


# A terminal


def on_terminal(lab, words, *flags):
    """A bare guest on a pseudo-terminal, between two looks at the terminal's settings. The shell
    outlives the signals that its lodge gets."""
    return lab.spawn(["sh", "-c", "trap : 1 2 3 15; echo before $(stty -g); \"$@\"; "
                      "echo status $?; echo after $(stty -g)", "sh", *bare.command(words, *flags)],
                     pty=True, timeout=120)


def finished(session):
    """lodge's exit status; the terminal's settings must be those of before."""
    output = session.wait(timeout=60).out.replace("\r", "")
    before, after = (re.search(rf"{word} (\S+)$", output, re.M)[1] for word in ("before", "after"))
    assert before == after, output
    return int(re.search(r"status (\d+)$", output, re.M)[1])


def test_keys_reach_the_guest_raw(lab):
    """Ctrl-C, Ctrl-Z, Ctrl-D, Ctrl-S and a carriage return are the guest's; Ctrl-A a is Ctrl-A."""
    session = on_terminal(lab, "echo 7")
    session.expect("bare")
    session.send(b"\x03\x1a\x04\x13\r\x01a\x01\x01")
    session.expect(re.escape("\x03\x1a\x04\x13\r\x01\x01"))
    assert finished(session) == 0


def test_the_escape_quits(lab):
    session = on_terminal(lab, "spin")
    session.expect("bare")
    session.send(b"\x01x")
    assert finished(session) == 130


def test_the_escape_helps(lab):
    session = on_terminal(lab, "echo 1")
    session.expect("bare")
    session.send(b"\x01h")
    for key in "xpcah":
        session.expect(f"Ctrl-A {key}  ")
    session.send(b"!")
    session.expect("!")
    assert finished(session) == 0


def test_the_escape_gets_through_a_guest_that_reads_nothing(lab):
    session = on_terminal(lab, "wait")
    session.expect("bare")
    for _ in range(40):
        session.send(TEXT[:4000])
    session.send(b"\x01x")
    assert finished(session) == 130


def test_the_power_button(lab):
    session = on_terminal(lab, "button")
    session.expect("bare")
    session.send(b"\x01p")
    session.expect("pressed")
    assert finished(session) == 0


def test_ctrl_alt_del(lab):
    """In the codes of set 1, to which the controller translates."""
    session = on_terminal(lab, "keys")
    session.expect("bare")
    session.send(b"\x01c")
    session.expect(r"1d\s+38\s+(e0\s+)?53")
    assert finished(session) == 0


@pytest.mark.parametrize("number", [1, 2, 3, 15])
def test_a_signal_restores_the_terminal(lab, number):
    session = on_terminal(lab, "wait")
    session.expect("bare")
    session.signal(number)
    assert finished(session) == 130


def test_the_time_limit_restores_the_terminal(lab):
    session = on_terminal(lab, "spin", "--timeout", "2")
    assert finished(session) == 124


def test_a_crash_restores_the_terminal(lab):
    session = on_terminal(lab, "fault")
    assert finished(session) == 10


@pytest.mark.parametrize("ignored, status", [("", 130), ("trap '' HUP INT QUIT;", 0)])
@pytest.mark.parametrize("number", ["HUP", "INT", "QUIT"])
def test_a_signal_that_is_ignored_from_the_start_stays_so(lab, number, ignored, status):
    """As nohup(1) has it: then TERM alone ends lodge, and here the guest does by itself."""
    session = lab.spawn(["sh", "-c", f"{ignored} exec \"$@\"", "sh", *bare.command("echo 1")],
                        timeout=60)
    session.expect("bare")
    for _ in range(3):
        session.signal(getattr(signal, f"SIG{number}"))
    session.send("!")
    assert session.wait().status == status
