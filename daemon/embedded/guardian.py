"""Stands between a parent and the programs it starts, so that none of them outlives the parent.

Run by file path (`python -I -S guardian.py [FOLDER]`): the standard library is all it needs, so it
starts in some 30 ms. It lives in a session of its own, where Ctrl-C at the terminal does not reach
it: the parent decides in which order its parts stop. It holds one temporary folder, if a path is
given, and one child at a time.

Orders are JSON objects, one a line, on standard input:

    {"order": "start", "argv": [...], "env": {...} | null, "cwd": "/", "log_path": "..." | null,
     "user": [uid, gid] | null, "stop_signal": 15, "grace_s": 10.0}
    {"order": "signal", "signal": 9}      to the child, if it has not ended
    {"order": "stop"}                     stop_signal, then SIGKILL to its group after grace_s

Reports are JSON objects, one a line, on standard output:

    {"report": "ready"} {"report": "started", "pid": 1} {"report": "refused", "reason": "..."}
    {"report": "ended", "status": 0}      negative: the signal that ended it

When standard input ends, because the parent closed it or died, by SIGKILL too, the child is
stopped, the folder is removed, and the guardian ends. Environment variables travel in the order and
not in arguments, because every user of the machine can read arguments.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

ORDERS_FD = 0
REPORTS_FD = 1
READ_BYTES = 65_536
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
REMOVE_ATTEMPTS = 50
REMOVE_PAUSE_S = 0.1
ADOPTED_GRACE_S = 10.0
ADOPTED_POLL_S = 0.01


class Child:
    """One running command, leader of its own process group."""

    def __init__(self, order: dict[str, Any]) -> None:
        """Start what the order says; raises OSError or subprocess.SubprocessError."""
        self.stop_signal = int(order["stop_signal"])
        self.grace_s = float(order["grace_s"])
        self.kill_at: float | None = None
        uid, gid = order["user"] or (None, None)
        with open_log(order["log_path"]) as log:
            self.process = subprocess.Popen(
                order["argv"],
                env=order["env"],
                cwd=order["cwd"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                user=uid,
                group=gid,
                extra_groups=None if uid is None else [],
                process_group=0,
                preexec_fn=ask_for_death_signal(self.stop_signal),
            )

    def signal(self, number: int) -> None:
        """Signal the child alone. It is reaped only here, so its pid cannot be another's yet."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, number)

    def stop(self) -> None:
        """Ask it to end; the first request sets the time after which it is killed."""
        if self.kill_at is None:
            self.kill_at = time.monotonic() + self.grace_s
            self.signal(self.stop_signal)

    def kill_if_due(self) -> None:
        if self.kill_at is not None and time.monotonic() >= self.kill_at:
            self.kill_group()

    def kill_group(self) -> None:
        # A group whose only member is a zombie answers EPERM on macOS and ESRCH elsewhere.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def reap(self) -> int | None:
        """Status of a child that has ended, None while it runs. What it left behind is ended.

        Its group is killed while the zombie still holds the group's number.
        """
        if os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return None
        self.kill_group()
        status = self.process.wait()
        end_adopted()
        return status


class Guardian:
    """Reads orders, watches the child, ends when the orders do."""

    def __init__(self, wake_fd: int) -> None:
        self.wake_fd = wake_fd
        self.child: Child | None = None
        self.buffer = b""
        self.closing = False

    def serve(self) -> None:
        while self.child is not None or not self.closing:
            self.turn()

    def turn(self) -> None:
        watched = [self.wake_fd] if self.closing else [ORDERS_FD, self.wake_fd]
        readable, _, _ = select.select(watched, [], [], self.pause_s())
        if self.wake_fd in readable:
            self.read_signals()
        if ORDERS_FD in readable:
            self.read_orders()
        if self.child is not None:
            self.child.kill_if_due()
            self.report_end(self.child)

    def pause_s(self) -> float | None:
        if self.child is None or self.child.kill_at is None:
            return None
        return max(0.05, self.child.kill_at - time.monotonic())

    def read_signals(self) -> None:
        received = set(os.read(self.wake_fd, READ_BYTES))
        if received & {signal.SIGTERM, signal.SIGHUP}:
            self.close()

    def read_orders(self) -> None:
        chunk = os.read(ORDERS_FD, READ_BYTES)
        *lines, self.buffer = (self.buffer + chunk).split(b"\n")
        for line in lines:
            self.obey(json.loads(line))
        if not chunk:
            self.close()

    def obey(self, order: dict[str, Any]) -> None:
        if order["order"] == "start":
            self.start(order)
        elif self.child is not None and order["order"] == "signal":
            self.child.signal(order["signal"])
        elif self.child is not None and order["order"] == "stop":
            self.child.stop()

    def start(self, order: dict[str, Any]) -> None:
        try:
            self.child = Child(order)
        except (OSError, subprocess.SubprocessError) as error:
            report(report="refused", reason=str(error))
        else:
            report(report="started", pid=self.child.process.pid)

    def close(self) -> None:
        self.closing = True
        if self.child is not None:
            self.child.stop()

    def report_end(self, child: Child) -> None:
        status = child.reap()
        if status is not None:
            self.child = None
            report(report="ended", status=status)


@contextlib.contextmanager
def open_log(path: str | None) -> Iterator[int]:
    """Descriptor to append to; a log may quote secrets, so only its owner may read it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    fd = os.open(os.devnull if path is None else path, flags, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


def ask_for_death_signal(number: int) -> Callable[[], None] | None:
    """On Linux the kernel signals the child even if the guardian itself is killed with SIGKILL."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)


def adopt_orphans() -> None:
    """On Linux, become the parent of every descendant whose own parent has ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_adopted() -> None:
    """End and reap what the child started and left, in whatever session or group.

    They are asked first, because one of them may be a guardian with parts of its own to stop.
    PostgreSQL's processes, each in its own session, take no longer than they need to see that their
    postmaster is gone.
    """
    kill_at = time.monotonic() + ADOPTED_GRACE_S
    asked: set[int] = set()
    while pids := adopted():
        late_s = time.monotonic() - kill_at
        if late_s > ADOPTED_GRACE_S:
            print(f"guardian: could not end {pids}", file=sys.stderr)
            return
        # Only we reap them, so none of the numbers can have become another process's.
        with contextlib.suppress(PermissionError):
            for pid in pids if late_s > 0 else pids - asked:
                os.kill(pid, signal.SIGKILL if late_s > 0 else signal.SIGTERM)
        asked |= pids
        time.sleep(ADOPTED_POLL_S)
        while reaped := reap_any():
            asked.discard(reaped)


def reap_any() -> int:
    """Number of a child that has ended, 0 if there is none."""
    with contextlib.suppress(ChildProcessError):
        return os.waitpid(-1, os.WNOHANG)[0]
    return 0


def adopted() -> set[int]:
    """Children of this process, now that the one it started is reaped. Empty where not Linux."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as children:
            return {int(pid) for pid in children.read().split()}
    except FileNotFoundError:
        return set()


def report(**fields: object) -> None:
    # A parent that is gone cannot listen; what it started must be stopped all the same.
    with contextlib.suppress(BrokenPipeError):
        os.write(REPORTS_FD, json.dumps(fields).encode() + b"\n")


def watch_signals() -> int:
    """Descriptor on which every signal received can be read as one byte, its number.

    Handlers, not SIG_IGN: a command that we start would inherit an ignored signal.
    """
    wake_fd, alarm_fd = os.pipe()
    os.set_blocking(alarm_fd, False)
    signal.set_wakeup_fd(alarm_fd, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    return wake_fd


def remove(folder: str) -> None:
    """Remove the folder, though processes that are just dying may still write into it."""
    for _ in range(REMOVE_ATTEMPTS):
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.lexists(folder):
            return
        time.sleep(REMOVE_PAUSE_S)
    print(f"guardian: could not remove {folder}", file=sys.stderr)


def main() -> None:
    wake_fd = watch_signals()
    adopt_orphans()
    folder = sys.argv[1] if len(sys.argv) > 1 else None
    if folder is not None:
        os.mkdir(folder, 0o700)
    try:
        report(report="ready")
        Guardian(wake_fd).serve()
    finally:
        if folder is not None:
            remove(folder)


if __name__ == "__main__":
    main()
