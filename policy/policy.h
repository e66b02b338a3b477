/* policy.h - facts in, verdict out.
 * Used by: session/ (decides), tools (check, explain). Knows no socket, file or protocol codec.
 * Promises: deciding is total and allocates nothing; no failure path allows. */
#ifndef SLUICE_POLICY_POLICY_H
#define SLUICE_POLICY_POLICY_H

#include "base/diag.h"
#include "model/config.h"
#include "model/op.h"
#include "model/verdict.h"

struct policy;

/* Load from YAML text. Every fault is added to diags (file:line:column: text); -EINVAL when there
 * is any. config gives the names of workloads and resources that rules may use; NULL: not checked.
 * One that is partial has -EINVAL at best, whatever the policy.
 */
_must_check_ int policy_load(struct span text, const char *name, const struct config *config,
			     struct diags *diags, struct policy **ret_policy);
struct policy *policy_ref(struct policy *policy);
void policy_unref(struct policy *policy);
DEFINE_CLEANUP(struct policy *, policy_unref, policy_unrefp)

/* SHA-256 of the canonical form: same rules, same digest, however they are laid out. */
const uint8_t *policy_sha256(const struct policy *policy);
size_t policy_n_rules(const struct policy *policy);

struct facts {
	const char *workload;
	const char *resource;
	const struct principal *principal; /* NULL: none was asked for */
	const struct process *process;
	/* NULL: may this caller have a session at all? Allowed when some rule could allow or hold
	 * some operation of this caller on this resource. */
	const struct op *op;
	/* The statements of op with names resolved by the session, which replace op->sql's; NULL:
	 * op->sql as it is. A table without schema is unknown: it matches `*` and `*.name` only. */
	const struct sql_class *sql;
};

/* Always fills *ret_verdict wholly. */
void policy_decide(const struct policy *policy, const struct facts *facts,
		   struct verdict *ret_verdict);

/* Could any mask apply to this caller on this resource? */
bool policy_masks_in_force(const struct policy *policy, const struct facts *facts);

/* Match as PostgreSQL compares names: exact bytes, `*` any run, `?` any one byte. */
bool policy_glob(const char *pattern, const char *text);

#endif
