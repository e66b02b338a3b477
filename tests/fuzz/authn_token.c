/* Tokens, their headers and their claims, against the keys of RFC 7515's examples: their private
 * parts are printed there, so the corpus holds tokens that are rightly signed. A signature does
 * not survive mutation, so header and claims are fed on their own as well. */
#include <stdlib.h>

#include "authn/base64url.h"
#include "authn/claims.h"
#include "authn/jws.h"
#include "base/utf8.h"
#include "../unit/authn/rfc7515.h"

#define NOW 1300819000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char jwks[] = "{\"keys\":[" RFC7515_JWK_ES256 "," RFC7515_JWK_RS256 "]}";
static const struct issuer_config issuer = {
	.name = "joe",
	.issuer = "joe",
	.jwks = {.p = (const uint8_t *)jwks, .len = sizeof(jwks) - 1},
	.audience = "sluice",
	.n_algorithms = 2,
	.algorithms = {"ES256", "RS256"},
};

static void must(bool holds)
{
	if (!holds)
		abort();
}

static bool fit_to_show(const char *text)
{
	struct span s = span_str(text);

	if (s.len == 0 || s.len > CLAIM_TEXT_MAX)
		return false;
	while (s.len > 0) {
		size_t n = utf8_valid_prefix(s);

		if (n == 0 || utf8_is_control(span_head(s, n)))
			return false;
		s = span_skip(s, n);
	}
	return true;
}

/* What a principal promises, whatever the token was. */
static void check_principal(const struct principal *p)
{
	must(p->subject && fit_to_show(p->subject));
	must(!p->token_id || fit_to_show(p->token_id));
	must(p->expires > NOW - TOKEN_SKEW_S && p->expires <= CLAIM_DATE_MAX);
	must(p->issued >= 0 && p->issued <= NOW + TOKEN_SKEW_S);
	must(p->n_groups <= GROUPS_MAX);
	for (size_t i = 0; i < p->n_groups; i++)
		must(fit_to_show(p->groups[i]));
	must(streq(p->issuer, "joe"));
}

static void feed_claims(struct span in)
{
	struct arena arena = ARENA_INIT(65536);
	struct principal p;
	json_t *claims;

	if (json_load_strict(in, &claims) < 0)
		return;
	if (json_is_object(claims) && claims_check(claims, &issuer, NOW, &arena, &p) == TOKEN_OK)
		check_principal(&p);
	json_decref(claims);
	arena_done(&arena);
}

static void feed_header(struct span in)
{
	struct buf text = BUF_INIT(2 * TOKEN_BYTES_MAX);
	struct jws_header h;

	if (in.len <= TOKEN_BYTES_MAX && base64url_encode(in, &text) == 0 &&
	    in.len <= TOKEN_BYTES_MAX / 4 * 3 && jws_header_parse(buf_span(&text), &h) == TOKEN_OK)
		must(h.alg == JWS_ES256 || h.alg == JWS_RS256);
	buf_done(&text);
}

static void feed_base64url(struct span in)
{
	struct buf again = BUF_INIT(2 * TOKEN_BYTES_MAX);
	uint8_t out[TOKEN_BYTES_MAX];
	size_t n;

	if (base64url_decode(in, out, sizeof(out), &n) == 0) {
		must(base64url_encode(span_of(out, n), &again) == 0);
		must(span_eq(buf_span(&again), in));
	}
	buf_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct token_verifier *verifier;
	struct arena arena = ARENA_INIT(65536);
	struct principal p;
	size_t bad;

	if (!verifier)
		must(token_verifier_new(&issuer, 1, &bad, &verifier) == 0);
	if (token_verify(verifier, NULL, span_of(data, size), NOW, &arena, &p) == TOKEN_OK)
		check_principal(&p);
	arena_done(&arena);
	feed_claims(span_of(data, size));
	feed_header(span_of(data, size));
	feed_base64url(span_of(data, size));
	return 0;
}
