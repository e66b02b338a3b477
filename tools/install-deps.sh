#!/bin/bash
# Install what sluice needs from Debian's own packages. Debian 12, as root.
# Usage: tools/install-deps.sh [build] [test] [bench] [regress]    (build and test when none is named)
# Does nothing and says nothing when everything is there; starts no service, makes no cluster.
set -euo pipefail

build=(clang-14 libclang-rt-14-dev gcc make bpftool pkg-config libc6-dev linux-libc-dev
	libbpf-dev libpg-query-dev libjansson-dev libyaml-dev libseccomp-dev libcap-ng-dev
	libssl-dev libsqlite3-dev)
test=(clang-format-14 clang-tidy-14 libcmocka-dev shellcheck git
	postgresql-15 postgresql-client-15 postgresql-contrib postgresql-common
	runc python3 python3-psycopg2 python3-psycopg python3-yaml openssl sqlite3
	iproute2 procps util-linux jq perl)
bench=(haproxy pgbouncer)
# PostgreSQL's own suite is built from Debian's source.
regress=(dpkg-dev bison flex perl)
# Programs that Debian also ships under a name without the version.
plain_names=(clang clang-format clang-tidy)

want=()
for set in "${@:-build test}"; do
	for name in $set; do
		case $name in
		build) want+=("${build[@]}") ;;
		test) want+=("${test[@]}") ;;
		bench) want+=("${bench[@]}") ;;
		regress) want+=("${regress[@]}") ;;
		*)
			echo "install-deps: no such set: $name (build, test, bench, regress)" >&2
			exit 2
			;;
		esac
	done
done

missing=()
installed=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' 2>/dev/null | awk '$1 == "ii" { print $2 }')
for package in "${want[@]}"; do
	grep -qxF -- "$package" <<<"$installed" || missing+=("$package")
done
# `clang` is what the Makefile calls; the versioned package serves when a `clang` is already there.
for name in "${plain_names[@]}"; do
	if [[ " ${want[*]} " == *" $name-14 "* ]] && ! command -v "$name" >/dev/null; then
		missing+=("$name")
	fi
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ]; then
	echo "install-deps: missing ${missing[*]}: run it as root, or install them yourself" >&2
	exit 1
fi

echo "install-deps: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
# PostgreSQL's package would make a cluster and start it; haproxy and pgbouncer would start too.
conf=/etc/postgresql-common/createcluster.conf
made_conf=
if [ ! -e "$conf" ]; then
	mkdir -p "${conf%/*}"
	echo 'create_main_cluster = false' >"$conf"
	made_conf=1
fi
policy=/usr/sbin/policy-rc.d
made_policy=
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 0755 "$policy"
	made_policy=1
fi
restore()
{
	[ -z "$made_policy" ] || rm -f "$policy"
	[ -z "$made_conf" ] || ! grep -qxF 'create_main_cluster = false' "$conf" || rm -f "$conf"
}
trap restore EXIT

log=$(mktemp)
if ! { apt-get update && apt-get install -y --no-install-recommends \
	-o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \
	"${missing[@]}"; } >"$log" 2>&1 </dev/null; then
	tail -n 40 "$log" >&2
	echo "install-deps: apt-get failed; everything it said is in $log" >&2
	exit 1
fi
rm -f "$log"
