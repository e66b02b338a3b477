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
    """Another port of the same address: taken, understood as nothing, closed. UDP: refused at once."""
    out = w.agent.python("""
import socket
s = socket.create_connection(("10.0.3.7", 80), 10)
s.send(b"GET / HTTP/1.0\\r\\n\\r\\n")
print("tcp", s.recv(1000))
for host, family in (("10.0.3.7", socket.AF_INET), ("fd00:3::7", socket.AF_INET6), ("127.0.0.1", socket.AF_INET)):
    s = socket.socket(family, socket.SOCK_DGRAM)
    try:
        s.connect((host, 5432)); s.send(b"hello"); print("udp", host, "SENT")
    except OSError as e:
        print("udp", host, e.strerror)
""")
    check_in("tcp b''", out)
    for host in ("10.0.3.7", "fd00:3::7"):
        check_in(f"udp {host} Operation not permitted", out)
    w.sluice.events("session.refused", lambda e: body(e)["origin"] == "10.0.3.7:80"
                    and body(e)["reason"] == "unknown-resource")


def test_unknown_cgroup_below_the_scope_is_refused(w):
    """No workload matches: nothing gets out, even to an address that a resource has."""
    with w.container("stranger") as c:
        done = c.psql("SELECT 1")
        check_eq(done.returncode, 2, done.out)
        # There is no listener for it: the kernel refuses the connect itself.
        check_in("Connection refused", done.out)


def test_nested_cgroup_is_governed_from_its_first_instruction(w):
    """A cgroup made a moment ago below the scope, entered by a process that connects at once."""
    path = cgroup2_root() + w.sluice.scope + "/support-quick"
    os.makedirs(path)
    before = w.pg.read_log().count("connection received")
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
        # In the host's network namespace even loopback is governed.
        out = subprocess.run(["/usr/bin/python3", "-c", script], stdout=subprocess.PIPE, text=True,
                             timeout=30, check=True).stdout
        check("refused" in out or "answer" in out, out)
        check_eq(w.pg.read_log().count("connection received"), before, "PostgreSQL heard of it: " + out)
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


def test_a_runtime_on_its_way_is_no_reason_to_listen(w):
    """runc joins the container's cgroup in the host's namespace; nothing is opened there for that."""
    host = os.stat("/proc/self/ns/net").st_ino
    with w.new_sluice() as s:
        for _ in range(5):
            with w.container("free-agent", sluice=s) as c:
                for _ in range(3):
                    c.run(["/bin/true"])
        ready = [body(e) for e in s.events("container.ready", at_least=5)]
        check(not [r for r in ready if r["netns"] == host], ready)
        check_not_in(f"network namespace {host}", s.log())


def test_a_process_of_the_hosts_network_that_is_moved_in(w):
    """Not run by sluicectl, no exec: its first connect may be too early, the next finds a listener."""
    with w.new_sluice() as s:
        path = os.path.join(cgroup2_root() + s.scope, "free-moved")
        os.mkdir(path)
        p = subprocess.Popen(["python3", "-c", """
import socket, sys
sys.stdin.readline()
for i in range(50):
    try:
        c = socket.create_connection(("10.0.3.7", 5432), 5); print("peer", c.getpeername()); break
    except ConnectionRefusedError:
        import time; time.sleep(0.1)
"""], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            with open(path + "/cgroup.procs", "w", encoding="ascii") as f:
                f.write(str(p.pid))
            out, _ = p.communicate("go\n", timeout=20)
            check_in("peer ('10.0.3.7', 5432)", out)
        finally:
            end(p)
            _rmdir(path)


# perl speaks on a connection that Python opened: fd and marker in its arguments.
SPEAK = """
use strict; my ($fd, $mark) = @ARGV; open(my $s, "+<&=", $fd) or die; $s->autoflush(1);
my $p = pack("N", 196608) . "user\\0x\\0database\\0customers\\0application_name\\0$mark\\0\\0";
print $s pack("N", length($p) + 4) . $p; sysread($s, my $b, 4000); $b =~ s/[^ -~]/ /g; print "answer $b\n";
"""


def test_exec_between_connect_and_first_byte(w):
    """Who speaks must be who connected: one that has become another program is refused, and not recorded as it."""
    out = w.free.python(f"""
import os, socket, sys
for pause in (0, 0.3):
    if os.fork() == 0:
        s = socket.create_connection(("db.internal", 5432))
        os.set_inheritable(s.fileno(), True)
        import time; time.sleep(pause)
        os.execv("/usr/bin/perl", ["perl", "-MIO::Handle", "-e", {SPEAK!r}, str(s.fileno()), "became-perl"])
    os.wait()
""")
    check_eq(out.count("answer"), 2, out)
    check_eq(out.count("SFATAL"), 2, out)
    check_eq(out.count("28000"), 2, out)
    check_in("has become another program", out)
    w.sluice.events("session.refused", lambda e: body(e)["reason"] == "process-gone", at_least=2)
    opened = [body(e)["who"]["process"].get("exe") for e in w.sluice.audit("--kind", "session.open")]
    check(not [exe for exe in opened if exe and "perl" in exe], opened)


def test_fork_between_connect_and_first_byte(w):
    """A child of the one that connected, the same program: it speaks for its parent, who is recorded."""
    out = w.free.python("""
import os, sys
sys.path.insert(0, "/agent")
from pgraw import *
r = Raw()
if os.fork() == 0:
    r.startup(); print("child", rows(r.query("SELECT 'asked by a child'")), flush=True); os._exit(0)
os.wait(); print("parent", os.getpid())
""")
    check_in("child [[b'asked by a child']]", out)
    who = body(w.sluice.ops("'asked by a child'")[-1])["who"]["process"]
    check_in("/usr/bin/python3", who["exe"])


def test_container_that_dies_frees_its_listener(w):
    def shown():
        return [c["cgroup"] for c in w.sluice.status()["containers"]]

    def descriptors():
        roles = w.sluice.roles()
        return sum(len(os.listdir(f"/proc/{p}/fd")) for p in roles["worker"] + roles["warden"])
    check_in(w.agent.cgroup, shown())
    before, gone = descriptors(), []
    for _ in range(3):
        with w.container("open-agent") as c:
            check_in("50", c.psql("SELECT count(*) FROM orders", "-At", host="open.internal").out)
            check_in(c.cgroup, shown())
            gone.append(c.cgroup)
    wait_until(lambda: not set(gone) & set(shown()), 10, "the containers to be forgotten")
    # A listener that stays open would keep a dead container's network namespace.
    wait_until(lambda: descriptors() <= before, 10, lambda: f"descriptors: {before} before, {descriptors()} after")


def test_token_symlink_cannot_leave_the_container(w):
    """A token path that is a link to a file of the host is not followed there."""
    good = os.path.join(w.dir, "good-token")
    with open(good, "w", encoding="ascii") as f:
        f.write(w.issuer.token())
    with w.container(token=None) as c:
        path = os.path.join(c.secrets, "token")
        for target in (good, "../../../../../.." + good, f"/proc/{os.getpid()}/root{good}", f"/proc/1/root{good}",
                       "/etc/shadow", "token"):
            os.symlink(target, path)
            out = c.psql("SELECT count(*) FROM orders", "-At", "-v", "VERBOSITY=verbose").out
            check_in("FATAL", out, target)
            check_in("token", out, target)
            os.unlink(path)
        # Nor does one that never ends or never begins hold anything up.
        os.mkfifo(path)
        check_in("token", c.psql("SELECT 1").out)
        os.unlink(path)
        # One inside the container is its own affair: that is how Kubernetes mounts them.
        c.set_token(w.issuer.token())
        os.rename(path, os.path.join(c.secrets, "..data-token"))
        os.symlink("..data-token", path)
        check_in("50", c.psql("SELECT count(*) FROM orders", "-At").out)
