#!/bin/bash
# Style and direction, as code. Usage: tools/lint.sh [CHECK…]; B= build folder, LINT_ROOT= tree.
# Prints one line a check, and what is wrong under a check that fails. Exits 1 when any fails.
# Checks are called by name; a check's status is that of its last command, not of a grep that
# found nothing.
# shellcheck disable=SC2317
set -u

cd "${LINT_ROOT:-$(dirname "$0")/..}" || exit 2
tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
B=${B:-build}
checks=(format includes forbidden words paths headers size shell tidy)

# Files of the tree: tracked, and new ones that are not ignored. Outside git, everything.
files()
{
	if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
		git ls-files -co --exclude-standard -- "$@"
	else
		local pattern
		for pattern in "$@"; do
			find . -type f \( -path "./$pattern" -o -name "$pattern" \) | sed 's|^\./||'
		done
	fi | sort -u | while IFS= read -r f; do [ -f "$f" ] && echo "$f"; done
}
c_files()
{
	files '*.c' '*.h' | grep -v '^bpf/vmlinux\.h$'
}
text_files()
{
	files '*' | grep -Ev '^(bpf/vmlinux\.h|LICENSES/.*|tests/corpus/.*|tests/lint/.*)$'
}
# Fails when its input has a line.
none()
{
	! grep .
}

# Layout as .clang-format says: make format
check_format()
{
	c_files | xargs -r clang-format-14 --dry-run -Werror 2>&1 | grep 'error:' |
		sed 's/:[0-9]*: error: .*/: not as .clang-format says/' | sort -u -t: -k1,1 | none
}

check_includes()
{
	"$tools/check-includes.py" .
}

# Calls that cannot be used safely, or that hide an error. An exception says why, on the line:
# /* lint: … */
check_forbidden()
{
	local calls='strcpy|strcat|stpcpy|sprintf|vsprintf|atoi|atol|atoll|atof|system|popen|gets|strtok|alloca|mktemp|tmpnam|rand|strncpy'
	c_files | xargs -r grep -nE "(^|[^A-Za-z0-9_.>])($calls)[[:space:]]*\(" |
		grep -vE '/\* lint: [^*]+\*/' | grep -vE '^[^:]+:[0-9]+:[[:space:]]*(/?\*|//)' | none
}

# Work that is not finished does not get in.
check_words()
{
	text_files | grep -Ev '^tools/lint\.sh$' | xargs -r grep -nIE '\b(TODO|FIXME|XXX|HACK)\b' | none
}

# Nothing may depend on where somebody's tree lies.
check_paths()
{
	text_files | grep -Ev '^tools/lint\.sh$' |
		xargs -r grep -nIE '(^|[^A-Za-z0-9_.}/])/(work|home/[a-z]+|root/|farm|Users)(/|\b)' | none
}

# A header opens with what it is for, what it may be used from, what it promises.
check_headers()
{
	local f bad=0 head
	for f in $(files '*.h' | grep -v '^bpf/vmlinux\.h$'); do
		head=$(sed '1{/SPDX/d}' "$f" | sed '/\*\//q')
		if ! grep -qF "/* ${f##*/} - " <<<"${head%%$'\n'*}" ||
			! grep -q 'Used by:' <<<"$head" || ! grep -q 'Promises:' <<<"$head"; then
			echo "$f:1: must open with: ${f##*/} - what for; Used by: …; Promises: …"
			bad=1
		fi
	done
	return "$bad"
}

check_size()
{
	local f
	files '*' | while IFS= read -r f; do
		[ "$(stat -c %s "$f")" -le 1048576 ] || echo "$f: over 1 MiB"
	done | none
}

check_shell()
{
	local scripts bad=0 s
	scripts=$(files '*' | grep -Ev '\.(c|h|py|md|yaml)$|^tests/corpus/' | while IFS= read -r f; do
		head -c 20 "$f" 2>/dev/null | head -n 1 | tr -d '\0' | grep -qE '^#!.*\b(ba)?sh\b' && echo "$f"
	done)
	for s in $scripts; do
		bash -n "$s" || bad=1
	done
	# shellcheck disable=SC2086
	[ -z "$scripts" ] || shellcheck -x -S style $scripts || bad=1
	return "$bad"
}

# clang-tidy, two at a time, the analyzer within one function: deep it takes ten times as long and
# finds no more with the checks that .clang-tidy leaves on. A file that passed is not looked at again
# until it, a header or the rules change.
check_tidy()
{
	local stamps=$B/lint list common
	mkdir -p "$stamps"
	if [ -f bpf/steer.bpf.c ]; then
		make --no-print-directory -s B="$B" "$B/gen/steer.skel.h" || return 1
	fi
	common=$(files '*.h' .clang-tidy | xargs -r cat | sha256sum)
	list=$(files 'userspace/*.c' 'policy/*.c' 'mask/*.c' 'audit/*.c' 'tools/*.c' |
		while IFS= read -r f; do
			stamp="$stamps/${f//\//-}.$({ echo "$common"; cat "$f"; } | sha256sum | head -c 24)"
			[ -e "$stamp" ] || echo "$f $stamp"
		done)
	[ -n "$list" ] || return 0
	# shellcheck disable=SC2016
	xargs -P 2 -n 2 bash -c '
		out=$(clang-tidy-14 --quiet --warnings-as-errors="*" "$1" -- -std=gnu11 -D_GNU_SOURCE \
			-Iuserspace -I. -Ibpf -I"$0/gen" \
			-Xclang -analyzer-config -Xclang mode=shallow 2>/dev/null) && touch "$2" && exit 0
		grep -E "(error|warning):" <<<"$out" || echo "$1: clang-tidy failed: ${out:0:400}"; exit 1' \
		"$B" <<<"$list"
}

failed=0
for check in "${@:-${checks[@]}}"; do
	for c in $check; do
		if out=$("check_$c" 2>&1); then
			echo "ok    lint $c"
		else
			echo "FAIL  lint $c"
			printf '%s\n' "$out" | sed 's/^/      /'
			failed=1
		fi
	done
done
exit $failed
