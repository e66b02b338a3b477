#include "proto/postgres/pg_catalog_load.h"

#include <stdlib.h>

#include "base/cursor.h"
#include "proto/postgres/pg_wire.h"

/* Rows are of a few names; anything longer is not an answer to our query. */
#define MESSAGE_MAX  (64u * 1024u)
#define NAME_BUCKETS 65536u /* a power of two */
#define FIELDS_MAX   5

/* Names of columns and schemas repeat a lot: each is kept once. */
struct name {
	struct name *next;
	char text[];
};

struct edge {
	uint32_t oid;
	uint32_t source;
	char kind;
};

struct catalog_load {
	struct buf in; /* a message cut off */
	int error;     /* sticky */
	int result;    /* enum pg_catalog_result; -1: none yet */
	size_t cap_relations;
	size_t cap_functions;
	struct edge *edges;
	size_t n_edges;
	size_t cap_edges;
	struct name *names[NAME_BUCKETS];
};

struct catalog_load *catalog_load_new(void)
{
	struct catalog_load *l = calloc(1, sizeof(*l));

	if (l) {
		buf_init(&l->in, MESSAGE_MAX + PG_HEADER);
		l->result = -1;
	}
	return l;
}

void catalog_load_free(struct catalog_load *l)
{
	if (!l)
		return;
	buf_done(&l->in);
	free(l->edges);
	free(l);
}

static const char *intern(struct pg_catalog *c, struct span text)
{
	uint32_t hash = 2166136261u;
	struct name **bucket;
	struct name *n;

	for (size_t i = 0; i < text.len; i++)
		hash = (hash ^ text.p[i]) * 16777619u;
	bucket = &c->load->names[(hash ^ hash >> 16) & (NAME_BUCKETS - 1)];
	for (n = *bucket; n; n = n->next)
		if (span_eq_str(text, n->text))
			return n->text;
	n = arena_alloc(&c->arena, sizeof(*n) + text.len + 1);
	if (!n)
		return NULL;
	if (text.len > 0)
		memcpy(n->text, text.p, text.len);
	n->next = *bucket;
	*bucket = n;
	return n->text;
}

/* A name as the catalog has them: not empty, no NUL, no longer than names can be. */
static int take_name(struct pg_catalog *c, struct span text, const char **ret)
{
	const char *name;

	if (text.len == 0 || text.len > PG_NAME_MAX || memchr(text.p, 0, text.len))
		return -EPROTO;
	name = intern(c, text);
	if (!name)
		return -ENOMEM;
	*ret = name;
	return 0;
}

static int take_number(struct span text, uint32_t max, uint32_t *ret)
{
	uint64_t v = 0;

	if (text.len == 0 || text.len > 10)
		return -EPROTO;
	for (size_t i = 0; i < text.len; i++) {
		if (text.p[i] < '0' || text.p[i] > '9')
			return -EPROTO;
		v = v * 10 + (text.p[i] - '0');
	}
	if (v > max)
		return -EPROTO;
	*ret = (uint32_t)v;
	return 0;
}

/* Room for one more of a list; 0, -E2BIG at max, -ENOMEM. */
static int make_room(void *list, size_t n, size_t *cap, size_t size, size_t max)
{
	size_t want = *cap ? *cap * 2 : 1024;
	void *bigger;

	if (n < *cap)
		return 0;
	if (n >= max)
		return -E2BIG;
	bigger = reallocarray(*(void **)list, want, size);
	if (!bigger)
		return -ENOMEM;
	*(void **)list = bigger;
	*cap = want;
	return 0;
}

static int take_relation(struct pg_catalog *c, const struct span *f)
{
	struct pg_relation rel = {0};
	uint32_t n_columns = 0;
	int r;

	if (f[1].len != 1)
		return -EPROTO;
	rel.kind = (char)f[1].p[0];
	r = take_number(f[0], UINT32_MAX, &rel.oid);
	if (r == 0)
		r = take_name(c, f[2], &rel.schema);
	if (r == 0)
		r = take_name(c, f[3], &rel.name);
	if (r == 0)
		r = take_number(f[4], PG_CATALOG_COLUMNS_MAX, &n_columns);
	if (r < 0)
		return r;
	if (c->n_relations > 0 && c->relations[c->n_relations - 1].oid >= rel.oid)
		return -EPROTO;
	rel.n_columns = n_columns;
	rel.columns = arena_calloc(&c->arena, n_columns, sizeof(*rel.columns));
	if (!rel.columns)
		return -ENOMEM;
	r = make_room(&c->relations, c->n_relations, &c->load->cap_relations, sizeof(rel),
		      PG_CATALOG_RELATIONS_MAX);
	if (r < 0)
		return r;
	c->relations[c->n_relations++] = rel;
	return 0;
}

/* A relation of the catalog being loaded; NULL: one that is not kept, or came about since. */
static struct pg_relation *find(struct pg_catalog *c, uint32_t oid)
{
	return (struct pg_relation *)(uintptr_t)pg_catalog_by_oid(c, oid);
}

static int take_column(struct pg_catalog *c, const struct span *f)
{
	struct pg_relation *rel;
	uint32_t oid;
	uint32_t attnum;
	int r;

	r = take_number(f[0], UINT32_MAX, &oid);
	if (r == 0)
		r = take_number(f[1], PG_CATALOG_COLUMNS_MAX, &attnum);
	if (r < 0)
		return r;
	rel = find(c, oid);
	if (!rel)
		return 0;
	if (attnum == 0 || attnum > rel->n_columns)
		return -EPROTO;
	return take_name(c, f[2], &rel->columns[attnum - 1]);
}

static int take_edge(struct pg_catalog *c, const struct span *f)
{
	struct catalog_load *l = c->load;
	struct edge e = {0};
	int r;

	if (f[2].len != 1 || !memchr("rfit", f[2].p[0], 4))
		return -EPROTO;
	e.kind = (char)f[2].p[0];
	r = take_number(f[0], UINT32_MAX, &e.oid);
	if (r == 0)
		r = take_number(f[1], UINT32_MAX, &e.source);
	if (r == 0)
		r = make_room(&l->edges, l->n_edges, &l->cap_edges, sizeof(e),
			      PG_CATALOG_EDGES_MAX);
	if (r == 0)
		l->edges[l->n_edges++] = e;
	return r;
}

static int take_function(struct pg_catalog *c, const struct span *f)
{
	const char *name;
	int r = take_name(c, f[0], &name);

	if (r == 0)
		r = make_room(&c->functions, c->n_functions, &c->load->cap_functions, sizeof(name),
			      PG_CATALOG_FUNCTIONS_MAX);
	if (r < 0)
		return r;
	if (c->n_functions > 0 && strcmp(c->functions[c->n_functions - 1], name) >= 0)
		return -EPROTO;
	c->functions[c->n_functions++] = name;
	return 0;
}

static int take_schema(struct pg_catalog *c, const struct span *f)
{
	if (c->n_path == PG_SEARCH_PATH_MAX)
		return -E2BIG;
	return take_name(c, f[0], &c->path[c->n_path++]);
}

static const struct {
	int16_t n_fields;
	int (*take)(struct pg_catalog *c, const struct span *fields);
} results[RESULTS] = {
	[RESULT_RELATIONS] = {5, take_relation}, [RESULT_COLUMNS] = {3, take_column},
	[RESULT_EDGES] = {3, take_edge},	 [RESULT_FUNCTIONS] = {1, take_function},
	[RESULT_PATH] = {1, take_schema},
};

static int take_row(struct pg_catalog *c, struct span body)
{
	struct cursor cur = cursor_of(body);
	struct span fields[FIELDS_MAX];
	int result = c->load->result;
	uint16_t n;
	uint32_t len;

	if (result < 0 || cursor_be16(&cur, &n) < 0 || n != results[result].n_fields)
		return -EPROTO;
	for (uint16_t i = 0; i < n; i++)
		/* A null is a length of -1, which no message holds. */
		if (cursor_be32(&cur, &len) < 0 || cursor_span(&cur, len, &fields[i]) < 0)
			return -EPROTO;
	if (cursor_left(&cur) != 0)
		return -EPROTO;
	return results[result].take(c, fields);
}

static int compare_names(const void *a, const void *b)
{
	const struct pg_relation *x = *(const struct pg_relation *const *)a;
	const struct pg_relation *y = *(const struct pg_relation *const *)b;
	int order = strcmp(x->name, y->name);

	return order != 0 ? order : strcmp(x->schema, y->schema);
}

/* By relation, then kind, then source. */
static int compare_edges(const void *a, const void *b)
{
	const struct edge *x = a;
	const struct edge *y = b;

	if (x->oid != y->oid)
		return x->oid < y->oid ? -1 : 1;
	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	if (x->source != y->source)
		return x->source < y->source ? -1 : 1;
	return 0;
}

static struct pg_oids *list_of(struct pg_relation *rel, char kind)
{
	if (kind == 'i')
		return &rel->parents;
	if (kind == 'c')
		return &rel->children;
	return &rel->sources; /* 'r' or 't': no relation has both */
}

/* Edges [from, to) are of one relation and kind. */
static int give_oids(struct pg_catalog *c, const struct edge *edges, size_t n)
{
	struct pg_relation *rel = find(c, edges[0].oid);
	struct pg_oids list = {0};
	uint32_t *oids;

	if (!rel)
		return 0;
	if (edges[0].kind == 'f') {
		rel->calls = true;
		return 0;
	}
	oids = arena_calloc(&c->arena, n, sizeof(*oids));
	if (!oids)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		if (list.n == 0 || oids[list.n - 1] != edges[i].source)
			oids[list.n++] = edges[i].source;
	list.oids = oids;
	*list_of(rel, edges[0].kind) = list;
	return 0;
}

static int give_all_oids(struct pg_catalog *c)
{
	struct catalog_load *l = c->load;
	size_t n = l->n_edges;
	int r;

	/* Inheritance is followed both ways. */
	for (size_t i = 0; i < n; i++) {
		struct edge e = {.oid = l->edges[i].source, .source = l->edges[i].oid, .kind = 'c'};

		if (l->edges[i].kind != 'i')
			continue;
		r = make_room(&l->edges, l->n_edges, &l->cap_edges, sizeof(e),
			      2 * (size_t)PG_CATALOG_EDGES_MAX);
		if (r < 0)
			return r;
		l->edges[l->n_edges++] = e;
	}
	if (l->n_edges > 0)
		qsort(l->edges, l->n_edges, sizeof(struct edge), compare_edges);
	for (size_t from = 0, to; from < l->n_edges; from = to) {
		for (to = from + 1; to < l->n_edges && l->edges[to].oid == l->edges[from].oid &&
				    l->edges[to].kind == l->edges[from].kind;
		     to++)
			;
		r = give_oids(c, &l->edges[from], to - from);
		if (r < 0)
			return r;
	}
	return 0;
}

static int complete(struct pg_catalog *c)
{
	const struct pg_relation **by_name;
	int r;

	/* Even an empty database has a system catalog. */
	if (c->load->result != RESULT_PATH || c->n_relations == 0)
		return -EPROTO;
	r = give_all_oids(c);
	if (r < 0)
		return r;
	by_name = calloc(c->n_relations, sizeof(*by_name));
	if (!by_name)
		return -ENOMEM;
	for (size_t i = 0; i < c->n_relations; i++)
		by_name[i] = &c->relations[i];
	qsort(by_name, c->n_relations, sizeof(*by_name), compare_names);
	c->by_name = by_name;
	catalog_load_free(TAKE_PTR(c->load));
	return 1;
}

static int take_message(struct pg_catalog *c, char type, struct span body)
{
	switch (type) {
	case 'T':
		if (c->load->result + 1 >= RESULTS)
			return -EPROTO;
		c->load->result++;
		return 0;
	case 'D':
		return take_row(c, body);
	case 'C': /* CommandComplete */
	case 'S': /* ParameterStatus */
	case 'N': /* NoticeResponse */
	case 'A': /* NotificationResponse */
		return 0;
	case 'E':
		return -EACCES;
	case 'Z':
		return complete(c);
	default:
		return -EPROTO;
	}
}

/* One whole message from the front of in. 0 with *ret_used 0: not all of it is there. */
static int next_message(struct pg_catalog *c, struct span in, size_t *ret_used)
{
	struct cursor cur = cursor_of(in);
	struct span body;
	uint8_t type;
	uint32_t len;

	*ret_used = 0;
	if (cursor_u8(&cur, &type) < 0 || cursor_be32(&cur, &len) < 0)
		return 0;
	if (len < 4 || len - 4 > MESSAGE_MAX)
		return -EPROTO;
	if (cursor_span(&cur, len - 4, &body) < 0)
		return 0;
	*ret_used = PG_HEADER + body.len;
	return take_message(c, (char)type, body);
}

/* The rest of a message that was cut off, from the front of in. */
static int finish_message(struct pg_catalog *c, struct span in, size_t *ret_used)
{
	struct buf *held = &c->load->in;
	size_t had = buf_len(held);
	size_t want = PG_HEADER;
	size_t taken;
	size_t used;
	int r;

	/* First its header, then as much as that says. */
	if (had >= PG_HEADER) {
		struct cursor cur = cursor_of(span_skip(buf_span(held), 1));
		uint32_t len;

		if (cursor_be32(&cur, &len) < 0 || len < 4 || len - 4 > MESSAGE_MAX)
			return -EPROTO;
		want = 1 + (size_t)len;
	}
	taken = MIN(want > had ? want - had : 0, in.len);
	r = buf_put(held, in.p, taken);
	if (r < 0)
		return r == -ENOMEM ? -ENOMEM : -EPROTO;
	*ret_used = taken;
	r = next_message(c, buf_span(held), &used);
	if (used > 0 && c->load)
		buf_reset(held);
	return r;
}

int pg_catalog_feed(struct pg_catalog *c, struct span in, size_t *ret_used)
{
	size_t used = 0;
	size_t step;
	int r = 0;

	*ret_used = 0;
	if (!c->load)
		return -EPROTO;
	if (c->load->error < 0)
		return c->load->error;
	while (r == 0 && used < in.len) {
		struct span rest = span_skip(in, used);

		step = 0;
		if (buf_len(&c->load->in) == 0)
			r = next_message(c, rest, &step);
		if (r == 0 && step == 0)
			r = finish_message(c, rest, &step);
		used += step;
		if (r == 0 && step == 0)
			break;
	}
	*ret_used = used;
	if (r < 0)
		c->load->error = r;
	return r;
}
