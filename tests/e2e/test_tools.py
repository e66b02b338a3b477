"""sluicectl without a daemon, and the examples that a person starts from."""

import json
import os
import shutil
import time

from sluicetest.postgres import make_certificates
from sluicetest.util import check, check_eq, check_in, check_not_in, run

TREE = os.path.abspath(os.environ.get("SLUICE_TREE") or os.path.join(os.path.dirname(__file__), "../.."))


def ctl(w, *args, **kw):
    return run([f"{w.build}/sluicectl", *args], check_rc=False, **kw)


def verify(w, token, *args, audience="sluice", issuer=None, jwks=None):
    return ctl(w, "token", "verify", "--jwks", jwks or w.issuer.jwks, "--issuer", issuer or w.issuer.name, "--audience",
               audience, *args, input=token, stdin=None)


def test_token_verify(w):
    now = int(time.time())
    token = w.issuer.token(sub="agent-9", groups=("support", "nights"))
    done = verify(w, token + "\n")
    check_eq(done.returncode, 0, done.stdout + done.stderr)
    for text in ("valid", "agent-9", "support", "nights", "ES256", "es-1"):
        check_in(text, done.stdout)
    check_not_in(token, done.stdout)
    told = json.loads(verify(w, token, "--json").stdout)
    check_eq((told["result"], told["subject"], told["groups"]), ("valid", "agent-9", ["support", "nights"]))
    check_eq(verify(w, w.issuer.token(key=w.issuer.rs)).returncode, 0)
    # Another time, other algorithms, another claim for the groups.
    check_eq(verify(w, token, "--at", str(now + 86400)).returncode, 1)
    check_eq(verify(w, w.issuer.token(lifetime=-3600), "--at", str(now - 7200)).returncode, 1, "before it was issued")
    check_eq(verify(w, w.issuer.token(lifetime=-3600, nbf=now - 9000, iat=now - 9000), "--at",
                    str(now - 7200)).returncode, 0)
    check_eq(verify(w, token, "--alg", "RS256").returncode, 1)
    told = json.loads(verify(w, w.issuer.token(teams=["dba"]), "--groups-claim", "teams", "--json").stdout)
    check_eq(told["groups"], ["dba"])


def test_token_refused_says_why(w):
    good = w.issuer.token()
    head, claims, signature = good.split(".")
    cases = {
        "expired": w.issuer.token(lifetime=-3600), "signature-bad": w.issuer.token(key=w.issuer.rogue, kid="es-1"),
        "audience-wrong": w.issuer.token(aud="another"), "issuer-unknown": w.issuer.token(iss="https://other.test"),
        "malformed": "no token at all", "key-unknown": w.issuer.token(kid="nobody"),
    }
    for code, token in cases.items():
        done = verify(w, token)
        check_eq(done.returncode, 1, code + done.stdout + done.stderr)
        check_in("refused: ", done.stdout)
        told = json.loads(verify(w, token, "--json").stdout)
        check_eq(told["result"], "refused", code)
        check_eq(told["reason"], code, code)
    # One bit of any part.
    for parts in ((head, claims[:-2] + ("A" if claims[-2] != "A" else "B") + claims[-1], signature),
                  (head, claims, ("A" if signature[0] != "A" else "B") + signature[1:])):
        check_eq(verify(w, ".".join(parts)).returncode, 1)
    # Could not tell is not no.
    for args in ({"jwks": "/nonexistent"}, {"jwks": w.password_file}):
        check_eq(verify(w, good, **args).returncode, 2)
    check_eq(ctl(w, "token", "verify").returncode, 2)


def test_policy_check_tells_all(w):
    """Offline: every fault with its place, names that the configuration does not have, exit statuses."""
    done = ctl(w, "policy", "check", "--config", w.sluice.config_path, w.sluice.policy_path)
    check_eq(done.returncode, 0, done.stdout + done.stderr)
    digest = w.sluice.status()["policy"]["sha256"]
    check_in(digest, done.stdout, "the digest that decisions are recorded with")
    bad = os.path.join(w.dir, "bad-policy.yaml")
    with open(bad, "w", encoding="ascii") as f:
        f.write("rules:\n  - name: a\n    who: { workload: nobody }\n    on: nowhere\n    effect: allow\n"
                "  - name: b\n    on: customers-db\n    when: { sql: { verbs: [selekt] } }\n    effect: perhaps\n")
    done = ctl(w, "policy", "check", "--config", w.sluice.config_path, bad)
    out = done.stdout + done.stderr
    check_eq(done.returncode, 1, out)
    for place, word in (("3:", "nobody"), ("4:", "nowhere"), ("8:", "selekt"), ("9:", "perhaps")):
        check(any(f"bad-policy.yaml:{place}" in l and word in l for l in out.splitlines()), place, word, out)
    told = json.loads(ctl(w, "policy", "check", "--json", "--config", w.sluice.config_path, bad).stdout)
    check_in("selekt", str(told))
    check_eq(ctl(w, "policy", "check", "/nonexistent").returncode, 2)


def examples(w):
    """A copy of examples/ with the files that its configuration names and a node would have."""
    folder = os.path.join(w.dir, "examples")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(os.path.join(TREE, "examples"), folder)
    make_certificates(folder)
    shutil.copy(os.path.join(folder, "ca.pem"), os.path.join(folder, "db-ca.pem"))
    shutil.copy(w.issuer.jwks, os.path.join(folder, "jwks.json"))
    os.makedirs(os.path.join(folder, "secrets"))
    secret = os.path.join(folder, "secrets/customers")
    with open(secret, "w", encoding="ascii") as f:
        f.write("a-password\n")
    os.chmod(secret, 0o600)
    return folder


def test_examples_are_right(w):
    """What examples/ shows is accepted, whole, as it stands; and a mistake in it would be seen."""
    folder = examples(w)
    config, policy = os.path.join(folder, "sluice.yaml"), os.path.join(folder, "policy.yaml")
    done = run([f"{w.build}/sluiced", "--config", config, "--check"], check_rc=False)
    check_eq(done.returncode, 0, done.stdout + done.stderr)
    check_in("fine", done.stdout)
    done = ctl(w, "policy", "check", "--config", config, policy)
    check_eq(done.returncode, 0, done.stdout + done.stderr)
    # On a desk, where the node's files are not: as the tree has them.
    done = ctl(w, "policy", "check", "--offline", "--config", os.path.join(TREE, "examples/sluice.yaml"),
               os.path.join(TREE, "examples/policy.yaml"))
    check_eq(done.returncode, 0, done.stdout + done.stderr)
    with open(policy, encoding="utf-8") as f:
        text = f.read()
    with open(policy, "w", encoding="utf-8") as f:
        f.write(text.replace("on: customers-db", "on: customer-db", 1))
    done = run([f"{w.build}/sluiced", "--config", config, "--check"], check_rc=False)
    check(done.returncode != 0 and "policy.yaml:" in done.stderr and "customer-db" in done.stderr, done.stderr)


def test_demo_files_are_right(w):
    folder = examples(w)
    config = os.path.join(folder, "demo.yaml")
    with open(os.path.join(folder, "demo/sluice.yaml.in"), encoding="utf-8") as f:
        text = f.read()
    for key, value in (("DIR", folder), ("DEMO", os.path.join(folder, "demo")), ("PGPORT", "5432"), ("PGDIR", folder)):
        text = text.replace(f"@{key}@", value)
    os.makedirs(os.path.join(folder, "issuer"))
    shutil.copy(w.issuer.jwks, os.path.join(folder, "issuer/jwks.json"))
    shutil.copy(os.path.join(folder, "secrets/customers"), os.path.join(folder, "password"))
    with open(config, "w", encoding="utf-8") as f:
        f.write(text)
    done = run([f"{w.build}/sluiced", "--config", config, "--check"], check_rc=False)
    check_eq(done.returncode, 0, done.stdout + done.stderr)
