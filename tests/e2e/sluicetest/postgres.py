"""A real PostgreSQL 15 server on loopback, with made-up customers whose values tests look for."""

import glob
import os
import pwd
import signal
import subprocess

from . import cleanup
from .util import Failure, end, free_port, remove_dir, run, temp_dir, wait_until

# The gateway's credential. If it turns up on the agent's side or in the store, a test fails.
GATEWAY_PASSWORD = "gateway-s3cret-Zq81x"

# Values that policy masks. None may reach an agent.
SSNS = ["078-05-1120", "219-09-9999", "457-55-5462", "123-45-6789", "666-12-3456"]
CARDS = ["4111111111111111", "5500005555555559", "340000000000009", "6011000000000004",
         "3530111333300000"]
NAMES = ["Ada Lovelace", "Grace Hopper", "Alan Turing", "Edsger Dijkstra", "Barbara Liskov"]

SCHEMA = f"""
CREATE TABLE customers (
    id int PRIMARY KEY, name text NOT NULL, email text NOT NULL, ssn text NOT NULL UNIQUE,
    card varchar(19) NOT NULL, balance numeric(12,2) NOT NULL, active boolean NOT NULL DEFAULT true);
INSERT INTO customers (id, name, email, ssn, card, balance) VALUES
{",".join(f"({i + 1}, '{n}', '{n.split()[0].lower()}@example.com', '{s}', '{c}', {(i + 1) * 100}.25)"
          for i, (n, s, c) in enumerate(zip(NAMES, SSNS, CARDS)))};
CREATE TABLE orders (
    id serial PRIMARY KEY, customer_id int NOT NULL REFERENCES customers (id), item text NOT NULL,
    amount numeric(12,2) NOT NULL);
INSERT INTO orders (customer_id, item, amount)
    SELECT 1 + i % 5, 'item ' || i, i * 1.5 FROM generate_series(1, 50) i;
CREATE VIEW customer_cards AS SELECT id, name, card, ssn FROM customers;
CREATE FUNCTION customer_ssn(int) RETURNS text LANGUAGE sql STABLE
    AS 'SELECT ssn FROM customers WHERE id = $1';
CREATE FUNCTION customer_fail(int) RETURNS text LANGUAGE plpgsql
    AS 'BEGIN RAISE EXCEPTION ''ssn is %'', (SELECT ssn FROM customers WHERE id = $1)
        USING DETAIL = (SELECT card FROM customers WHERE id = $1); END';
CREATE TABLE secrets (id int PRIMARY KEY, note text);
INSERT INTO secrets VALUES (1, 'not for agents');
CREATE TABLE scratch (id int PRIMARY KEY, note text);
INSERT INTO scratch SELECT i, 'note ' || i FROM generate_series(1, 100) i;
"""

# Who may log in how: `gateway_X` uses the method X.
METHODS = {"gateway": "scram-sha-256", "gateway_md5": "md5", "gateway_clear": "password",
           "gateway_trust": "trust"}


def bindir():
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
    if not found:
        raise Failure("no PostgreSQL server is installed")
    return os.path.dirname(found[-1])


def make_certificates(folder, names=("DNS:db.test", "DNS:localhost", "IP:127.0.0.1")):
    """A certificate authority and a server certificate signed by it, for `names`."""
    def path(name):
        return os.path.join(folder, name)
    run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-subj", "/CN=test database CA", "-days", "2", "-keyout", path("ca.key"), "-out", path("ca.pem")])
    run(["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
         "/CN=db.test", "-keyout", path("server.key"), "-out", path("server.csr")])
    with open(path("ext"), "w", encoding="ascii") as f:
        f.write("subjectAltName=" + ",".join(names) + "\n")
    run(["openssl", "x509", "-req", "-in", path("server.csr"), "-CA", path("ca.pem"), "-CAkey",
         path("ca.key"), "-CAcreateserial", "-days", "2", "-extfile", path("ext"), "-out",
         path("server.crt")])


class Postgres:
    def __init__(self, settings=None):
        self.dir = temp_dir("pg")
        self.data = os.path.join(self.dir, "data")
        self.port = free_port()
        self.bin = bindir()
        self.log = os.path.join(self.dir, "log")
        self.process = None
        cleanup.register(self)
        try:
            self._make(settings or {})
            self.start()
            self._fill()
        except BaseException:
            self.close()
            raise

    def _make(self, settings):
        user = pwd.getpwnam("postgres")
        make_certificates(self.dir)
        pgpass = os.path.join(self.dir, "super")
        with open(pgpass, "w", encoding="ascii") as f:
            f.write("superuser\n")
        for root, dirs, files in os.walk(self.dir):
            for name in dirs + files:
                os.chown(os.path.join(root, name), user.pw_uid, user.pw_gid)
        os.chown(self.dir, user.pw_uid, user.pw_gid)
        os.chmod(os.path.join(self.dir, "server.key"), 0o600)
        self._as_postgres([f"{self.bin}/initdb", "-D", self.data, "-A", "scram-sha-256", "-U", "postgres",
                           "--pwfile", pgpass, "--no-sync", "-E", "UTF8", "--locale=C"])
        conf = {"listen_addresses": "127.0.0.1,::1", "port": self.port, "fsync": "off",
                "full_page_writes": "off", "synchronous_commit": "off", "max_connections": 400,
                "shared_buffers": "128MB", "unix_socket_directories": self.dir, "ssl": "on",
                "ssl_cert_file": f"{self.dir}/server.crt", "ssl_key_file": f"{self.dir}/server.key",
                "log_connections": "on", "log_statement": "all", "log_line_prefix": "%m [%p] %u@%d ",
                "lc_messages": "C", **settings}
        with open(f"{self.data}/postgresql.conf", "a", encoding="ascii") as f:
            f.writelines(f"{k} = '{v}'\n" for k, v in conf.items())
        with open(f"{self.data}/pg_hba.conf", "w", encoding="ascii") as f:
            f.write("local all postgres trust\n")
            for role, method in METHODS.items():
                f.write(f"host all {role} 127.0.0.1/32 {method}\nhost all {role} ::1/128 {method}\n")
            f.write("hostssl all gateway_tls 127.0.0.1/32 scram-sha-256\n")
            f.write("host all postgres 127.0.0.1/32 scram-sha-256\n")

    def _as_postgres(self, args):
        return run(["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", *args],
                   cwd=self.dir, env={"PATH": "/usr/bin:/bin", "HOME": self.dir})

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig=TERM",
                 f"{self.bin}/postgres", "-D", self.data], cwd=self.dir, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, env={"PATH": "/usr/bin:/bin"})
        wait_until(self._ready, 30, lambda: f"PostgreSQL: {self.read_log()[-800:]}")

    def _ready(self):
        if self.process.poll() is not None:
            raise Failure("PostgreSQL ended: " + self.read_log()[-2000:])
        return run([f"{self.bin}/pg_isready", "-q", "-h", self.dir, "-p", str(self.port)],
                   check_rc=False).returncode == 0

    def read_log(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def stop(self):
        if self.process:
            end(self.process, 20, signal.SIGINT)

    def restart(self):
        self.stop()
        self.start()

    def _fill(self):
        roles = []
        for role in [*METHODS, "gateway_tls"]:
            if METHODS.get(role) == "md5":
                roles.append("SET password_encryption = 'md5'")
            roles.append(f"CREATE ROLE {role} LOGIN PASSWORD '{GATEWAY_PASSWORD}'")
            roles.append("RESET password_encryption")
        self.sql(";\n".join(roles), db="postgres", quiet_log=True)
        self.sql("CREATE DATABASE customers", db="postgres")
        self.sql(SCHEMA + "".join(
            f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role};"
            f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role};"
            f"GRANT CREATE ON SCHEMA public TO {role};" for role in [*METHODS, "gateway_tls"]))

    def sql(self, text, db="customers", quiet_log=False):
        """Run as the superuser, directly. Rows as psql prints them unaligned."""
        if quiet_log:
            text = "SET log_statement = 'none';\n" + text
        return run([f"{self.bin}/psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", self.dir, "-p",
                    str(self.port), "-U", "postgres", "-d", db], stdin=None, input=text).stdout.strip()

    def reset(self):
        """Put the tables that tests change back."""
        self.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT ALL ON SCHEMA public TO public;"
                 + SCHEMA + "".join(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {r};"
                                    f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {r};"
                                    f"GRANT CREATE ON SCHEMA public TO {r};"
                                    for r in [*METHODS, "gateway_tls"]))

    def backends(self):
        return int(self.sql("SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'gateway%'"))

    def close(self):
        cleanup.unregister(self)
        self.stop()
        remove_dir(self.dir)


def main():
    """python3 -m sluicetest.postgres: run a server until SIGTERM; its port and folder on the first line."""
    import sys
    import threading
    done = threading.Event()
    signal.signal(signal.SIGTERM, lambda *a: done.set())
    signal.signal(signal.SIGINT, lambda *a: done.set())
    server = Postgres()
    try:
        print(server.port, server.dir, flush=True)
        sys.stdout.close()
        done.wait()
    finally:
        server.close()


if __name__ == "__main__":
    main()
