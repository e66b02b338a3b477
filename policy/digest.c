#include "policy/rules.h"

#include <openssl/sha.h>

#include "base/jsonw.h"

/* More than any document of YAML_INPUT_MAX bytes gives, also when all of it must be escaped. */
#define CANONICAL_MAX (32u * 1024u * 1024u)

static const char *const effect_names[RULE_EFFECTS] = {
	[RULE_ALLOW] = "allow",
	[RULE_APPROVE] = "approve",
	[RULE_DENY] = "deny",
};

static void put_patterns(struct jsonw *w, const char *key, const struct patterns *p)
{
	if (p->n == 0)
		return;
	jsonw_array(w, key);
	for (size_t i = 0; i < p->n; i++)
		jsonw_str(w, NULL, p->list[i]);
	jsonw_close(w);
}

static void put_names(struct jsonw *w, const char *key, const struct name_patterns *p)
{
	if (p->n == 0)
		return;
	jsonw_array(w, key);
	for (size_t i = 0; i < p->n; i++) {
		jsonw_array(w, NULL);
		jsonw_str(w, NULL, p->list[i].schema);
		jsonw_str(w, NULL, p->list[i].name);
		jsonw_close(w);
	}
	jsonw_close(w);
}

static void put_masks(struct jsonw *w, const struct rule *r)
{
	if (r->n_masks == 0)
		return;
	jsonw_array(w, "masks");
	for (size_t i = 0; i < r->n_masks; i++) {
		jsonw_array(w, NULL);
		jsonw_str(w, NULL, r->masks[i].schema);
		jsonw_str(w, NULL, r->masks[i].table);
		jsonw_str(w, NULL, r->masks[i].column);
		jsonw_int(w, NULL, (int64_t)r->masks[i].kind);
		jsonw_close(w);
	}
	jsonw_close(w);
}

static void put_uids(struct jsonw *w, const struct rule *r)
{
	if (r->n_uids == 0)
		return;
	jsonw_array(w, "uids");
	for (size_t i = 0; i < r->n_uids; i++)
		jsonw_uint(w, NULL, r->uids[i]);
	jsonw_close(w);
}

static void put_rule(struct jsonw *w, const struct rule *r)
{
	jsonw_object(w, NULL);
	if (r->effect == RULE_APPROVE) {
		jsonw_object(w, "approval");
		put_patterns(w, "groups", &r->approver_groups);
		jsonw_uint(w, "valid_s", r->valid_s);
		jsonw_uint(w, "wait_s", r->wait_s);
		jsonw_close(w);
	}
	jsonw_int(w, "durable", r->durable);
	jsonw_str(w, "effect", effect_names[r->effect]);
	put_patterns(w, "exes", &r->exes);
	put_names(w, "functions", &r->functions);
	put_patterns(w, "groups", &r->groups);
	put_patterns(w, "issuers", &r->issuers);
	put_masks(w, r);
	jsonw_str(w, "message", r->message);
	jsonw_str(w, "name", r->name);
	put_patterns(w, "resources", &r->resources);
	put_patterns(w, "subjects", &r->subjects);
	put_names(w, "tables", &r->tables);
	put_uids(w, r);
	jsonw_uint(w, "verbs", r->verbs);
	put_patterns(w, "workloads", &r->workloads);
	jsonw_close(w);
}

int policy_digest(struct policy *policy)
{
	_cleanup_buf_ struct buf out = BUF_INIT(CANONICAL_MAX);
	struct jsonw w;
	int r;

	jsonw_init(&w, &out);
	jsonw_object(&w, NULL);
	jsonw_str(&w, "form", "sluice.policy/1");
	jsonw_array(&w, "rules");
	for (size_t i = 0; i < policy->n_rules; i++)
		put_rule(&w, &policy->rules[i]);
	jsonw_close(&w);
	jsonw_close(&w);
	r = jsonw_end(&w);
	if (r < 0)
		return r;
	(void)SHA256(buf_span(&out).p, buf_len(&out), policy->sha256);
	return 0;
}
