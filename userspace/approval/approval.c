#include "approval/approval.h"

#include <strings.h>
#include <sys/random.h>

/*
 *                 ┌─► DENIED
 *                 ├─► EXPIRED     nobody decided in time
 *    PENDING ─────┼─► WITHDRAWN   the asker is gone, or the recorder was started anew
 *                 │
 *                 └─► APPROVED ──┬─► CONSUMED   the one operation was let through
 *                                └─► LAPSED     not used in time, or its asker is gone
 */
#define TO(state) (1u << (state))

static const struct {
	const char *name;
	unsigned moves;
} states[APPROVAL_STATES] = {
	[APPROVAL_PENDING] = {"pending", TO(APPROVAL_APPROVED) | TO(APPROVAL_DENIED) |
						 TO(APPROVAL_EXPIRED) | TO(APPROVAL_WITHDRAWN)},
	[APPROVAL_APPROVED] = {"approved", TO(APPROVAL_CONSUMED) | TO(APPROVAL_LAPSED)},
	[APPROVAL_DENIED] = {"denied", 0},
	[APPROVAL_EXPIRED] = {"expired", 0},
	[APPROVAL_WITHDRAWN] = {"withdrawn", 0},
	[APPROVAL_CONSUMED] = {"consumed", 0},
	[APPROVAL_LAPSED] = {"lapsed", 0},
};

/* Crockford's base 32: nothing that is read or heard as something else. */
static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

#define ID_DIGITS 8u

const char *approval_state_name(unsigned state)
{
	return state < APPROVAL_STATES ? states[state].name : NULL;
}

unsigned approval_state_of(struct span name)
{
	for (unsigned i = APPROVAL_PENDING; i < APPROVAL_STATES; i++) {
		if (span_eq_str(name, states[i].name))
			return i;
	}
	return 0;
}

bool approval_is_final(unsigned state)
{
	return state >= APPROVAL_STATES || states[state].moves == 0;
}

int approval_move(uint8_t *state, enum approval_state to)
{
	if (*state >= APPROVAL_STATES || (unsigned)to >= APPROVAL_STATES ||
	    !(states[*state].moves & TO(to)))
		return -EPERM;
	*state = (uint8_t)to;
	return 0;
}

static void write_id(const char *eight, char *ret)
{
	(void)snprintf(ret, APPROVAL_ID_MAX, "ap-%.4s-%.4s", eight, eight + 4);
}

int approval_id_make(char ret_id[static APPROVAL_ID_MAX])
{
	uint8_t random[ID_DIGITS];
	char text[ID_DIGITS];
	ssize_t n;

	do {
		n = getrandom(random, sizeof(random), 0);
	} while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(random))
		return -EIO;
	for (size_t i = 0; i < ID_DIGITS; i++)
		text[i] = digits[random[i] & 31];
	write_id(text, ret_id);
	return 0;
}

int approval_id_parse(const char *text, char ret_id[static APPROVAL_ID_MAX])
{
	char eight[ID_DIGITS];
	size_t n = 0;

	if (strncasecmp(text, "ap-", 3) == 0)
		text += 3;
	for (; *text; text++) {
		char c = *text;

		if (c == '-' && n == ID_DIGITS / 2)
			continue;
		if (c >= 'a' && c <= 'z')
			c = (char)(c - 'a' + 'A');
		if (c == 'O')
			c = '0';
		if (c == 'I' || c == 'L')
			c = '1';
		if (n == ID_DIGITS || !strchr(digits, c))
			return -EINVAL;
		eight[n++] = c;
	}
	if (n != ID_DIGITS)
		return -EINVAL;
	write_id(eight, ret_id);
	return 0;
}

static bool in_one_group(struct span wanted, struct span has)
{
	const char *w;

	while (msg_next_string(&wanted, &w) == 0) {
		struct span rest = has;
		const char *h;

		while (msg_next_string(&rest, &h) == 0) {
			if (streq(w, h))
				return true;
		}
	}
	return false;
}

static bool digest_is(const uint8_t *digest, struct span hex)
{
	char text[2 * SHA256_LEN + 1];

	if (hex.len != 2 * SHA256_LEN)
		return false;
	for (size_t i = 0; i < SHA256_LEN; i++)
		(void)snprintf(text + 2 * i, 3, "%02x", digest[i]);
	return strncasecmp(text, (const char *)hex.p, hex.len) == 0;
}

const char *approval_objection(const struct approval_question *q,
			       const struct msg_approval_decide *d)
{
	switch (q->state) {
	case APPROVAL_PENDING:
		break;
	case APPROVAL_APPROVED:
		return "it is approved already";
	case APPROVAL_DENIED:
		return "it is denied already";
	case APPROVAL_EXPIRED:
		return "it has expired: nobody decided in time";
	case APPROVAL_WITHDRAWN:
		return "it was withdrawn: the program that asked is gone";
	case APPROVAL_CONSUMED:
		return "it was approved and used already";
	default:
		return "it has lapsed";
	}
	if (d->by.len == 0)
		return "the decision does not say whose it is";
	if (!in_one_group(q->groups, d->groups))
		return "you are in none of the groups that may decide this";
	if (*q->asker && span_eq_str(d->by, q->asker))
		return "nobody decides what they have asked for themselves";
	if (d->digest.len > 0 && !digest_is(q->digest, d->digest))
		return "the digest is not that of this operation: look at it again";
	return NULL;
}
