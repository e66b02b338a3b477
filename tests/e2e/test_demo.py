"""What the demo shows: an unmodified psql and psycopg, in a container with nothing but loopback."""

from sluicetest.postgres import CARDS, GATEWAY_PASSWORD, NAMES, SSNS
from sluicetest.sluice import body
from sluicetest.util import check, check_eq, check_in, check_not_in


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


def test_credential_is_nowhere(w):
    """The gateway's password reaches neither the agent nor the store, the log or the events."""
    out = w.agent.python("""
import sys
sys.path.insert(0, "/agent")
from pgraw import *
r = Raw()
r.startup(user="gateway", application_name="look")
for q in ("SHOW all", "SELECT count(*) FROM customers", "SELECT current_user", "nonsense", "SELECT 1/0"):
    r.query(q)
print(r.seen)
""")
    for secret in (GATEWAY_PASSWORD, "SCRAM-SHA-256"):
        check_not_in(secret, out)
    check_not_in(GATEWAY_PASSWORD.encode(), w.sluice.store_bytes())
    check_not_in(GATEWAY_PASSWORD, w.sluice.log())
    check_not_in(GATEWAY_PASSWORD, str(w.sluice.audit()))


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
