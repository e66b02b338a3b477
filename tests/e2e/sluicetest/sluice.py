"""sluiced with a configuration of its own: started, asked, stopped, and seen to leave nothing behind."""

import contextlib
import copy
import itertools
import json
import os
import re
import shutil
import sqlite3
import subprocess

import yaml

from . import cleanup
from .util import (Failure, alive, cgroup2_root, check, children, end, free_port, remove_dir, run, temp_dir,
                   wait_until)

_serial = itertools.count(1)

# Who the local socket's peer is, by Unix user. `games` may decide nothing that `dba` must.
APPROVERS = [{"name": "ann", "unix_user": "root", "groups": ["dba"]},
             {"name": "guy", "unix_user": "games", "groups": ["other"]}]


class PlainDumper(yaml.SafeDumper):
    """Values that occur twice are written twice: sluice refuses anchors."""

    def ignore_aliases(self, _):
        return True


def dump(value):
    return yaml.dump(value, Dumper=PlainDumper, sort_keys=False, default_flow_style=False)


class Sluice:
    def __init__(self, build, config, policy, start=True, name=None):
        """config: what is not said here (node, folders, ports) is given; policy: YAML text or a list of rules."""
        self.build = build
        self.name = name or f"t{os.getpid()}-{next(_serial)}"
        self.dir = temp_dir("node")
        self.scope = f"/sluice-{self.name}"
        self.bpf_dir = f"/sys/fs/bpf/sluice-{self.name}"
        self.config_path = os.path.join(self.dir, "sluice.yaml")
        self.policy_path = os.path.join(self.dir, "policy.yaml")
        self.log_path = os.path.join(self.dir, "log")
        self.state_dir = os.path.join(self.dir, "state")
        self.run_dir = os.path.join(self.dir, "run")
        self.process = None
        cleanup.register(self)
        self.config = {
            "node": "testnode", "state_dir": self.state_dir, "run_dir": self.run_dir, "bpf_dir": self.bpf_dir,
            "listen_port": free_port(), "policy": self.policy_path, "scopes": [self.scope],
            "approvers": APPROVERS, **copy.deepcopy(config)}
        for workload in self.config["workloads"]:
            match = workload["match"]
            match["cgroup"] = match["cgroup"].replace("SCOPE", self.scope)
        self.write_config()
        self.write_policy(policy)
        if start:
            try:
                self.start()
            except BaseException:
                self.close(checked=False)
                raise

    def write_config(self, text=None):
        with open(self.config_path, "w", encoding="utf-8") as f:
            f.write(text if text is not None else dump(self.config))

    def write_policy(self, policy):
        if not isinstance(policy, str):
            policy = dump({"rules": policy})
        with open(self.policy_path, "w", encoding="utf-8") as f:
            f.write(policy)

    def start(self, wait=True):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([f"{self.build}/sluiced", "--config", self.config_path],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            preexec_fn=cleanup.dies_with_us)
        if wait:
            wait_until(self._ready, 30, lambda: "sluiced to be ready:\n" + self.log()[-3000:])
        return self

    def _ready(self):
        if self.process.poll() is not None:
            raise Failure(f"sluiced ended ({self.process.returncode}):\n" + self.log()[-3000:])
        return self.ctl("status", check_rc=False).returncode == 0

    def log(self):
        with contextlib.suppress(FileNotFoundError), open(self.log_path, encoding="utf-8",
                                                          errors="replace") as f:
            return f.read()
        return ""

    def ctl_args(self, *args):
        return [f"{self.build}/sluicectl", "--config", self.config_path, *args]

    def ctl(self, *args, check_rc=True, user=None, timeout=30):
        prefix = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
        return run([*prefix, *self.ctl_args(*args)], check_rc=check_rc, timeout=timeout)

    def json(self, *args, **kw):
        """What a verb prints with --json: a document, or a list of the lines that are each one."""
        text = self.ctl(*args, "--json", **kw).stdout.strip()
        try:
            return json.loads(text) if text else []
        except json.JSONDecodeError:
            return [json.loads(line) for line in text.splitlines()]

    # -- evidence

    def audit(self, *filters):
        """Events, oldest first, as `sluicectl audit search --json` gives them."""
        found = self.json("audit", "search", "--limit", "0", *filters, check_rc=False)
        return [found] if isinstance(found, dict) else found

    def events(self, kind=None, want=None, at_least=1, seconds=5, filters=()):
        """Events of a kind that satisfy want(event); waits until there are enough."""
        def find():
            got = [e for e in self.audit(*filters)
                   if (kind is None or e.get("kind") == kind) and (want is None or want(e))]
            return got if len(got) >= at_least else None
        return wait_until(find, seconds, f"{at_least} event(s) {kind}", step=0.1)

    def ops(self, text, **kw):
        """Recorded operations whose text has this in it."""
        return self.events("op", lambda e: text in body(e).get("op", {}).get("text", ""), **kw)

    def store_bytes(self):
        """Every byte that the store's files hold."""
        data = b""
        for folder, _, files in os.walk(self.state_dir):
            for name in files:
                if name.startswith("store"):
                    with open(os.path.join(folder, name), "rb") as f:
                        data += f.read()
        check(data, "the store has no bytes")
        return data

    def store(self):
        return os.path.join(self.state_dir, "store.db")

    def sqlite(self):
        return sqlite3.connect(f"file:{self.store()}?mode=ro", uri=True)

    # -- approvals

    def approvals(self, state=None):
        found = self.json("approvals", "list", check_rc=False)
        found = found.get("approvals", found) if isinstance(found, dict) else found
        return [a for a in found if state is None or a["state"] == state]

    def pending(self, text="", seconds=10):
        """The one approval that waits, for a statement with this in it."""
        def find():
            return [a for a in self.approvals("pending") if text in json.dumps(a)]
        found = wait_until(find, seconds, f"a pending approval for {text!r}")
        check(len(found) == 1, "one pending approval wanted:", found)
        return found[0]

    def approval(self, ident):
        found = [a for a in self.approvals() if a["id"] == ident]
        check(found, "no such approval:", ident)
        return found[0]

    # -- processes

    def status(self):
        return self.json("status")

    def roles(self):
        """Pids of warden, recorder and workers, by role, as the status tells."""
        status = self.status()
        found = {"warden": [], "recorder": [], "worker": []}

        def visit(value, name=None):
            if isinstance(value, dict):
                role = str(value.get("role", name or ""))
                if "pid" in value:
                    for known, pids in found.items():
                        if role.startswith(known):
                            pids.append(value["pid"])
                for key, inner in value.items():
                    visit(inner, key)
            elif isinstance(value, list):
                for inner in value:
                    visit(inner, name)
        visit(status)
        return found

    def descendants(self):
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            if alive(pid):
                found.append(pid)
            todo += children(pid)
        return found

    def stop(self):
        if self.process:
            pids = self.descendants()
            end(self.process, 15)
            wait_until(lambda: not [p for p in pids if alive(p)], 10, "sluiced's processes to end")

    def leftovers(self):
        """What a detached, stopped sluiced has left behind: nothing, if all is well."""
        found = []
        if os.path.exists(self.bpf_dir):
            found.append(self.bpf_dir)
        root = cgroup2_root() + self.scope
        if os.path.exists(root):
            found += [folder for folder, _, _ in os.walk(root)]
        if os.path.exists(os.path.join(self.run_dir, "control.sock")):
            found.append("control.sock")
        return found

    def detach(self):
        """Remove links, maps and pins, as an operator does who takes sluice off a node."""
        return run([f"{self.build}/sluiced", "--config", self.config_path, "--detach"], check_rc=False)

    def close(self, checked=True):
        cleanup.unregister(self)
        self.stop()
        detached = self.detach()
        # Processes still there belong to a test that failed; what the others made went with its maker.
        cleanup.remove_cgroup(cgroup2_root() + self.scope)
        left = self.leftovers()
        log = self.log()
        remove_dir(self.dir)
        shutil.rmtree(self.bpf_dir, ignore_errors=True)
        if checked:
            check(not left, "left behind:", left, detached.stderr)
            check(not re.search(r"ERROR: AddressSanitizer|runtime error:", log), log[-3000:])

    def __enter__(self):
        return self

    def __exit__(self, kind, *exc):
        self.close(checked=kind is None)


def body(event):
    """The part of an event that its maker wrote."""
    return event.get("body", event)
