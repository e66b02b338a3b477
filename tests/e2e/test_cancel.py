"""Cancel requests: for one's own session, and for nobody else's."""

import os
import signal
import time

from sluicetest.util import check, check_eq, check_in, wait_until

LONG = """
import sys, time
sys.path.insert(0, "/agent")
from pgraw import *
r = Raw(timeout=60); r.startup()
print(r.pid, r.secret, flush=True)
t = time.time()
m = r.query("SELECT pg_sleep({seconds})")
print(error(m).get("C"), round(time.time() - t), flush=True)
print(kinds(r.query("SELECT 1")))
"""

CANCEL = """
import sys, struct
sys.path.insert(0, "/agent")
from pgraw import *
c = Raw()
c.send(struct.pack("!IIII", 16, CANCEL, int(sys.argv[1]), int(sys.argv[2])))
try:
    print(c.sock.recv(100))
except OSError as e:
    print(e)
"""


def test_ctrl_c_in_psql(w):
    p = w.free.popen(["psql", "-X", "-h", "db.internal", "-U", "x", "customers", "-c", "SELECT pg_sleep(30)"])
    wait_until(lambda: "pg_sleep" in w.pg.sql("SELECT query FROM pg_stat_activity WHERE state = 'active' "
                                              "AND usename = 'gateway'"), 10, "the query to run")
    os.kill(p.host_pid, signal.SIGINT)
    out, _ = p.communicate(timeout=15)
    check_in("canceling statement due to user request", out)


def test_psycopg_cancel(w):
    out = w.free.python("""
import psycopg2, threading, time
c = psycopg2.connect("host=db.internal dbname=customers")
threading.Timer(0.7, c.cancel).start()
t = time.time()
try:
    c.cursor().execute("SELECT pg_sleep(30)")
except psycopg2.Error as e:
    print(e.pgcode, time.time() - t < 10)
""")
    check_in("57014 True", out)


def start_long(w, container, seconds=3):
    p = container.popen_python(LONG.format(seconds=seconds))
    pid, secret = p.stdout.readline().split()
    wait_until(lambda: "pg_sleep" in w.pg.sql("SELECT string_agg(query, ';') FROM pg_stat_activity "
                                              "WHERE state = 'active' AND usename LIKE 'gateway%'"), 10,
               "the query to run")
    return p, pid, secret


def test_own_key_works(w):
    p, pid, secret = start_long(w, w.free, 30)
    w.free.python(CANCEL, pid, secret)
    check_in("57014", p.communicate(timeout=15)[0])


def test_forged_and_stolen_keys_do_nothing(w):
    """A wrong secret, and the right one from another container: the query runs to its end."""
    p, pid, secret = start_long(w, w.free, 3)
    w.free.python(CANCEL, pid, str((int(secret) + 1) % 2**32))
    w.agent.python(CANCEL, pid, secret)
    with w.container("free-agent") as other:
        other.python(CANCEL, pid, secret)
    out, _ = p.communicate(timeout=20)
    check_in("None 3", out)
    w.sluice.events("cancel", at_least=3)


def test_keys_are_sluices_own(w):
    """The server's pid and key do not reach the agent."""
    p, pid, _ = start_long(w, w.free, 1)
    real = w.pg.sql("SELECT pid FROM pg_stat_activity WHERE query LIKE '%pg_sleep(1)%' AND usename = 'gateway'")
    p.communicate(timeout=20)
    check(pid not in real.split(), "the server's own pid was given to the agent")


def test_cancel_of_a_finished_session_is_harmless(w):
    p, pid, secret = start_long(w, w.free, 1)
    p.communicate(timeout=20)
    time.sleep(0.2)
    w.free.python(CANCEL, pid, secret)
    check_eq(w.free.psql("SELECT 7", "-At").stdout.strip(), "7")
