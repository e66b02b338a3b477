#include "session/pipeline.h"

#include "proto/postgres/pg_settings.h"
#include "session/evidence.h"

/* How a session is let in: identity → token → policy → record → login upstream → catalog. */

/* ---- identity → token → policy ---- */

void session_refuse(struct session *s, const char *sqlstate, const char *code, const char *message,
		    const char *hint)
{
	const struct proto_error error = {
		.severity = "FATAL",
		.sqlstate = sqlstate,
		.message = message,
		.hint = hint,
	};

	s->n_refused++;
	session_fatal(s, &error, code);
}

static bool identity_known(struct session *s)
{
	char message[256];

	if (s->resolve_status == RESOLVE_OK)
		return true;
	if (s->resolve_status == RESOLVE_NO_WORKLOAD) {
		(void)snprintf(message, sizeof(message),
			       "sluice: no workload of the configuration matches cgroup \"%s\"",
			       s->process.cgroup ? s->process.cgroup : "?");
		session_refuse(s, "28000", "no-workload", message,
			       "The operator must add a workload with a matching `match: cgroup`.");
	} else {
		session_refuse(s, "28000", "process-gone",
			       "sluice: the process that opened this connection has ended or has "
			       "become another program",
			       "Open the connection from a process that stays.");
	}
	return false;
}

static bool token_verified(struct session *s)
{
	enum token_reason reason;
	char message[256];

	if (!s->workload->token_file)
		return true;
	if (s->token_source == TOKEN_SOURCE_FILE)
		reason = token_verify(s->engine->verifier, s->workload->issuer, s->token,
				      (int64_t)(wall_ns() / 1000000000u), &s->arena, &s->principal);
	else
		reason = TOKEN_MISSING;
	/* arena memory that held the token: it is a secret of the agent's. */
	if (s->token.len > 0)
		explicit_bzero((void *)(uintptr_t)s->token.p, s->token.len);
	s->token = (struct span){0};
	if (reason == TOKEN_OK) {
		s->has_principal = true;
		return true;
	}
	(void)snprintf(message, sizeof(message), "sluice: workload \"%s\": %s", s->workload->name,
		       s->token_source == TOKEN_SOURCE_FAILED ? "its token file cannot be read"
							      : token_reason_public(reason));
	session_refuse(s, "28000",
		       s->token_source == TOKEN_SOURCE_FAILED ? "token-unreadable"
							      : token_reason_code(reason),
		       message,
		       "The workload needs a valid token in the file that its configuration "
		       "names. Nothing was sent to the database server.");
	return false;
}

struct facts session_facts(const struct session *s)
{
	return (struct facts){
		.workload = s->workload->name,
		.resource = s->resource->name,
		.principal = s->has_principal ? &s->principal : NULL,
		.process = &s->process,
	};
}

static bool database_allowed(struct session *s)
{
	const struct resource_config *r = s->resource;
	char message[256];

	for (size_t i = 0; i < r->n_databases; i++)
		if (streq(r->databases[i], s->startup.database))
			return true;
	if (r->n_databases == 0)
		return true;
	(void)snprintf(message, sizeof(message),
		       "sluice: database \"%.64s\" is not open to workloads on resource \"%s\"",
		       s->startup.database, r->name);
	session_refuse(s, "42501", "database-not-allowed", message,
		       "Connect to a database that the resource lists under `databases`.");
	return false;
}

static bool settings_allowed(struct session *s)
{
	char why[256];
	struct pg_settings settings;
	int r = pg_settings_check(s->startup.params, s->startup.n_params, &s->arena, &settings, why,
				  sizeof(why));

	if (r < 0) {
		session_refuse(s, "0A000", "setting-not-allowed", why,
			       "Leave the setting out of the connection's parameters (and of "
			       "PGOPTIONS).");
		return false;
	}
	s->startup.n_params = settings.n_params;
	memcpy(s->startup.params, settings.params, settings.n_params * sizeof(settings.params[0]));
	s->path_known = settings.path_known;
	return true;
}

static bool policy_admits(struct session *s)
{
	const struct facts facts = session_facts(s);
	char message[VERDICT_REASON_MAX + 16];
	struct verdict v;

	policy_decide(s->engine->policy, &facts, &v);
	if (v.effect == EFFECT_REFUSE) {
		(void)snprintf(message, sizeof(message), "sluice: %s", v.reason);
		session_refuse(s, "42501", "policy", message,
			       "The policy has no rule that gives this workload anything on this "
			       "resource. Ask its owner.");
		return false;
	}
	s->masks_in_force = policy_masks_in_force(s->engine->policy, &facts);
	return true;
}

void pipeline_connect(struct session *s)
{
	struct engine *e = s->engine;
	uint64_t request;
	int r;

	if (evidence_who(s) < 0) {
		session_refuse(s, "53200", "no-memory", "sluice: out of memory", "Try again.");
		return;
	}
	if (!identity_known(s) || !token_verified(s) || evidence_who(s) < 0 ||
	    !database_allowed(s) || !settings_allowed(s) || !policy_admits(s))
		return;
	r = session_move(s, SESSION_ADMITTED);
	if (r == 0)
		r = evidence_session(s, EVENT_SESSION_OPEN, NULL, NULL, &e->event);
	if (r == 0)
		r = recorder_link_event(&e->recorder, EVENT_SESSION_OPEN, buf_span(&e->event),
					false, true, &request);
	if (r < 0) {
		session_on_recorder_lost(s, "the recorder is not running");
		return;
	}
	s->open_request = request;
	s->was_open = true;
}

/* ---- login upstream, and the catalog ---- */

static void admit(struct session *s)
{
	int r;

	s->server_cancel_pid = s->admission.cancel_pid;
	s->server_cancel_secret = s->admission.cancel_secret;
	s->admission.cancel_pid = s->cancel_pid;
	s->admission.cancel_secret = s->cancel_secret;
	r = session_move(s, SESSION_READY);
	if (r == 0)
		r = s->ops->admit(s->codec, &s->admission);
	dial_stop(&s->dial);
	s->admission = (struct proto_admission){0};
	timer_del(s->engine->loop, &s->timer);
	s->agent_hold = false;
	if (r < 0)
		session_refuse(s, "XX000", "internal", "sluice: internal error at login",
			       "Tell the operator of this node.");
	else
		session_pump_later(s);
}

static void on_catalog(struct catalog_wait *w, struct pg_catalog *catalog,
		       const struct proto_error *error)
{
	struct session *s = OWNER_OF(w, struct session, catalog_wait);

	if (error) {
		if (s->state == SESSION_LOGIN || s->columns || s->pending.wait == OP_WAIT_CATALOG)
			session_fatal(s, error, "catalog");
		return;
	}
	if (s->catalog)
		pg_catalog_unref(s->catalog);
	s->catalog = catalog;
	s->catalog_epoch = catalogs_epoch(&s->engine->catalogs, s->resource, s->startup.database);
	if (s->state == SESSION_LOGIN) {
		admit(s);
		return;
	}
	if (s->columns) {
		uint8_t masks[PROTO_COLUMNS_MAX];
		struct proto_column *columns = TAKE_PTR(s->columns);
		int r = pipeline_columns(s, s->columns_op, columns, s->n_columns, masks);

		/* Still unknown to a catalog just loaded: made and dropped since. Refused. */
		free(columns);
		s->server_hold = false;
		if (r == 0)
			r = s->ops->columns_ready(s->codec, masks, s->n_columns);
		else
			r = -EACCES;
		if (r < 0)
			session_refuse(s, "42501", "columns-unknown",
				       "sluice: the columns of this result cannot be told from the "
				       "catalog, and masks are in force",
				       "Try again.");
		else
			session_pump_later(s);
	}
	if (s->pending.wait == OP_WAIT_CATALOG)
		pipeline_continue(s);
}

int session_load_catalog(struct session *s)
{
	struct engine *e = s->engine;

	if (s->catalog_wait.entry)
		return 0;
	return catalogs_load(&e->catalogs, s->resource, s->ops, e->client_tls[s->resource_index],
			     s->startup.database, &s->catalog_wait, on_catalog);
}

static void on_dialed(struct dial *d, const struct proto_error *error)
{
	struct session *s = OWNER_OF(d, struct session, dial);
	struct engine *e = s->engine;

	if (error) {
		session_fatal(s, error, "upstream");
		return;
	}
	s->admission = s->ops->login->result(d->login)->admission;
	if (dial_take(d, &s->server, s->server.watch.on_ready) < 0) {
		session_refuse(s, "53200", "no-memory", "sluice: out of memory", "Try again.");
		return;
	}
	s->catalog = catalogs_get(&e->catalogs, s->resource, s->startup.database, CATALOG_STALE_NS);
	s->catalog_epoch = e->catalogs.epoch;
	if (s->catalog)
		admit(s);
	else if (session_load_catalog(s) < 0)
		session_refuse(s, "53200", "no-memory",
			       "sluice: the catalog of the database cannot be loaded",
			       "Try again.");
}

void pipeline_recorded(struct session *s)
{
	struct engine *e = s->engine;
	const struct proto_login_config login = {
		.database = s->startup.database,
		.n_params = s->startup.n_params,
		.params = s->startup.params,
	};

	if (session_move(s, SESSION_LOGIN) < 0 ||
	    dial_start(&s->dial, e->loop, s->resource, s->ops, e->client_tls[s->resource_index],
		       &login, on_dialed) < 0)
		session_refuse(s, "53000", "no-resources",
			       "sluice: no connection to the database server could be begun",
			       "Try again; if it lasts, tell the operator of this node.");
}
