#include "proto/sql/nodes.h"

#include <stdlib.h>

static const struct node_type types[] = {
#include "proto/sql/nodes.inc"
};

static const struct field {
	const char *key;
	const char *type;
} fields[] = {
#include "proto/sql/fields.inc"
};

static int type_by_name(const void *key, const void *entry)
{
	return strcmp(key, ((const struct node_type *)entry)->name);
}

static int field_by_key(const void *key, const void *entry)
{
	return strcmp(key, ((const struct field *)entry)->key);
}

const struct node_type *node_type_find(const char *name)
{
	return bsearch(name, types, ARRAY_SIZE(types), sizeof(types[0]), type_by_name);
}

const struct node_type *node_type_of_field(const struct node_type *parent, const char *key)
{
	const struct field *f;

	if (!parent)
		return node_type_find("ParseResult");
	/* The one key that stands for two types. */
	if (streq(key, "name") && streq(parent->name, "PartitionCmd"))
		return node_type_find("RangeVar");
	if (streq(key, "name") && streq(parent->name, "CreateOpClassItem"))
		return node_type_find("ObjectWithArgs");
	f = bsearch(key, fields, ARRAY_SIZE(fields), sizeof(fields[0]), field_by_key);
	return f ? node_type_find(f->type) : NULL;
}
