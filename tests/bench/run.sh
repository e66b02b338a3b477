#!/bin/bash
# Speed, as ratios within one run. B= build folder. ROUNDS=3 SECONDS_EACH=4 by default; QUICK=1 is a
# trial of everything in about a minute.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
B=${B:-build}
tools/install-deps.sh build test bench
mkdir -p "$B/bench"
for program in relay connect_cost; do
	gcc -std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror "tests/bench/$program.c" -o "$B/bench/$program"
done
make --no-print-directory B="$B" "$B/bench/recorder_bench"
exec /usr/bin/python3 -B tests/bench/bench.py --build "$B" ${QUICK:+--quick} \
	--rounds "${ROUNDS:-3}" --seconds "${SECONDS_EACH:-4}"
