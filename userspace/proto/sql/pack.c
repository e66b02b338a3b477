#include "proto/sql/pack.h"

#include <stdalign.h>

/* Without a block it only counts. */
struct packer {
	uint8_t *block;
	size_t used;
};

static void *pack(struct packer *p, const void *from, size_t size, size_t align)
{
	size_t at = (p->used + align - 1) / align * align;

	p->used = at + size;
	if (!p->block)
		return NULL;
	if (size > 0)
		memcpy(p->block + at, from, size);
	return p->block + at;
}

static void *pack_list(struct packer *p, const void *from, size_t n, size_t size)
{
	return pack(p, from, n * size, alignof(max_align_t));
}

static const char *pack_str(struct packer *p, const char *s)
{
	return s ? pack(p, s, strlen(s) + 1, 1) : NULL;
}

/* A field of list item i, written only when there is a block to write to. */
#define PACK_STR(list_, from_, i_, field_)                             \
	do {                                                           \
		const char *packed_ = pack_str(p, (from_)[i_].field_); \
		if (list_)                                             \
			(list_)[i_].field_ = packed_;                  \
	} while (0)

static struct sql_statement pack_statement(struct packer *p, const struct sql_statement *from)
{
	struct sql_statement s = *from;

	s.tables = pack_list(p, from->tables, from->n_tables, sizeof(*s.tables));
	for (size_t i = 0; i < from->n_tables; i++) {
		PACK_STR(s.tables, from->tables, i, catalog);
		PACK_STR(s.tables, from->tables, i, schema);
		PACK_STR(s.tables, from->tables, i, name);
	}
	s.functions = pack_list(p, from->functions, from->n_functions, sizeof(*s.functions));
	for (size_t i = 0; i < from->n_functions; i++) {
		PACK_STR(s.functions, from->functions, i, schema);
		PACK_STR(s.functions, from->functions, i, name);
	}
	s.columns = pack_list(p, from->columns, from->n_columns, sizeof(*s.columns));
	for (size_t i = 0; i < from->n_columns; i++) {
		PACK_STR(s.columns, from->columns, i, schema);
		PACK_STR(s.columns, from->columns, i, qualifier);
		PACK_STR(s.columns, from->columns, i, name);
	}
	s.ranges = pack_list(p, from->ranges, from->n_ranges, sizeof(*s.ranges));
	for (size_t i = 0; i < from->n_ranges; i++) {
		PACK_STR(s.ranges, from->ranges, i, alias);
		PACK_STR(s.ranges, from->ranges, i, schema);
		PACK_STR(s.ranges, from->ranges, i, table);
	}
	s.search_path =
		pack_list(p, from->search_path, from->n_search_path, sizeof(*s.search_path));
	for (size_t i = 0; i < from->n_search_path; i++) {
		const char *schema = pack_str(p, from->search_path[i]);

		if (s.search_path)
			s.search_path[i] = schema;
	}
	s.kind = pack_str(p, from->kind);
	s.name = pack_str(p, from->name);
	s.setting = pack_str(p, from->setting);
	s.setting_value = pack_str(p, from->setting_value);
	return s;
}

static struct sql_class pack_class(struct packer *p, const struct sql_class *from)
{
	struct sql_class c = *from;

	c.statements = pack_list(p, from->statements, from->n_statements, sizeof(*c.statements));
	for (size_t i = 0; i < from->n_statements; i++) {
		struct sql_statement s = pack_statement(p, &from->statements[i]);

		if (c.statements)
			c.statements[i] = s;
	}
	c.error = pack_str(p, from->error);
	return c;
}

size_t pack_size(const struct sql_class *class)
{
	struct packer p = {0};

	(void)pack_class(&p, class);
	return p.used;
}

struct sql_class pack_copy(const struct sql_class *class, void *block)
{
	struct packer p = {.block = block};

	return pack_class(&p, class);
}
