"""PostgreSQL's protocol 3.0 by hand, for programs in a container that must send or see exact bytes.

Keeps every byte received in `.seen`, so that a test can look for what should not be there.
"""

import socket
import ssl
import struct

SSL_REQUEST = 80877103
GSS_REQUEST = 80877104
CANCEL = 80877102


def msg(kind, payload=b""):
    return kind + struct.pack("!I", len(payload) + 4) + payload


def cstr(text):
    return (text if isinstance(text, bytes) else text.encode()) + b"\0"


def startup_bytes(user="nobody", database="customers", version=196608, **options):
    payload = struct.pack("!I", version)
    for key, value in {"user": user, "database": database, **options}.items():
        payload += cstr(key) + cstr(value)
    payload += b"\0"
    return struct.pack("!I", len(payload) + 4) + payload


def query(sql):
    return msg(b"Q", cstr(sql))


def parse(sql, name="", types=()):
    return msg(b"P", cstr(name) + cstr(sql) + struct.pack("!H", len(types))
               + b"".join(struct.pack("!I", t) for t in types))


def bind(params=(), portal="", name="", result_formats=(), param_formats=()):
    out = cstr(portal) + cstr(name) + struct.pack("!H", len(param_formats))
    out += b"".join(struct.pack("!H", f) for f in param_formats) + struct.pack("!H", len(params))
    for value in params:
        out += struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value
    out += struct.pack("!H", len(result_formats)) + b"".join(struct.pack("!H", f) for f in result_formats)
    return msg(b"B", out)


def describe(what=b"P", name=""):
    return msg(b"D", what + cstr(name))


def execute(portal="", rows=0):
    return msg(b"E", cstr(portal) + struct.pack("!I", rows))


SYNC = msg(b"S")
FLUSH = msg(b"H")
TERMINATE = msg(b"X")


class Closed(Exception):
    pass


class Raw:
    def __init__(self, host="db.internal", port=5432, timeout=20, family=0):
        infos = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
        self.sock = socket.socket(infos[0][0], socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        self.sock.connect(infos[0][4])
        self.seen = b""
        self.buffer = b""
        self.pid = self.secret = None
        self.params = {}

    def send(self, *parts):
        self.sock.sendall(b"".join(parts))

    def start_tls(self, verify=None):
        self.send(struct.pack("!II", 8, SSL_REQUEST))
        answer = self.sock.recv(1)
        if answer != b"S":
            raise Closed(f"no TLS: {answer!r}")
        context = ssl.create_default_context(cafile=verify)
        if not verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.sock = context.wrap_socket(self.sock, server_hostname="db.internal")

    def startup(self, **kw):
        """Start up and read to ReadyForQuery; the messages."""
        self.send(startup_bytes(**kw))
        return self.until(b"Z")

    def _more(self):
        try:
            data = self.sock.recv(262144)
        except ConnectionResetError:
            data = b""
        if not data:
            raise Closed("closed by the other side")
        self.seen += data
        self.buffer += data

    def recv(self):
        """One message: (type, payload)."""
        while len(self.buffer) < 5 or len(self.buffer) < 1 + struct.unpack("!I", self.buffer[1:5])[0]:
            self._more()
        size = 1 + struct.unpack("!I", self.buffer[1:5])[0]
        kind, payload = self.buffer[:1], self.buffer[5:size]
        self.buffer = self.buffer[size:]
        if kind == b"K":
            self.pid, self.secret = struct.unpack("!II", payload)
        return kind, payload

    def until(self, *kinds):
        """Messages up to and with the first of a kind; all up to the end when the other side closes."""
        got = []
        while not got or got[-1][0] not in kinds:
            got.append(self.recv())
        return got

    def rest(self):
        """Everything until the other side closes: messages, and whether it did close."""
        got = []
        try:
            while True:
                got.append(self.recv())
        except Closed:
            return got, True
        except socket.timeout:
            return got, False

    def query(self, sql):
        self.send(query(sql))
        return self.until(b"Z")

    def close(self):
        self.sock.close()


def error(messages):
    """Fields of the first ErrorResponse, by letter; {} when there is none."""
    for kind, payload in messages:
        if kind == b"E":
            return fields(payload)
    return {}


def fields(payload):
    return {f[:1].decode(): f[1:].decode("utf-8", "replace") for f in payload.split(b"\0") if f}


def kinds(messages):
    return b"".join(k for k, _ in messages).decode()


def rows(messages):
    """Rows as lists of bytes or None."""
    out = []
    for kind, payload in messages:
        if kind != b"D":
            continue
        count, at, row = struct.unpack("!H", payload[:2])[0], 2, []
        for _ in range(count):
            size = struct.unpack("!i", payload[at:at + 4])[0]
            at += 4
            row.append(None if size < 0 else payload[at:at + size])
            at += max(size, 0)
        out.append(row)
    return out


def tags(messages):
    return [p.rstrip(b"\0").decode() for k, p in messages if k == b"C"]
