#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "proto/sql/classify.h"
#include "session/mask_guard.h"
#include "unit/proto/catalog_script.h"

/* Masked: public.customers.ssn; public.pay_1.pan, a column of one partition of pay; public.base's
 * secret, of which kid is a child. */
static const struct script database = {
	.relations = (const char *const[]){"100 r public customers 5",
					   "101 r public orders 4",
					   "102 v public v_ssn 1",
					   "103 v public v_v 1",
					   "104 m public mv 1",
					   "105 p public pay 3",
					   "106 r public pay_1 3",
					   "107 r public base 2",
					   "108 r public kid 3",
					   "109 v public v_fn 1",
					   "110 t pg_toast toast_1 3",
					   "111 r other customers 3",
					   "112 v public v_orders 2",
					   "113 v public v_pay 1",
					   "114 r public audit_log 2",
					   "115 p public pay_2 3",
					   "116 r other t1 2",
					   "117 v public v_base 1",
					   "118 v public v_stats 1",
					   "1259 r pg_catalog pg_class 2",
					   "12000 v pg_catalog pg_stats 2",
					   NULL},
	.columns = (const char *const[]){"100 1 id",
					 "100 2 name",
					 "100 3 ssn",
					 "100 5 note",
					 "101 1 id",
					 "101 2 customer_id",
					 "101 3 total",
					 "101 4 note",
					 "102 1 ssn",
					 "103 1 ssn",
					 "104 1 count",
					 "105 1 id",
					 "105 2 pan",
					 "105 3 amount",
					 "106 1 id",
					 "106 2 pan",
					 "106 3 amount",
					 "107 1 id",
					 "107 2 secret",
					 "108 1 id",
					 "108 2 secret",
					 "108 3 extra",
					 "109 1 x",
					 "110 1 chunk_id",
					 "110 3 chunk_data",
					 "111 1 id",
					 "111 2 name",
					 "111 3 ssn",
					 "112 1 id",
					 "112 2 total",
					 "113 1 amount",
					 "114 1 id",
					 "114 2 line",
					 "115 1 id",
					 "115 2 pan",
					 "115 3 amount",
					 "116 1 id",
					 "116 2 ssn",
					 "117 1 id",
					 "118 1 x",
					 "1259 1 oid",
					 "1259 2 relname",
					 "12000 1 tablename",
					 "12000 2 most_common_vals",
					 NULL},
	.edges = (const char *const[]){"102 100 r", "103 102 r", "103 101 r", "104 100 r",
				       "106 105 i", "108 107 i", "109 20000 f", "110 100 t",
				       "112 101 r", "113 105 r", "114 100 r", "115 105 i",
				       "117 107 r", "118 12000 r", NULL},
	.functions = (const char *const[]){"full_name", "initcap", "leak", "weight", NULL},
	.path = (const char *const[]){"pg_catalog", "public", NULL},
};

static const struct mask_rule ssn = {"public", "customers", "ssn", MASK_LAST4, "read customers"};
static const struct mask_rule pan = {"public", "pay_1", "p?n", MASK_REDACT, "cards"};
static const struct mask_rule secret = {"*", "base", "secret", MASK_REDACT, "base"};

static const char *const refused[] = {
	/* in an expression */
	"SELECT ssn || '' FROM customers",
	"SELECT upper(ssn) FROM customers",
	"SELECT substr(ssn, 1, 1) AS ssn FROM customers",
	"SELECT ssn::text FROM customers",
	"SELECT CAST(c.ssn AS varchar(20)) FROM customers c",
	"SELECT coalesce(ssn, '') FROM public.customers",
	"SELECT CASE WHEN true THEN ssn END FROM customers",
	"SELECT ARRAY[ssn] FROM customers",
	"SELECT ROW(ssn) FROM customers",
	"SELECT (ssn) COLLATE \"C\" FROM customers",
	"SELECT max(ssn) FROM customers",
	"SELECT string_agg(ssn, ',') FROM customers",
	"SELECT count(DISTINCT ssn) FROM customers",
	"SELECT first_value(ssn) OVER () FROM customers",
	"SELECT sum(1) OVER (ORDER BY ssn) FROM customers",
	"SELECT xmlforest(ssn) FROM customers",
	"SELECT greatest(ssn, '') FROM customers",
	"SELECT extract(year FROM ssn) FROM customers",
	"SELECT ssn AT TIME ZONE 'UTC' FROM customers",
	/* the whole row */
	"SELECT customers FROM customers",
	"SELECT c FROM customers c",
	"SELECT row_to_json(c) FROM customers c",
	"SELECT to_jsonb(customers) FROM customers",
	"SELECT c::text FROM customers c",
	"SELECT (c).ssn FROM customers c",
	"SELECT (c).* FROM customers c",
	"SELECT ROW(c.*) FROM customers c",
	"SELECT json_agg(c) FROM customers c",
	"SELECT array_agg(customers) FROM customers",
	"SELECT c.row_to_json FROM customers c",
	"SELECT customers.to_json FROM customers",
	"SELECT public.customers.to_json FROM customers",
	"SELECT c.full_name FROM customers c, (SELECT 1) AS x(full_name)",
	"SELECT c.full_name FROM customers c WHERE EXISTS (SELECT 1 FROM (SELECT 1) c)",
	"SELECT j FROM (customers CROSS JOIN orders) AS j",
	"SELECT j.ssn || '' FROM (customers CROSS JOIN orders) AS j",
	"SELECT 1 FROM customers c WHERE c = ROW(1, 'x', 'y', NULL)",
	/* told by a condition, an order or a group */
	"SELECT id FROM customers WHERE ssn LIKE '1%'",
	"SELECT id FROM customers ORDER BY ssn",
	"SELECT ssn AS x FROM customers ORDER BY x",
	"SELECT id, ssn FROM customers ORDER BY 2",
	"SELECT * FROM customers ORDER BY 3",
	"SELECT id, ssn FROM customers GROUP BY 1, 2",
	"SELECT ssn FROM customers GROUP BY ssn",
	"SELECT ssn AS x, count(*) FROM customers GROUP BY CUBE (x)",
	"SELECT DISTINCT ssn FROM customers",
	"SELECT DISTINCT * FROM customers",
	"SELECT DISTINCT ON (ssn) id FROM customers",
	"SELECT DISTINCT ON (2) id, ssn FROM customers",
	"SELECT count(*) FROM customers HAVING max(ssn) > '5'",
	"SELECT o.id FROM orders o JOIN customers c ON c.ssn = o.note",
	"SELECT id FROM customers JOIN other.customers o USING (ssn)",
	"SELECT id FROM customers NATURAL JOIN other.customers o",
	"SELECT id FROM customers LIMIT (SELECT length(ssn) FROM customers)",
	"SELECT 1 FROM customers c(a, b, x) WHERE x LIKE '1%'",
	"SELECT x FROM customers AS c(a, b, x)",
	/* carried on by a nested query */
	"SELECT (SELECT ssn FROM customers LIMIT 1)",
	"SELECT x FROM (SELECT ssn AS x FROM customers) y",
	"SELECT x FROM (SELECT ssn FROM customers) y(x)",
	"SELECT * FROM (SELECT * FROM customers) y",
	"SELECT * FROM (TABLE customers) y",
	"WITH x AS (SELECT ssn AS a FROM customers) SELECT a FROM x",
	"WITH customers AS (SELECT * FROM customers) SELECT * FROM customers",
	"WITH RECURSIVE x AS (SELECT ssn FROM customers UNION SELECT ssn FROM x) TABLE x",
	"SELECT ssn FROM customers UNION SELECT ''",
	"SELECT name FROM customers UNION ALL SELECT ssn FROM customers",
	"SELECT ssn FROM customers EXCEPT SELECT ''",
	"SELECT * FROM customers UNION ALL SELECT * FROM customers",
	"SELECT x.a FROM orders, LATERAL (SELECT ssn FROM customers) AS x(a)",
	"SELECT ARRAY(SELECT ssn FROM customers)",
	"SELECT EXISTS (SELECT 1 FROM customers WHERE ssn = '1')",
	"SELECT '1' IN (SELECT ssn FROM customers)",
	"VALUES ((SELECT ssn FROM customers LIMIT 1))",
	"WITH x AS (UPDATE customers SET name = name RETURNING ssn) SELECT ssn FROM x",
	"WITH x AS (DELETE FROM customers RETURNING *) SELECT * FROM x",
	/* written somewhere else */
	"INSERT INTO orders (note) SELECT ssn FROM customers",
	"INSERT INTO other.customers SELECT * FROM customers",
	"INSERT INTO orders (note) VALUES ((SELECT ssn FROM customers LIMIT 1))",
	"UPDATE customers SET note = ssn",
	"UPDATE customers SET (note, name) = (ssn, ssn)",
	"UPDATE orders SET note = c.ssn FROM customers c",
	"UPDATE customers SET id = 1 RETURNING ssn || ''",
	"DELETE FROM customers WHERE ssn = '1'",
	"DELETE FROM orders USING customers c WHERE c.ssn = note",
	"INSERT INTO customers (id) VALUES (1) ON CONFLICT (ssn) DO NOTHING",
	"INSERT INTO customers AS c VALUES (1) ON CONFLICT (id) DO UPDATE SET note = c.ssn",
	"MERGE INTO orders o USING customers c ON o.id = c.id WHEN MATCHED THEN UPDATE SET "
	"note = c.ssn",
	"CREATE TABLE leak AS SELECT ssn FROM customers",
	"CREATE TABLE leak AS TABLE customers",
	"CREATE TABLE leak AS EXECUTE p",
	"SELECT ssn INTO leak FROM customers",
	"SELECT * INTO leak FROM customers",
	"CREATE MATERIALIZED VIEW leak AS SELECT ssn FROM customers",
	"CREATE VIEW leak AS SELECT * FROM customers",
	"CREATE VIEW leak (a) AS SELECT ssn FROM customers",
	"CREATE RULE leak AS ON UPDATE TO customers DO ALSO INSERT INTO orders VALUES (old.id)",
	"CREATE FUNCTION leak() RETURNS text LANGUAGE sql AS 'select ssn from customers'",
	"CREATE TRIGGER leak AFTER UPDATE ON customers EXECUTE FUNCTION f()",
	"CREATE TABLE leak (LIKE customers)",
	"CREATE TABLE leak () INHERITS (customers)",
	"CREATE TABLE leak (x text REFERENCES customers (ssn))",
	"CREATE INDEX ON customers (ssn)",
	"CREATE INDEX ON customers ((ssn || ''))",
	"CREATE STATISTICS s ON ssn, id FROM customers",
	"CREATE PUBLICATION p FOR TABLE customers",
	"CREATE POLICY p ON customers USING (true)",
	"ALTER TABLE customers RENAME COLUMN ssn TO x",
	"ALTER TABLE customers RENAME TO x",
	"ALTER TABLE customers SET SCHEMA other",
	"ALTER TABLE customers ADD x text GENERATED ALWAYS AS (ssn) STORED",
	"ALTER TABLE orders ALTER note TYPE text USING (SELECT ssn FROM customers)",
	"ALTER TABLE pay ATTACH PARTITION customers FOR VALUES IN (1)",
	"ALTER TABLE orders INHERIT customers",
	"ALTER SCHEMA public RENAME TO x",
	"ALTER FUNCTION f() OWNER TO x",
	/* COPY */
	"COPY customers TO STDOUT",
	"COPY customers (ssn) TO STDOUT",
	"COPY customers (id, ssn) TO STDOUT WITH (FORMAT csv)",
	"COPY (SELECT ssn FROM customers) TO STDOUT",
	"COPY (SELECT * FROM customers) TO STDOUT",
	"COPY (DELETE FROM customers RETURNING *) TO STDOUT",
	"COPY orders TO '/tmp/x'",
	"COPY orders FROM PROGRAM 'id'",
	"COPY customers FROM STDIN WHERE ssn = '1'",
	/* views, TOAST, statistics, functions, unknown */
	"SELECT * FROM v_ssn",
	"SELECT count(*) FROM v_ssn",
	"SELECT 1 FROM public.v_v",
	"SELECT count FROM mv",
	"SELECT amount FROM v_pay",
	"SELECT id FROM v_base",
	"SELECT x FROM v_fn",
	"SELECT x FROM v_stats",
	"INSERT INTO audit_log VALUES (1)",
	"UPDATE v_ssn SET ssn = 'x'",
	"SELECT chunk_data FROM pg_toast.toast_1",
	"SELECT most_common_vals FROM pg_stats",
	"SELECT * FROM pg_catalog.pg_stats",
	/* t.f is f(t) */
	"SELECT o.leak FROM orders o",
	"SELECT orders.leak AS total FROM orders",
	"SELECT (o).leak FROM orders o",
	"SELECT x.leak FROM (SELECT 1 AS a) x",
	"SELECT x.weight FROM (SELECT 1 AS a) x",
	"WITH x AS (SELECT 1) SELECT x.leak FROM x",
	"SELECT x.leak FROM generate_series(1, 2) x",
	"SELECT x.pg_read_file FROM unnest(ARRAY['/etc/passwd']) x",
	"SELECT ('/etc/passwd'::text).pg_read_file",
	"SELECT (1).leak",
	"SELECT 1 FROM orders o WHERE o.leak = 'x'",
	"SELECT o.id FROM orders o ORDER BY o.leak",
	"UPDATE orders SET note = orders.leak",
	"INSERT INTO orders (id) VALUES (1) RETURNING orders.leak",
	"SELECT leak()",
	"SELECT * FROM leak()",
	"SELECT public.lower('x')",
	/* the database has one of its own of that name */
	"SELECT initcap('x')",
	"SELECT query_to_xml('select ssn from customers', true, true, '')",
	"SELECT table_to_xml('customers', true, true, '')",
	"SELECT pg_read_file('base/1/2')",
	"SELECT lo_get(1)",
	"SELECT ts_stat('select ssn from customers')",
	"SELECT * FROM dblink('x', 'select ssn from customers') AS t(a text)",
	"SELECT 1 OPERATOR(public.+) 1",
	"CALL leak()",
	"DO 'begin end'",
	"EXPLAIN SELECT 1 FROM customers WHERE ssn > '5'",
	"EXPLAIN ANALYZE SELECT 1 FROM customers WHERE ssn > '5'",
	"PREPARE p AS SELECT ssn || '' FROM customers",
	"DECLARE c CURSOR FOR SELECT ssn || '' FROM customers",
	"DECLARE c BINARY CURSOR FOR SELECT ssn FROM customers",
	"SELECT 1; SELECT ssn || '' FROM customers",
	"SELECT ssn FROM customers; SELEC",
	"SELECT * FROM no_such_table",
	"SELECT * FROM other.no_such_table",
	/* by inheritance, both ways */
	"SELECT pan || '' FROM pay",
	"SELECT 1 FROM pay WHERE pan = '4'",
	"SELECT pan || '' FROM pay_1",
	"SELECT p FROM pay p",
	"SELECT secret || '' FROM kid",
	"COPY kid TO STDOUT",
	"SELECT lower(secret) FROM base",
	"ALTER TABLE kid NO INHERIT base",
	"ALTER TABLE pay_1 RENAME pan TO x",
};

static const char *const passed[] = {
	"SELECT ssn FROM customers",
	"SELECT ssn AS name FROM customers",
	"SELECT c.ssn FROM public.customers AS c",
	"SELECT public.customers.ssn FROM public.customers",
	"SELECT * FROM customers",
	"TABLE customers",
	"SELECT c.*, o.total FROM customers c JOIN orders o ON o.customer_id = c.id",
	"SELECT c.name, o.total FROM customers c JOIN orders o ON o.customer_id = c.id",
	"SELECT id, ssn, upper(name) FROM customers WHERE id = 1 ORDER BY id LIMIT 10",
	"SELECT id, ssn FROM customers ORDER BY 1",
	"SELECT ssn, name AS x FROM customers ORDER BY x DESC",
	"SELECT count(*) FROM customers",
	"SELECT count(*), max(id) FROM customers GROUP BY name HAVING count(*) > 1",
	"SELECT name FROM customers WHERE id IN (SELECT customer_id FROM orders)",
	"SELECT ssn FROM customers c WHERE EXISTS (SELECT 1 FROM orders o WHERE o.id = c.id)",
	"WITH x AS (SELECT id, total FROM orders) SELECT c.ssn, x.total FROM customers c, x",
	"WITH customers AS (SELECT 1 AS ssn) SELECT ssn + 1 FROM customers",
	"SELECT x.n FROM (SELECT count(*) AS n FROM customers) x",
	"SELECT name FROM customers UNION SELECT note FROM orders",
	"SELECT DISTINCT name FROM customers",
	"SELECT ssn FROM customers FOR UPDATE",
	"SELECT id, ssn FROM customers TABLESAMPLE bernoulli (1)",
	"SELECT c.ctid, c.xmin FROM customers c",
	"SELECT now(), version(), lower('X'), pg_catalog.initcap('x'), 1 + 1",
	"SELECT g FROM generate_series(1, 3) AS g",
	"SELECT nextval('s')",
	"SELECT o FROM orders o",
	"SELECT row_to_json(o) FROM orders o",
	"SELECT note || 'x' FROM orders ORDER BY note",
	"SELECT total FROM v_orders WHERE total > 1",
	"SELECT upper(ssn) FROM other.customers",
	"SELECT ssn || '' FROM other.t1",
	"COPY orders TO STDOUT",
	"COPY customers (id, name) TO STDOUT",
	"COPY (SELECT id, name FROM customers) TO STDOUT",
	"COPY customers FROM STDIN",
	"INSERT INTO customers (id, ssn) VALUES (1, '2')",
	"INSERT INTO customers (id, ssn) VALUES (1, '2') RETURNING id, ssn",
	"INSERT INTO customers (id, ssn) VALUES (1, '2') ON CONFLICT (id) DO UPDATE SET "
	"ssn = excluded.ssn",
	"INSERT INTO orders (note) SELECT name FROM customers",
	"UPDATE customers SET ssn = '1' WHERE id = 1",
	"UPDATE customers SET name = 'x' WHERE id = 1 RETURNING *",
	"DELETE FROM customers WHERE id = 1 RETURNING ssn",
	"MERGE INTO customers c USING orders o ON c.id = o.customer_id WHEN MATCHED THEN UPDATE "
	"SET ssn = o.note",
	"TRUNCATE customers",
	"DROP TABLE customers",
	"DROP VIEW v_ssn",
	"LOCK TABLE customers",
	"ANALYZE customers",
	"REFRESH MATERIALIZED VIEW mv",
	"EXPLAIN SELECT ssn FROM customers WHERE id = 1",
	"EXPLAIN ANALYZE SELECT * FROM customers",
	"PREPARE p AS SELECT ssn FROM customers WHERE id = $1",
	"EXECUTE p (1)",
	"DECLARE c CURSOR FOR SELECT ssn FROM customers",
	"FETCH 5 FROM c",
	"DEALLOCATE p",
	"CREATE TABLE x (a int PRIMARY KEY, b text)",
	"CREATE TABLE x AS SELECT id, name FROM customers",
	"CREATE VIEW x AS SELECT id FROM customers",
	"CREATE INDEX ON customers (name)",
	"CREATE TEMP TABLE x AS SELECT * FROM orders",
	"ALTER TABLE orders ADD COLUMN x int",
	"ALTER TABLE orders RENAME COLUMN note TO x",
	"SELECT relname FROM pg_class",
	"SELECT pg_catalog.format_type(1, 2), pg_get_userbyid(1) FROM pg_catalog.pg_class",
	"BEGIN; SELECT ssn FROM customers; COMMIT",
	"SET search_path TO public",
	"SHOW search_path",
	"LISTEN x",
	"",
	/* by inheritance */
	"SELECT id, pan FROM pay",
	"SELECT pan || '' FROM pay_2",
	"SELECT amount + 1 FROM pay WHERE id = 1",
	"SELECT secret, extra FROM kid WHERE id = 1",
};

/* Fine as text, refused as binary: a masked column comes out. */
static const char *const text_only[] = {
	"SELECT ssn FROM customers",
	"SELECT * FROM customers",
	"SELECT c.* FROM orders o, customers c",
	"UPDATE customers SET id = 1 RETURNING ssn",
	"SELECT pan FROM pay",
	"SELECT secret FROM kid",
	"DECLARE c CURSOR FOR SELECT ssn FROM customers",
};

static const char *const binary_too[] = {
	"SELECT name FROM customers",
	"SELECT o.* FROM orders o JOIN customers c ON c.id = o.id",
	"SELECT count(*) FROM customers",
	"SELECT pan FROM pay_2",
};

struct fixture {
	struct pg_catalog *catalog;
	struct sql_cache *cache;
	struct verdict verdict;
};

static int setup(void **state)
{
	static struct fixture f;
	_cleanup_buf_ struct buf b = BUF_INIT(1 << 20);
	size_t used;

	script_put(&b, &database);
	assert_int_equal(pg_catalog_new(&f.catalog), 0);
	assert_int_equal(pg_catalog_feed(f.catalog, buf_span(&b), &used), 1);
	assert_int_equal(sql_cache_new(16, 1 << 20, &f.cache), 0);
	f.verdict = (struct verdict){.effect = EFFECT_ALLOW, .n_masks = 3};
	f.verdict.masks[0] = &ssn;
	f.verdict.masks[1] = &pan;
	f.verdict.masks[2] = &secret;
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	pg_catalog_unref(f->catalog);
	sql_cache_free(f->cache);
	return 0;
}

static int guard(const struct fixture *f, const char *sql, bool path_known, bool binary,
		 char why[VERDICT_REASON_MAX])
{
	_cleanup_arena_ struct arena arena = ARENA_INIT(4 << 20);
	const struct sql_class *class = sql_classify(f->cache, span_str(sql));
	struct op op = {.id = 1, .kind = OP_RUN, .sql = class, .binary_results = binary};
	struct search_path path = {.known = path_known};
	const struct sql_class *resolved;
	int r;

	path.n = pg_catalog_search_path(f->catalog, &path.schemas);
	resolved = names_resolve(class, &path, f->catalog, &arena);
	assert_non_null(resolved);
	why[0] = '\0';
	r = mask_guard(&op, resolved, &f->verdict, f->catalog, why, VERDICT_REASON_MAX);
	/* A refusal says why. */
	assert_int_equal(r < 0, why[0] != '\0');
	sql_class_release(f->cache, class);
	return r;
}

static void check_all(const struct fixture *f, const char *const *list, size_t n, bool path_known,
		      bool binary, int want)
{
	char why[VERDICT_REASON_MAX];
	unsigned wrong = 0;

	for (size_t i = 0; i < n; i++) {
		int r = guard(f, list[i], path_known, binary, why);

		if (r == want)
			continue;
		print_error("%s: %s  %s\n", r == 0 ? "passed" : "refused", list[i], why);
		wrong++;
	}
	assert_int_equal(wrong, 0);
}

#define CHECK_ALL(list_, path_known_, binary_, want_) \
	check_all(*state, list_, ARRAY_SIZE(list_), path_known_, binary_, want_)

static void test_refused(void **state)
{
	CHECK_ALL(refused, true, false, -EACCES);
	CHECK_ALL(refused, true, true, -EACCES);
}

/* Without a known path a name is any of that name. */
static void test_refused_without_path(void **state)
{
	CHECK_ALL(refused, false, false, -EACCES);
}

static void test_passed(void **state)
{
	CHECK_ALL(passed, true, false, 0);
}

static void test_binary(void **state)
{
	CHECK_ALL(text_only, true, false, 0);
	CHECK_ALL(text_only, true, true, -EACCES);
	CHECK_ALL(binary_too, true, true, 0);
}

static void test_reasons(void **state)
{
	char why[VERDICT_REASON_MAX];

	assert_int_equal(guard(*state, "SELECT ssn||'' FROM customers", true, false, why), -EACCES);
	assert_string_equal(why,
			    "public.customers.ssn is masked by rule \"read customers\": it may "
			    "be selected as it is, but not used in an expression, a "
			    "condition, an order or a nested query");
	assert_int_equal(guard(*state, "SELECT 1 FROM v_v", true, false, why), -EACCES);
	assert_string_equal(why, "public.v_v takes from public.customers, which has columns that "
				 "are masked for you: read that table itself");
	assert_int_equal(guard(*state, "SELECT pan || '' FROM pay", true, false, why), -EACCES);
	assert_non_null(strstr(why, "public.pay.pan is masked by rule \"cards\""));
}

static void test_no_masks_or_no_catalog(void **state)
{
	struct fixture f = *(struct fixture *)*state;
	struct op op = {.kind = OP_RUN};
	char why[VERDICT_REASON_MAX];

	assert_int_equal(mask_guard(&op, NULL, &f.verdict, f.catalog, why, sizeof(why)), -EACCES);
	op.sql = sql_classify(f.cache, span_str("SELECT 1"));
	assert_int_equal(mask_guard(&op, op.sql, &f.verdict, NULL, why, sizeof(why)), -EACCES);
	op.sql = &sql_class_function_call;
	assert_int_equal(mask_guard(&op, op.sql, &f.verdict, f.catalog, why, sizeof(why)), -EACCES);
	f.verdict.n_masks = 0;
	assert_int_equal(mask_guard(&op, op.sql, &f.verdict, NULL, why, sizeof(why)), 0);
	op.sql = sql_classify(f.cache, span_str("SELECT 1"));
	sql_class_release(f.cache, op.sql);
	sql_class_release(f.cache, op.sql);
}

static void test_names(void **state)
{
	const struct fixture *f = *state;
	_cleanup_arena_ struct arena arena = ARENA_INIT(1 << 20);
	const struct sql_class *c =
		sql_classify(f->cache, span_str("SELECT lower('x') FROM customers c, nope, t1, "
						"other.customers, pg_class"));
	static const char *const schemas[] = {"nope", "other", "public"};
	static const char *const late[] = {"public", "pg_catalog"};
	struct search_path path = {.known = true, .n = 3, .schemas = schemas};
	const struct sql_class *r = names_resolve(c, &path, f->catalog, &arena);

	assert_ptr_not_equal(r, c);
	assert_null(c->statements[0].tables[0].schema);
	assert_string_equal(r->statements[0].tables[0].schema, "other");
	assert_null(r->statements[0].tables[1].schema);
	assert_string_equal(r->statements[0].tables[2].schema, "other");
	assert_string_equal(r->statements[0].tables[4].schema, "pg_catalog");
	assert_int_equal(r->verbs, SQL_SELECT);
	path.schemas = late;
	path.n = 2;
	r = names_resolve(c, &path, f->catalog, &arena);
	assert_int_equal(r->verbs, SQL_SELECT | SQL_CALL);
	assert_false(r->statements[0].functions[0].harmless);
	assert_true(c->statements[0].functions[0].harmless);
	assert_ptr_equal(names_resolve(c, &path, NULL, &arena), c);
	arena.max = 0;
	assert_null(names_resolve(c, &path, f->catalog, &arena));
	sql_class_release(f->cache, c);
}

/* Columns times the names that their qualifier may be, for each masked table. */
static void test_too_large(void **state)
{
	const struct fixture *f = *state;
	_cleanup_buf_ struct buf b = BUF_INIT(1 << 20);
	char why[VERDICT_REASON_MAX];
	char item[32];

	for (unsigned n = 10; n <= 3500; n += 3490) {
		buf_reset(&b);
		buf_put_str(&b, "SELECT 1 FROM public.customers c WHERE 1 IN (1");
		for (unsigned i = 0; i < n; i++) {
			(void)snprintf(item, sizeof(item), ",a.x%u", i);
			buf_put_str(&b, item);
		}
		buf_put_str(&b, ") AND 1 IN (SELECT 1 FROM (SELECT 1) a");
		for (unsigned i = 0; i < n; i++) {
			(void)snprintf(item, sizeof(item), ",(SELECT 1) a%u", i);
			buf_put_str(&b, item);
		}
		buf_put(&b, ")", 2);
		assert_int_equal(buf_error(&b), 0);
		assert_int_equal(guard(f, (const char *)buf_span(&b).p, true, false, why),
				 n > 10 ? -EACCES : 0);
	}
	assert_non_null(strstr(why, "too large to be checked"));
}

static int mask_one(const struct fixture *f, uint32_t oid, int16_t attnum, bool binary)
{
	const struct proto_column columns[] = {
		{.name = "a", .table_oid = 0, .binary = true},
		{.name = "b", .table_oid = oid, .attnum = attnum, .binary = binary},
		{.name = "c", .table_oid = 101, .attnum = 1, .binary = true},
	};
	uint8_t masks[3] = {77, 77, 77};
	int r = mask_columns(&f->verdict, f->catalog, columns, 3, masks);

	if (r < 0) {
		assert_int_equal(masks[0], 77);
		return r;
	}
	assert_int_equal(masks[0], MASK_NONE);
	assert_int_equal(masks[2], MASK_NONE);
	return masks[1];
}

static void test_columns(void **state)
{
	struct fixture f = *(struct fixture *)*state;

	assert_int_equal(mask_one(&f, 100, 3, false), MASK_LAST4);
	assert_int_equal(mask_one(&f, 100, 2, true), MASK_NONE);
	assert_int_equal(mask_one(&f, 100, 3, true), -EACCES);
	assert_int_equal(mask_one(&f, 100, -1, true), MASK_NONE);
	assert_int_equal(mask_one(&f, 100, 4, false), -EAGAIN); /* dropped */
	assert_int_equal(mask_one(&f, 100, 6, false), -EAGAIN);
	assert_int_equal(mask_one(&f, 99, 1, false), -EAGAIN);
	/* Inheritance: parent of a masked partition, its sibling, child of a masked parent. */
	assert_int_equal(mask_one(&f, 105, 2, false), MASK_REDACT);
	assert_int_equal(mask_one(&f, 106, 2, false), MASK_REDACT);
	assert_int_equal(mask_one(&f, 115, 2, true), MASK_NONE);
	assert_int_equal(mask_one(&f, 108, 2, false), MASK_REDACT);
	assert_int_equal(mask_one(&f, 108, 3, true), MASK_NONE);
	/* Should one of these come after all. */
	assert_int_equal(mask_one(&f, 102, 1, false), -EACCES);
	assert_int_equal(mask_one(&f, 110, 3, false), -EACCES);
	assert_int_equal(mask_one(&f, 12000, 2, false), -EACCES);
	assert_int_equal(mask_one(&f, 111, 3, true), MASK_NONE);
	f.verdict.n_masks = 0;
	assert_int_equal(mask_one(&f, 100, 3, true), MASK_NONE);
	assert_int_equal(mask_one(&f, 99, 1, true), MASK_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),	  cmocka_unit_test(test_refused_without_path),
		cmocka_unit_test(test_passed),	  cmocka_unit_test(test_binary),
		cmocka_unit_test(test_reasons),	  cmocka_unit_test(test_no_masks_or_no_catalog),
		cmocka_unit_test(test_names),	  cmocka_unit_test(test_columns),
		cmocka_unit_test(test_too_large),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
