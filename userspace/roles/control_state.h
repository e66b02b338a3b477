/* control_state.h - what the control socket's files share.
 * Used by: roles/control*.c only.
 * Promises: clients are bounded; each asks one thing at a time. */
#ifndef SLUICE_ROLES_CONTROL_STATE_H
#define SLUICE_ROLES_CONTROL_STATE_H

#include <jansson.h>

#include "base/jsonw.h"
#include "roles/warden_state.h"

#define CONTROL_REQUEST_MAX 16384u
#define CONTROL_ANSWER_MAX  (256u * 1024u)
#define CONTROL_CLIENTS_MAX 64u

/* What a client waits for. */
enum control_wait {
	CONTROL_WAITS_NOT = 0,
	CONTROL_WAITS_STATUS,
	CONTROL_WAITS_LIST,
	CONTROL_WAITS_DECISION,
};

struct client {
	struct client *next;
	struct control *control;
	struct watch watch;
	struct timer timeout; /* of the connection */
	pid_t pid;
	uint32_t uid;
	const struct approver_config *approver; /* NULL: none */
	enum control_wait waits;
	uint32_t request;
	bool show; /* a list of one was asked for: none is an error */
};

struct control {
	struct warden *warden;
	struct watch watch;
	struct client *clients;
	size_t n_clients;
	uint32_t last_request;
	struct timer status_timeout;
};

/* control.c: the client is freed by each. */
void control_answer(struct client *c, struct span json);
/* {"error":…,"ok":0} */
void control_refuse(struct client *c, const char *fmt, ...) _printf_(2, 3);

/* control_verbs.c: answers, refuses, or sets what the client waits for. */
void control_request(struct client *c, json_t *request);

/* control_status.c */
void control_status_ask(struct client *c);
/* control_run.c */
void control_run(struct client *c, json_t *request);

#endif
