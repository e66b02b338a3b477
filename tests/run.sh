#!/bin/bash
# Every test, in an order that finds the cheap faults first. Usage: tests/run.sh [SUITE…]
# Suites: deps build lint unit corpus e2e demo. B= build folder. Logs go to $B/test-logs.
# The last line is "N passed, N failed"; exits 1 when anything failed.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
export B=${B:-build}
export LC_ALL=C.UTF-8
san=$B/san
logs=$B/test-logs
mkdir -p "$logs"
suites=${*:-deps build lint unit corpus e2e demo}
passed=0
failed=0
started=$SECONDS
# A `make` above us would hand its own variables and job slots down.
unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL

pass()
{
	passed=$((passed + ${2:-1}))
	printf 'ok    %s\n' "$1"
}
fail()
{
	failed=$((failed + ${2:-1}))
	printf 'FAIL  %s\n' "$1"
}
# step NAME COMMAND…: one test; its output goes to a log, whose end is shown when it fails
step()
{
	local name=$1 log=$logs/${1//[ \/]/-}.log begin=$SECONDS
	shift
	if "$@" >"$log" 2>&1 </dev/null; then
		pass "$name ($((SECONDS - begin)) s)"
	else
		fail "$name: $log"
		tail -n 30 "$log" | sed 's/^/      /'
		return 1
	fi
}

suite_deps()
{
	step "deps" tools/install-deps.sh
}

suite_build()
{
	step "build release (gcc)" make B="$B" -j2 all &&
		step "build release (clang)" make B="$B/clang" CC=clang -j2 all
	step "install" make B="$B" DESTDIR="$PWD/$B/installed" install
	step "build tests (clang, ASan, UBSan)" make B="$san" CC=clang SAN=1 REPLAY=1 -j2 -k unit-bin fuzz-bin
}

suite_lint()
{
	local out
	out=$(tools/lint.sh 2>&1 </dev/null)
	printf '%s\n' "$out"
	passed=$((passed + $(grep -c '^ok ' <<<"$out")))
	failed=$((failed + $(grep -c '^FAIL ' <<<"$out")))
	step "lint selftest" tests/lint/selftest.sh
}

# One line a binary; each cmocka test counts.
suite_unit()
{
	local src bin name log rc run ok skipped bad
	make B="$san" CC=clang SAN=1 -j2 -k unit-bin >"$logs/unit-build.log" 2>&1 </dev/null
	for src in tests/unit/*/test_*.c; do
		name=${src#tests/unit/}
		name=${name%.c}
		bin=$san/unit/$name
		log=$logs/unit-${name//\//-}.log
		if [ ! -x "$bin" ]; then
			fail "unit $name: not built, see $logs/unit-build.log"
			continue
		fi
		timeout 300 "$bin" >"$log" 2>&1 </dev/null
		rc=$?
		run=$(sed -n 's/^\[==========\].* Running \([0-9]*\) test.*/\1/p' "$log" | awk '{ n += $1 } END { print n + 0 }')
		ok=$(grep -c '^\[       OK \]' "$log")
		skipped=$(grep -c '^\[  SKIPPED \] [^0-9]' "$log")
		bad=$((run - ok - skipped))
		[ "$bad" -ge 0 ] || bad=0
		[ $rc -eq 0 ] || [ "$bad" -gt 0 ] || bad=1
		[ "$run" -gt 0 ] || bad=1
		passed=$((passed + ok))
		if [ "$bad" -gt 0 ]; then
			fail "unit $name: $ok passed, $bad failed, exit $rc: $log" "$bad"
			grep -vE '^\[ RUN|^\[       OK' "$log" | tail -n 30 | sed 's/^/      /'
		else
			printf 'ok    unit %s: %d tests%s\n' "$name" "$ok" \
				"$([ "$skipped" -eq 0 ] || echo ", $skipped skipped")"
		fi
	done
}

suite_corpus()
{
	local src name
	for src in tests/fuzz/*.c; do
		name=$(basename "$src" .c)
		[ "$name" != replay ] || continue
		step "corpus $name" bash -c "make B=$san CC=clang SAN=1 REPLAY=1 $san/fuzz/$name && $san/fuzz/$name tests/corpus/$name"
	done
}

suite_e2e()
{
	local count=$logs/e2e.count begin=$SECONDS
	rm -f "$count"
	tests/e2e/run.py --build "$B" --logs "$logs/e2e" --count "$count" </dev/null
	if [ -s "$count" ]; then
		local p f
		read -r p f <"$count"
		passed=$((passed + p))
		failed=$((failed + f))
		printf '      e2e: %d passed, %d failed (%d s)\n' "$p" "$f" $((SECONDS - begin))
	else
		fail "e2e: the runner did not finish"
	fi
}

suite_demo()
{
	step "demo" examples/demo/demo.sh
}

for suite in $suites; do
	if ! declare -F "suite_$suite" >/dev/null; then
		echo "no such suite: $suite (deps build lint unit corpus e2e demo)" >&2
		exit 2
	fi
	"suite_$suite"
done
printf '      %d min %d s\n' $(((SECONDS - started) / 60)) $(((SECONDS - started) % 60))
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
