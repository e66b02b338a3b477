#include "proto/postgres/pg_login_error.h"

#include "base/cursor.h"

static const struct {
	const char *sqlstate; /* five characters, or the class's two */
	const char *message;
	const char *hint;
} known[] = {
	{"28", "the database server refused the gateway's credential",
	 "The operator must mend credential of this resource, or the server's pg_hba.conf."},
	{"3D000", "the database server has no database of the name that was asked for",
	 "Ask for another database."},
	{"42501", "the gateway's user may not connect to the database that was asked for",
	 "Ask for another database, or ask the operator for the CONNECT privilege."},
	{"53300", "the database server has no connection to spare", "Try again later."},
	{"53", "the database server is short of resources", "Try again later."},
	{"57P", "the database server is starting, stopping or recovering", "Try again later."},
	{"22023", "the database server did not accept a setting given at startup",
	 "Leave the setting away, or SET it after connecting."},
	{"42704", "the database server does not know a setting given at startup",
	 "Leave the setting away, or SET it after connecting."},
};

void pg_login_error_set(struct pg_login_error *e, const char *sqlstate, const char *message,
			const char *hint)
{
	(void)snprintf(e->sqlstate, sizeof(e->sqlstate), "%s", sqlstate);
	e->error = (struct proto_error){
		.severity = "FATAL", .sqlstate = e->sqlstate, .message = message, .hint = hint};
}

/* Five digits or capitals. */
static bool sqlstate_ok(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'A' && s.p[i] <= 'Z')))
			return false;
	return s.len == 5;
}

static struct span find_sqlstate(struct span body)
{
	struct cursor c = cursor_of(body);
	uint8_t field;
	struct span value;

	while (cursor_u8(&c, &field) == 0 && field != 0 && cursor_cstr(&c, &value) == 0)
		if (field == 'C' && sqlstate_ok(value))
			return value;
	return (struct span){0};
}

void pg_login_error_take(struct pg_login_error *e, struct span body)
{
	struct span found = find_sqlstate(body);
	char sqlstate[6] = "08004"; /* sqlserver_rejected_establishment_of_sqlconnection */

	if (found.len > 0)
		memcpy(sqlstate, found.p, 5);
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (strncmp(sqlstate, known[i].sqlstate, strlen(known[i].sqlstate)) == 0) {
			pg_login_error_set(e, sqlstate, known[i].message, known[i].hint);
			return;
		}
	}
	(void)snprintf(e->message, sizeof(e->message),
		       "the database server refused the session (SQLSTATE %s)", sqlstate);
	pg_login_error_set(e, sqlstate, e->message, "Tell the operator of this resource.");
}
