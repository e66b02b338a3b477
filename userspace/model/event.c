#include "model/event.h"

static const char *const names[EVENT_KIND_MAX] = {
	[EVENT_NODE_START] = "node.start",
	[EVENT_NODE_STOP] = "node.stop",
	[EVENT_WORKER_LOST] = "worker.lost",
	[EVENT_CONTAINER_READY] = "container.ready",
	[EVENT_CONTAINER_GONE] = "container.gone",
	[EVENT_KERNEL_REFUSED] = "kernel.refused",
	[EVENT_SESSION_OPEN] = "session.open",
	[EVENT_SESSION_REFUSED] = "session.refused",
	[EVENT_SESSION_CLOSE] = "session.close",
	[EVENT_OP] = "op",
	[EVENT_OP_RESULT] = "op.result",
	[EVENT_APPROVAL] = "approval",
	[EVENT_CANCEL] = "cancel",
	[EVENT_RECORDER] = "recorder",
};

const char *event_kind_name(enum event_kind kind)
{
	return (unsigned)kind < EVENT_KIND_MAX ? names[kind] : NULL;
}
