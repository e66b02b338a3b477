"""Parts that stop or die: what cannot be recorded is not done, what is unwatched is refused."""

import json
import os
import re
import signal

from sluicetest.sluice import body
from sluicetest.util import alive, check, check_eq, check_in, check_not_in, run, wait_until

RAW = "import sys, struct\nsys.path.insert(0, '/agent')\nfrom pgraw import *\n"


def test_recorder_stopped(w):
    """SIGSTOP to the recorder: operations are refused, none reaches the server unrecorded; SIGCONT, and it goes on."""
    with w.new_sluice(recorder_wait="500ms") as s, w.container("free-agent", sluice=s) as c:
        check_eq(c.psql("SELECT 7", "-At").stdout.strip(), "7")
        p = c.popen_python(RAW + """
import time
r = Raw(timeout=40); r.startup(); print("up", flush=True)
sys.stdin.readline()
begin = time.monotonic()
r.send(query("INSERT INTO scratch VALUES (777, 'unrecorded')"))
m, closed = r.rest(); e = error(m); print(e.get("S"), e.get("C"), closed, time.monotonic() - begin)
""", stdin=-1)
        check_eq(p.stdout.readline(), "up\n")
        recorder = s.roles()["recorder"][0]
        os.kill(recorder, signal.SIGSTOP)
        try:
            severity, code, closed, took = p.communicate("\n", timeout=45)[0].split()
            check_eq((severity, code, closed), ("FATAL", "58000", "True"))
            # Not before the time it is given; and long before the client would give up.
            check(0.45 <= float(took) < 20, took)
            # Nor is a new session let in.
            done = c.psql("SELECT 7", "-At", "-v", "VERBOSITY=verbose", timeout=40)
            check(done.returncode != 0, done.out)
        finally:
            os.kill(recorder, signal.SIGCONT)
        check_eq(w.pg.sql("SELECT count(*) FROM scratch WHERE id = 777"), "0")
        wait_until(lambda: c.psql("SELECT 7", "-At").stdout.strip() == "7", 20, "service to resume", step=0.3)
        check_eq(s.roles()["recorder"][0], recorder, "the recorder lives")
        check_eq(s.ctl("audit", "verify").returncode, 0)


def test_recorder_killed(w):
    with w.new_sluice() as s, w.container("free-agent", sluice=s) as c:
        check_eq(c.psql("SELECT 7 -- before", "-At").stdout.strip(), "7")
        s.ops("-- before")
        first = s.roles()["recorder"][0]
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: s.status()["recorder"].get("pid") not in (None, first), 15, "a new recorder")
        wait_until(lambda: c.psql("SELECT 8 -- after", "-At").stdout.strip() == "8", 20, "service", step=0.3)
        s.ops("-- before")
        s.ops("-- after")
        check_eq(s.status()["recorder"]["restarts"], 1)
        check_eq(s.ctl("audit", "verify").returncode, 0)


LOAD = RAW + """
import threading, time
host, n_threads, stop = "db.internal", 4, threading.Event()
codes, done = set(), []
def work(t):
    i = 0
    while not stop.is_set():
        try:
            r = Raw(host, timeout=30); r.startup()
            while not stop.is_set():
                i += 1
                r.send(query("INSERT INTO scratch VALUES (%d, 'load')" % (100000 * (t + 1) + i)))
                m = r.until(b"Z", b"E")
                if error(m): codes.add(error(m)["C"]); break
                done.append(i)
            r.close()
        except (Closed, OSError):
            time.sleep(0.05)
ts = [threading.Thread(target=work, args=(t,)) for t in range(n_threads)]
[t.start() for t in ts]
print("up", flush=True)
while sys.stdin.readline().strip() == "count": print(len(done), flush=True)
stop.set(); [t.join() for t in ts]
print(len(done), sorted(codes))
"""


def test_recorder_killed_under_load(w):
    """kill -9 of the recorder again and again while durable changes are made: each that the server has is in the
    store, whatever the agent was told."""
    policy = [{"name": "durable", "who": {"workload": "free-agent"}, "on": "customers-db", "durable": True,
               "when": {"sql": {"verbs": ["*"]}}, "effect": "allow"}]
    with w.new_sluice(policy=policy) as s, w.container("free-agent", sluice=s) as c:
        p = c.popen_python(LOAD, stdin=-1)
        check_eq(p.stdout.readline(), "up\n")

        def made():
            p.stdin.write("count\n")
            p.stdin.flush()
            return int(p.stdout.readline())
        try:
            for kills in range(1, 4):
                so_far = made()
                wait_until(lambda n=so_far: made() > n + 20, 30, "changes to be made", step=0.05)
                os.kill(s.status()["recorder"]["pid"], signal.SIGKILL)
                wait_until(lambda n=kills: s.status()["recorder"]["restarts"] == n
                           and s.status()["recorder"].get("pid"), 20, "a new recorder", step=0.05)
            so_far = made()
            wait_until(lambda: made() > so_far + 20, 30, "changes after the last restart", step=0.05)
            out, _ = p.communicate("end\n", timeout=60)
            # Told, when one was under way just then; and nothing else went wrong.
            check(out.split(" ", 1)[1].strip() in ("[]", "['58000']"), out)
            there = w.pg.sql("SELECT id FROM scratch WHERE note = 'load'").split()
            check(len(there) > 80, there)
            text = "\n".join(body(e)["op"]["text"] for e in s.audit("--kind", "op"))
            check(not [i for i in there if f"VALUES ({i}," not in text], "changes without a record")
            check_eq(s.ctl("audit", "verify").returncode, 0)
        finally:
            p.kill()
            w.pg.sql("DELETE FROM scratch WHERE note = 'load'")


SESSION = RAW + """
r = Raw(timeout=60); r.startup(); print("up", flush=True)
sys.stdin.readline()
try:
    m = r.query("SELECT pg_sleep(%s), 'sleeper'"); print("done", kinds(m), flush=True)
    sys.stdin.readline()
    print("then", rows(r.query("SELECT 7")), flush=True)
except Closed:
    print("lost", flush=True)
"""


def test_worker_killed_mid_query(w):
    """kill -9: its sessions end, another worker's go on; another is started, and the status shows it."""
    with w.new_sluice(workers=2) as s, w.container("free-agent", sluice=s) as c:
        workers = {x["index"]: x["pid"] for x in s.status()["workers"]}
        check_eq(sorted(workers), [0, 1])
        sessions = {}
        for index, seconds in ((0, 20), (1, 3)):
            # A worker that is stopped accepts nothing: so the other does.
            other = workers[1 - index]
            os.kill(other, signal.SIGSTOP)
            try:
                sessions[index] = c.popen_python(SESSION % seconds, stdin=-1)
                check_eq(sessions[index].stdout.readline(), "up\n")
            finally:
                os.kill(other, signal.SIGCONT)
        check_eq([x["status"]["sessions"] for x in s.status()["workers"]], [1, 1])
        for p in sessions.values():
            p.stdin.write("\n")
            p.stdin.flush()
        wait_until(lambda: w.pg.sql("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND usename = 'gateway' "
                                    "AND query LIKE '%sleeper%'") == "2", 20, "both queries to run")
        os.kill(workers[0], signal.SIGKILL)
        check_in("lost", sessions[0].communicate(timeout=30)[0])
        check_eq(sessions[1].stdout.readline(), "done TDCZ\n")
        check_eq(sessions[1].communicate("\n", timeout=30)[0], "then [[b'7']]\n")

        def replaced():
            now = {x["index"]: x for x in s.status()["workers"]}
            return (now[0].get("pid") not in (None, workers[0]) and now[0]["ready"]
                    and (now[0]["restarts"], now[1]["restarts"], now[1]["pid"]) == (1, 0, workers[1]))
        wait_until(replaced, 15, lambda: f"another worker: {s.status()['workers']}")
        rows = [l for l in s.ctl("status").stdout.splitlines() if l.startswith("worker ")]
        for row, restarts in zip(rows, (1, 0)):
            check(re.search(rf"\d+ (s|min) +{restarts} +\d+ MiB", row), rows)
        check(body(s.events("worker.lost")[0]), "worker.lost")
        # The new one serves: with the other stopped, nobody else could.
        os.kill(workers[1], signal.SIGSTOP)
        try:
            check_eq(c.psql("SELECT 7", "-At").stdout.strip(), "7")
        finally:
            os.kill(workers[1], signal.SIGCONT)
        w.pg.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%sleeper%' AND usename = 'gateway'")


def test_warden_killed(w):
    """With nobody watching, connects are refused; a new start takes over the pins, and the same container goes on."""
    with w.new_sluice() as s, w.container("free-agent", sluice=s) as c:
        p = c.popen_python(RAW + """
r = Raw(timeout=40); r.startup(); print("up", flush=True)
print("closed", r.rest()[1])
""")
        check_eq(p.stdout.readline(), "up\n")
        pids = s.descendants()
        os.kill(s.process.pid, signal.SIGKILL)
        s.process.wait(10)
        wait_until(lambda: not [p for p in pids if alive(p)], 15, "workers and recorder to follow")
        check_eq(p.communicate(timeout=30)[0], "closed True\n")
        before = w.pg.read_log().count("connection received")
        done = c.psql("SELECT 7", "-At")
        check_eq(done.returncode, 2, done.out)
        check_in("Connection refused", done.out)
        # Straight to an address that the host could reach, too.
        out = c.python(f"""
import socket
for a in (("10.0.3.7", 5432), ("10.0.3.99", 80), ("fd00:3::7", 5432)):
    try:
        socket.create_connection(a, 5); print("CONNECTED", a)
    except OSError as e:
        print(e.strerror)
""")
        check_eq(out.count("Connection refused"), 3, out)
        check_eq(w.pg.read_log().count("connection received"), before)
        check(os.path.isdir(s.bpf_dir), "the pins are gone: governed processes were free")
        s.start()
        wait_until(lambda: c.psql("SELECT 7 -- again", "-At").stdout.strip() == "7", 20, "service", step=0.3)
        s.ops("-- again")
        check_eq(s.ctl("audit", "verify").returncode, 0)


def test_what_a_predecessor_knew_and_is_true_no_longer(w):
    """Killed, then started anew: listeners and cgroups that went meanwhile are forgotten, the port is the same."""
    def entries(name):
        dump = run(["bpftool", "-j", "map", "dump", "pinned", f"{s.bpf_dir}/map_{name}"]).stdout
        return len(json.loads(dump))
    with w.new_sluice() as s, w.container("free-agent", sluice=s) as c:
        with w.container("free-agent", sluice=s):
            wait_until(lambda: entries("listeners") == 2, 10, "two listeners")
            pids = s.descendants()
            os.kill(s.process.pid, signal.SIGKILL)
            s.process.wait(10)
        wait_until(lambda: not [p for p in pids if alive(p)], 15, "workers and recorder to follow")
        check_eq(entries("listeners"), 2)
        before = entries("cgroups")
        s.start()
        wait_until(lambda: c.psql("SELECT 7 -- anew", "-At").stdout.strip() == "7", 20, "service", step=0.3)
        check_eq(entries("listeners"), 1)
        check(entries("cgroups") < before, before)
        ports = {body(e)["port"] for e in s.events("container.ready", at_least=3)}
        check_eq(ports, {s.config["listen_port"]})


def test_second_sluiced_refuses(w):
    """Of the same folders, or of the same pins with folders of its own: neither starts, the first is unharmed."""
    done = run([f"{w.build}/sluiced", "--config", w.sluice.config_path], check_rc=False, timeout=30)
    check_eq(done.returncode, 1, done.stderr)
    check_in("another sluiced is running", done.stderr)
    other = w.new_sluice(start=False, bpf_dir=w.sluice.bpf_dir)
    try:
        done = run([f"{w.build}/sluiced", "--config", other.config_path], check_rc=False, timeout=30)
        check_eq(done.returncode, 1, done.stderr)
        check_in("another sluiced is running: it holds " + w.sluice.bpf_dir, done.stderr)
        # Nor can the gate be taken away from under the one that runs.
        detached = other.detach()
        check_eq(detached.returncode, 1, detached.stderr)
    finally:
        other.bpf_dir = other.config["bpf_dir"] = f"/sys/fs/bpf/sluice-{other.name}"
        other.write_config()
        other.close()
    check(os.path.isdir(w.sluice.bpf_dir))
    check_in("50", w.agent.psql("SELECT count(*) FROM orders", "-At").out)


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
