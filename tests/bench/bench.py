#!/usr/bin/python3
"""pgbench through sluice and through others, in interleaved rounds; medians, and ratios to a bare relay.

sluice does all of it: steering, token, policy over the parsed statement, a column mask, the record.
HAProxy copies TCP; pgbouncer parses messages; the relay copies bytes and is the floor.
"""

import argparse
import json
import os
import pwd
import re
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../e2e"))
sys.dont_write_bytecode = True

from sluicetest.issuer import Issuer  # noqa: E402
from sluicetest.postgres import GATEWAY_PASSWORD, Postgres  # noqa: E402
from sluicetest.sluice import Sluice  # noqa: E402
from sluicetest.util import end, free_port, remove_dir, run, temp_dir, wait_until  # noqa: E402

ADDRESS = "10.0.3.7"
SCALE = 5


class Bench:
    def __init__(self, options):
        self.options = options
        self.build = os.path.abspath(options.build)
        self.dir = temp_dir("bench")
        self.parts = []
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self):
        self.pg = Postgres({"log_statement": "none", "log_connections": "off", "max_connections": 700})
        self.parts.append(self.pg)
        self.pg.sql("CREATE DATABASE bench OWNER gateway", db="postgres")
        run(["pgbench", "-i", "-q", "-s", str(SCALE), *self.at(self.pg.port)], timeout=300, env=self.env())
        self.ports = {"direct": self.pg.port}
        self.start_relay()
        self.start_haproxy()
        self.start_pgbouncer()
        self.start_sluice()

    def env(self):
        return {"PATH": os.environ["PATH"], "PGPASSWORD": GATEWAY_PASSWORD, "PGSSLMODE": "disable",
                "LC_ALL": "C"}

    def at(self, port, host="127.0.0.1"):
        return ["-h", host, "-p", str(port), "-U", "gateway", "bench"]

    def spawn(self, args):
        with open(os.path.join(self.dir, os.path.basename(args[0]) + ".log"), "ab") as log:
            process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.parts.append(process)
        return process

    def file(self, name, text, mode=0o644):
        path = os.path.join(self.dir, name)
        with open(path, "w", encoding="ascii") as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def start_relay(self):
        self.ports["relay"] = free_port()
        self.spawn([f"{self.build}/bench/relay", str(self.ports["relay"]), str(self.pg.port)])

    def start_haproxy(self):
        self.ports["haproxy"] = free_port()
        path = self.file("haproxy.cfg", f"""global
    maxconn 4000
    nbthread 1
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen pg
    bind 127.0.0.1:{self.ports["haproxy"]}
    server pg 127.0.0.1:{self.pg.port}
""")
        self.spawn(["haproxy", "-db", "-f", path])

    def start_pgbouncer(self):
        self.ports["pgbouncer"] = free_port()
        users = self.file("users.txt", f'"gateway" "{GATEWAY_PASSWORD}"\n')
        path = self.file("pgbouncer.ini", f"""[databases]
bench = host=127.0.0.1 port={self.pg.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.ports["pgbouncer"]}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = session
max_client_conn = 2000
default_pool_size = 600
log_connections = 0
log_disconnections = 0
""")
        user = pwd.getpwnam("postgres")
        for p in (users, path):
            os.chown(p, user.pw_uid, user.pw_gid)
        self.spawn(["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "/usr/sbin/pgbouncer",
                    path])

    def start_sluice(self):
        issuer = Issuer(os.path.join(self.dir, "issuer"))
        self.token = self.file("token", issuer.token(lifetime=86400))
        password = self.file("password", GATEWAY_PASSWORD, 0o600)
        self.sluice = Sluice(self.build, {
            "issuers": [{"name": "cluster", "issuer": issuer.name, "jwks": issuer.jwks, "audience": "sluice",
                         "algorithms": ["ES256"]}],
            # `sluicectl run --net host` shares the host's files: the token lies in the bench's folder.
            "workloads": [{"name": "bench", "match": {"cgroup": "SCOPE/bench-*"}, "token": {"file": self.token}}],
            "resources": [{"name": "bench-db", "protocol": "postgres", "match": {"address": [ADDRESS], "port": 5432},
                           "upstream": {"address": f"127.0.0.1:{self.pg.port}", "tls": "disable"},
                           "credential": {"user": "gateway", "password_file": password}}],
        }, [{"name": "bench", "who": {"workload": "bench", "groups": ["support"]}, "on": "bench-db",
             "when": {"sql": {"verbs": ["select", "show", "set", "transaction", "prepare", "execute"]}},
             "effect": "allow",
             "mask": [{"columns": ["public.pgbench_accounts.filler"], "with": "redact"}]}])
        self.parts.append(self.sluice)
        self.ports["sluice"] = 5432

    def governed(self, args):
        return self.sluice.ctl_args("run", "--workload", "bench", "--net", "host", "--", *args)

    # -- measures

    def pgbench(self, who, *options, seconds=None):
        host = ADDRESS if who == "sluice" else "127.0.0.1"
        args = ["/usr/bin/pgbench", "-n", "-S", "-T", str(seconds or self.options.seconds), *options,
                *self.at(self.ports[who], host)]
        if who == "sluice":
            args = self.governed(args)
        out = run(args, env=self.env(), timeout=120).stdout
        tps = float(re.search(r"tps = ([0-9.]+)", out).group(1))
        latency = float(re.search(r"latency average = ([0-9.]+) ms", out).group(1))
        return {"tps": tps, "latency_us": latency * 1000}

    def throughput(self):
        found = {}
        clients = [1, 8] if self.options.quick else [1, 8, 32]
        modes = ["simple", "prepared"] if self.options.quick else ["simple", "extended", "prepared"]
        for mode in modes:
            for n in clients:
                runs = {who: [] for who in self.ports}
                for _ in range(self.options.rounds):
                    for who in self.ports:
                        runs[who].append(self.pgbench(who, "-M", mode, "-c", str(n), "-j", "1"))
                found[f"{mode} c={n}"] = {
                    who: {key: statistics.median(r[key] for r in rs) for key in ("tps", "latency_us")}
                    for who, rs in runs.items()}
                self.row(f"{mode} c={n}", {who: v["tps"] for who, v in found[f"{mode} c={n}"].items()})
        return found

    def connects(self):
        runs = {who: [] for who in self.ports}
        for _ in range(self.options.rounds):
            for who in self.ports:
                runs[who].append(self.pgbench(who, "-C", "-c", "4", "-j", "1", seconds=2)["tps"])
        found = {who: statistics.median(r) for who, r in runs.items()}
        self.row("connects/s", found)
        return found

    def connect_cost(self):
        """connect() alone: from a governed process, steered; from an ungoverned one to the same listener."""
        program = f"{self.build}/bench/connect_cost"
        n = "300" if self.options.quick else "2000"
        runs = {"plain": [], "steered": []}
        for _ in range(self.options.rounds):
            plain = run([program, "127.0.0.1", str(self.ports["relay"]), n]).stdout
            steered = run(self.governed([program, ADDRESS, "5432", n])).stdout
            runs["plain"].append(int(plain.split()[0]))
            runs["steered"].append(int(steered.split()[0]))
        plain, steered = (statistics.median(runs[k]) for k in ("plain", "steered"))
        print(f"connect(): {plain / 1000:.1f} us plain, {steered / 1000:.1f} us steered, "
              f"{(steered - plain) / 1000:+.1f} us")
        return {"plain_ns": plain, "steered_ns": steered, "added_ns": steered - plain}

    def idle_memory(self):
        """What one idle session costs the workers: growth of their PSS over many."""
        count = 100 if self.options.quick else 500

        def pss():
            total = 0
            for pid in self.sluice.roles()["worker"]:
                with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
                    total += next(int(line.split()[1]) for line in f if line.startswith("Pss:"))
            return total
        script = f"""
import socket, struct, sys
p = struct.pack("!I", 196608) + b"user\\0x\\0database\\0bench\\0\\0"
p = struct.pack("!I", len(p) + 4) + p
conns = []
for i in range({count}):
    s = socket.create_connection(("{ADDRESS}", 5432)); s.sendall(p)
    got = b""
    while not got.endswith(b"Z\\0\\0\\0\\5I"):
        d = s.recv(4096)
        assert d, got
        got += d
    q = b"SELECT abalance FROM pgbench_accounts WHERE aid = 1\\0"
    s.sendall(b"Q" + struct.pack("!I", len(q) + 4) + q)
    got = b""
    while not got.endswith(b"Z\\0\\0\\0\\5I"):
        d = s.recv(4096)
        assert d, got
        got += d
    conns.append(s)
print("ready", flush=True)
sys.stdin.readline()
"""
        self.pgbench("sluice", "-c", "8", seconds=1)
        time.sleep(1)
        before = pss()
        p = subprocess.Popen(self.governed(["/usr/bin/python3", "-c", script]), stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
        try:
            if p.stdout.readline() != "ready\n":
                raise RuntimeError("the idle sessions could not be opened")
            time.sleep(1.5)
            after = pss()
        finally:
            p.stdin.close()
            end(p)
        per = (after - before) / count
        print(f"an idle session: {per:.1f} KiB ({count} sessions)")
        return {"sessions": count, "kib_each": per}

    def recorder(self):
        """The recorder by itself, with events as long as real ones: taken and on disk; then verified."""
        count = "50000" if self.options.quick else "500000"
        runs = [json.loads(run([f"{self.build}/bench/recorder_bench", count], timeout=300).stdout)
                for _ in range(self.options.rounds)]

        def median(values):
            if isinstance(values[0], dict):
                return {key: median([v[key] for v in values]) for key in values[0]}
            return statistics.median(values)
        found = median(runs)
        print(f"recorder: {found['events_s']:.0f} events/s on disk, {found['verify_events_s']:.0f} events/s "
              f"verified, ack {found['ack_us']['p50']:.0f} us, durable {found['durable_ack_us']['p50']:.0f} us")
        return found

    def row(self, what, values):
        floor = values["relay"]
        cells = "  ".join(f"{who} {v:>8.0f} ({v / floor:4.2f})" for who, v in values.items())
        print(f"{what:<16} {cells}", flush=True)

    def close(self):
        for part in reversed(self.parts):
            if isinstance(part, subprocess.Popen):
                end(part)
            else:
                part.close()
        remove_dir(self.dir)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 1
    bench = None
    try:
        bench = Bench(options)
        wait_until(lambda: all(run(["/usr/bin/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)],
                                   check_rc=False).returncode == 0
                               for who, port in bench.ports.items() if who != "sluice"), 20, "the others to listen")
        print("transactions a second, median of rounds (ratio to the bare relay)")
        result = {"throughput": bench.throughput(), "connects_per_s": bench.connects(),
                  "connect_cost": bench.connect_cost(), "idle_session": bench.idle_memory(),
                  "recorder": bench.recorder(),
                  "rounds": options.rounds, "seconds": options.seconds, "cores": os.cpu_count(),
                  "kernel": os.uname().release}
        result["ratios"] = {k: {who: round(v["tps"] / row["relay"]["tps"], 3) for who, v in row.items()}
                            for k, row in result["throughput"].items()}
        path = os.path.join(bench.build, "bench/bench.json")
        with open(path, "w", encoding="ascii") as f:
            json.dump(result, f, indent=1)
        print("written:", os.path.relpath(path))
    finally:
        if bench:
            bench.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
