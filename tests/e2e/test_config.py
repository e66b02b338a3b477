"""A bad configuration prints all its faults at once, with their places, and starts nothing."""

import os
import re

from sluicetest.util import check, check_eq, check_in, run


def start_with(w, config=None, policy=None):
    s = w.new_sluice(start=False)
    try:
        if config is not None:
            s.write_config(config(open(s.config_path, encoding="utf-8").read()))
        if policy:
            s.write_policy(policy)
        done = run([f"{w.build}/sluiced", "--config", s.config_path], check_rc=False, timeout=20)
        left = s.leftovers()
        names = (os.path.basename(s.config_path), os.path.basename(s.policy_path))
    finally:
        s.close(checked=False)
    check(done.returncode != 0, done.stdout, done.stderr)
    check(not left, left)
    return done.stdout + done.stderr, names


def places(text, name):
    return re.findall(rf"{re.escape(name)}:(\d+):(\d+): ", text)


def test_all_faults_of_the_node_at_once(w):
    def spoil(text):
        return (text.replace("protocol: postgres", "protocol: gopher", 1)
                .replace("port: 5432", "port: 99999", 1)
                .replace("audience: sluice", "audiance: sluice", 1)
                .replace("tls: disable", "tls: maybe", 1) + "surprise: 1\nnode: twice\n")
    out, names = start_with(w, config=spoil)
    check(len(places(out, names[0])) >= 6, out)
    for word in ("gopher", "from 1 to 65535", "audiance", "maybe", "surprise", "node"):
        check_in(word, out)


def test_all_faults_of_the_policy_at_once(w):
    policy = """rules:
  - name: one
    who: { workload: nobody-such }
    on: no-such-db
    when: { sql: { verbs: [selekt] } }
    effect: permit
  - name: one
    who: { workload: support-agent }
    on: customers-db
    when: { sql: { verbs: [select] } }
    effect: allow
    mask:
      - { columns: [customers.ssn], with: rot13 }
"""
    out, names = start_with(w, policy=policy)
    check(len(places(out, names[1])) >= 5, out)
    for word in ("nobody-such", "no-such-db", "selekt", "permit", "rot13"):
        check_in(word, out)


def test_both_files_are_reported(w):
    out, names = start_with(w, config=lambda t: t + "surprise: 1\n", policy="rules: 7\n")
    check(places(out, names[0]), out)


def test_missing_files_and_broken_yaml(w):
    for spoil in (lambda t: t.replace("jwks.json", "nothere.json"), lambda t: "a: [1, 2\n", lambda t: "",
                  lambda t: "&a x: *a\n" + t, lambda t: t.replace("ca.pem", "server.key"),
                  lambda t: t + "\tnode: x\n"):
        out, names = start_with(w, config=spoil)
        check(places(out, names[0]) or "is empty" in out, out)


def test_policy_check(w):
    good = w.sluice.ctl("policy", "check", w.sluice.policy_path, check_rc=False)
    check_eq(good.returncode, 0, good.stdout + good.stderr)
    bad = os.path.join(w.sluice.dir, "bad.yaml")
    with open(bad, "w", encoding="ascii") as f:
        f.write("rules:\n  - name: x\n    effect: maybe\n")
    done = w.sluice.ctl("policy", "check", bad, check_rc=False)
    check_eq(done.returncode, 1, done.stdout + done.stderr)
    check(places(done.stdout + done.stderr, "bad.yaml"), done.stdout + done.stderr)


def test_help_and_wrong_usage(w):
    check_eq(run([f"{w.build}/sluicectl", "--help"], check_rc=False).returncode, 0)
    check_eq(run([f"{w.build}/sluiced", "--help"], check_rc=False).returncode, 0)
    check(run([f"{w.build}/sluicectl", "frobnicate"], check_rc=False).returncode == 2)
    check(run([f"{w.build}/sluiced", "--nonsense"], check_rc=False).returncode != 0)
    check_in("0.1.0", run([f"{w.build}/sluiced", "--version"], check_rc=False).stdout)
