"""Small helpers: temporary folders, free ports, waiting, processes that are ended by their pid."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time


class Failure(AssertionError):
    """A test's expectation that did not hold."""


def check(condition, *what):
    if not condition:
        raise Failure(" ".join(str(w) for w in what) or "check failed")


def check_in(needle, hay, what=""):
    if needle not in hay:
        raise Failure(f"{what or 'text'}: expected {needle!r} in:\n{_short(hay)}")


def check_not_in(needle, hay, what=""):
    if needle in hay:
        raise Failure(f"{what or 'text'}: did not expect {needle!r} in:\n{_short(hay)}")


def check_eq(got, want, what=""):
    if got != want:
        raise Failure(f"{what or 'value'}: got {_short(got)}, wanted {_short(want)}")


def _short(value, limit=4000):
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= limit else text[:limit] + f"… ({len(text)} in all)"


def temp_dir(name):
    path = tempfile.mkdtemp(prefix=f"sluice-{name}-{os.getpid()}-")
    os.chmod(path, 0o755)
    return path


def remove_dir(path):
    shutil.rmtree(path, ignore_errors=True)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_until(condition, seconds, what, step=0.02):
    """Return the first true value of condition(); Failure when there is none in time."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"waited {seconds} s for {what() if callable(what) else what}")
        time.sleep(step)


def run(args, check_rc=True, timeout=60, **kw):
    """Run a command; its CompletedProcess with text output. Failure when it fails and should not."""
    kw.setdefault("stdin", subprocess.DEVNULL)
    done = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout,
                          text=True, errors="replace", **kw)
    if check_rc and done.returncode != 0:
        raise Failure(f"{' '.join(map(str, args))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return f.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def end(process, seconds=5, sig=signal.SIGTERM):
    """End a Popen of ours: politely, then not."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(sig)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)
    return process.returncode


def children(pid):
    """Pids whose parent is pid."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", encoding="ascii", errors="replace") as f:
                fields = f.read().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] not in ("Z", "X"):
            found.append(int(entry))
    return sorted(found)


def cgroup2_root():
    """Where cgroup v2 is mounted on this host."""
    with open("/proc/mounts", encoding="utf-8") as f:
        for line in f:
            fields = line.split()
            if fields[2] == "cgroup2":
                return fields[1]
    raise Failure("cgroup v2 is not mounted")
