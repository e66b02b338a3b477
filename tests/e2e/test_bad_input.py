"""Everything the issue calls bad input: PostgreSQL's own error, an event, a clean close."""

import socket
import struct
import threading

from sluicetest.sluice import body
from sluicetest.util import check, check_eq, check_in

RAW = "import sys, struct, socket, os\nsys.path.insert(0, '/agent')\nfrom pgraw import *\n"

# What is sent instead of a startup message.
GARBAGE = {
    "http": b"GET / HTTP/1.1\r\nHost: db\r\n\r\n",
    "tls-hello": bytes.fromhex("16030100c8010000c40303") + b"\x55" * 190,
    "zeros": b"\0" * 64,
    "length-0": struct.pack("!I", 0) + b"x" * 20,
    "length-7": struct.pack("!II", 7, 196608) + b"x" * 20,
    "length-huge": struct.pack("!II", 0x7FFFFFFF, 196608) + b"x" * 20,
    "length-negative": struct.pack("!II", 0xFFFFFFFF, 196608),
    "over-10000": struct.pack("!II", 20000, 196608) + b"user\0" + b"u" * 19987,
    "no-terminator": struct.pack("!II", 20, 196608) + b"user\0nobody!",
    "no-user": struct.pack("!II", 9, 196608) + b"\0",
    "odd-strings": struct.pack("!II", 14, 196608) + b"user\0\0",
    "cancel-short": struct.pack("!II", 8, 80877102),
    "cancel-long": struct.pack("!II", 32, 80877102) + b"\0" * 24,
    "version-1": struct.pack("!II", 9, 65536) + b"\0",
    "version-4": struct.pack("!II", 9, 4 << 16) + b"\0",
    "random": bytes((i * 73 + 11) % 256 for i in range(4096)),
    "ssl-twice": struct.pack("!IIII", 8, 80877104, 8, 80877104),
}

# What is sent after a good startup.
AFTER = {
    "unknown-type": b"\xff" + struct.pack("!I", 4),
    "length-3": b"Q" + struct.pack("!I", 3) + b"x",
    "length-0": b"Q" + struct.pack("!I", 0),
    "length-2g": b"Q" + struct.pack("!I", 0x7FFFFFFF) + b"SELECT",
    "length-negative": b"Q" + struct.pack("!I", 0xFFFFFFF0),
    "query-no-nul": b"Q" + struct.pack("!I", 12) + b"SELECT 1",
    "query-two-nuls": b"Q" + struct.pack("!I", 15) + b"SELECT 1\0x\0",
    "parse-short": b"P" + struct.pack("!I", 5) + b"\0",
    "parse-count": b"P" + struct.pack("!I", 4 + 1 + 9 + 2) + b"\0SELECT 1\0" + struct.pack("!H", 60000),
    "bind-short": b"B" + struct.pack("!I", 8) + b"\0\0\0\1",
    "bind-length": b"B" + struct.pack("!I", 4 + 2 + 2 + 2 + 4 + 2) + b"\0\0" + struct.pack("!HHiH", 0, 1, 1000000, 0),
    "bind-negative": b"B" + struct.pack("!I", 4 + 2 + 2 + 2 + 4 + 2) + b"\0\0" + struct.pack("!HHiH", 0, 1, -7, 0),
    "execute-short": b"E" + struct.pack("!I", 5) + b"\0",
    "describe-kind": b"D" + struct.pack("!I", 6) + b"Z\0",
    "close-kind": b"C" + struct.pack("!I", 6) + b"Z\0",
    "sync-with-body": b"S" + struct.pack("!I", 8) + b"oops",
    "startup-again": struct.pack("!II", 9, 196608) + b"\0",
    "server-message": b"R" + struct.pack("!II", 8, 0),
    "password": b"p" + struct.pack("!I", 9) + b"guess\0"[:5],
    "copy-data": b"d" + struct.pack("!I", 8) + b"data",
    "function-short": b"F" + struct.pack("!I", 6) + b"\0\0",
}


def test_garbage_instead_of_startup(w):
    before = len(w.sluice.audit())
    out = w.free.python(RAW + f"""
for name, data in {GARBAGE!r}.items():
    r = Raw(timeout=10)
    try:
        r.send(data)
        r.sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass
    m, closed = r.rest()
    print(name, kinds(m), error(m).get("C"), closed, len(r.seen), repr(error(m).get("M")))
""")
    for line in out.splitlines():
        name, rest = line.split(" ", 1)
        check(" True " in rest, "not closed:", line)
        check("R" not in rest.split(" ")[0], "was let in:", line)
        if not name.startswith(("cancel", "ssl-twice")):
            # 0A000: a version that is none of ours; 28000: a startup message that names no user.
            check(any(code in rest for code in ("08P01", "0A000", "28000")), line)
    check_eq(len(out.splitlines()), len(GARBAGE))
    check(len(w.sluice.audit()) > before or before >= 1000, "no events")


def test_bad_messages_after_startup(w):
    out = w.free.python(RAW + f"""
for name, data in {AFTER!r}.items():
    r = Raw(timeout=10); r.startup(); n = len(r.seen)
    try:
        r.send(data, SYNC)
        r.sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass
    m, closed = r.rest()
    print(name, kinds(m), error(m).get("C"), closed)
r = Raw(); r.startup(); print("after", rows(r.query("SELECT 1")))
""")
    lines = dict(l.split(" ", 1) for l in out.splitlines())
    check_eq(len(lines), len(AFTER) + 1, out)
    check_eq(lines["after"], "[[b'1']]")
    for name, rest in lines.items():
        if name == "after":
            continue
        check(rest.endswith("True"), "hangs:", name, rest)
        if name not in ("copy-data", "password"):
            check("None" not in rest, "no error:", name, rest)


def test_truncated_at_every_byte(w):
    """A client that goes away in the middle of a message leaves nothing hanging."""
    w.free.python(RAW + """
whole = startup_bytes()
for n in range(0, len(whole), 3):
    r = Raw(timeout=10); r.send(whole[:n]); r.sock.shutdown(socket.SHUT_WR)
    m, closed = r.rest(); assert closed, n
stream = query("SELECT 1") + parse("SELECT $1", types=(25,)) + bind([b"abc"]) + execute() + SYNC
for n in range(1, len(stream), 4):
    r = Raw(timeout=10); r.startup(); r.send(stream[:n]); r.sock.shutdown(socket.SHUT_WR)
    m, closed = r.rest(); assert closed, n
""", timeout=80)
    check(all(len(p) >= 1 for p in w.sluice.roles().values()), w.sluice.roles())


def test_slow_startup_ends(w):
    """A client that connects and says nothing does not stay for ever, nor does it block others."""
    out = w.free.python(RAW + """
quiet = [Raw(timeout=1) for _ in range(50)]
r = Raw(); r.startup(); print(rows(r.query("SELECT 1")))
""")
    check_in("[[b'1']]", out)


class OddServer:
    """Answers nonsense in place of PostgreSQL."""

    def __init__(self, port, script):
        self.script = script
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(("127.0.0.1", port))
        self.socket.listen(20)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                c, _ = self.socket.accept()
            except OSError:
                return
            with c:
                c.settimeout(5)
                try:
                    c.recv(65536)
                    for part in self.script:
                        if part is None:
                            c.recv(65536)
                        else:
                            c.sendall(part)
                except OSError:
                    pass

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(10)


def m(kind, payload=b""):
    return kind + struct.pack("!I", len(payload) + 4) + payload


OK = m(b"R", struct.pack("!I", 0))
READY = m(b"K", struct.pack("!II", 1, 2)) + m(b"Z", b"I")
SERVERS = {
    "http": [b"HTTP/1.1 400 Bad Request\r\n\r\n"],
    "nothing": [],
    "zeros": [b"\0" * 200],
    "length-3": [b"R" + struct.pack("!I", 3) + b"x"],
    "length-huge": [b"R" + struct.pack("!I", 0x7FFFFFF0) + b"x" * 100],
    "auth-kerberos": [m(b"R", struct.pack("!I", 2))],
    "auth-unknown": [m(b"R", struct.pack("!I", 99))],
    "sasl-none-known": [m(b"R", struct.pack("!I", 10) + b"FOO-1\0\0")],
    "sasl-bad-nonce": [m(b"R", struct.pack("!I", 10) + b"SCRAM-SHA-256\0\0"), None,
                       m(b"R", struct.pack("!I", 11) + b"r=attacker,s=QUJD,i=4096")],
    "sasl-few-rounds": [m(b"R", struct.pack("!I", 10) + b"SCRAM-SHA-256\0\0"), None,
                        m(b"R", struct.pack("!I", 11) + b"r=x,s=QUJD,i=1")],
    "sasl-ok-at-once": [m(b"R", struct.pack("!I", 10) + b"SCRAM-SHA-256\0\0"), None, OK + READY],
    "row-before-ready": [m(b"D", struct.pack("!H", 0))],
    "error-unfinished": [m(b"E", b"SFATAL")],
    "ready-then-garbage": [OK + READY, None, b"\xde\xad\xbe\xef" * 50],
    "ready-then-huge-row": [OK + READY, None, m(b"T", struct.pack("!H", 60000))],
    "two-rows-off": [OK + READY, None, m(b"D", struct.pack("!Hi", 5, 1000) + b"x")],
}


def test_server_that_answers_nonsense(w):
    for name, script in SERVERS.items():
        with OddServer(w.odd_port, script):
            done = w.free.psql("SELECT 1", "-v", "VERBOSITY=verbose", host="odd.internal", timeout=30)
            check(done.returncode != 0, name, done.out)
            check("FATAL" in done.out or "ERROR" in done.out, name, done.out)
            check("server closed the connection unexpectedly" not in done.out.split("FATAL")[0]
                  or "FATAL" in done.out, name, done.out)
    check_eq(w.free.psql("SELECT 7", "-At").stdout.strip(), "7")
    w.sluice.events("session.refused", lambda e: body(e).get("resource") == "odd-db", at_least=5)
