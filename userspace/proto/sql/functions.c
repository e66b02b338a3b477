#include "proto/sql/functions.h"

static const struct function {
	const char *name;
	enum function_kind kind;
} functions[] = {
#include "proto/sql/functions.inc"
};

static int by_name(const void *key, const void *entry)
{
	return strcmp(key, ((const struct function *)entry)->name);
}

enum function_kind function_kind(const char *schema, const char *name)
{
	const struct function *f;

	if (schema && !streq(schema, "pg_catalog"))
		return FN_UNKNOWN;
	f = bsearch(name, functions, ARRAY_SIZE(functions), sizeof(functions[0]), by_name);
	return f ? f->kind : FN_UNKNOWN;
}
