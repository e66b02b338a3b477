#!/bin/bash
# PostgreSQL's own regression suite by its own driver, direct and through sluice (allow-all policy):
# every test must have the same verdict. B= build folder; the built suite is kept in $B/pg-regress.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
B=${B:-build}
tools/install-deps.sh build test regress
make --no-print-directory B="$B" all
work=$PWD/$B/pg-regress
case $B in /*) work=$B/pg-regress ;; esac
mkdir -p "$work"

installed=$(dpkg-query -W -f '${Version}' postgresql-15)

# Source packages come from wherever this system's packages come from, through lists of our own.
fetch()
{
	local apt=$work/apt version options
	rm -rf "$apt"
	mkdir -p "$apt/lists/partial" "$apt/parts" "$apt/archives/partial"
	local f
	for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
		[ ! -f "$f" ] || sed -n 's/^deb /deb-src /p' "$f" | grep -E 'debian' >>"$apt/parts/src.list" || true
	done
	for f in /etc/apt/sources.list.d/*.sources; do
		if [ -f "$f" ] && grep -qE '^URIs:.*debian' "$f"; then
			sed 's/^Types:.*/Types: deb-src/' "$f" >"$apt/parts/${f##*/}"
		fi
	done
	options=(-o "Dir::Etc::sourcelist=/dev/null" -o "Dir::Etc::sourceparts=$apt/parts"
		-o "Dir::State::lists=$apt/lists" -o "Dir::Cache::archives=$apt/archives"
		-o "Dir::Cache::srcpkgcache=" -o "Dir::Cache::pkgcache=" -o "APT::Sandbox::User=root")
	apt-get "${options[@]}" update >"$work/apt.log" 2>&1
	cd "$work"
	rm -rf postgresql-15-* src
	if ! apt-get "${options[@]}" source --download-only "postgresql-15=$installed" >>"$work/apt.log" 2>&1; then
		version=$(apt-cache "${options[@]}" showsrc postgresql-15 2>/dev/null | sed -n 's/^Version: //p' | sort -V | tail -n 1)
		echo "pg-regress: no source of $installed; taking $version: both runs use it, verdicts are compared"
		apt-get "${options[@]}" source --download-only "postgresql-15=$version" >>"$work/apt.log" 2>&1
	fi
	mkdir src
	tar -xf postgresql-15_*.orig.tar.* -C src --strip-components=1
	rm -rf "$apt"
	cd - >/dev/null
}

build()
{
	cd "$work/src"
	{
		./configure --without-readline --without-zlib --prefix="$work/unused" CFLAGS=-O1
		make -s -j2 -C src/backend generated-headers
		make -s -j2 -C src/common
		make -s -j2 -C src/port
		make -s -C src/test/regress pg_regress regress.so
	} >"$work/build.log" 2>&1 || {
		tail -n 30 "$work/build.log" >&2
		exit 1
	}
	mkdir -p "$work/lib"
	cp src/test/regress/regress.so "$work/lib/"
	cp "$(pg_config --pkglibdir 2>/dev/null || echo /usr/lib/postgresql/15/lib)"/{refint,autoinc}.so "$work/lib/"
	cd - >/dev/null
}

if [ "$(cat "$work/done" 2>/dev/null)" != "$installed" ]; then
	rm -f "$work/done"
	fetch
	build
	echo "$installed" >"$work/done"
fi
exec /usr/bin/python3 -B tests/pg-regress/regress.py --build "$B" --work "$work" "$@"
