"""What the demo shows: an unmodified psql and psycopg, in a container with nothing but loopback."""

import base64
import hashlib
import hmac
import os

from sluicetest.postgres import CARDS, GATEWAY_PASSWORD, NAMES, SSNS
from sluicetest.sluice import body
from sluicetest.util import check, check_eq, check_in, check_not_in
from sluicetest.world import WRONG_PASSWORD


def no_planted_values(text):
    for value in [*SSNS, *CARDS]:
        check_not_in(value, text, "the agent's output")


def test_container_has_only_loopback(w):
    links = w.agent.run(["ip", "-o", "link"]).stdout.splitlines()
    check(len(links) == 1 and " lo:" in links[0], links)


def test_select_is_masked(w):
    out = w.agent.psql("SELECT id, name, ssn, card FROM customers ORDER BY id", "-At").out
    no_planted_values(out)
    for name in NAMES:
        check_in(name, out)
    check_in("1|Ada Lovelace|***-**-1120|[redacted]", out)
    op = w.sluice.ops("SELECT id, name, ssn, card FROM customers")[-1]
    verdict = body(op)["verdict"]
    check_eq(verdict["effect"], "allow")
    check_in("read customers", verdict["rules"])
    results = w.sluice.events("op.result", lambda e: body(e)["session"] == body(op)["session"])
    check_eq(body(results[-1])["result"]["rows"], 5)
    check_eq(body(results[-1])["result"]["masked"], 10)


def test_delete_is_refused_by_rule_name(w):
    before = w.pg.sql("SELECT count(*) FROM customers")
    done = w.agent.psql("DELETE FROM customers WHERE id = 1", "-v", "VERBOSITY=verbose")
    check(done.returncode != 0, "psql should have failed")
    check_in("ERROR:  42501", done.out)
    check_in("nobody deletes customers", done.out)
    check_eq(w.pg.sql("SELECT count(*) FROM customers"), before)
    check_eq(body(w.sluice.ops("DELETE FROM customers WHERE id = 1")[-1])["verdict"]["effect"], "refuse")


def test_update_waits_for_approval(w):
    p = w.agent.popen(["psql", "-X", "-h", "db.internal", "-U", "x", "customers", "-c",
                       "UPDATE customers SET email = 'new@example.com' WHERE id = 2"])
    asked = w.sluice.pending("new@example.com")
    check_eq(w.pg.sql("SELECT email FROM customers WHERE id = 2"), "grace@example.com")
    w.sluice.ctl("approvals", "approve", asked["id"])
    out, _ = p.communicate(timeout=20)
    check_in("NOTICE", out)
    check_in(asked["id"], out)
    check_in("UPDATE 1", out)
    check_eq(w.pg.sql("SELECT email FROM customers WHERE id = 2"), "new@example.com")
    w.pg.sql("UPDATE customers SET email = 'grace@example.com' WHERE id = 2")
    check_eq(w.sluice.approval(asked["id"])["state"], "consumed")


PSYCOPG = """
import sys
import {0} as driver
c = driver.connect(host="db.internal", dbname="customers", user="anyone", password="{1}")
cur = c.cursor()
cur.execute("SELECT name, ssn, card FROM customers WHERE id = %s", (3,))
print(cur.fetchall())
try:
    cur.execute("DELETE FROM customers WHERE id = %s", (3,))
    print("deleted")
except driver.Error as e:
    print(getattr(e, "pgcode", None) or e.sqlstate, e)
c.rollback()
cur.execute("SELECT count(*) FROM orders")
print(cur.fetchone()[0])
"""


def test_psycopg2(w):
    out = w.agent.python(PSYCOPG.format("psycopg2", "made-up"))
    no_planted_values(out)
    check_in("[('Alan Turing', '***-**-5462', '[redacted]')]", out)
    check_in("42501", out)
    check_in("nobody deletes customers", out)
    check_in("\n50\n", out)


def test_psycopg3(w):
    out = w.agent.python(PSYCOPG.format("psycopg", "made-up"))
    no_planted_values(out)
    check_in("***-**-5462", out)
    check_in("42501", out)
    check_in("\n50\n", out)


def test_bad_and_expired_tokens(w):
    with w.container(token=w.issuer.token(lifetime=-3600)) as c:
        expired = c.psql("SELECT 1")
        c.set_token(w.issuer.token(key=w.issuer.rogue, kid="es-1"))
        forged = c.psql("SELECT 1")
        c.set_token(w.issuer.token())
        good = c.psql("SELECT count(*) FROM customers")
    for done in (expired, forged):
        check(done.returncode != 0, done.out)
        check_in("FATAL", done.out)
        check_in("token", done.out.lower())
    check_in("expired", expired.out)
    check_in("5", good.out)
    for reason in ("expired", "signature-bad"):
        w.sluice.events("session.refused", lambda e, r=reason: r in str(body(e)["reason"]))


def test_events_say_who(w):
    w.agent.psql("SELECT 'who am i' FROM customers LIMIT 1")
    op = body(w.sluice.ops("'who am i'")[-1])
    process, token = op["who"]["process"], op["who"]["token"]
    check_eq(process["exe"], "/usr/lib/postgresql/15/bin/psql")
    check_eq(process["uid"], 1000)
    check(process["pid"] > 1)
    check_in(w.agent.cgroup.rsplit("/", 1)[1], process["cgroup"])
    check_eq(token["subject"], "support-agent-7")
    check_eq(token["issuer"], w.issuer.name)
    check_eq(op["resource"], "customers-db")
    check_in("select", op["op"]["verbs"])
    check_in("public.customers", op["op"]["tables"])
    opened = w.sluice.events("session.open", lambda e: body(e)["session"] == op["session"])
    whole = body(opened[0])["who"]["process"]
    digest = w.agent.run(["sha256sum", "/usr/lib/postgresql/15/bin/psql"]).stdout.split()[0]
    check_eq(whole["exe_sha256"], digest)
    check_in("who am i", whole["args"])


def secrets_of(w, token):
    """What nobody but sluice and the server may hold, in every form it takes: name -> bytes."""
    found = {"password": GATEWAY_PASSWORD.encode(), "token": token.encode(), "token's signature": token.split(".")[2].encode(),
             "token's claims": token.split(".")[1].encode(), "wrong password": WRONG_PASSWORD.encode()}
    for line in w.pg.sql("SELECT rolname || ' ' || rolpassword FROM pg_authid WHERE rolname LIKE 'gateway%'").splitlines():
        role, verifier = line.split(" ", 1)
        if verifier.startswith("md5"):
            found[f"{role}: md5"] = verifier[3:].encode()
            continue
        # SCRAM-SHA-256$4096:salt$StoredKey:ServerKey
        salt, keys = verifier.split("$")[1].split(":")[1], verifier.split("$")[2].split(":")
        salted = hashlib.pbkdf2_hmac("sha256", GATEWAY_PASSWORD.encode(), base64.b64decode(salt), 4096)
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        check_eq(base64.b64encode(hashlib.sha256(client_key).digest()).decode(), keys[0], "the verifier is understood")
        raw = {"salt": base64.b64decode(salt), "stored key": base64.b64decode(keys[0]),
               "server key": base64.b64decode(keys[1]), "client key": client_key, "salted password": salted}
        for name, value in raw.items():
            found[f"{role}: {name}"] = value
            found[f"{role}: {name} in base64"] = base64.b64encode(value)
            found[f"{role}: {name} in hex"] = value.hex().encode()
    return found


def test_credential_is_nowhere(w):
    """The gateway's password, what SCRAM makes of it and the token's text: in no byte that an agent gets, no log, no
    file of the store or the run folder, no answer of sluicectl."""
    token = w.issuer.token(sub="free-agent-7")
    script = """
import sys
sys.path.insert(0, "/agent")
from pgraw import *
out = b""
for host in ("db", "md5", "clear", "trust", "full", "ca", "require", "plain", "badpass", "name", "wrongca", "down", "unknown"):
    for tls in (False, True):
        r = Raw(host + ".internal")
        try:
            if tls: r.start_tls()
            r.startup(user="gateway", application_name="look")
            for q in ("SHOW all", "SELECT current_user", "nonsense", "SELECT 1/0", "SELECT * FROM pg_stat_activity",
                      "SELECT pg_reload_conf()", "LISTEN x", "SELECT usename, passwd FROM pg_shadow"):
                r.query(q)
        except Closed:
            pass
        out += r.seen
sys.stdout.buffer.write(b"gateway-bytes " + out.hex().encode())
"""
    with w.container("free-agent", token=token) as c:
        agent = bytes.fromhex(c.python(script).split("gateway-bytes ")[1])
    check(len(agent) > 50000, "the agent saw little", len(agent))
    w.sluice.events("session.refused", lambda e: body(e).get("resource") == "badpass-db")
    places = {"the agent's bytes": agent, "the log": w.sluice.log().encode(),
              "status": w.sluice.ctl("status", "--json").stdout.encode(),
              "approvals": w.sluice.ctl("approvals", "list", "--json", check_rc=False).stdout.encode(),
              "the events": w.sluice.ctl("audit", "search", "--limit", "0", "--json").stdout.encode()}
    for folder in (w.sluice.state_dir, w.sluice.run_dir):
        for path, _, files in os.walk(folder):
            for full in [os.path.join(path, name) for name in files]:
                if os.path.isfile(full):
                    with open(full, "rb") as f:
                        places[full] = f.read()
    check(any(p.endswith("store.db") for p in places), places.keys())
    # What must be found is: the search works on what it searches.
    check_in(b"session_authorization", agent)
    check_in("free-agent-7", places["the events"].decode())
    stored = b"".join(data for path, data in places.items() if "/store" in path)
    check(b"free-agent-7" in stored, "the store's files do not show what they hold")
    for what, secret in secrets_of(w, token).items():
        for place, data in places.items():
            check(secret not in data, f"{what} is in {place}")


def test_agents_password_is_not_sent_on(w):
    w.free.python("""
import psycopg2
c = psycopg2.connect(host="db.internal", dbname="customers", user="mallory", password="agents-" + "own-pw")
cur = c.cursor()
cur.execute("SELECT current_user")
assert cur.fetchone()[0] == "gateway"
""")
    check_not_in("mallory", w.pg.read_log())
    check_not_in(b"agents-own-pw", w.sluice.store_bytes())
