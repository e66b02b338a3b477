#include "proto/proto.h"

/* Adding a protocol: one codec folder, one line here, its tests. */
static const struct proto_ops *const protocols[] = {
	&postgres_ops,
};

const struct proto_ops *proto_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(protocols); i++)
		if (streq(protocols[i]->name, name))
			return protocols[i];
	return NULL;
}

const struct proto_ops *proto_detect(struct span head, bool *ret_more)
{
	*ret_more = false;
	for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
		int r = protocols[i]->detect(head);

		if (r > 0)
			return protocols[i];
		if (r == -EAGAIN)
			*ret_more = true;
	}
	return NULL;
}
