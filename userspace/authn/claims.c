#include "authn/claims.h"

#include "base/utf8.h"

/* What is shown to an approver must be what the issuer wrote. s is valid UTF-8. */
static bool has_control(struct span s)
{
	while (s.len > 0) {
		size_t n = utf8_valid_prefix(s);

		if (n == 0 || utf8_is_control(span_head(s, n)))
			return true;
		s = span_skip(s, n);
	}
	return false;
}

/* A string of 1..CLAIM_TEXT_MAX bytes without control characters, copied. */
static enum token_reason take_text(const json_t *v, struct arena *arena, const char **ret)
{
	struct span s;
	const char *copy;

	if (!json_is_string(v))
		return TOKEN_CLAIM_MALFORMED;
	s = span_of(json_string_value(v), json_string_length(v));
	if (s.len == 0 || s.len > CLAIM_TEXT_MAX || has_control(s))
		return TOKEN_CLAIM_MALFORMED;
	copy = arena_strndup(arena, s);
	if (!copy)
		return TOKEN_NO_MEMORY;
	*ret = copy;
	return TOKEN_OK;
}

/* NumericDate (RFC 7519 section 2): seconds, perhaps with a fraction. up: round up, so that a
 * fraction never lengthens the time a token is good for. */
static enum token_reason take_date(const json_t *v, bool up, int64_t *ret)
{
	if (json_is_integer(v)) {
		json_int_t n = json_integer_value(v);

		if (n < 0 || n > CLAIM_DATE_MAX)
			return TOKEN_CLAIM_MALFORMED;
		*ret = n;
		return TOKEN_OK;
	}
	if (json_is_real(v)) {
		double d = json_real_value(v);

		if (!(d >= 0 && d <= (double)CLAIM_DATE_MAX))
			return TOKEN_CLAIM_MALFORMED;
		*ret = (int64_t)d + (up && (double)(int64_t)d < d ? 1 : 0);
		return TOKEN_OK;
	}
	return TOKEN_CLAIM_MALFORMED;
}

static enum token_reason check_times(const json_t *claims, int64_t now, struct principal *p)
{
	const json_t *exp = json_object_get(claims, "exp");
	const json_t *nbf = json_object_get(claims, "nbf");
	const json_t *iat = json_object_get(claims, "iat");
	enum token_reason reason;
	int64_t not_before = 0;

	if (!exp)
		return TOKEN_CLAIM_MISSING;
	reason = take_date(exp, false, &p->expires);
	if (reason == TOKEN_OK && nbf)
		reason = take_date(nbf, true, &not_before);
	if (reason == TOKEN_OK && iat)
		reason = take_date(iat, false, &p->issued);
	if (reason != TOKEN_OK)
		return reason;
	if (now >= p->expires + TOKEN_SKEW_S)
		return TOKEN_EXPIRED;
	/* Nothing is issued in the future: the issuer's clock or the token is wrong. */
	if (now < not_before - TOKEN_SKEW_S || now < p->issued - TOKEN_SKEW_S)
		return TOKEN_NOT_YET_VALID;
	return TOKEN_OK;
}

static bool string_is(const json_t *v, const char *want)
{
	return span_eq(span_of(json_string_value(v), json_string_length(v)), span_str(want));
}

static enum token_reason check_audience(const json_t *claims, const char *want)
{
	const json_t *aud = json_object_get(claims, "aud");
	bool found = false;

	if (!aud)
		return TOKEN_CLAIM_MISSING;
	if (json_is_string(aud))
		return string_is(aud, want) ? TOKEN_OK : TOKEN_AUDIENCE_WRONG;
	if (!json_is_array(aud) || json_array_size(aud) > CLAIM_AUD_MAX)
		return TOKEN_CLAIM_MALFORMED;
	for (size_t i = 0; i < json_array_size(aud); i++) {
		const json_t *v = json_array_get(aud, i);

		if (!json_is_string(v))
			return TOKEN_CLAIM_MALFORMED;
		found = found || string_is(v, want);
	}
	return found ? TOKEN_OK : TOKEN_AUDIENCE_WRONG;
}

/* More groups than fit are a refusal: which of them a policy denies cannot be known. */
static enum token_reason take_groups(const json_t *claims, const char *name, struct arena *arena,
				     struct principal *p)
{
	const json_t *groups = json_object_get(claims, name);

	if (!groups)
		return TOKEN_OK;
	if (!json_is_array(groups) || json_array_size(groups) > GROUPS_MAX)
		return TOKEN_CLAIM_MALFORMED;
	for (size_t i = 0; i < json_array_size(groups); i++) {
		enum token_reason reason;

		reason = take_text(json_array_get(groups, i), arena, &p->groups[i]);
		if (reason != TOKEN_OK)
			return reason;
		p->n_groups = i + 1;
	}
	return TOKEN_OK;
}

enum token_reason claims_issuer(const json_t *claims, const char **ret_issuer)
{
	const json_t *iss = json_object_get(claims, "iss");

	if (!iss)
		return TOKEN_CLAIM_MISSING;
	if (!json_is_string(iss))
		return TOKEN_CLAIM_MALFORMED;
	*ret_issuer = json_string_value(iss);
	return TOKEN_OK;
}

enum token_reason claims_check(const json_t *claims, const struct issuer_config *issuer,
			       int64_t now, struct arena *arena, struct principal *ret_principal)
{
	const json_t *sub = json_object_get(claims, "sub");
	const json_t *jti = json_object_get(claims, "jti");
	struct principal p = {.issuer_name = issuer->name, .issuer = issuer->issuer};
	enum token_reason reason;
	const char *iss;

	reason = claims_issuer(claims, &iss);
	if (reason != TOKEN_OK)
		return reason;
	if (!streq(iss, issuer->issuer))
		return TOKEN_ISSUER_UNKNOWN;
	reason = check_audience(claims, issuer->audience);
	if (reason == TOKEN_OK)
		reason = check_times(claims, now, &p);
	if (reason == TOKEN_OK)
		reason = sub ? take_text(sub, arena, &p.subject) : TOKEN_CLAIM_MISSING;
	if (reason == TOKEN_OK && jti)
		reason = take_text(jti, arena, &p.token_id);
	if (reason == TOKEN_OK)
		reason = take_groups(claims, issuer->groups_claim ? issuer->groups_claim : "groups",
				     arena, &p);
	if (reason != TOKEN_OK)
		return reason;
	*ret_principal = p;
	return TOKEN_OK;
}
