#!/usr/bin/python3
"""End-to-end tests: real kernel, real PostgreSQL, real containers. As root.

Usage: tests/e2e/run.py [--build DIR] [--logs DIR] [--count FILE] [--list] [NAME…]
NAME: a part of `module.test`, e.g. `masks` or `approvals.test_deny`. Prints one line a test.
"""

import argparse
import contextlib
import faulthandler
import glob
import importlib
import inspect
import io
import os
import signal
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

from sluicetest import cleanup  # noqa: E402

# One test may take this long, unless it says otherwise (@seconds).
TEST_SECONDS = 90


class TooLong(BaseException):
    """Not an Exception: what a test expects to go wrong, and catches, is something else."""


def on_alarm(*_):
    raise TooLong("the test took too long")


def collect(names):
    tests = []
    for path in sorted(glob.glob(os.path.join(HERE, "test_*.py"))):
        module = importlib.import_module(os.path.basename(path)[:-3])
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if name.startswith("test_") and function.__module__ == module.__name__:
                full = f"{module.__name__[5:]}.{name[5:]}"
                if not names or any(n in full for n in names):
                    tests.append((full, function))
    # In the order they are written, file by file.
    return sorted(tests, key=lambda t: (t[1].__module__, t[1].__code__.co_firstlineno))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=os.path.join(HERE, "../../build"))
    parser.add_argument("--logs")
    parser.add_argument("--count")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    faulthandler.enable()
    tests = collect(options.names)
    if options.list:
        print("\n".join(name for name, _ in tests))
        return 0
    if options.logs:
        os.makedirs(options.logs, exist_ok=True)
    signal.signal(signal.SIGALRM, on_alarm)
    cleanup.end_on_signals()
    for path in cleanup.sweep():
        print(f"      left by a run that was killed, removed: {path}", flush=True)
    passed, failed = run_all(tests, options)
    if options.count:
        with open(options.count, "w", encoding="ascii") as f:
            f.write(f"{passed} {failed}\n")
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed or not passed else 0


def run_all(tests, options):
    from sluicetest.world import World
    passed = failed = 0
    world = None
    try:
        try:
            world = World(options.build)
        except Exception:
            print("FAIL  e2e: could not set the stage\n" + traceback.format_exc(), flush=True)
            failed = len(tests)
            tests = []
        for name, function in tests:
            begin = time.monotonic()
            problem = run_one(function, world)
            took = time.monotonic() - begin
            if problem:
                failed += 1
                print(f"FAIL  e2e {name} ({took:.1f} s)\n{indent(problem)}", flush=True)
                # What it did before it failed is not to fail others.
                with contextlib.suppress(Exception):
                    world.pg.reset()
            else:
                passed += 1
                print(f"ok    e2e {name} ({took:.1f} s)", flush=True)
            if not healthy(world):
                print("      the shared sluiced is not well: another is started", flush=True)
                keep_log(world, options, name)
                failed += 1
                renew(world)
        keep_log(world, options, "world")
    except cleanup.Interrupted as e:
        failed += 1
        print(f"FAIL  e2e: ended by {e}; clearing away", flush=True)
    finally:
        # Whatever happens now, what was made is removed first.
        cleanup.ignore_signals()
        problems = cleanup.close_all() + cleanup.leftovers()
        if problems:
            failed += 1
            print("FAIL  e2e nothing is left behind\n" + indent("\n".join(problems)), flush=True)
        else:
            passed += 1
            print("ok    e2e nothing is left behind", flush=True)
    return passed, failed


def run_one(function, world):
    signal.alarm(getattr(function, "seconds", TEST_SECONDS))
    try:
        function(world)
        return None
    except (Exception, TooLong):
        return traceback.format_exc()
    finally:
        signal.alarm(0)


def healthy(world):
    with contextlib.suppress(Exception):
        return world.sluice.process.poll() is None and world.sluice.ctl("status").returncode == 0
    return False


def renew(world):
    for part in ("_agent", "_free"):
        if getattr(world, part):
            getattr(world, part).close()
            setattr(world, part, None)
    with contextlib.suppress(Exception):
        world.sluice.close(checked=False)
    world.sluice = world.new_sluice()


def keep_log(world, options, name):
    if options.logs and world and world.sluice:
        with open(os.path.join(options.logs, f"{name}.log"), "w", encoding="utf-8") as f:
            f.write(world.sluice.log())


def indent(text):
    return "\n".join("      " + line for line in text.rstrip().splitlines()[-40:])


if __name__ == "__main__":
    # Output may be a pipe that somebody reads slowly; never lose it.
    sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", errors="replace", line_buffering=True)
    sys.exit(main())
