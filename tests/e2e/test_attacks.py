"""Attacks that once worked, or nearly: each tries the promise it breaks, by the means that broke it."""

import time

from sluicetest.postgres import CARDS, SSNS
from sluicetest.util import check, check_eq, check_in, check_not_in

RAW = "import sys\nsys.path.insert(0, '/agent')\nfrom pgraw import *\n"


def test_search_path_changed_within_one_text(w):
    w.pg.sql("CREATE SCHEMA IF NOT EXISTS hr; CREATE TABLE IF NOT EXISTS hr.orders(id int, pay text);"
             "TRUNCATE hr.orders; INSERT INTO hr.orders VALUES (1, 'HR-SECRET');"
             "GRANT USAGE ON SCHEMA hr TO gateway; GRANT ALL ON ALL TABLES IN SCHEMA hr TO gateway")
    try:
        for change in ("SET search_path = hr", "SET LOCAL search_path = hr",
                       "SELECT set_config('search_path', 'hr', false)", "BEGIN; SET search_path = hr"):
            done = w.agent.psql(f"{change}; SELECT * FROM orders")
            check_not_in("HR-SECRET", done.out, change)
            check_in("ERROR", done.out, change)
        # Without a change the same table is the one the rule names.
        check_in("item", w.agent.psql("SELECT * FROM orders LIMIT 1").out)
    finally:
        w.pg.sql("DROP SCHEMA hr CASCADE")


def test_a_failed_parse_does_not_lend_its_verdict(w):
    before = w.pg.sql("SELECT name FROM customers ORDER BY id")
    w.agent.python(RAW + """
def rest(r):
    try:
        r.until(b'Z')
    except Exception:
        pass
r = Raw(timeout=6); r.startup()
r.send(parse("update customers set name = 'BYPASS' where id = 1", 'p'), SYNC); r.until(b'Z')
r.send(parse("select 1", 'p'), SYNC, bind(name='p'), execute(), SYNC); r.until(b'Z'); rest(r)
r = Raw(timeout=6); r.startup()
r.send(parse("update customers set name = 'BYPASS' where id = 2"), SYNC); r.until(b'Z')
r.send(parse("select nocol from orders", 'q'), parse("select 1"), SYNC, bind(), execute(), SYNC); r.until(b'Z')
rest(r)
""", timeout=60)
    check_eq(w.pg.sql("SELECT name FROM customers ORDER BY id"), before)


def test_an_approval_shows_what_runs_or_is_not_given(w):
    before = w.pg.sql("SELECT name FROM customers ORDER BY id")
    out = w.agent.python(RAW + """
r = Raw(timeout=15); r.startup()
r.send(parse("update customers set name = 'EVIL'", 'p'), SYNC); r.until(b'Z')
print('execute', error(r.query("execute p")))
r = Raw(timeout=15); r.startup()
r.send(parse("update customers set name = $1 where name = $2"), bind((b'EVIL', b'x' * 2000)), execute(), SYNC)
print('long', error(r.until(b'Z')))
r = Raw(timeout=15); r.startup()
marks = ', '.join('$%d' % (i + 1) for i in range(20))
r.send(parse("update customers set name = $20 where name in (" + marks + ")"),
       bind((b'x' * 1000,) * 20), execute(), SYNC)
print('many', error(r.until(b'Z')))
""")
    check_in("0A000", out)
    check_eq(out.count("54000"), 2, out)
    check_eq(w.sluice.approvals("pending"), [])
    check_eq(w.pg.sql("SELECT name FROM customers ORDER BY id"), before)


def test_a_large_approved_statement_goes_on_by_itself(w):
    p = w.agent.popen_python(RAW + """
r = Raw(timeout=30); r.startup()
r.send(parse("update customers set name = name /*" + 'x' * 50000 + "*/ where id = 5"), bind(), execute(), SYNC)
print(kinds(r.until(b'Z')))
""")
    asked = w.sluice.pending("update customers set name = name")
    w.sluice.ctl("approvals", "approve", asked["id"])
    out, _ = p.communicate(timeout=20)
    check_in("C", out)
    check_eq(p.returncode, 0, out)


def test_many_targets_and_orders_do_not_hold_a_worker(w):
    many = ",".join(["1"] * 12000)
    w.agent.put("many.sql", f"SELECT {many} ORDER BY {many};")
    began = time.monotonic()
    w.agent.run(["psql", "-X", "-h", "db.internal", "-U", "x", "customers", "-f", "/agent/many.sql"], timeout=80)
    # It took more than ten seconds of a worker once; a loaded machine takes one.
    check(time.monotonic() - began < 8, time.monotonic() - began)


def test_relations_that_come_and_go_do_not_unmask(w):
    sluice = w.new_sluice([{"name": "wide", "who": {"workload": "support-agent"}, "on": "*", "effect": "allow",
                            "mask": [{"columns": ["public.customers.ssn", "public.customers.card"],
                                      "with": "redact"}]}])
    agent = w.container(sluice=sluice)
    try:
        w.pg.sql("GRANT CREATE ON DATABASE customers TO gateway")
        agent.psql("CREATE SCHEMA gateway; CREATE TABLE gateway.customers(id int, ssn text, card text)")
        sluice.stop()
        sluice.start()
        for sql in ("SET search_path = public; SELECT reverse(card), ssn || '' FROM customers",
                    "DROP TABLE gateway.customers; SELECT ssn || '' FROM customers",
                    "SELECT ssn || '' FROM customers", "SELECT ssn FROM customers"):
            out = agent.psql(sql, "-At").out
            for secret in SSNS + CARDS:
                check_not_in(secret, out, sql)
                check_not_in(secret[::-1], out, sql)
        check_in("redacted", agent.psql("SELECT ssn FROM public.customers", "-At").out)
    finally:
        agent.close()
        sluice.close()
        w.pg.sql("DROP SCHEMA IF EXISTS gateway CASCADE; REVOKE CREATE ON DATABASE customers FROM gateway")
