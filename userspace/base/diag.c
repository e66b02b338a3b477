#include "base/diag.h"

#include <stdarg.h>

void diags_done(struct diags *d)
{
	arena_done(&d->arena);
	d->n = 0;
	d->dropped = 0;
}

void diags_add(struct diags *d, const char *file, unsigned line, unsigned column, const char *fmt,
	       ...)
{
	char text[512];
	const char *name;
	const char *copy;
	va_list ap;

	if (d->n == DIAGS_MAX) {
		d->dropped++;
		return;
	}
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* One document has many faults: its name is kept once. */
	name = d->n > 0 && streq(d->list[d->n - 1].file, file) ? d->list[d->n - 1].file
							       : arena_strdup(&d->arena, file);
	copy = arena_strdup(&d->arena, text);
	if (!name || !copy) {
		d->dropped++;
		return;
	}
	d->list[d->n++] = (struct diag){.file = name, .line = line, .column = column, .text = copy};
}

static int compare(const struct diag *a, const struct diag *b)
{
	int r = strcmp(a->file, b->file);

	if (r != 0)
		return r;
	if (a->line != b->line)
		return a->line < b->line ? -1 : 1;
	return a->column < b->column ? -1 : a->column > b->column;
}

void diags_sort(struct diags *d)
{
	for (size_t i = 1; i < d->n; i++) {
		struct diag moving = d->list[i];
		size_t at = i;

		for (; at > 0 && compare(&moving, &d->list[at - 1]) < 0; at--)
			d->list[at] = d->list[at - 1];
		d->list[at] = moving;
	}
}

void diags_print(struct diags *d, FILE *to)
{
	diags_sort(d);
	for (size_t i = 0; i < d->n; i++) {
		const struct diag *x = &d->list[i];

		if (x->line > 0)
			(void)fprintf(to, "%s:%u:%u: %s\n", x->file, x->line, x->column, x->text);
		else
			(void)fprintf(to, "%s: %s\n", x->file, x->text);
	}
	if (d->dropped > 0)
		(void)fprintf(to, "and %zu more faults\n", d->dropped);
}
