#!/bin/bash
# The whole story: an unmodified psql and an unmodified psycopg program in a container that has only
# loopback; what they may see, what they may not, who must agree, and what is kept of it all.
# Usage: demo.sh [stop]. KEEP=1 leaves everything running; B= build folder.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2
B=${B:-build}
case $B in /*) ;; *) B=$PWD/$B ;; esac
demo=$PWD/examples/demo
dir=/run/sluice-demo
KEEP=${KEEP:-}
failed=0

if [ -t 1 ]; then
	bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' off=$'\e[0m'
else
	bold='' dim='' green='' red='' off=''
fi

chapter()
{
	printf '\n%s── %s%s\n' "$bold" "$1" "$off"
}
tell()
{
	printf '%s\n' "$*" | fold -s -w 96
}
# shown COMMAND…: as a person would type it
shown()
{
	printf '%s$ %s%s\n' "$dim" "$*" "$off"
}
# expect TEXT WHAT: the last output must have it, or the demo has failed
expect()
{
	if grep -qF -- "$1" <<<"$out"; then
		printf '%s  ✓ %s%s\n' "$green" "$2" "$off"
	else
		printf '%s  ✗ %s: expected "%s"%s\n' "$red" "$2" "$1" "$off"
		failed=1
	fi
}
expect_not()
{
	if grep -qF -- "$1" <<<"$out"; then
		printf '%s  ✗ %s: found "%s"%s\n' "$red" "$2" "$1" "$off"
		failed=1
	else
		printf '%s  ✓ %s%s\n' "$green" "$2" "$off"
	fi
}
ctl()
{
	"$B/sluicectl" --config "$dir/sluice.yaml" "$@"
}
# inside CONTAINER COMMAND…: run it in a container
inside()
{
	local id=$1
	shift
	# shellcheck disable=SC2086
	$RUNC exec "$id" "$@" </dev/null
}
# say COMMAND…: show it, run it, keep its output in $out
say()
{
	shown "${@/#ctl/sluicectl}"
	out=$("$@" 2>&1)
	printf '%s\n' "$out"
}
psql_in()
{
	local id=$1 sql=$2
	shown "psql -h db.internal -U agent customers -c \"$sql\""
	out=$(inside "$id" psql -X -h db.internal -U agent customers -c "$sql" 2>&1)
	printf '%s\n' "$out"
}
# wait_for SECONDS COMMAND…
wait_for()
{
	local tries=$(($1 * 10))
	shift
	while ! "$@" >/dev/null 2>&1; do
		tries=$((tries - 1))
		[ "$tries" -gt 0 ] || return 1
		sleep 0.1
	done
}
gone()
{
	! kill -0 "$1" 2>/dev/null
}

# A pid may have become somebody else's: only a process that bears our mark is ended.
end_ours()
{
	if [ -r "/proc/$1/environ" ] && tr '\0' '\n' <"/proc/$1/environ" 2>/dev/null | grep -qx 'SLUICE_DEMO=1'; then
		kill -TERM "$1" 2>/dev/null
		wait_for 15 gone "$1" || kill -KILL "$1" 2>/dev/null
	fi
}

# End what the demo started, by its pid, and remove what it made.
stop()
{
	# Started a moment ago, its pid file not written yet.
	local name last=${!:-}
	for name in agent sluiced stage; do
		[ ! -s "$dir/$name.pid" ] || end_ours "$(<"$dir/$name.pid")"
		[ "$name" != sluiced ] || "$B/sluiced" --config "$dir/sluice.yaml" --detach >/dev/null 2>&1
	done
	[ -z "$last" ] || end_ours "$last"
	local root
	root=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
	[ ! -d "$root/sluice-demo" ] || find "$root/sluice-demo" -depth -type d -exec rmdir {} + 2>/dev/null
	rm -rf "$dir/../sluice-demo"
	if [ -e "$dir.bpffs" ]; then
		rm -f "$dir.bpffs"
		[ -n "$(ls -A /sys/fs/bpf 2>/dev/null)" ] || umount /sys/fs/bpf 2>/dev/null
	fi
}

finish()
{
	local rc=$?
	# Clearing away is short, and not cut short: another Ctrl-C changes nothing, nor do our commands see it.
	trap - EXIT
	trap '' INT TERM HUP
	if [ -n "$KEEP" ] && [ "$rc" -eq 0 ]; then
		chapter "All of it is still running (KEEP=1)"
		cat <<-END
			  look:  $B/sluicectl --config $dir/sluice.yaml status
			         $B/sluicectl --config $dir/sluice.yaml audit search
			  play:  $RUNC exec $GOOD psql -h db.internal customers
			  stop:  examples/demo/demo.sh stop
		END
	else
		stop
	fi
	exit "$rc"
}

if [ "${1:-}" = stop ]; then
	stop
	exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
	echo "demo: must run as root (BPF, containers, network namespaces)" >&2
	exit 2
fi
if [ -e "$dir" ]; then
	echo "demo: $dir is there already: stop the other one with examples/demo/demo.sh stop" >&2
	exit 2
fi
for program in sluiced sluicectl; do
	if [ ! -x "$B/$program" ]; then
		echo "demo: $B/$program is missing: run make" >&2
		exit 2
	fi
done

export SLUICE_DEMO=1
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
mkdir -m 0755 "$dir"
mountpoint -q /sys/fs/bpf || touch "$dir.bpffs"

chapter "The stage"
tell "A PostgreSQL 15 with five made-up customers, and a token issuer with its own key pair." \
	"Neither knows of sluice."
/usr/bin/python3 -B "$demo/stage.py" "$dir" >"$dir/stage.log" 2>&1 </dev/null &
echo $! >"$dir/stage.pid"
if ! wait_for 60 test -s "$dir/env"; then
	cat "$dir/stage.log" >&2
	exit 1
fi
# shellcheck source=/dev/null
. "$dir/env"
tell "PostgreSQL listens on localhost:$PGPORT. What the database holds, seen by its owner:"
out=$(psql -X -h "$PGDIR" -p "$PGPORT" -U postgres customers -c 'SELECT id, name, ssn, card FROM customers ORDER BY id' 2>&1)
printf '%s\n' "$out"
expect "078-05-1120" "there is something to protect"

chapter "sluiced starts"
shown "sluiced --config sluice.yaml"
"$B/sluiced" --config "$dir/sluice.yaml" >"$dir/sluiced.log" 2>&1 </dev/null &
echo $! >"$dir/sluiced.pid"
if ! wait_for 20 ctl status; then
	cat "$dir/sluiced.log" >&2
	exit 1
fi
shown "sluicectl status"
out=$(ctl status 2>&1)
printf '%s\n' "$out"
expect "recorder" "warden, workers and recorder are up"

chapter "An agent in a container that has only loopback"
kill -USR1 "$(<"$dir/stage.pid")"
if ! wait_for 30 test -s "$dir/containers"; then
	cat "$dir/stage.log" >&2
	exit 1
fi
# shellcheck source=/dev/null
. "$dir/containers"
: "${RUNC:?}" "${GOOD:?}" "${EXPIRED:?}" "${FORGED:?}"
tell "The container $GOOD has a token file and no other credential."
shown "ip -brief addr; getent hosts db.internal"
out=$(inside "$GOOD" sh -c 'ip -brief addr; getent hosts db.internal' 2>&1)
printf '%s\n' "$out"
expect "10.0.3.7" "the database's ordinary address, to which this container has no route"

chapter "A select: allowed, and masked"
psql_in "$GOOD" "SELECT id, name, ssn AS anything, card FROM customers ORDER BY id"
expect "***-**-1120" "the social security number shows its last four, alias or not"
expect "[redacted]" "the card number is redacted"
expect_not "078-05" "no raw value came through"
psql_in "$GOOD" "SELECT upper(ssn) FROM customers"
expect "ERROR" "an expression over a masked column is refused"

chapter "A delete: refused with PostgreSQL's own error"
psql_in "$GOOD" "DELETE FROM customers WHERE id = 1"
expect "customers are never deleted" "the error names the rule"

chapter "An update: waits for a person"
shown "python3 agent.py        # ordinary psycopg, in the container"
inside "$GOOD" /usr/bin/python3 /agent/agent.py >"$dir/agent.out" 2>&1 &
agent=$!
echo $agent >"$dir/agent.pid"
pending()
{
	id=$(ctl approvals list --json 2>/dev/null | jq -rs 'flatten | map(.approvals? // .) | flatten | map(select(.state == "pending")) | .[0].id // empty')
	[ -n "$id" ]
}
id=
for _ in $(seq 100); do
	! pending || break
	sleep 0.1
done
wait_for 5 grep -q NOTICE "$dir/agent.out"
out=$(<"$dir/agent.out")
printf '%s\n' "$out"
expect "NOTICE" "the program is told that it waits, and for what"
tell "Meanwhile, in another terminal:"
say ctl approvals show "$id"
expect "UPDATE customers" "the approver sees exactly what would run"
say ctl approvals approve "$id"
wait "$agent"
rm -f "$dir/agent.pid"
out=$(<"$dir/agent.out")
tail -n 1 "$dir/agent.out"
expect "1 row updated" "the program went on as if nothing had been"
out=$(psql -XAt -h "$PGDIR" -p "$PGPORT" -U postgres customers -c 'SELECT email FROM customers WHERE id = 1' 2>&1)
expect "ada@new.example" "and the database has the change"

chapter "Containers without a good token"
psql_in "$EXPIRED" "SELECT name FROM customers"
expect "expired" "an expired token is refused"
psql_in "$FORGED" "SELECT name FROM customers"
expect "FATAL" "a token signed by somebody else is refused"
expect_not "Ada" "nothing was read"

chapter "Who did what, and how it was decided"
shown "sluicectl audit search"
sleep 1
out=$(ctl audit search 2>&1)
printf '%s\n' "$out" | cut -c1-200 | tail -n 25
expect "psql" "the process"
expect "DELETE" "what it asked for"
shown "sluicectl audit search --json | jq …        # the refused delete"
out=$(ctl audit search --json 2>&1 | jq -cs 'flatten | map(select(.kind == "op")) | map(.body? // .) |
	map(select((.op.text // "") | startswith("DELETE")))[0] | {text: .op.text, pid: .who.process.pid,
	exe: .who.process.exe, container: .who.process.container, subject: .who.token.subject,
	workload: .who.workload, verdict: .verdict.effect, rules: .verdict.rules}' | jq .)
printf '%s\n' "$out"
expect "/usr/lib/postgresql" "pid, executable, container, subject, rule: all in the record"

chapter "Is the record whole?"
tell "The recorder signs what has come since its last checkpoint every ten seconds."
for _ in $(seq 30); do
	out=$(ctl audit verify 2>&1) || break
	grep -q 'not yet signed for' <<<"$out" || break
	sleep 0.5
done
shown "sluicectl audit verify"
if out=$(ctl audit verify 2>&1) && ! grep -q 'not yet signed for' <<<"$out"; then
	printf '%s\n' "$out"
	printf '%s  ✓ every event is there, unchanged, in order%s\n' "$green" "$off"
else
	printf '%s\n%s  ✗ the store did not verify%s\n' "$out" "$red" "$off"
	failed=1
fi
tell "Now one byte of a copy of the store is changed."
mkdir "$dir/copy"
cp "$dir/state/signing.pub" "$dir/copy/"
sqlite3 "$dir/state/store.db" ".backup $dir/copy/store.db"
at=$(grep -abo 'DELETE FROM customers' "$dir/copy/store.db" | head -n 1 | cut -d: -f1)
printf 'd' | dd of="$dir/copy/store.db" bs=1 seek="$at" conv=notrunc status=none
shown "sluicectl audit verify --state-dir copy"
if out=$(ctl audit verify --state-dir "$dir/copy" 2>&1); then
	printf '%s\n  ✗ the change was not noticed\n' "$out"
	failed=1
else
	printf '%s\n' "$out"
	expect "event" "and it says where"
fi

if [ "$failed" -eq 0 ]; then
	chapter "Done"
else
	chapter "Something did not go as told: see ✗ above"
	exit 1
fi
