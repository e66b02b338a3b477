"""What a run of tests makes is gone when the run is: however the run ended, and if it was killed, at the next one.

Everything bears the runner's pid in its name: `/tmp/sluice-KIND-PID-…`, `sluice-tPID-N` below the cgroup
root and in bpffs. So leftovers of a runner that is no more can be told from what another runs right now.
"""

import contextlib
import ctypes
import os
import re
import shutil
import signal
import sys
import tempfile

from .util import alive, cgroup2_root, wait_until

BPFFS = "/sys/fs/bpf"
PR_SET_PDEATHSIG, MNT_DETACH = 1, 2
_libc = ctypes.CDLL(None, use_errno=True)

_runner = os.getpid()
# Fixtures that are in use, oldest first.
_live = []


def register(fixture):
    _live.append(fixture)


def unregister(fixture):
    with contextlib.suppress(ValueError):
        _live.remove(fixture)


def in_use(fixture):
    return fixture in _live


def close_all():
    """Close what is still in use, latest first; what went wrong on the way."""
    problems = []
    while _live:
        fixture = _live.pop()
        try:
            fixture.close()
        except Exception as e:
            problems.append(f"{type(fixture).__name__}: {e}")
    return problems


def dies_with_us():
    """For preexec_fn of a child that would outlive a killed runner: it gets SIGTERM when we end, and hears it."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != _runner:
        os._exit(1)


def owner_is_gone(name):
    found = re.match(r"sluice-(?:t|[a-z]+-)(\d+)-", name)
    return found is not None and not alive(int(found.group(1)))


def processes_below(folder):
    pids = []
    for path, _, files in os.walk(folder):
        if "cgroup.procs" in files:
            with contextlib.suppress(OSError), open(os.path.join(path, "cgroup.procs"), encoding="ascii") as f:
                pids += [int(line) for line in f.read().split()]
    return pids


def remove_cgroup(folder):
    """End what runs below a cgroup of ours, and the cgroup. Whether it is gone."""
    for pid in processes_below(folder):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def gone():
        for path, _, _ in os.walk(folder, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(path)
        return not os.path.exists(folder)
    with contextlib.suppress(Exception):
        wait_until(gone, 5, "a cgroup to go", step=0.05)
    return not os.path.exists(folder)


def end_postgres(folder):
    """The server of a data folder that nobody owns any more."""
    with contextlib.suppress(OSError, ValueError):
        with open(os.path.join(folder, "data/postmaster.pid"), encoding="ascii") as f:
            pid = int(f.readline())
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            ours = folder.encode() in f.read()
        if ours:
            os.kill(pid, signal.SIGQUIT)
            with contextlib.suppress(Exception):
                wait_until(lambda: not alive(pid), 10, "PostgreSQL to end", step=0.05)


def sweep():
    """Remove what runs that were killed have left; their names. First the processes, then what holds them."""
    found = []
    root = cgroup2_root()
    for place, remove in ((root, remove_cgroup), (BPFFS, shutil.rmtree), (tempfile.gettempdir(), remove_temp)):
        with contextlib.suppress(FileNotFoundError):
            for name in sorted(os.listdir(place)):
                path = os.path.join(place, name)
                if name.startswith("sluice-") and owner_is_gone(name):
                    found.append(path)
                    with contextlib.suppress(OSError):
                        remove(path)
    return found


def leftovers():
    """What bears this run's own pid and is still there."""
    pattern = re.compile(rf"sluice-(?:t|[a-z]+-){os.getpid()}-")
    found = []
    for place in (cgroup2_root(), BPFFS, tempfile.gettempdir()):
        with contextlib.suppress(FileNotFoundError):
            found += [os.path.join(place, n) for n in os.listdir(place) if pattern.match(n)]
    return found


def remove_temp(path):
    end_postgres(path)
    with open("/proc/mounts", encoding="utf-8") as f:
        for mount in [line.split()[1] for line in f]:
            if mount.startswith(path + "/"):
                _libc.umount2(mount.encode(), MNT_DETACH)
    shutil.rmtree(path, ignore_errors=True)


class Interrupted(BaseException):
    """Somebody wants the run to end. Not an Exception: no test may catch it."""


def end_on_signals():
    def stop(number, _):
        # Once is enough: what follows is cleaning up, which must not be cut short.
        ignore_signals()
        raise Interrupted(signal.Signals(number).name)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)


def ignore_signals():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    for path in sweep():
        print("removed", path)
    sys.exit(0)
