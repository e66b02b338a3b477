#include "session/session.h"

#define TO(state) (1u << (state))

/* The diagram stands above enum session_state. */
static const uint32_t session_moves[SESSION_STATES] = {
	[SESSION_ACCEPTED] = TO(SESSION_SNIFF) | TO(SESSION_STARTUP) | TO(SESSION_DRAIN),
	[SESSION_SNIFF] = TO(SESSION_STARTUP) | TO(SESSION_DRAIN),
	[SESSION_STARTUP] = TO(SESSION_TLS) | TO(SESSION_AUTHN) | TO(SESSION_DRAIN),
	[SESSION_TLS] = TO(SESSION_STARTUP) | TO(SESSION_DRAIN),
	[SESSION_AUTHN] = TO(SESSION_ADMITTED) | TO(SESSION_DRAIN),
	[SESSION_ADMITTED] = TO(SESSION_LOGIN) | TO(SESSION_DRAIN),
	[SESSION_LOGIN] = TO(SESSION_READY) | TO(SESSION_DRAIN),
	[SESSION_READY] = TO(SESSION_DRAIN),
	[SESSION_DRAIN] = TO(SESSION_CLOSED),
};

static const char *const session_names[SESSION_STATES] = {
	[SESSION_ACCEPTED] = "accepted", [SESSION_SNIFF] = "sniff", [SESSION_STARTUP] = "startup",
	[SESSION_TLS] = "tls",		 [SESSION_AUTHN] = "authn", [SESSION_ADMITTED] = "admitted",
	[SESSION_LOGIN] = "login",	 [SESSION_READY] = "ready", [SESSION_DRAIN] = "drain",
	[SESSION_CLOSED] = "closed",
};

const char *session_state_name(enum session_state state)
{
	return (unsigned)state < SESSION_STATES ? session_names[state] : "?";
}

int session_move(struct session *s, enum session_state to)
{
	if (!(session_moves[s->state] & TO(to)))
		return -EPROTO;
	s->state = to;
	return 0;
}

/* PARSED → DECIDED → {HELD → APPROVED | REFUSED | EXPIRED} → RECORDED → FORWARDED → DONE
 * A refusal is recorded like anything else; what was held was recorded when it was decided. */
static const uint32_t op_moves[OP_STATES] = {
	[OP_PARSED] = TO(OP_DECIDED),
	[OP_DECIDED] = TO(OP_RECORDED) | TO(OP_REFUSED) | TO(OP_HELD),
	[OP_HELD] = TO(OP_APPROVED) | TO(OP_REFUSED) | TO(OP_EXPIRED),
	[OP_APPROVED] = TO(OP_RECORDED) | TO(OP_REFUSED) | TO(OP_EXPIRED),
	[OP_RECORDED] = TO(OP_FORWARDED) | TO(OP_REFUSED),
	[OP_REFUSED] = TO(OP_DONE),
	[OP_EXPIRED] = TO(OP_DONE),
	[OP_FORWARDED] = TO(OP_DONE),
};

int op_move(enum op_state *state, enum op_state to)
{
	if (!(op_moves[*state] & TO(to)))
		return -EPROTO;
	*state = to;
	return 0;
}
