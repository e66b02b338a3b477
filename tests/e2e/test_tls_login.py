"""TLS towards the agent and upstream, every way to log in, what happens when the login fails."""

import os

from sluicetest.postgres import GATEWAY_PASSWORD
from sluicetest.sluice import body
from sluicetest.util import check, check_eq, check_in, check_not_in, wait_until
from sluicetest.world import WRONG_PASSWORD


def ca_text(w):
    """The node's own certificate authority, for agents to verify with."""
    path = os.path.join(w.sluice.state_dir, "ca.pem")
    check(os.path.exists(path), "no node CA at", path, os.listdir(w.sluice.state_dir))
    with open(path, encoding="ascii") as f:
        return f.read()


def test_agent_tls_verify_full(w):
    """sslmode=verify-full with the node's CA: a certificate for the name the agent uses."""
    w.agent.put("node-ca.pem", ca_text(w))
    for driver in ("psql", "psycopg2", "psycopg"):
        options = ("host=db.internal dbname=customers user=x sslmode=verify-full sslrootcert=/agent/node-ca.pem")
        if driver == "psql":
            done = w.agent.run(["psql", "-XAt", options, "-c", "\\conninfo", "-c", "SELECT count(*) FROM orders"])
            out = done.stdout + done.stderr
            check_in("SSL connection", out)
        else:
            out = w.agent.python(f"""
import {driver} as d
c = d.connect({options!r}); cur = c.cursor(); cur.execute("SELECT count(*) FROM orders"); print(cur.fetchone()[0])
""")
        check_in("50", out)


def test_agent_tls_wrong_ca_is_noticed(w):
    with open(w.other_ca, encoding="ascii") as f:
        w.agent.put("other-ca.pem", f.read())
    done = w.agent.run(["psql", "-XAt", "host=db.internal dbname=customers user=x sslmode=verify-ca "
                        "sslrootcert=/agent/other-ca.pem", "-c", "SELECT 1"])
    check(done.returncode != 0)
    check_in("certificate verify failed", done.stderr)


def test_agent_tls_carries_bulk(w):
    out = w.free.python("""
import psycopg2
c = psycopg2.connect("host=db.internal dbname=customers sslmode=require"); cur = c.cursor()
cur.execute("SELECT repeat('x', 1000) FROM generate_series(1, 50000)")
print(sum(len(r[0]) for r in cur))
""")
    check_in("50000000", out)


def test_bytes_before_the_tls_upgrade_are_refused(w):
    """CVE-2021-23214: a query smuggled in clear before the handshake is not run."""
    out = w.free.python("""
import sys, struct
sys.path.insert(0, "/agent")
from pgraw import *
r = Raw()
r.send(struct.pack("!II", 8, SSL_REQUEST) + startup_bytes() + query("CREATE TABLE smuggled (i int)"))
got = b""
try:
    while True:
        d = r.sock.recv(1000)
        if not d: break
        got += d
except OSError:
    pass
print(got)
""")
    check_not_in("AuthenticationOk", out)
    check_eq(w.pg.sql("SELECT count(*) FROM pg_class WHERE relname = 'smuggled'"), "0")
    w.sluice.events("session.refused")


def test_every_login_and_tls_mode(w):
    for host, user, tls in (("md5", "gateway_md5", False), ("clear", "gateway_clear", True),
                            ("trust", "gateway_trust", False), ("full", "gateway_tls", True),
                            ("ca", "gateway_tls", True), ("require", "gateway_tls", True),
                            ("plain", "gateway", False)):
        out = w.free.psql("SELECT current_user, ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", "-At",
                          host=f"{host}.internal").out
        check_in(f"{user}|{'t' if tls else 'f'}", out, host)


def refused(w, host, *texts, reason=None):
    done = w.free.psql("SELECT 1", "-v", "VERBOSITY=verbose", host=host)
    check(done.returncode != 0, host, done.out)
    check_in("FATAL", done.out, host)
    for text in texts:
        check_in(text, done.out, host)
    check_not_in(GATEWAY_PASSWORD, done.out)
    event = w.sluice.events("session.refused", lambda e: body(e).get("resource") == host.split(".")[0] + "-db")
    return done.out, body(event[-1])


def test_upstream_name_or_authority_wrong(w):
    refused(w, "name.internal")
    refused(w, "wrongca.internal")


def test_upstream_refuses_the_credential(w):
    out, _ = refused(w, "badpass.internal")
    check_not_in(WRONG_PASSWORD, out)
    # What the server said names the gateway's user; the agent need not know it.
    check_not_in('user "gateway"', out)


def test_upstream_down(w):
    refused(w, "down.internal")


def test_token_missing_or_malformed(w):
    cases = {"missing": None, "empty": "", "garbage": "not a token", "two-parts": "a.b", "huge": "x" * 20000,
             "none": w.issuer.token(header={"alg": "none"}).rsplit(".", 1)[0] + ".",
             "aud": w.issuer.token(aud="other"), "iss": w.issuer.token(iss="https://other.test"),
             "future": w.issuer.token(nbf=4102444800), "no-exp": w.issuer.token(drop=("exp",)),
             "no-sub": w.issuer.token(drop=("sub",)),
             "hmac": w.issuer.token(header={"alg": "HS256"}),
             "kid": w.issuer.token(kid="nobody"), "crit": w.issuer.token(header={"crit": ["x"], "x": 1})}
    with w.container(token=None) as c:
        before = len(w.sluice.audit())
        for name, token in cases.items():
            c.set_token(token)
            done = c.psql("SELECT 1", "-v", "VERBOSITY=verbose")
            check(done.returncode != 0, name, done.out)
            check_in("FATAL:  sluice: ", done.out, name)
            check_in("token", done.out.lower(), name)
        check(len(w.sluice.audit()) >= before + len(cases) or before >= 1000, "not every refusal was recorded")
        c.set_token(w.issuer.token(key=w.issuer.rs))
        check_in("50", c.psql("SELECT count(*) FROM orders", "-At").out)


def test_refusals_carry_a_sqlstate(w):
    ask = """
import sys
sys.path.insert(0, "/agent")
from pgraw import *
for host in sys.argv[1:]:
    r = Raw(host); r.send(startup_bytes()); m, closed = r.rest(); e = error(m)
    print(host, e.get("S"), e.get("C"), closed, bool(e.get("M")))
"""
    with w.container(token="bad") as c:
        check_in("db.internal FATAL 28000 True True", c.python(ask, "db.internal"))
    out = w.free.python(ask, "unknown.internal", "down.internal", "badpass.internal", "name.internal", "wrongca.internal")
    for line in out.splitlines():
        host, severity, code, closed, text = line.split()
        check_eq((severity, closed, text), ("FATAL", "True", "True"), host)
        check(len(code) == 5 and code[:2] in ("08", "28", "42", "57"), line)


def test_wrong_group_is_refused_by_policy(w):
    with w.container(token=w.issuer.token(groups=["visitors"])) as c:
        done = c.psql("SELECT name FROM customers", "-v", "VERBOSITY=verbose")
        check(done.returncode != 0)
        check_not_in("Ada", done.out)


def test_token_that_expires_is_not_used_for_the_next_connection(w):
    with w.container(token=w.issuer.token(lifetime=-58)) as c:
        check_in("50", c.psql("SELECT count(*) FROM orders", "-At").out)
        def gone():
            return "FATAL" in c.psql("SELECT count(*) FROM orders", "-At").out
        wait_until(gone, 15, "the token to expire", step=0.5)


def test_database_asked_for(w):
    """The database the agent asks for is the one it gets, and its absence is told."""
    out = w.free.psql("SELECT current_database()", "-At", db="postgres").out
    check_in("postgres", out)
    out = w.free.psql("SELECT 1", db="nosuch").out
    check_in("FATAL", out)
    check_in("no database of the name", out)
