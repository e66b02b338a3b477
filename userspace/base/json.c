#include "base/json.h"

/* jansson's own depth limit (2048) is a compile-time constant of the library: look first. */
static bool nested_too_deep(struct span text)
{
	unsigned depth = 0;
	bool in_string = false;

	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.p[i];

		if (in_string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
		} else if (c == '"') {
			in_string = true;
		} else if (c == '{' || c == '[') {
			if (++depth > JSON_NEST_MAX)
				return true;
		} else if ((c == '}' || c == ']') && depth > 0) {
			depth--;
		}
	}
	return false;
}

int json_load_strict(struct span text, json_t **ret_root)
{
	json_error_t error;
	json_t *root;

	if (text.len > JSON_INPUT_MAX || nested_too_deep(text))
		return -E2BIG;
	if (text.len == 0)
		return -EBADMSG;
	root = json_loadb((const char *)text.p, text.len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY,
			  &error);
	if (!root)
		return json_error_code(&error) == json_error_out_of_memory ? -ENOMEM : -EBADMSG;
	*ret_root = root;
	return 0;
}
