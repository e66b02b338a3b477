#!/bin/bash
# Run each fuzz target for a while. Usage: tests/fuzz/run.sh BIN_DIR SECONDS
# What it finds is kept in BIN_DIR/findings; new inputs stay out of tests/corpus.
set -u
bins=$1
seconds=$2
cd "$(dirname "$0")/../.." || exit 2
failed=0
for bin in "$bins"/*; do
	if [ ! -f "$bin" ] || [ ! -x "$bin" ]; then
		continue
	fi
	name=${bin##*/}
	mkdir -p "$bins/findings/$name" "$bins/grown/$name" "tests/corpus/$name"
	echo "fuzz $name for $seconds s"
	if ! "$bin" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
		-artifact_prefix="$bins/findings/$name/" "$bins/grown/$name" "tests/corpus/$name" \
		>"$bins/$name.log" 2>&1 </dev/null; then
		echo "FAIL  $name: see $bins/$name.log and $bins/findings/$name"
		failed=1
	else
		grep -E 'stat::(number_of_executed_units|average_exec_per_sec)' "$bins/$name.log"
	fi
done
exit $failed
