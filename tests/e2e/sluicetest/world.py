"""What most tests share: one PostgreSQL, one issuer, one container engine, one sluiced with this policy."""

import os

from . import cleanup
from .container import TOKEN_PATH, Container, Engine
from .issuer import Issuer
from .postgres import GATEWAY_PASSWORD, Postgres
from .sluice import Sluice
from .util import free_port, remove_dir, temp_dir

WRONG_PASSWORD = "not-it-4Kx7"

# Name -> address as containers see it. None of them exists anywhere: only sluice answers.
HOSTS = {
    "db.internal": "10.0.3.7", "db6.internal": "fd00:3::7",
    "md5.internal": "10.0.3.8", "clear.internal": "10.0.3.9", "trust.internal": "10.0.3.10",
    "full.internal": "10.0.3.11", "ca.internal": "10.0.3.12", "require.internal": "10.0.3.13",
    "plain.internal": "10.0.3.14", "name.internal": "10.0.3.15", "wrongca.internal": "10.0.3.16",
    "badpass.internal": "10.0.3.17", "down.internal": "10.0.3.18", "odd.internal": "10.0.3.19",
    "open.internal": "10.0.3.20", "unknown.internal": "10.0.3.99",
}

CHORES = ["transaction", "set", "show", "prepare", "execute", "deallocate", "declare", "fetch", "explain",
          "listen", "notify", "empty"]

POLICY = [
    {"name": "read customers", "who": {"workload": "support-agent", "groups": ["support"]},
     "on": "customers-db",
     "when": {"sql": {"verbs": ["select", *CHORES],
                      "tables": ["public.customers", "public.orders", "public.customer_cards"]}},
     "effect": "allow",
     "mask": [{"columns": ["public.customers.ssn"], "with": "last4"},
              {"columns": ["public.customers.card"], "with": "redact"}]},
    {"name": "scratch is free", "who": {"workload": "support-agent"}, "on": "customers-db",
     "when": {"sql": {"verbs": ["select", "insert", "update", "delete", "copy_in", "copy_out", *CHORES],
                      "tables": ["public.scratch"]}}, "effect": "allow"},
    {"name": "changes need a person", "who": {"workload": "support-agent"}, "on": "customers-db",
     "when": {"sql": {"verbs": ["update", "insert"], "tables": ["public.customers", "public.orders"]}},
     "effect": "approve",
     "approval": {"groups": ["dba"], "quorum": 1, "wait": "20s", "valid": "60s"}, "durable": True},
    {"name": "nobody deletes customers", "who": {"workload": "support-agent"}, "on": "customers-db",
     "when": {"sql": {"verbs": ["delete"], "tables": ["public.customers"]}}, "effect": "deny"},
    {"name": "quick decisions", "who": {"workload": "hasty-agent"}, "on": "customers-db",
     "when": {"sql": {"verbs": ["select", "update"], "tables": ["public.customers"]}}, "effect": "approve",
     "approval": {"groups": ["dba"], "wait": "2s", "valid": "2s"}},
    {"name": "free agents do as they like", "who": {"workload": "free-agent"}, "on": "*",
     "when": {"sql": {"verbs": ["*", "unknown"]}}, "effect": "allow"},
    {"name": "everything, masked", "who": {"workload": "masked-agent"}, "on": "customers-db",
     "when": {"sql": {"verbs": ["*", "unknown"]}}, "effect": "allow",
     "mask": [{"columns": ["public.customers.ssn"], "with": "last4"},
              {"columns": ["public.customers.card"], "with": "redact"}]},
    {"name": "no token asked for", "who": {"workload": "open-agent"}, "on": "open-db",
     "when": {"sql": {"verbs": ["select"]}}, "effect": "allow"},
]


class World:
    def __init__(self, build):
        self.build = os.path.abspath(build)
        self.dir = temp_dir("world")
        self.engine = self.pg = self.sluice = None
        self._free = self._agent = None
        cleanup.register(self)
        self.engine = Engine()
        self.pg = Postgres()
        self.issuer = Issuer(os.path.join(self.dir, "issuer"))
        self.odd_port = free_port()
        self._files()
        self.sluice = self.new_sluice()

    def _files(self):
        self.password_file = os.path.join(self.dir, "password")
        self.wrong_password_file = os.path.join(self.dir, "wrong")
        for path, text in ((self.password_file, GATEWAY_PASSWORD), (self.wrong_password_file, WRONG_PASSWORD)):
            with open(path, "w", encoding="ascii") as f:
                f.write(text + "\n")
            os.chmod(path, 0o600)
        # A certificate authority that did not sign the server's certificate.
        from .postgres import make_certificates
        other = os.path.join(self.dir, "other")
        os.mkdir(other)
        make_certificates(other)
        self.other_ca = os.path.join(other, "ca.pem")

    def resources(self):
        upstream, ca = f"127.0.0.1:{self.pg.port}", f"{self.pg.dir}/ca.pem"

        def one(name, host, user="gateway", tls="verify-full", addresses=None, password=True, to=upstream, ca=ca,
                server_name="db.test"):
            up = {"address": to, "tls": tls}
            if tls in ("verify-full", "verify-ca"):
                up["ca"] = ca
            if tls == "verify-full":
                up["server_name"] = server_name
            credential = {"user": user}
            if password:
                credential["password_file"] = self.password_file if password is True else password
            return {"name": name, "protocol": "postgres",
                    "match": {"host": host, "address": addresses or [HOSTS[host]], "port": 5432},
                    "upstream": up, "credential": credential}
        return [
            one("customers-db", "db.internal", addresses=["10.0.3.7", "fd00:3::7"]),
            one("md5-db", "md5.internal", "gateway_md5", "disable"),
            one("clear-db", "clear.internal", "gateway_clear", "require"),
            one("trust-db", "trust.internal", "gateway_trust", "disable", password=False),
            one("full-db", "full.internal", "gateway_tls", "verify-full"),
            one("ca-db", "ca.internal", "gateway_tls", "verify-ca"),
            one("require-db", "require.internal", "gateway_tls", "require"),
            one("plain-db", "plain.internal", tls="disable"),
            one("name-db", "name.internal", tls="verify-full", server_name="other.test"),
            one("wrongca-db", "wrongca.internal", tls="verify-ca", ca=self.other_ca),
            one("badpass-db", "badpass.internal", password=self.wrong_password_file),
            one("down-db", "down.internal", tls="disable", to="127.0.0.1:1"),
            one("odd-db", "odd.internal", tls="disable", to=f"127.0.0.1:{self.odd_port}"),
            one("open-db", "open.internal", tls="disable"),
        ]

    def base_config(self):
        token = {"file": TOKEN_PATH}
        return {
            "issuers": [{"name": "cluster", "issuer": self.issuer.name, "jwks": self.issuer.jwks,
                         "audience": "sluice", "algorithms": ["ES256", "RS256"]}],
            "workloads": [
                {"name": "support-agent", "match": {"cgroup": "SCOPE/support-*"}, "token": token},
                {"name": "hasty-agent", "match": {"cgroup": "SCOPE/hasty-*"}, "token": token},
                {"name": "masked-agent", "match": {"cgroup": "SCOPE/masked-*"}, "token": token},
                {"name": "free-agent", "match": {"cgroup": "SCOPE/free-*"}, "token": token},
                {"name": "open-agent", "match": {"cgroup": "SCOPE/open-*"}}],
            "resources": self.resources()}

    def new_sluice(self, policy=None, start=True, **config):
        return Sluice(self.build, {**self.base_config(), **config}, policy or POLICY, start=start)

    def container(self, name="support-agent", sluice=None, token="good", hosts=None, **kw):
        """A fresh container of a workload; its token is a good one unless said."""
        if token == "good":
            token = self.issuer.token(sub=f"{name}-7")
        files = dict(kw.pop("files", None) or {})
        here = os.path.join(os.path.dirname(os.path.dirname(__file__)), "agent")
        for file in os.listdir(here):
            if file.endswith(".py"):
                with open(os.path.join(here, file), encoding="utf-8") as f:
                    files[file] = f.read()
        return Container(self.engine, (sluice or self.sluice).scope, name, token=token,
                         hosts={**HOSTS, **(hosts or {})}, files=files, **kw)

    @property
    def agent(self):
        """A container of the workload support-agent that tests may share (they must not change it)."""
        if not self._agent:
            self._agent = self.container()
        return self._agent

    @property
    def free(self):
        """The same of free-agent: allowed everything, nothing masked."""
        if not self._free:
            self._free = self.container("free-agent")
        return self._free

    def close(self):
        cleanup.unregister(self)
        for part in (self._agent, self._free, self.sluice, self.pg, self.engine):
            if part and cleanup.in_use(part):
                part.close()
        remove_dir(self.dir)
