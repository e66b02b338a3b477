"""The protocol, whole: what drivers do goes through sluice as if it were not there."""

from sluicetest.sluice import body
from sluicetest.util import check, check_eq, check_in, wait_until

RAW = "import sys, struct, socket, time\nsys.path.insert(0, '/agent')\nfrom pgraw import *\n"


def free(w, script, **kw):
    return w.free.python(RAW + script, **kw)


def test_simple_multi_statement(w):
    out = free(w, """
r = Raw(); r.startup()
m = r.query("SELECT 1; SELECT 2, 'x'; CREATE TEMP TABLE t (i int); INSERT INTO t VALUES (1), (2); SELECT * FROM t")
print(kinds(m), rows(m), tags(m))
m = r.query("")
print(kinds(m))
m = r.query("SELECT 1; SELECT 1/0; SELECT 3")
print(kinds(m), error(m)["C"])
""")
    check_in("TDCTDCCCTDDCZ [[b'1'], [b'2', b'x'], [b'1'], [b'2']]", out)
    check_in("'SELECT 1', 'SELECT 1', 'CREATE TABLE', 'INSERT 0 2', 'SELECT 2'", out)
    check_in("IZ", out)
    check_in("TDCEZ 22012", out)


def test_extended_portals_with_row_limits(w):
    out = free(w, """
r = Raw(); r.startup()
r.send(parse("SELECT generate_series(1, $1)", "s", (23,)), describe(b"S", "s"),
       bind([b"7"], "p", "s"), describe(b"P", "p"), execute("p", 3), execute("p", 3), execute("p", 3), SYNC)
m = r.until(b"Z"); print(kinds(m), len(rows(m)))
r.send(parse("SELECT $1::int + 1"), bind([struct.pack("!i", 41)], param_formats=(1,), result_formats=(1,)),
       execute(), SYNC)
m = r.until(b"Z"); print(kinds(m), struct.unpack("!i", rows(m)[0][0]))
r.send(msg(b"C", b"Ss\\0"), SYNC); print(kinds(r.until(b"Z")))
r.send(bind([b"1"], "", "s"), SYNC); m = r.until(b"Z"); print(kinds(m), error(m)["C"])
r.send(parse("SELECT 1"), FLUSH); print(kinds(r.until(b"1"))); r.send(SYNC); print(kinds(r.until(b"Z")))
""")
    check_in("1tT2TDDDsDDDsDCZ 7", out)
    check_in("12DCZ (42,)", out)
    check_in("3Z", out)
    check_in("EZ 26000", out)


def test_pipeline_with_an_error_skips_to_sync(w):
    out = free(w, """
r = Raw(); r.startup()
one = lambda sql: parse(sql) + bind() + describe() + execute()
r.send(one("SELECT 1"), one("SELECT 1/0"), one("SELECT 2"), SYNC, one("SELECT 3"), SYNC)
m = r.until(b"Z"); print(kinds(m), rows(m))
m = r.until(b"Z"); print(kinds(m), rows(m))
""")
    # The division is folded when the statement is planned, at Bind: as the server does it.
    check_in("12TDC1EZ [[b'1']]", out)
    check_in("12TDCZ [[b'3']]", out)


def test_refusal_inside_a_pipeline_behaves_like_an_error(w):
    """A refused statement: those after it are skipped until Sync, the transaction is failed."""
    out = w.agent.python(RAW + """
r = Raw(); r.startup()
one = lambda sql: parse(sql) + bind() + describe() + execute()
r.send(one("SELECT count(*) FROM orders"), one("DELETE FROM customers"), one("SELECT 2 FROM orders"), SYNC,
       one("SELECT count(*) FROM orders"), SYNC)
m = r.until(b"Z"); print("A", kinds(m), error(m)["C"], m[-1][1])
m = r.until(b"Z"); print("B", kinds(m), m[-1][1])
print("C", kinds(r.query("BEGIN")))
m = r.query("DELETE FROM customers"); print("D", error(m)["C"], m[-1][1])
m = r.query("SELECT count(*) FROM orders"); print("E", error(m)["C"], m[-1][1])
m = r.query("ROLLBACK"); print("F", kinds(m), m[-1][1])
r.send(parse("DELETE FROM customers", "x"), SYNC); m = r.until(b"Z"); print("G", kinds(m), error(m)["C"])
m = r.query("SELECT count(*) FROM orders"); print("H", kinds(m), rows(m))
m = r.query("SELECT count(*) FROM orders; DELETE FROM customers"); print("I", error(m)["C"], m[-1][1])
""")
    check_in("A 12TDCEZ 42501 b'I'", out)
    check_in("B 12TDCZ b'I'", out)
    check_in("D 42501 b'E'", out)
    check_in("E 25P02 b'E'", out)
    check_in("F CZ b'I'", out)
    check_in("G EZ 42501", out)
    check_in("H TDCZ [[b'50']]", out)
    check_in("I 42501 b'I'", out)
    check_eq(w.pg.sql("SELECT count(*) FROM customers"), "5")


def test_psycopg3_pipeline_and_prepared(w):
    out = w.free.python("""
import psycopg
c = psycopg.connect("host=db.internal dbname=customers", prepare_threshold=0)
for i in range(4):
    assert c.execute("SELECT %s::int * 2", (i,)).fetchone()[0] == 2 * i
if psycopg.Pipeline.is_supported():
    with c.pipeline():
        curs = [c.execute("SELECT %s::int", (i,)) for i in range(200)]
    assert [x.fetchone()[0] for x in curs] == list(range(200))
cur = c.cursor(binary=True)
assert cur.execute("SELECT 1.5::numeric, now()::date IS NOT NULL, 'x'::bytea, array[1,2]").fetchone()[3] == [1, 2]
print("done")
""")
    check_in("done", out)


def test_copy_in_and_out(w):
    out = w.free.python("""
import psycopg, psycopg2, io
c = psycopg.connect("host=db.internal dbname=customers")
c.execute("CREATE TEMP TABLE t (i int, s text)")
with c.cursor().copy("COPY t FROM STDIN") as copy:
    for i in range(20000):
        copy.write_row((i, "value %d" % i))
assert c.execute("SELECT count(*), max(i) FROM t").fetchone() == (20000, 19999)
with c.cursor().copy("COPY t TO STDOUT") as copy:
    assert len(list(copy.rows())) == 20000
with c.cursor().copy("COPY (SELECT * FROM t) TO STDOUT (FORMAT BINARY)") as copy:
    assert sum(len(b) for b in copy) > 300000
try:
    with c.cursor().copy("COPY t FROM STDIN") as copy:
        copy.write_row((1, "x"))
        raise KeyError("changed my mind")
except (KeyError, psycopg.Error) as e:
    print(type(e).__name__)
c.rollback()
d = psycopg2.connect("host=db.internal dbname=customers")
cur = d.cursor()
cur.execute("CREATE TEMP TABLE u (i int)")
cur.copy_expert("COPY u FROM STDIN", io.StringIO("".join("%d\\n" % i for i in range(1000))))
try:
    cur.copy_expert("COPY u FROM STDIN", io.StringIO("not a number\\n"))
except psycopg2.Error as e:
    print(e.pgcode)
d.rollback()
print("done")
""")
    check_in("22P02", out)
    check_in("done", out)


def test_cursors_listen_notify_large_objects(w):
    out = w.free.python("""
import psycopg2, psycopg2.extensions, select
c = psycopg2.connect("host=db.internal dbname=customers")
n = c.cursor("named"); n.itersize = 10
n.execute("SELECT generate_series(1, 95)")
assert len(list(n)) == 95
c.commit()
cur = c.cursor()
cur.execute("DECLARE h CURSOR WITH HOLD FOR SELECT id FROM orders ORDER BY id"); c.commit()
cur.execute("FETCH 3 FROM h"); assert [r[0] for r in cur.fetchall()] == [1, 2, 3]
cur.execute("CLOSE h"); c.commit()
l = psycopg2.connect("host=db.internal dbname=customers"); l.autocommit = True
lc = l.cursor(); lc.execute("LISTEN news")
cur.execute("NOTIFY news, 'hello'"); c.commit()
for _ in range(50):
    select.select([l], [], [], 0.1); l.poll()
    if l.notifies: break
assert l.notifies[0].payload == "hello"
lo = c.lobject(0, "wb"); oid = lo.oid
lo.write(b"abc" * 100000); lo.seek(0); lo.close()
lo = c.lobject(oid, "rb"); assert lo.read() == b"abc" * 100000
lo.unlink(); c.commit()
print("done")
""")
    check_in("done", out)


def test_function_call_message(w):
    out = free(w, """
r = Raw(); r.startup()
oid = int(rows(r.query("SELECT 'int4abs(int4)'::regprocedure::oid"))[0][0]) if False else 1251
def call(arg):
    return msg(b"F", struct.pack("!IHHHi", oid, 1, 1, 1, 4) + struct.pack("!i", arg) + struct.pack("!H", 1))
r.send(call(-42)); m = r.until(b"Z")
print(kinds(m), struct.unpack("!ii", m[0][1]) if m[0][0] == b"V" else error(m))
""")
    check_in("VZ (4, 42)", out)
    refused = w.agent.python(RAW + """
r = Raw(); r.startup()
r.send(msg(b"F", struct.pack("!IHHHi", 1251, 1, 1, 1, 4) + struct.pack("!iH", -42, 1)))
m = r.until(b"Z"); print(kinds(m), error(m).get("C"))
print(kinds(r.query("SELECT count(*) FROM orders")))
""")
    check_in("EZ 42501", refused)
    check_in("TDCZ", refused)


def test_psql_meta_commands(w):
    done = w.free.run(["psql", "-X", "-h", "db.internal", "-U", "x", "customers"], timeout=60, stdin="""
\\d customers
\\dt
\\df customer*
\\l
\\timing on
SELECT 1 \\gset
\\copy (SELECT * FROM orders) TO '/tmp/orders.csv' CSV
\\copy scratch FROM PROGRAM 'printf "900\\tx\\n"'
SELECT count(*) AS scratch_now FROM scratch;
DELETE FROM scratch WHERE id = 900;
\\conninfo
""")
    for text in ('Table "public.customers"', "customer_ssn", "101", "DELETE 1"):
        check_in(text, done.stdout + done.stderr)


def test_startup_options_and_parameters(w):
    out = free(w, """
r = Raw()
m = r.startup(application_name="my app", client_encoding="UTF8", options="-c statement_timeout=12345",
              DateStyle="ISO, DMY")
params = {p.split(b"\\0")[0].decode(): p.split(b"\\0")[1].decode() for k, p in m if k == b"S"}
print(params["server_version"][:2], params["DateStyle"], params["application_name"])
print(rows(r.query("SHOW statement_timeout")), rows(r.query("SHOW application_name")))
m = r.query("SET application_name = 'other'"); print(kinds(m))
""")
    check_in("15 ISO, DMY my app", out)
    check_in("[[b'12345ms']] [[b'my app']]", out)
    check_in("CSZ", out.replace("SC", "CS"))


def test_protocol_negotiation(w):
    """A newer minor version and unknown protocol options: NegotiateProtocolVersion, as the server says."""
    out = free(w, """
r = Raw(); r.send(startup_bytes(version=196608 + 2, **{"_pq_.new": "1"}))
m = r.until(b"Z"); print(kinds(m)[:1] in "vR", b"v" in [k for k, _ in m], m[-1][0])
r = Raw(); r.send(startup_bytes(version=131072)); m, closed = r.rest(); print(error(m).get("S"), error(m).get("C"), closed)
""")
    check_in("True True b'Z'", out)
    check_in("FATAL 0A000 True", out)


def test_gss_request_then_plain(w):
    out = free(w, """
r = Raw(); r.send(struct.pack("!II", 8, GSS_REQUEST)); print(r.sock.recv(1))
print(kinds(r.startup())[-1:])
""")
    check_in("b'N'\nZ", out)


def test_messages_split_into_single_bytes(w):
    out = free(w, """
r = Raw(); r.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
for b in startup_bytes() : r.send(bytes([b]))
r.until(b"Z")
for b in query("SELECT 'a', 1") + parse("SELECT 2") + bind() + execute() + SYNC: r.send(bytes([b]))
print(rows(r.until(b"Z")), rows(r.until(b"Z")))
""")
    check_in("[[b'a', b'1']] [[b'2']]", out)


def test_large_statement_and_parameter(w):
    out = free(w, """
r = Raw(timeout=60); r.startup()
big = "x" * 5000000
m = r.query("SELECT length('%s')" % big); print(rows(m) or error(m))
r.send(parse("SELECT length($1)"), bind([b"y" * 20000000]), execute(), SYNC)
m = r.until(b"Z"); print(rows(m) or error(m))
m = r.query("SELECT repeat('z', 30000000)"); print(len(rows(m)[0][0]))
""")
    check_in("[[b'5000000']]", out)
    check_in("[[b'20000000']]", out)
    check_in("30000000", out)


def test_errors_and_notices_pass_unmasked_where_nothing_is_masked(w):
    out = free(w, """
r = Raw(); r.startup()
m = r.query("DO $$ BEGIN RAISE WARNING 'careful %', 1 USING HINT = 'a hint', DETAIL = 'some detail'; END $$")
print([fields(p) for k, p in m if k == b"N"])
m = r.query("INSERT INTO customers VALUES (1, 'a', 'b', 'c', 'd', 1)")
print(error(m))
""")
    for text in ("careful 1", "a hint", "some detail", "'C': '23505'", "Key (id)=(1) already exists"):
        check_in(text, out)


def test_sql_prepare_and_execute_are_followed(w):
    """What PREPARE hides is decided when it is executed as well."""
    out = w.agent.python(RAW + """
r = Raw(); r.startup()
m = r.query("PREPARE q AS SELECT name, ssn FROM customers WHERE id = $1"); print("A", kinds(m), error(m).get("C"))
m = r.query("EXECUTE q(1)"); print("B", kinds(m), rows(m), error(m).get("C"))
m = r.query("PREPARE d AS DELETE FROM customers"); print("C", error(m).get("C"))
m = r.query("EXECUTE d"); print("D", error(m).get("C"))
m = r.query("EXECUTE nosuch"); print("E", error(m).get("C"))
""")
    check_in("A CZ None", out)
    check_in("B TDCZ [[b'Ada Lovelace', b'***-**-1120']]", out)
    check_in("C 42501", out)
    # What was never seen prepared is not known, and so not allowed.
    check_in("D 42501", out)
    check_in("E 42501", out)


def test_ways_to_hide_a_delete(w):
    """Every disguise of a change is a change."""
    tries = ["WITH d AS (DELETE FROM customers RETURNING *) SELECT count(*) FROM d",
             "COPY (DELETE FROM customers RETURNING id) TO STDOUT",
             "EXPLAIN ANALYZE DELETE FROM customers",
             "DO $$ BEGIN DELETE FROM customers; END $$",
             "CREATE FUNCTION pg_temp.f() RETURNS void LANGUAGE sql AS 'DELETE FROM customers'",
             "MERGE INTO customers c USING orders o ON c.id = o.id WHEN MATCHED THEN DELETE",
             "TRUNCATE customers CASCADE",
             "SELECT 1; DELETE FROM customers",
             "/* SELECT */ DELETE/**/FROM customers",
             "DELETE FROM \"customers\"", "DELETE FROM public.customers", "DELETE FROM ONLY customers",
             "dElEtE fRoM cUsToMeRs", "BEGIN; DELETE FROM customers; COMMIT",
             "DECLARE c CURSOR FOR DELETE FROM customers",
             "SELECT query_to_xml('DELETE FROM customers', true, true, '')",
             "SELECT dblink_exec('', 'DELETE FROM customers')",
             "CREATE RULE r AS ON SELECT TO scratch DO INSTEAD DELETE FROM customers",
             "SELECT lo_import('/etc/passwd')", "COPY scratch FROM PROGRAM 'id'",
             "SET ROLE postgres", "RESET ALL; DELETE FROM customers"]
    out = w.agent.python(RAW + f"""
for sql in {tries!r}:
    r = Raw(); r.startup()
    m = r.query(sql); print(error(m).get("C"), sql)
    if error(m).get("C") is None: r.query("COMMIT")
    r.close()
""")
    allowed = [l for l in out.splitlines() if not l.startswith("42501")]
    check(all(l.startswith("None SET ROLE") or l.startswith("42") for l in allowed), "not refused:", allowed)
    check_eq(w.pg.sql("SELECT count(*) FROM customers"), "5")


def test_unparsable_is_unknown_and_refused(w):
    out = w.agent.python(RAW + """
r = Raw(); r.startup()
for sql in ("SELEKT 1", "SELECT 'unfinished", "\\u00e9\\u00e9", "SELECT 1 FROM customers WHERE"):
    m = r.query(sql); print(error(m)["C"])
r.send(msg(b"Q", b"SELECT '\\xff\\xfe'\\0")); m = r.until(b"Z"); print(error(m)["C"])
print(kinds(r.query("SELECT count(*) FROM orders")))
""")
    check_in("TDCZ", out)
    check_eq(len([l for l in out.splitlines() if l in ("42501", "42601", "22021")]), 5)


def test_search_path_tricks(w):
    """public.customers stays public.customers whatever the path is called."""
    out = w.agent.python(RAW + """
r = Raw(); r.startup()
for sql in ("SET search_path TO pg_temp, public", "SELECT count(*) FROM customers",
            "DELETE FROM customers", "CREATE TEMP TABLE orders AS SELECT ssn FROM public.customers",
            "SELECT set_config('search_path', 'nowhere', false)", "DELETE FROM public.customers"):
    m = r.query(sql); print(error(m).get("C"), sql)
""")
    for line in out.splitlines():
        if "DELETE" in line or "CREATE" in line:
            check(line.startswith("42501"), line)


def test_results_are_recorded(w):
    w.agent.psql("SELECT item FROM orders LIMIT 7")
    op = body(w.sluice.ops("SELECT item FROM orders LIMIT 7")[-1])
    result = w.sluice.events("op.result", lambda e: body(e)["session"] == op["session"]
                             and body(e)["op"] == op["op"]["id"])
    check_eq(body(result[0])["result"]["tag"], "SELECT 7")
    w.agent.psql("SELECT 1/0 FROM orders")
    op = body(w.sluice.ops("SELECT 1/0 FROM orders")[-1])
    result = w.sluice.events("op.result", lambda e: body(e)["session"] == op["session"])
    check_eq(body(result[-1])["result"]["error"], "22012")


def test_bind_values_are_recorded(w):
    w.agent.python("""
import psycopg
c = psycopg.connect("host=db.internal dbname=customers")
c.execute("SELECT item FROM orders WHERE item = %s AND id > %s", ("needle-in-bind", 3))
""")
    wait_until(lambda: "needle-in-bind" in str(w.sluice.ops("SELECT item FROM orders WHERE item")), 5, "the bind value")


def test_upstream_sessions_end_with_the_clients(w):
    free(w, """
rs = []
for _ in range(20):
    r = Raw(); r.startup(); rs.append(r)
rs[0].send(TERMINATE)
""")
    wait_until(lambda: w.pg.backends() <= 3, 10, lambda: f"backends to go: {w.pg.backends()}")
