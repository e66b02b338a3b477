#include "base/yaml.h"

#include <stdarg.h>
#include <yaml.h>

#include "base/utf8.h"

/* Nodes, their text (no more than the document itself, each with its NUL and alignment). */
#define ARENA_BYTES (YAML_NODES_MAX * (sizeof(struct yaml_node) + 64) + 2 * YAML_INPUT_MAX)

DEFINE_CLEANUP(yaml_parser_t *, yaml_parser_delete, yaml_parser_deletep)

static void fault_at(struct yaml_doc *doc, unsigned line, unsigned column, const char *text)
{
	diags_add(doc->diags, doc->file, line, column, "%s", text);
	doc->faults++;
}

static void mark_fault(struct yaml_doc *doc, const yaml_mark_t *mark, const char *text)
{
	fault_at(doc, (unsigned)mark->line + 1, (unsigned)mark->column + 1, text);
}

void yaml_fault(struct yaml_doc *doc, const struct yaml_node *at, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (at && at->kind == YAML_UNKNOWN)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fault_at(doc, at ? at->line : 0, at ? at->column : 0, text);
}

/* Where a byte of the text is; libyaml only tells its offset. */
static yaml_mark_t mark_of(struct span text, size_t offset)
{
	yaml_mark_t mark = {0};

	for (size_t i = 0; i < MIN(offset, text.len); i++) {
		if (text.p[i] == '\n') {
			mark.line++;
			mark.column = 0;
		} else if ((text.p[i] & 0xc0) != 0x80) {
			mark.column++;
		}
	}
	return mark;
}

static int syntax_fault(struct yaml_doc *doc, const yaml_parser_t *parser, struct span input)
{
	char text[256];
	yaml_mark_t mark = parser->problem_mark;

	if (parser->error == YAML_MEMORY_ERROR)
		return -ENOMEM;
	if (parser->error == YAML_READER_ERROR) {
		(void)snprintf(text, sizeof(text), "not UTF-8 text: %s", parser->problem);
		mark = mark_of(input, parser->problem_offset);
	} else {
		(void)snprintf(text, sizeof(text), "not YAML: %s%s%s",
			       parser->context ? parser->context : "", parser->context ? ", " : "",
			       parser->problem);
	}
	mark_fault(doc, &mark, text);
	return -EINVAL;
}

/* Where the next node goes. */
struct place {
	struct yaml_node *parent; /* NULL: the root */
	struct yaml_node *last;	  /* child added last */
	struct yaml_node *key;	  /* mapping: the key that waits for its value */
	bool drop;		  /* that key is at fault: its value is read, and left out */
	bool full;		  /* a fault was said of too many keys */
};

struct builder {
	struct yaml_doc *doc;
	unsigned depth;
	unsigned skipped; /* levels open below the deepest that is kept */
	struct place stack[YAML_DEPTH_MAX + 1];
};

static void attach_key(struct builder *b, struct place *at, struct yaml_node *node)
{
	struct yaml_doc *doc = b->doc;

	at->key = node;
	at->drop = true;
	if (node->kind != YAML_SCALAR) {
		yaml_fault(doc, node, "a key must be plain text");
		return;
	}
	for (const struct yaml_node *x = at->parent->first; x; x = x->next) {
		if (streq(x->key->text, node->text)) {
			yaml_fault(doc, node, "key \"%s\" is here twice (first on line %u)",
				   node->text, x->key->line);
			return;
		}
	}
	at->drop = false;
	if (at->parent->n < YAML_MEMBERS_MAX)
		return;
	at->drop = true;
	if (!at->full)
		yaml_fault(doc, node, "a mapping of more than %u keys", YAML_MEMBERS_MAX);
	at->full = true;
}

static void attach(struct builder *b, struct yaml_node *node)
{
	struct place *at = &b->stack[b->depth];
	bool drop = at->drop;

	if (!at->parent) {
		b->doc->root = node;
		return;
	}
	if (at->parent->kind == YAML_MAPPING && !at->key) {
		attach_key(b, at, node);
		return;
	}
	node->key = TAKE_PTR(at->key);
	at->drop = false;
	if (drop)
		return;
	if (at->last)
		at->last->next = node;
	else
		at->parent->first = node;
	at->last = node;
	at->parent->n++;
}

static int node_new(struct builder *b, const yaml_event_t *e, enum yaml_kind kind,
		    const yaml_char_t *anchor, const yaml_char_t *tag, struct yaml_node **ret)
{
	struct yaml_doc *doc = b->doc;
	struct yaml_node *node;

	if (anchor)
		mark_fault(doc, &e->start_mark, "anchors (&name) are not allowed here");
	if (tag)
		mark_fault(doc, &e->start_mark, "tags (!name) are not allowed here");
	if (doc->nodes == YAML_NODES_MAX) {
		mark_fault(doc, &e->start_mark, "too many values in one document");
		return -EINVAL;
	}
	node = arena_alloc(&doc->arena, sizeof(*node));
	if (!node)
		return -ENOMEM;
	doc->nodes++;
	node->kind = kind;
	node->line = (unsigned)e->start_mark.line + 1;
	node->column = (unsigned)e->start_mark.column + 1;
	*ret = node;
	return 0;
}

/* Something stands here that cannot be read; the rest can. */
static int on_unknown(struct builder *b, const yaml_event_t *e, const char *fault)
{
	struct yaml_node *node;
	int r;

	mark_fault(b->doc, &e->start_mark, fault);
	r = node_new(b, e, YAML_UNKNOWN, NULL, NULL, &node);
	if (r < 0)
		return r;
	attach(b, node);
	return 0;
}

static int on_scalar(struct builder *b, const yaml_event_t *e)
{
	struct span text = span_of(e->data.scalar.value, e->data.scalar.length);
	struct yaml_node *node;
	int r;

	if (text.len > YAML_TEXT_MAX)
		return on_unknown(b, e, "a text of more than 4096 bytes");
	if (memchr(text.p, 0, text.len))
		return on_unknown(b, e, "a text with a NUL in it");
	r = node_new(b, e, YAML_SCALAR, e->data.scalar.anchor, e->data.scalar.tag, &node);
	if (r < 0)
		return r;
	node->plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	node->text = arena_strndup(&b->doc->arena, text);
	if (!node->text)
		return -ENOMEM;
	attach(b, node);
	return 0;
}

static int on_open(struct builder *b, const yaml_event_t *e, enum yaml_kind kind)
{
	bool map = kind == YAML_MAPPING;
	struct yaml_node *node;
	int r;

	if (b->depth == YAML_DEPTH_MAX) {
		b->skipped = 1;
		return on_unknown(b, e, "nested deeper than 16 levels");
	}
	r = node_new(b, e, kind, map ? e->data.mapping_start.anchor : e->data.sequence_start.anchor,
		     map ? e->data.mapping_start.tag : e->data.sequence_start.tag, &node);
	if (r < 0)
		return r;
	attach(b, node);
	b->stack[++b->depth] = (struct place){.parent = node};
	return 0;
}

/* Below the deepest level nothing is kept; only its end is waited for. */
static int on_skipped(struct builder *b, const yaml_event_t *e)
{
	if (e->type == YAML_SEQUENCE_START_EVENT || e->type == YAML_MAPPING_START_EVENT)
		b->skipped++;
	else if (e->type == YAML_SEQUENCE_END_EVENT || e->type == YAML_MAPPING_END_EVENT)
		b->skipped--;
	return 0;
}

static void on_document(struct builder *b, const yaml_event_t *e, bool *ret_end)
{
	if (b->doc->root) {
		mark_fault(b->doc, &e->start_mark, "a second document: one file holds one");
		*ret_end = true;
	} else if (e->data.document_start.version_directive ||
		   e->data.document_start.tag_directives.start !=
			   e->data.document_start.tag_directives.end) {
		mark_fault(b->doc, &e->start_mark, "directives (%) are not allowed here");
	}
}

static int on_event(struct builder *b, const yaml_event_t *e, bool *ret_end)
{
	if (b->skipped > 0)
		return on_skipped(b, e);
	switch (e->type) {
	case YAML_DOCUMENT_START_EVENT:
		on_document(b, e, ret_end);
		return 0;
	case YAML_ALIAS_EVENT:
		return on_unknown(b, e, "aliases (*name) are not allowed here");
	case YAML_SCALAR_EVENT:
		return on_scalar(b, e);
	case YAML_SEQUENCE_START_EVENT:
		return on_open(b, e, YAML_SEQUENCE);
	case YAML_MAPPING_START_EVENT:
		return on_open(b, e, YAML_MAPPING);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		b->depth--;
		return 0;
	case YAML_STREAM_END_EVENT:
		*ret_end = true;
		return 0;
	default:
		return 0;
	}
}

static int build(struct yaml_doc *doc, yaml_parser_t *parser, struct span input)
{
	struct builder b = {.doc = doc};
	bool end = false;

	while (!end) {
		yaml_event_t event;
		int r;

		if (!yaml_parser_parse(parser, &event))
			return syntax_fault(doc, parser, input);
		r = on_event(&b, &event, &end);
		yaml_event_delete(&event);
		if (r < 0)
			return r;
	}
	if (doc->root)
		return 0;
	yaml_fault(doc, NULL, "is empty");
	return -EINVAL;
}

int yaml_load(struct span text, const char *file, struct diags *diags, struct yaml_doc *ret_doc)
{
	_cleanup_(yaml_done) struct yaml_doc doc = {
		.arena = ARENA_INIT(ARENA_BYTES), .file = file, .diags = diags};
	_cleanup_(yaml_parser_deletep) yaml_parser_t *parser = NULL;
	yaml_parser_t storage;
	int r;

	if (text.len > YAML_INPUT_MAX) {
		yaml_fault(&doc, NULL, "is larger than 1 MiB");
		return -EINVAL;
	}
	if (!yaml_parser_initialize(&storage))
		return -ENOMEM;
	parser = &storage;
	yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(parser, text.len > 0 ? text.p : (const uint8_t *)"", text.len);
	r = build(&doc, parser, text);
	if (r < 0)
		return r;
	*ret_doc = doc;
	doc.arena = ARENA_INIT(0);
	return 0;
}

void yaml_done(struct yaml_doc *doc)
{
	arena_done(&doc->arena);
	doc->root = NULL;
}
