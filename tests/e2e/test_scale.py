"""Many sessions, large results, bounded memory."""

import threading
import time

from sluicetest.postgres import CARDS, SSNS
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
        self.pids, self.peak, self.samples, self.done = pids, 0, 0, False
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        while not self.done:
            for pid in self.pids:
                try:
                    self.peak = max(self.peak, rss_kib(pid))
                    self.samples += 1
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
{before}
total, shown, leaked, tail = 0, 0, 0, b""
while not tail.endswith(b"Z\\0\\0\\0\\5I"):
    data = r.sock.recv(1 << 20)
    if not data: break
    total += len(data)
    # With a little of what came before, for a value that two reads share; not enough to count one twice.
    leaked += sum((tail[-10:] + data).count(s) for s in {secrets!r})
    shown += (tail[-{overlap}:] + data).count({mark!r})
    tail = (tail + data)[-20:]
print(total, shown, leaked)
"""

# What a worker has to begin with (about 14 MiB), its bounded buffers and the allocator's slack.
GROWTH_KIB = 16 * 1024


def big(w, container, sql, before="", mark=b"***-**-"):
    """Bytes that came, masked values in them, planted values in them; workers must not have grown."""
    workers = w.sluice.roles()["worker"]
    container.psql("SELECT count(*) FROM orders")
    start = max(rss_kib(p) for p in workers)
    secrets = [s.encode() for s in [*SSNS, *CARDS]]
    with Watch(workers) as watch:
        out = container.python(BIG.format(sql=sql, secrets=secrets, before=before, mark=mark,
                                          overlap=len(mark) - 1), timeout=230)
    check(watch.samples >= 3, "nothing was watched")
    check(watch.peak < start + GROWTH_KIB, f"a worker grew from {start} to {watch.peak} KiB")
    return [int(n) for n in out.split()]


@seconds(240)
def test_1_gb_result_in_bounded_memory(w):
    total, _, _ = big(w, w.free, "SELECT repeat('x', 1000) FROM generate_series(1, 1000000)")
    check(total > 1_000_000_000, total)


@seconds(240)
def test_1_gb_masked_result_in_bounded_memory(w):
    """Masked rows stream too: a gigabyte of them, and each is masked."""
    w.pg.sql("CREATE TABLE wide AS SELECT i, repeat('x', 1000) AS filler FROM generate_series(1, 200000) i;"
             "GRANT ALL ON wide TO gateway")
    try:
        with w.container("masked-agent") as c:
            total, shown, leaked = big(w, c, "SELECT c.ssn, w.filler, c.card FROM wide w, customers c")
    finally:
        w.pg.sql("DROP TABLE wide")
    check(total > 1_000_000_000, total)
    check(shown >= 1_000_000, shown)
    check_eq(leaked, 0)


@seconds(120)
def test_slow_reader_of_a_large_result(w):
    """A client that does not read holds back the server, not the worker's memory."""
    total, _, _ = big(w, w.free, "SELECT repeat('x', 100000) FROM generate_series(1, 2000)",
                      before="import time; time.sleep(3)")
    check(total > 200_000_000, total)


@seconds(120)
def test_large_row_is_not_gathered(w):
    """One value of 200 MB passes; what is masked beside it is masked: byte by byte, all of it, in a row that
    does not fit in the buffers."""
    with w.container("masked-agent") as c:
        total, shown, leaked = big(w, c, "SELECT ssn, repeat('y', 200000000) FROM customers WHERE id = 1",
                                   mark=b"\0\0\0\x0b***********")
    check(total > 200_000_000, total)
    check_eq((shown, leaked), (1, 0))


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
