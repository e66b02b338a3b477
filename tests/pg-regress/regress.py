#!/usr/bin/python3
"""Runs pg_regress against a fresh server, direct and through sluice, and compares test by test."""

import argparse
import os
import pwd
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../e2e"))
sys.dont_write_bytecode = True

from sluicetest.postgres import Postgres, bindir  # noqa: E402
from sluicetest.sluice import Sluice  # noqa: E402

ADDRESS = "10.0.3.7"
AS_POSTGRES = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--"]
VERDICT = re.compile(r"^(?:test\s+|\s+)(\S+)\s+\.\.\. (ok|FAILED|failed \(ignored\))")


class Suite:
    def __init__(self, work, tests):
        self.work, self.tests = work, tests
        self.inputs = os.path.join(work, "src/src/test/regress")

    def run(self, name, host, port, wrap):
        out = os.path.join(self.work, f"out-{name}")
        shutil.rmtree(out, ignore_errors=True)
        os.makedirs(out)
        self.own(out)
        # The tests write beside their inputs in some places: a copy that the server's user owns.
        inputs = os.path.join(out, "in")
        shutil.copytree(self.inputs, inputs, ignore=shutil.ignore_patterns("*.o", "*.c", "*.so"))
        self.own(inputs)
        which = self.tests or ["--schedule=" + os.path.join(inputs, "parallel_schedule")]
        args = [os.path.join(self.inputs, "pg_regress"), f"--inputdir={inputs}", f"--outputdir={out}",
                f"--bindir={bindir()}", f"--dlpath={self.work}/lib", f"--host={host}", f"--port={port}",
                "--user=postgres", "--max-concurrent-tests=20", *which]
        with open(os.path.join(self.work, f"{name}.log"), "wb") as log:
            subprocess.run(wrap([*AS_POSTGRES, *args]), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                           cwd=out, check=False, timeout=3600,
                           env={"PATH": "/usr/bin:/bin:/usr/sbin", "PGPASSWORD": "superuser", "HOME": out,
                                "PGSSLMODE": "disable"})
        with open(os.path.join(self.work, f"{name}.log"), encoding="utf-8", errors="replace") as f:
            text = f.read()
        found = {m.group(1): m.group(2) for m in map(VERDICT.match, text.splitlines()) if m}
        if not found:
            raise SystemExit(f"pg_regress ({name}) ran no test:\n{text[-3000:]}")
        return found

    @staticmethod
    def own(path):
        user = pwd.getpwnam("postgres")
        for folder, _, files in os.walk(path):
            os.chown(folder, user.pw_uid, user.pw_gid)
            for file in files:
                os.chown(os.path.join(folder, file), user.pw_uid, user.pw_gid)


def fresh_server():
    return Postgres({"log_statement": "none", "log_connections": "off", "max_connections": 100})


def through_sluice(options, suite, pg):
    password = os.path.join(pg.dir, "gateway-password")
    with open(password, "w", encoding="ascii") as f:
        f.write("superuser\n")
    os.chmod(password, 0o600)
    config = {
        "workloads": [{"name": "regress", "match": {"cgroup": "SCOPE/regress-*"}}],
        "resources": [{"name": "regress-db", "protocol": "postgres", "match": {"address": [ADDRESS], "port": 5432},
                       "upstream": {"address": f"127.0.0.1:{pg.port}", "tls": "disable"},
                       "credential": {"user": "postgres", "password_file": password}}]}
    policy = [{"name": "everything", "who": {"workload": "regress"}, "on": "regress-db",
               "when": {"sql": {"verbs": ["*", "unknown"]}}, "effect": "allow"}]
    with Sluice(options.build, config, policy) as sluice:
        return suite.run("sluice", ADDRESS, 5432, lambda args: sluice.ctl_args(
            "run", "--workload", "regress", "--net", "host", "--", *args))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--direct-only", action="store_true")
    parser.add_argument("tests", nargs="*")
    options = parser.parse_args()
    options.build = os.path.abspath(options.build)
    suite = Suite(options.work, options.tests)
    pg = fresh_server()
    try:
        direct = suite.run("direct", "127.0.0.1", pg.port, lambda args: args)
    finally:
        pg.close()
    print(f"direct: {sum(v == 'ok' for v in direct.values())} of {len(direct)} ok", flush=True)
    if options.direct_only:
        return 0
    pg = fresh_server()
    try:
        through = through_sluice(options, suite, pg)
    finally:
        pg.close()
    print(f"sluice: {sum(v == 'ok' for v in through.values())} of {len(through)} ok")
    different = sorted(t for t in direct.keys() | through.keys() if direct.get(t) != through.get(t))
    for test in different:
        print(f"DIFFERENT  {test}: direct {direct.get(test, 'not run')}, sluice {through.get(test, 'not run')}")
    if different:
        print(f"diffs: {options.work}/out-sluice/regression.diffs")
    print(f"{len(direct) - len(different)} passed, {len(different)} failed")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
