#!/bin/bash
# Each check of tools/lint.sh must be able to fail: feed it one bad file each, in a tree of its own.
# Texts of the bad files are meant literally.
# shellcheck disable=SC2016
set -u
lint=$(cd "$(dirname "$0")/../.." && pwd)/tools/lint.sh
tidy=$(dirname "$lint")/../.clang-tidy
format=$(dirname "$lint")/../.clang-format
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
passed=0
failed=0

fresh()
{
	rm -rf "${tree:?}"/*
	cp "$tidy" "$format" "$tree"
	mkdir -p "$tree/userspace/base" "$tree/userspace/proto" "$tree/policy" "$tree/tools"
	printf '/* a.h - a thing.\n * Used by: all.\n * Promises: nothing. */\nint a(void);\n' \
		>"$tree/userspace/base/a.h"
	printf '#include "base/a.h"\n\nint a(void)\n{\n\treturn 1;\n}\n' >"$tree/userspace/base/a.c"
	printf '#!/bin/bash\necho "$1"\n' >"$tree/tools/x.sh"
}

# try WANT(ok|FAIL) CHECK WHAT
try()
{
	local got
	got=$(LINT_ROOT=$tree B=$tree/build "$lint" "$2" 2>&1)
	if [ "${got%% *}" = "$1" ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAIL  $2 should say $1: $3"
		printf '%s\n' "$got" | sed 's/^/      /'
	fi
}
# bad CHECK FILE TEXT: this file must make this check fail
bad()
{
	fresh
	mkdir -p "$(dirname "$tree/$2")"
	printf '%b' "$3" >"$tree/$2"
	try FAIL "$1" "$2"
}
good()
{
	fresh
	mkdir -p "$(dirname "$tree/$2")"
	printf '%b' "$3" >"$tree/$2"
	try ok "$1" "$2"
}

for check in format includes forbidden words paths headers size shell tidy; do
	fresh
	try ok "$check" "the clean tree"
done
bad format userspace/base/b.c 'int  b;\n'
bad includes userspace/base/b.c '#include "proto/p.h"\n'
bad includes policy/b.c '#include "../userspace/base/a.h"\n'
bad includes userspace/base/b.c '#include "a.h"\n'
bad includes userspace/other/b.c 'int b;\n'
for f in strcpy sprintf atoi system strtok alloca; do
	bad forbidden userspace/base/b.c "int b(char *x)\\n{\\n\\treturn (int)$f(x);\\n}\\n"
done
good forbidden userspace/base/b.c 'int b = atoi("1"); /* lint: constant */\n'
good forbidden userspace/base/b.c 'int b = my_atoi("1") + s->system(1);\n'
bad words userspace/base/b.c '/* TO''DO: later */\n'
bad paths tools/b.sh 'cd /wo''rk/tree\n'
bad paths tools/b.sh 'cd /ho''me/me/tree\n'
good paths tools/b.sh 'cat "/proc/$1/ro''ot/etc"\n'
bad headers userspace/base/b.h 'int b;\n'
bad headers userspace/base/b.h '/* b.h - b.\n * Used by: all. */\nint b;\n'
bad shell tools/b.sh '#!/bin/bash\nrm -rf $1/x\n'
bad shell tools/b.sh '#!/bin/bash\nif true; then\n'
bad tidy userspace/base/b.c 'int b(int x);\nint b(int x)\n{\n\treturn x - x;\n}\n'
fresh
head -c 1100000 /dev/zero >"$tree/big"
try FAIL size "a file of 1.1 MB"

echo "lint selftest: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
