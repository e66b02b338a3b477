"""The kernel side: addresses of every kind, namespaces, what is not enrolled, what is not allowed."""

import os
import subprocess

from sluicetest.container import Container
from sluicetest.sluice import body
from sluicetest.util import cgroup2_root, check, check_eq, check_in, check_not_in, end, run, wait_until

ASK = """
import socket, sys
sys.path.insert(0, "/agent")
from pgraw import *
r = Raw(host={host!r}, family={family})
print("peer", r.sock.getpeername()[:2])
r.startup()
print(rows(r.query("SELECT count(*) FROM orders")))
"""


def test_getpeername_shows_what_was_asked(w):
    out = w.agent.python(ASK.format(host="10.0.3.7", family=0))
    check_in("peer ('10.0.3.7', 5432)", out)
    check_in("50", out)


def test_ipv6(w):
    out = w.agent.python(ASK.format(host="fd00:3::7", family=0))
    check_in("peer ('fd00:3::7', 5432)", out)
    check_in("50", out)
    check(w.sluice.events("session.open", lambda e: body(e)["origin"] == "[fd00:3::7]:5432"))


def test_v4_mapped(w):
    out = w.agent.python(ASK.format(host="::ffff:10.0.3.7", family="socket.AF_INET6"))
    check_in("peer ('::ffff:10.0.3.7', 5432)", out)
    check_in("50", out)


def test_psql_over_ipv6_name(w):
    check_in("50", w.agent.psql("SELECT count(*) FROM orders", "-At", host="db6.internal").out)


def test_same_address_in_two_namespaces_at_once(w):
    """Two containers, the same address and source port: each origin goes to its own session."""
    script = """
import socket, sys, time
sys.path.insert(0, "/agent")
import pgraw
real = socket.socket.connect
def connect(self, address):
    self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    self.bind(("127.0.0.1", 40123))
    return real(self, address)
socket.socket.connect = connect
r = pgraw.Raw()
r.startup()
print("ready", flush=True)
sys.stdin.readline()
print(pgraw.rows(r.query("SELECT count(*) FROM orders")), flush=True)
print(pgraw.rows(r.query("SELECT ssn FROM customers WHERE id = 1")), flush=True)
"""
    with w.container() as a, w.container("free-agent") as b:
        procs = [c.popen_python(script, stdin=subprocess.PIPE) for c in (a, b)]
        for p in procs:
            check_eq(p.stdout.readline(), "ready\n")
        masked, plain = (p.communicate("\n", timeout=30)[0] for p in procs)
        check_in("***-**-1120", masked)
        check_in("078-05-1120", plain)
        who = {(body(e)["who"]["workload"], body(e)["who"]["process"]["cgroup"])
               for e in w.sluice.events("session.open")}
        for c, workload in ((a, "support-agent"), (b, "free-agent")):
            check((workload, c.cgroup) in who, (workload, c.cgroup), who)


def test_loopback_inside_is_the_workloads_own(w):
    out = w.agent.python("""
import socket, threading
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen()
def serve():
    c, _ = s.accept(); c.sendall(b"hello"); c.close()
threading.Thread(target=serve).start()
c = socket.create_connection(s.getsockname())
print(c.recv(10))
""")
    check_in("hello", out)


def test_listener_port_cannot_be_taken_or_called(w):
    port = w.sluice.config["listen_port"]
    out = w.agent.python(f"""
import socket
for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::1")):
    s = socket.socket(family)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        s.bind((host, {port})); print("BOUND", host)
    except OSError as e:
        print("refused", e.errno)
# Straight to the enforcer's own port: no origin, no session.
s = socket.socket()
s.settimeout(5)
try:
    s.connect(("127.0.0.1", {port}))
    s.sendall(b"\\0\\0\\0\\x08\\x04\\xd2\\x16\\x2f")
    print("GOT" if s.recv(1) in (b"S", b"N") else "closed")
except OSError as e:
    print("closed", e)
""", uid=None)
    check_not_in("BOUND", out)
    check_not_in("GOT", out)
    check_eq(len([l for l in out.splitlines() if l.startswith("refused")]), 3, out)


def test_unknown_address_is_refused(w):
    done = w.agent.psql("SELECT 1", host="unknown.internal")
    check(done.returncode != 0)
    check_in("FATAL", done.out)
    check_in("10.0.3.99:5432", done.out)
    w.sluice.events("session.refused", lambda e: body(e)["origin"] == "10.0.3.99:5432")


def test_other_ports_and_protocols_reach_nothing(w):
    out = w.agent.python("""
import socket
for what in ("tcp", "udp"):
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if what == "tcp" else socket.SOCK_DGRAM)
    s.settimeout(5)
    try:
        s.connect(("10.0.3.7", 80 if what == "tcp" else 5432)); s.send(b"hello"); print(what, repr(s.recv(100)))
    except OSError as e:
        print(what, "error", e)
""")
    check(not [l for l in out.splitlines() if "error" not in l and "b''" not in l and "FATAL" not in l
               and "E\\x00" not in l], out)


def test_unknown_cgroup_below_the_scope_is_refused(w):
    """No workload matches: nothing gets out, even to an address that a resource has."""
    with w.container("stranger") as c:
        done = c.psql("SELECT 1")
        check(done.returncode != 0, done.out)
        check_not_in("1 row", done.out)


def test_nested_cgroup_is_governed_from_its_first_instruction(w):
    """A cgroup made a moment ago below the scope, entered by a process that connects at once."""
    path = cgroup2_root() + w.sluice.scope + "/support-quick"
    os.makedirs(path)
    try:
        script = f"""
import os, socket
open({path!r} + "/cgroup.procs", "w").write(str(os.getpid()))
try:
    s = socket.create_connection(("127.0.0.1", {w.pg.port}), 3)
    s.sendall(b"\\0\\0\\0\\x08\\x04\\xd2\\x16\\x2f")
    print("answer", s.recv(1))
except OSError as e:
    print("refused", e)
"""
        # In the host's network namespace even loopback is governed: PostgreSQL itself would say S.
        out = subprocess.run(["/usr/bin/python3", "-c", script], stdout=subprocess.PIPE, text=True,
                             timeout=30, check=True).stdout
        check_not_in("answer b'S'", out)
        check_not_in(f"{w.pg.port}\n", w.sluice.log())
    finally:
        wait_until(lambda: not _rmdir(path), 5, "cgroup to go")


def _rmdir(path):
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def test_host_is_not_governed(w):
    check_eq(w.pg.sql("SELECT 1"), "1")
    out = run(["psql", f"host=127.0.0.1 port={w.pg.port} user=gateway_trust dbname=customers sslmode=disable",
               "-XAtc", "SELECT ssn FROM customers WHERE id = 1"]).stdout
    check_eq(out.strip(), "078-05-1120")


def test_run_none(w):
    """sluicectl run: governed before its first instruction, in a network of its own."""
    token = os.path.join(w.sluice.dir, "run-token")
    with open(token, "w", encoding="ascii") as f:
        f.write(w.issuer.token())
    done = w.sluice.ctl("run", "--workload", "open-agent", "--net", "none", "--", "/usr/bin/psql", "-XAt",
                        "host=10.0.3.20 user=x dbname=customers", "-c", "SELECT count(*) FROM orders",
                        check_rc=False)
    check_eq(done.stdout.strip(), "50", done.stderr)
    check_eq(done.returncode, 0)


def test_run_host(w):
    done = w.sluice.ctl("run", "--workload", "open-agent", "--net", "host", "--", "/usr/bin/psql", "-XAt",
                        "host=10.0.3.20 user=x dbname=customers", "-c", "SELECT count(*) FROM orders",
                        check_rc=False)
    check_eq(done.stdout.strip(), "50", done.stderr)
    direct = w.sluice.ctl("run", "--workload", "open-agent", "--net", "host", "--", "/usr/bin/psql", "-XAt",
                          f"host=127.0.0.1 port={w.pg.port} user=gateway_trust dbname=customers",
                          "-c", "SELECT ssn FROM customers", check_rc=False)
    check(direct.returncode != 0, "a governed process reached the database directly")
    check_not_in("078-05-1120", direct.stdout)


def test_run_gives_the_exit_status(w):
    for code in (0, 3):
        done = w.sluice.ctl("run", "--workload", "open-agent", "--net", "none", "--", "/bin/sh", "-c",
                            f"exit {code}", check_rc=False)
        check_eq(done.returncode, code)
    check(w.sluice.ctl("run", "--workload", "no-such", "--", "/bin/true", check_rc=False).returncode != 0)


def test_container_ready_and_gone_are_recorded(w):
    c = w.container("open-agent")
    cgroup = c.cgroup
    try:
        c.psql("SELECT 1", host="open.internal")
    finally:
        c.close()
    for kind in ("container.ready", "container.gone"):
        w.sluice.events(kind, lambda e: cgroup in str(e))


def test_fork_and_exec_between_connect_and_first_byte(w):
    """Who speaks is who is recorded: a process that executes something else after connect() is seen."""
    out = w.agent.python("""
import os, socket, sys
s = socket.create_connection(("db.internal", 5432))
os.set_inheritable(s.fileno(), True)
os.execv("/usr/bin/python3", ["/usr/bin/python3", "-c", '''
import socket, struct
s = socket.socket(fileno=%d)
s.settimeout(10)
p = struct.pack("!I", 196608) + b"user\\\\0x\\\\0database\\\\0customers\\\\0\\\\0"
s.sendall(struct.pack("!I", len(p) + 4) + p)
print(s.recv(1000))
''' % s.fileno()])
""", check_rc=False)
    check("FATAL" in out or "refused" in out or "b''" in out or "R\\x00" in out, out)


def test_container_that_dies_frees_its_listener(w):
    before = len(w.sluice.roles()["worker"])
    for _ in range(3):
        with w.container("open-agent") as c:
            check_in("50", c.psql("SELECT count(*) FROM orders", "-At", host="open.internal").out)
    check_eq(len(w.sluice.roles()["worker"]), before)


def test_token_symlink_cannot_leave_the_container(w):
    """A token path that is a link to a file of the host is not followed there."""
    with w.container(token=None) as c:
        os.symlink("/etc/shadow", os.path.join(c.secrets, "token"))
        out = c.psql("SELECT 1").out
        check_in("FATAL", out)
        os.unlink(os.path.join(c.secrets, "token"))
        os.mkfifo(os.path.join(c.secrets, "token"))
        out = c.psql("SELECT 1").out
        check_in("FATAL", out)
