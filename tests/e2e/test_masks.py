"""Masked values reach the agent in no form. Raw bytes are searched for what was planted."""

import json
import os

from sluicetest.postgres import CARDS, SSNS
from sluicetest.util import check, check_eq, check_in, check_not_in

RAW = "import sys, struct\nsys.path.insert(0, '/agent')\nfrom pgraw import *\n"

# A masked column as itself, whatever it is called and however it is reached: comes back masked.
PLAIN = [
    "SELECT ssn FROM customers", "SELECT ssn AS name FROM customers", "SELECT ssn AS id, card AS x FROM customers",
    "SELECT * FROM customers", "SELECT c.* FROM customers c", "TABLE customers", "SELECT (ssn) FROM customers",
    "SELECT ssn, ssn FROM customers", "SELECT * FROM customers TABLESAMPLE BERNOULLI (100)",
    "SELECT * FROM public.\"customers\" AS \"Orders\"", "SELECT tableoid, ctid, ssn FROM customers",
    "SELECT * FROM (VALUES (1)) v, customers", "SELECT ssn FROM ONLY customers",
]

# Returns no row of the table: allowed, and still nothing may leak.
NO_ROWS = ["EXPLAIN (ANALYZE, VERBOSE) SELECT ssn FROM customers",
           "DECLARE c CURSOR WITH HOLD FOR SELECT ssn FROM customers"]

# Statements that would bring a masked value out in some other dress: refused.
ATTACKS = [
    "SELECT c FROM customers c", "SELECT (c).ssn FROM customers c", "SELECT (c.*)::text FROM customers c",
    "SELECT customers FROM customers", "SELECT row_to_json(c) FROM customers c",
    "SELECT to_jsonb(c)->>'ssn' FROM customers c", "SELECT json_agg(c) FROM customers c",
    "SELECT array_agg(ssn) FROM customers", "SELECT string_agg(card, ',') FROM customers",
    "SELECT ssn || '' FROM customers", "SELECT upper(ssn) FROM customers", "SELECT ssn::varchar FROM customers",
    "SELECT ssn::bytea FROM customers", "SELECT substr(ssn, 1, 6), substr(ssn, 7) FROM customers",
    "SELECT reverse(ssn) FROM customers", "SELECT ascii(ssn) FROM customers",
    "SELECT encode(ssn::bytea, 'base64') FROM customers", "SELECT replace(ssn, '-', '') FROM customers",
    "SELECT md5(ssn) FROM customers", "SELECT s FROM (SELECT ssn AS s FROM customers) t",
    "WITH t AS (SELECT ssn s FROM customers) SELECT s FROM t",
    "WITH t(a) AS (SELECT card FROM customers) SELECT a FROM t", "SELECT (SELECT ssn FROM customers WHERE id = 1)",
    "SELECT ARRAY(SELECT ssn FROM customers)", "SELECT x FROM customers, LATERAL (SELECT ssn AS x) l",
    "SELECT ssn FROM customers UNION SELECT 'x'", "SELECT name FROM customers UNION ALL SELECT ssn FROM customers",
    "SELECT max(ssn) FROM customers", "SELECT first_value(ssn) OVER () FROM customers",
    "SELECT count(*) FROM customers GROUP BY ssn HAVING ssn > '4'",
    "SELECT CASE WHEN ssn LIKE '078%' THEN name END FROM customers",
    "SELECT name FROM customers WHERE ssn LIKE '078%'", "SELECT name FROM customers WHERE ssn = '078-05-1120'",
    "SELECT name FROM customers ORDER BY ssn", "SELECT DISTINCT ON (ssn) name FROM customers",
    "SELECT name FROM customers JOIN orders ON ssn = item", "SELECT name FROM customers NATURAL JOIN orders",
    "SELECT coalesce(ssn, 'x') FROM customers", "SELECT ssn COLLATE \"C\" FROM customers",
    "SELECT format('%s', ssn) FROM customers", "SELECT xmlforest(ssn) FROM customers", "COPY customers TO STDOUT",
    "COPY customers (ssn) TO STDOUT", "COPY (SELECT ssn FROM customers) TO STDOUT",
    "COPY customers TO STDOUT (FORMAT BINARY)", "COPY (TABLE customers) TO STDOUT CSV",
    "SELECT * FROM customer_cards", "SELECT ssn FROM customer_cards", "SELECT customer_ssn(1)",
    "SELECT customer_ssn(id) FROM customers", "SELECT customer_fail(1)", "SELECT * FROM customer_ssn(1)",
    "SELECT CAST(ssn AS int) FROM customers", "SELECT ssn::int FROM customers",
    "SELECT card::numeric / 0 FROM customers", "SELECT ssn::date FROM customers",
    "SELECT 1 / (CASE WHEN ssn > '0' THEN 0 ELSE 1 END) FROM customers",
    "SELECT query_to_xml('SELECT ssn FROM customers', true, true, '')",
    "SELECT table_to_xml('customers', true, true, '')", "SELECT database_to_xml(true, true, '')",
    "SELECT cursor_to_xml('c', 10, true, true, '')",
    "SELECT most_common_vals::text FROM pg_stats WHERE tablename = 'customers'",
    "SELECT histogram_bounds::text FROM pg_stats WHERE tablename = 'customers'",
    "SELECT stavalues1::text FROM pg_statistic", "EXPLAIN SELECT * FROM customers WHERE ssn > 'a'",
    "INSERT INTO scratch SELECT id + 1000, ssn FROM customers",
    "UPDATE scratch SET note = (SELECT ssn FROM customers LIMIT 1)", "CREATE TEMP TABLE t AS SELECT * FROM customers",
    "SELECT ssn INTO TEMP t FROM customers", "CREATE TEMP VIEW v AS SELECT ssn FROM customers",
    "CREATE MATERIALIZED VIEW v AS SELECT ssn FROM customers", "PREPARE p AS SELECT ssn || '' FROM customers",
    "DELETE FROM scratch WHERE note = (SELECT ssn FROM customers LIMIT 1)",
    "INSERT INTO scratch VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET note = (SELECT ssn FROM customers LIMIT 1)",
    "UPDATE scratch s SET note = c.ssn FROM customers c", "SELECT * FROM ROWS FROM (customer_ssn(1)) x",
    "SELECT lo_from_bytea(0, ssn::bytea) FROM customers", "SELECT pg_notify('x', ssn) FROM customers",
    "SELECT set_config('application_name', ssn, false) FROM customers", "SELECT pg_read_file('base/1/1259')",
    "SELECT * FROM pg_ls_dir('.')", "SELECT raise FROM customers WHERE ssn::int > 0",
    "VALUES ((SELECT ssn FROM customers LIMIT 1))",
    "SELECT name, CASE ssn WHEN '078-05-1120' THEN 'hit' ELSE 'miss' END FROM customers",
    "SELECT width_bucket(ssn, array['0', '3', '9']) FROM customers",
    "SELECT ssn IS NOT NULL, length(ssn) FROM customers", "SELECT (ARRAY[ssn])[1] FROM customers",
    "SELECT ROW(ssn) FROM customers", "SELECT (ROW(ssn)).f1 FROM customers",
    "DO $$ BEGIN RAISE NOTICE '%', (SELECT ssn FROM customers LIMIT 1); END $$",
    "DO $$ BEGIN RAISE EXCEPTION '%', (SELECT ssn FROM customers LIMIT 1); END $$",
    "CREATE TABLE stolen AS SELECT ssn FROM customers",
    "CREATE FUNCTION pg_temp.f() RETURNS SETOF text LANGUAGE sql AS 'SELECT ssn FROM customers'",
    "COPY customers TO PROGRAM 'cat'", "COPY customers (ssn) TO '/tmp/stolen'",
    "UPDATE customers SET name = ssn RETURNING name", "UPDATE customers SET ssn = ssn RETURNING ssn",
    "DELETE FROM customers RETURNING ssn || ''",
    "WITH d AS (DELETE FROM orders RETURNING *) SELECT (SELECT ssn FROM customers LIMIT 1) FROM d",
    "INSERT INTO customers SELECT id + 10, name, email, 'y' || id, card, 1 FROM customers RETURNING card",
    "MERGE INTO scratch s USING customers c ON s.id = c.id WHEN MATCHED THEN UPDATE SET note = c.ssn",
    "EXPLAIN (ANALYZE, VERBOSE) SELECT * FROM customers WHERE ssn > '2'",
    "SELECT * FROM customers c JOIN LATERAL (SELECT c.ssn AS q) l ON true",
    "SELECT json_build_object('a', c.*) FROM customers c", "SELECT c::text FROM customers AS c",
    "SELECT (c).* FROM customers c", "SELECT xmlelement(name a, ssn) FROM customers",
    "SELECT pg_typeof(ssn) FROM customers", "SELECT count(ssn) FROM customers", "SELECT ssn ~ '^0' FROM customers",
    "SELECT id FROM customers WHERE card < '4'", "SELECT a.ssn FROM customers a JOIN customers b USING (ssn)",
    "SELECT ssn FROM customers EXCEPT SELECT 'x'", "VALUES (customer_ssn(2))",
    "CALL nosuch((SELECT ssn FROM customers LIMIT 1))",
    "ALTER TABLE customers ADD COLUMN x text GENERATED ALWAYS AS (ssn) STORED",
]


def forms(value):
    """A value as it might come out: as it is, reversed, without separators, in hex, halves."""
    plain = value.replace("-", "")
    return {value, value[::-1], plain, value.encode().hex(), value.upper()}


def no_leak(text, what):
    text = text if isinstance(text, str) else text.decode("latin-1")
    for value in [*SSNS, *CARDS]:
        for form in forms(value):
            check(form not in text, f"{what}: {value} came out as {form!r}")
    # The front of a value is what last4 hides.
    for ssn in SSNS:
        check_not_in(ssn[:6], text, what)


def attack(agent, mode):
    """Each statement on a session of its own: simple, extended or extended with binary results.
    What came back of each: SQLSTATE or "", rows, and every byte after startup."""
    statements = PLAIN + NO_ROWS + ATTACKS
    out = agent.python(RAW + f"""
import json
for sql in json.loads({json.dumps(json.dumps(statements))}):
    r = Raw(timeout=20); r.startup(); skip = len(r.seen)
    try:
        if {mode!r} == "simple":
            m = r.query(sql)
        else:
            fmt = (1,) if {mode!r} == "binary" else (0,)
            r.send(parse(sql), describe(b"S"), bind(result_formats=fmt), describe(), execute(), SYNC)
            m = r.until(b"Z")
        r.query("ROLLBACK")
        code = error(m).get("C", "")
    except Exception as e:
        m, code = [], "lost " + repr(e)
    print(json.dumps([sql, code, [[v and v.decode("latin-1") for v in row] for row in rows(m)],
                      r.seen[skip:].decode("latin-1")]))
    r.close()
""", timeout=85)
    results = [json.loads(line) for line in out.splitlines() if line.startswith("[")]
    check_eq(len(results), len(statements), "statements answered")
    for sql, code, _, seen in results:
        check(not code.startswith("lost"), sql, code)
        # What the agent itself wrote comes back in the error's text now and then.
        if SSNS[0] in sql:
            seen = seen.replace(SSNS[0], "")
        no_leak(seen, f"{mode}: {sql}")
    return {sql: (code, got) for sql, code, got, _ in results}


def masked_values(sql, code, got):
    """Five rows, in whatever order, and in them what the mask makes of each customer's own value."""
    check_eq((code, len(got)), ("", len(SSNS)), sql)
    shown = [{v for v in row if v and v.startswith("***-**-")} for row in got]
    check(all(len(values) == 1 for values in shown), sql, got)
    check_eq(sorted(set.union(*shown)), sorted("***-**-" + ssn[-4:] for ssn in SSNS), sql)


def all_attacks(w, workload, mode):
    with w.container(workload) as c:
        got = attack(c, mode)
    for sql in ATTACKS:
        check_eq(got[sql], ("42501", []), f"{mode}: {sql}")
    if mode == "binary":
        # The mask is of text: a masked column in binary form is refused.
        for sql in PLAIN:
            check_eq(got[sql], ("42501", []), f"{mode}: {sql}")
        return
    for sql in PLAIN:
        masked_values(sql, *got[sql])
    check_in(["***-**-1120", "[redacted]"], got["SELECT ssn AS id, card AS x FROM customers"][1])
    for sql in NO_ROWS:
        check_eq(got[sql][0], "", sql)
    check_eq(w.pg.sql("SELECT count(*) FROM pg_class WHERE relname IN ('stolen', 'v', 't')"), "0")
    check_eq(w.pg.sql("SELECT string_agg(ssn, ' ' ORDER BY id) FROM customers"), " ".join(SSNS))


def test_attacks_simple(w):
    all_attacks(w, "support-agent", "simple")


def test_attacks_extended(w):
    all_attacks(w, "support-agent", "extended")


def test_attacks_binary(w):
    all_attacks(w, "support-agent", "binary")


def test_attacks_where_policy_allows_everything(w):
    """No verb and no table is refused by a rule here: the masks alone hold."""
    for mode in ("simple", "extended", "binary"):
        all_attacks(w, "masked-agent", mode)


def test_refused_attacks_say_what_to_do(w):
    out = w.agent.psql("SELECT upper(ssn) FROM customers", "-v", "VERBOSITY=verbose").out
    check_in("42501", out)
    check_in("ssn", out)


def test_unmasked_columns_stay_usable(w):
    """Masks refuse what could reveal, not ordinary work."""
    for sql, want in (("SELECT name FROM customers WHERE id = 4", "Edsger Dijkstra"),
                      ("SELECT count(*), sum(amount) FROM orders", "50|1912.50"),
                      ("SELECT c.name, o.item FROM customers c JOIN orders o ON o.customer_id = c.id "
                       "WHERE o.id = 10 ORDER BY o.amount", "Ada Lovelace|item 10"),
                      ("SELECT upper(name) FROM customers WHERE id = 1", "ADA LOVELACE"),
                      ("WITH t AS (SELECT name FROM customers WHERE id = 2) SELECT * FROM t", "Grace Hopper")):
        check_in(want, w.agent.psql(sql, "-At").out, sql)


def test_cursor_fetch_is_masked(w):
    out = w.agent.python(RAW + """
r = Raw(); r.startup()
m = r.query("BEGIN; DECLARE c CURSOR FOR SELECT name, ssn FROM customers ORDER BY id"); print(kinds(m), error(m).get("C"))
m = r.query("FETCH ALL FROM c"); print(rows(m), error(m).get("C"))
r.send(parse("FETCH ALL FROM c"), bind(result_formats=(1,)), describe(), execute(), SYNC)
m = r.until(b"Z"); print("binary", rows(m), error(m).get("C"))
print(r.seen)
""")
    no_leak(out, "cursor")
    check_in("[b'Ada Lovelace', b'***-**-1120']", out)
    check_in("binary [] 42501", out)


def test_masked_value_in_an_error_message(w):
    """Constraint errors carry values in DETAIL and text: not to this agent."""
    out = w.agent.python(RAW + """
r = Raw(); r.startup()
for sql in ("SELECT name::int FROM customers", "SELECT 1 FROM customers WHERE name = 1",
            "INSERT INTO scratch VALUES (1, 'dup')", "SELECT ssn FROM customers WHERE nosuch = 1",
            "SELECT note::int FROM scratch"):
    m = r.query(sql); print(error(m))
print(r.seen)
""")
    no_leak(out, "errors")
    check_not_in("Key (id)", out)
    check_in("23505", out)


def test_new_table_and_column_are_looked_up(w):
    """A table made after sluice read the catalog: its OID is looked up, its mask applies."""
    w.pg.sql("DROP TABLE customers CASCADE; CREATE TABLE customers (ssn text, id int, name text);"
             "GRANT ALL ON customers TO gateway; INSERT INTO customers VALUES ('219-09-9999', 9, 'New')")
    try:
        out = w.agent.psql("SELECT name, ssn FROM customers", "-At").out
        no_leak(out, "recreated table")
        check_eq(out, "New|***-**-9999\n")
    finally:
        w.pg.reset()
    out = w.agent.psql("SELECT name, ssn FROM customers WHERE id = 1", "-At").out
    check_in("Ada Lovelace|***-**-1120", out)


def test_renamed_column_under_a_live_session(w):
    """A catalog that changes while a session is open does not open a hole."""
    out = None
    p = w.agent.popen_python(RAW + """
r = Raw(); r.startup()
print(rows(r.query("SELECT name, ssn FROM customers WHERE id = 1")), flush=True)
sys.stdin.readline()
for sql in ("SELECT name, ssn FROM customers WHERE id = 1", "SELECT swapped FROM customers", "SELECT * FROM customers"):
    print(rows(r.query(sql)), flush=True)
print(r.seen)
""", stdin=__import__("subprocess").PIPE)
    try:
        first = p.stdout.readline()
        check_in("***-**-1120", first)
        w.pg.sql("ALTER TABLE customers ADD COLUMN extra text DEFAULT 'x'; ALTER TABLE customers DROP COLUMN active;"
                 "CREATE TABLE moved AS SELECT * FROM customers; GRANT ALL ON moved TO gateway")
        out = p.communicate("\n", timeout=20)[0]
        no_leak(first + out, "changed catalog")
    finally:
        w.pg.reset()
        w.pg.sql("DROP TABLE IF EXISTS moved")


def test_store_holds_no_masked_results(w):
    """What the store keeps of a masked result is not the value either."""
    w.agent.psql("SELECT id, ssn, card FROM customers")
    store = w.sluice.store_bytes()
    for card in CARDS:
        check(card.encode() not in store, "a card number is in the store")
    check(os.path.getsize(w.sluice.store()) > 0)
