"""Parts that stop or die: what cannot be recorded is not done, what is unwatched is refused."""

import os
import signal
import time

from sluicetest.sluice import body
from sluicetest.util import alive, check, check_eq, check_in, check_not_in, wait_until

RAW = "import sys, struct\nsys.path.insert(0, '/agent')\nfrom pgraw import *\n"


def test_recorder_stopped(w):
    """SIGSTOP to the recorder: operations are refused, none reaches the server unrecorded."""
    with w.new_sluice(recorder_wait="500ms") as s, w.container("free-agent", sluice=s) as c:
        check_eq(c.psql("SELECT 7", "-At").stdout.strip(), "7")
        p = c.popen_python(RAW + """
r = Raw(timeout=30); r.startup(); print("up", flush=True)
sys.stdin.readline()
r.send(query("INSERT INTO scratch VALUES (777, 'unrecorded')"))
m, closed = r.rest(); print(error(m), closed)
""", stdin=-1)
        check_eq(p.stdout.readline(), "up\n")
        recorder = s.roles()["recorder"][0]
        os.kill(recorder, signal.SIGSTOP)
        try:
            out, _ = p.communicate("\n", timeout=30)
            check_in("'S': 'FATAL'", out)
            check_in("True", out)
            done = c.psql("SELECT 7", "-At", timeout=40)
            check(done.returncode != 0, done.out)
        finally:
            os.kill(recorder, signal.SIGCONT)
        check_eq(w.pg.sql("SELECT count(*) FROM scratch WHERE id = 777"), "0")
        wait_until(lambda: c.psql("SELECT 7", "-At").stdout.strip() == "7", 15, "service to resume", step=0.3)


def test_recorder_killed(w):
    with w.new_sluice() as s, w.container("free-agent", sluice=s) as c:
        check_eq(c.psql("SELECT 7 -- before", "-At").stdout.strip(), "7")
        s.ops("-- before")
        first = s.roles()["recorder"][0]
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: not alive(first), 5, "the recorder to die")
        wait_until(lambda: s.roles()["recorder"] and s.roles()["recorder"][0] != first, 10, "a new recorder")
        wait_until(lambda: c.psql("SELECT 8 -- after", "-At").stdout.strip() == "8", 15, "service", step=0.3)
        s.ops("-- before")
        s.ops("-- after")
        check_eq(s.ctl("audit", "verify").returncode, 0)


def test_worker_killed_mid_query(w):
    """Its sessions end; others live; the warden starts another; the status shows it."""
    with w.new_sluice(workers=2) as s, w.container("free-agent", sluice=s) as c:
        p = c.popen_python(RAW + """
rs = []
for _ in range(16):
    r = Raw(timeout=30); r.startup(); rs.append(r)
for r in rs: r.send(query("SELECT pg_sleep(3)"))
print("sent", flush=True)
lost = kept = 0
for r in rs:
    try:
        r.until(b"Z"); kept += 1
    except Exception:
        lost += 1
print(lost, kept)
""")
        check_eq(p.stdout.readline(), "sent\n")
        time.sleep(0.5)
        workers = s.roles()["worker"]
        check_eq(len(workers), 2)
        os.kill(workers[0], signal.SIGKILL)
        lost, kept = map(int, p.communicate(timeout=30)[0].split())
        check_eq(lost + kept, 16)
        check(lost < 16 or kept == 0)
        wait_until(lambda: len(s.roles()["worker"]) == 2 and workers[0] not in s.roles()["worker"], 10, "a new worker")
        check(workers[1] in s.roles()["worker"], "the other worker did not live")
        for _ in range(6):
            check_eq(c.psql("SELECT 7", "-At").stdout.strip(), "7")
        s.events("worker.lost")
        check_in("restart", str(s.status()).lower() + s.ctl("status").stdout.lower())


def test_warden_killed(w):
    """With nobody watching, connects are refused; a new start takes over the pins and serves."""
    with w.new_sluice() as s, w.container("free-agent", sluice=s) as c:
        check_eq(c.psql("SELECT 7", "-At").stdout.strip(), "7")
        pids = s.descendants()
        os.kill(s.process.pid, signal.SIGKILL)
        s.process.wait(10)
        wait_until(lambda: not [p for p in pids if alive(p)], 15, "workers and recorder to follow")
        done = c.psql("SELECT 7", "-At")
        check(done.returncode != 0, done.out)
        check_in("refused", done.out.lower())
        check(os.path.isdir(s.bpf_dir), "the pins are gone: governed processes were free")
        s.start()
        wait_until(lambda: c.psql("SELECT 7", "-At").stdout.strip() == "7", 15, "service", step=0.3)
        check_eq(s.ctl("audit", "verify").returncode, 0)


def test_stopped_enforcer_is_fail_closed(w):
    """An orderly stop leaves the gate shut, until sluice is taken off the node."""
    with w.new_sluice() as s, w.container("free-agent", sluice=s) as c:
        check_eq(c.psql("SELECT 7", "-At").stdout.strip(), "7")
        s.stop()
        done = c.psql("SELECT 7", "-At")
        check(done.returncode != 0, done.out)
        s.start()
        wait_until(lambda: c.psql("SELECT 7", "-At").stdout.strip() == "7", 15, "service", step=0.3)
        s.events("node.start", at_least=2)
        s.events("node.stop")


def test_sessions_end_in_order_on_stop(w):
    with w.new_sluice() as s, w.container("free-agent", sluice=s) as c:
        p = c.popen_python(RAW + """
r = Raw(timeout=30); r.startup(); print("up", flush=True)
m, closed = r.rest(); print(error(m), closed)
""")
        check_eq(p.stdout.readline(), "up\n")
        s.stop()
        out, _ = p.communicate(timeout=20)
        check_in("True", out)
        check_in("57P01", out)


def test_upstream_restarts(w):
    """The server goes away under a session: an error, not a hang; then it works again."""
    p = w.free.popen_python(RAW + """
r = Raw(timeout=30); r.startup(); print("up", flush=True)
m, closed = r.rest(); print(error(m), closed)
""")
    check_eq(p.stdout.readline(), "up\n")
    w.pg.restart()
    out, _ = p.communicate(timeout=30)
    check_in("True", out)
    check_in("57P01", out)
    wait_until(lambda: w.free.psql("SELECT 7", "-At").stdout.strip() == "7", 15, "service", step=0.3)


def test_full_store(w):
    """The store's file system is full: operations are refused, and said so."""
    with w.new_sluice(start=False, recorder_wait="1s") as s, w.container("free-agent", sluice=s) as c:
        os.makedirs(s.state_dir)
        from sluicetest.util import run
        run(["mount", "-t", "tmpfs", "-o", "size=3m,mode=755", "none", s.state_dir])
        try:
            s.start()
            out = c.python(RAW + """
r = Raw(timeout=60); r.startup(); n = 0
try:
    for n in range(4000):
        m = r.query("SELECT '" + "x" * 15000 + str(n) + "'")
        if error(m): print(n, error(m)); break
except Closed:
    print(n, "closed")
""", timeout=80)
            check_not_in("3999", out)
            check("E" in out or "closed" in out, out)
            done = c.psql("INSERT INTO scratch VALUES (778, 'x')", timeout=40)
            check(done.returncode != 0, done.out)
            check_eq(w.pg.sql("SELECT count(*) FROM scratch WHERE id = 778"), "0")
            s.stop()
        finally:
            run(["umount", s.state_dir], check_rc=False)


def test_roles_hold_no_privilege(w):
    """Workers and recorder: another uid, no capability, a seccomp filter, nothing of the file system."""
    roles = w.sluice.roles()
    check(len(roles["worker"]) >= 1 and len(roles["recorder"]) == 1, roles)
    uids = set()
    for role in ("worker", "recorder"):
        for pid in roles[role]:
            with open(f"/proc/{pid}/status", encoding="ascii") as f:
                status = dict(l.rstrip("\n").split(":\t", 1) for l in f if ":\t" in l)
            uid = status["Uid"].split()[0]
            check(uid != "0", role, "runs as root")
            uids.add((role, uid))
            check_eq(int(status["CapEff"], 16), 0, role)
            check_eq(int(status["CapPrm"], 16), 0, role)
            check_eq(status["NoNewPrivs"], "1", role)
            check_eq(status["Seccomp"], "2", role)
    check_eq(len({uid for _, uid in uids}), 2, "each role has its own uid")
    for pid in roles["worker"]:
        check_eq(os.listdir(f"/proc/{pid}/root"), [], "a worker's root folder")


def test_status_and_flows(w):
    p = w.free.popen_python(RAW + "r = Raw(); r.startup(); print('up', flush=True); sys.stdin.readline()", stdin=-1)
    check_eq(p.stdout.readline(), "up\n")
    text = w.sluice.ctl("status").stdout
    for role in ("warden", "recorder", "worker"):
        check_in(role, text)
    p.communicate("\n", timeout=10)
    op = w.sluice.events("session.close", lambda e: body(e)["who"]["workload"] == "free-agent")
    check(op)
