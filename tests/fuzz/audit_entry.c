/* What is in a store, or comes as a checkpoint, may have been put there by anybody. */
#include "audit/entry.h"
#include "audit/json_check.h"
#include "audit/note.h"
#include "audit/search.h"
#include "audit/visible.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_entry(struct span in)
{
	_cleanup_buf_ struct buf again = BUF_INIT(ENTRY_MAX * 2);
	_cleanup_(json_decrefp) json_t *root = NULL;
	struct entry e;

	if (entry_parse(in, &e) < 0)
		return;
	/* Canonical: there is one way to write it; and others read it as JSON. */
	if (entry_put(&again, &e) == 0 && !span_eq(buf_span(&again), in))
		abort();
	if (search_load(in, &root) < 0)
		abort();
	if (!span_eq(e.session, entry_session(e.body)))
		abort();
}

static void check_json(struct span in)
{
	_cleanup_(json_decrefp) json_t *root = NULL;
	struct span value;

	if (json_check(in, JSON_CHECK_DEPTH_MAX, NULL) < 0)
		return;
	if (search_load(in, &root) < 0)
		abort();
	if ((json_member(in, "a", &value) == 0) != (json_object_get(root, "a") != NULL))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char vkey[] =
		"PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
	_cleanup_buf_ struct buf shown = BUF_INIT(16 * 1024 * 1024);
	_cleanup_note_key_ struct note_key key = {0};
	_cleanup_note_key_ struct note_key other = {0};
	struct span in = span_of(data, size);
	struct checkpoint cp;

	check_entry(in);
	check_json(in);
	if (visible_put(&shown, in) == 0 && buf_len(&shown) > 0 &&
	    memchr(shown.data, 0x1b, buf_len(&shown)))
		abort();
	if (note_parse_vkey(in, &other) < 0)
		other = (struct note_key){0};
	/* Nobody here has that key. */
	if (note_parse_vkey(span_str(vkey), &key) < 0 || note_verify_checkpoint(&key, in, &cp) == 0)
		abort();
	return 0;
}
