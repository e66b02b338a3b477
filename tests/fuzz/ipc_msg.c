/* Every decoder of ipc/msg.h on any bytes: the first byte chooses the decoder. What is accepted is
 * written and read again, and must come out the same. */
#include "ipc/msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct arena arena = ARENA_INIT(1u << 20);

#define REREAD(name)                                              \
	static int reread_##name(struct span in, struct buf *out) \
	{                                                         \
		struct msg_##name m;                              \
		int r = msg_get_##name(in, &m);                   \
                                                                  \
		return r < 0 ? r : msg_put_##name(out, &m);       \
	}

REREAD(resolve)
REREAD(cancel)
REREAD(listener)
REREAD(event_ack)
REREAD(approval_ask)
REREAD(approval_state)
REREAD(approval_ref)
REREAD(approval_decide)
REREAD(approval_decided)
REREAD(worker_add)
REREAD(approval_list_get)
REREAD(approval_list)
REREAD(tls_identity)

static int reread_event(struct span in, struct buf *out)
{
	struct msg_event m;
	int r = in.len > 0 ? 0 : -EBADMSG;

	while (r == 0) {
		r = msg_next_event(&in, &m);
		if (r == 0)
			r = msg_put_event(out, &m);
	}
	return r == -ENODATA ? 0 : r;
}

static int reread_resolved(struct span in, struct buf *out)
{
	struct msg_resolved m;
	int r = msg_get_resolved(in, &arena, &m);

	return r < 0 ? r : msg_put_resolved(out, &m);
}

static int (*const rereads[])(struct span in, struct buf *out) = {
	reread_resolve,
	reread_resolved,
	reread_cancel,
	reread_listener,
	reread_event,
	reread_event_ack,
	reread_approval_ask,
	reread_approval_state,
	reread_approval_ref,
	reread_approval_decide,
	reread_approval_decided,
	reread_worker_add,
	reread_approval_list_get,
	reread_approval_list,
	reread_tls_identity,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_buf_ struct buf first = BUF_INIT(1u << 20);
	_cleanup_buf_ struct buf second = BUF_INIT(1u << 20);
	int (*reread)(struct span in, struct buf * out);

	if (size == 0)
		return 0;
	reread = rereads[data[0] % ARRAY_SIZE(rereads)];
	if (reread(span_of(data + 1, size - 1), &first) == 0) {
		if (buf_error(&first) || reread(buf_span(&first), &second) < 0 ||
		    !span_eq(buf_span(&first), buf_span(&second)))
			abort();
	}
	arena_reset(&arena);
	return 0;
}
