"""Many sessions, large results, bounded memory."""

import threading
import time

from sluicetest.util import check, check_eq, check_in, wait_until


def seconds(n):
    def mark(f):
        f.seconds = n
        return f
    return mark


def rss_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        for line in f:
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0


class Watch:
    """The largest resident size of some processes while it runs."""

    def __init__(self, pids):
        self.pids, self.peak, self.done = pids, 0, False
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        while not self.done:
            for pid in self.pids:
                try:
                    self.peak = max(self.peak, rss_kib(pid))
                except OSError:
                    pass
            time.sleep(0.05)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.done = True
        self.thread.join()


BIG = """
import sys, struct
sys.path.insert(0, "/agent")
from pgraw import *
r = Raw(timeout=120); r.startup(); r.send(query({sql!r}))
total = 0
while True:
    data = r.sock.recv(1 << 20)
    if not data: break
    total += len(data)
    tail = (tail + data)[-6:] if total > len(data) else data[-6:]
    if tail == b"Z\\0\\0\\0\\5I": break
print(total)
"""


@seconds(240)
def test_1_gb_result_in_bounded_memory(w):
    with Watch(w.sluice.roles()["worker"]) as watch:
        out = w.free.python(BIG.format(sql="SELECT repeat('x', 1000) FROM generate_series(1, 1000000)"), timeout=200)
    check(int(out) > 1_000_000_000, out)
    check(watch.peak < 64 * 1024, f"a worker grew to {watch.peak} KiB")


@seconds(120)
def test_slow_reader_of_a_large_result(w):
    """A client that does not read holds back the server, not the worker's memory."""
    with Watch(w.sluice.roles()["worker"]) as watch:
        out = w.free.python(BIG.format(sql="SELECT repeat('x', 100000) FROM generate_series(1, 2000)").replace(
            "total = 0", "total = 0; import time; time.sleep(3)"), timeout=100)
    check(int(out) > 200_000_000, out)
    check(watch.peak < 64 * 1024, f"a worker grew to {watch.peak} KiB")


@seconds(120)
def test_large_masked_result(w):
    """Masked rows stream too."""
    w.pg.sql("INSERT INTO orders (customer_id, item, amount) SELECT 1, repeat('y', 2000), i FROM generate_series(1, 100) i")
    try:
        with Watch(w.sluice.roles()["worker"]) as watch:
            out = w.agent.python("""
import psycopg2
c = psycopg2.connect("host=db.internal dbname=customers"); cur = c.cursor("x"); cur.itersize = 5000
cur.execute("SELECT c.ssn, o.item FROM customers c, orders o, orders p")
n = bad = 0
for ssn, item in cur:
    n += 1; bad += not ssn.startswith("***-**-")
print(n, bad)
""", timeout=100)
        check_eq(out.split(), ["112500", "0"])
        check(watch.peak < 64 * 1024, f"a worker grew to {watch.peak} KiB")
    finally:
        w.pg.reset()


@seconds(180)
def test_200_concurrent_sessions(w):
    out = w.free.python("""
import psycopg2, threading
ok, bad = [], []
barrier = threading.Barrier(200)
def one(i):
    try:
        c = psycopg2.connect("host=db.internal dbname=customers connect_timeout=60")
        cur = c.cursor()
        barrier.wait(120)
        for k in range(5):
            cur.execute("SELECT %s::int, pg_backend_pid()", (i * 10 + k,))
            assert cur.fetchone()[0] == i * 10 + k
        ok.append(i); c.close()
    except Exception as e:
        bad.append(repr(e))
        barrier.abort()
ts = [threading.Thread(target=one, args=(i,)) for i in range(200)]
[t.start() for t in ts]; [t.join() for t in ts]
print(len(ok), bad[:3])
""", timeout=170)
    check_in("200 []", out)
    wait_until(lambda: w.pg.backends() <= 3, 15, lambda: f"backends to go: {w.pg.backends()}")


@seconds(180)
def test_connects_one_after_another(w):
    """Nothing accumulates: 500 connections, and the workers hold no more descriptors than before."""
    import os

    def fds():
        return sum(len(os.listdir(f"/proc/{p}/fd")) for p in w.sluice.roles()["worker"] + w.sluice.roles()["warden"])
    w.free.psql("SELECT 1")
    before = fds()
    w.free.python("""
import sys
sys.path.insert(0, "/agent")
from pgraw import *
for i in range(500):
    r = Raw(); r.startup(); r.send(TERMINATE); r.close()
""", timeout=170)
    wait_until(lambda: fds() <= before + 2, 10, lambda: f"descriptors: {before} before, {fds()} after")


def test_aborted_connects_leave_nothing(w):
    """Connections reset in the middle of everything."""
    w.free.python("""
import socket, struct, sys
sys.path.insert(0, "/agent")
from pgraw import *
for i in range(300):
    s = socket.socket(); s.connect(("10.0.3.7", 5432))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if i % 3: s.send(startup_bytes()[:i % 40])
    s.close()
r = Raw(); r.startup(); print(rows(r.query("SELECT 1")))
""", timeout=80)
    check_eq(w.free.psql("SELECT 7", "-At").stdout.strip(), "7")
