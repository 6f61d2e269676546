#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Real clients (libpq, hiredis, libcurl) against real servers that hang, throttle, die and come back: PostgreSQL and Redis
# in a folder of their own, reached by sockets there, and an HTTP server in the test itself.
#
# tests/clients/run.sh [arguments of Catch2]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
root=$PWD
build=$root/build/clients
mkdir -p "$build"

work=$(mktemp -d)
chmod 755 "$work"
cleanup() {
    "$work/pg" stop -m immediate >/dev/null 2>&1 || true
    redis-cli -s "$work/redis.sock" shutdown nosave >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap cleanup EXIT

# PostgreSQL refuses to run as root.
as_postgres=()
if ((EUID == 0)); then
    as_postgres=(runuser -u postgres --)
    install -d -o postgres "$work/data" "$work/socket"
else
    mkdir "$work/data" "$work/socket"
fi
programs=$(find /usr/lib/postgresql -maxdepth 2 -name bin | sort -V | tail -n 1)
(cd / && "${as_postgres[@]}" "$programs/initdb" -D "$work/data" -A trust -U tester --no-sync >/dev/null)
cat >"$work/pg" <<SCRIPT
#!/usr/bin/env bash
cd / && exec ${as_postgres[*]} "$programs/pg_ctl" -w -D "$work/data" -l "$work/socket/log" -o "-c listen_addresses='' -c unix_socket_directories='$work/socket' -c fsync=off" "\$@"
SCRIPT
chmod +x "$work/pg"
"$work/pg" start >/dev/null
redis-server --port 0 --unixsocket "$work/redis.sock" --save '' --daemonize yes --dir "$work" --logfile "$work/redis.log" >/dev/null
for _ in {1..100}; do [[ -S $work/redis.sock ]] && break; sleep 0.05; done

launcher=()
command -v ccache >/dev/null && launcher=(ccache)
read -ra flags < <(pkg-config --cflags libpq hiredis libcurl cpp-httplib)
read -ra libraries < <(pkg-config --libs libpq hiredis libcurl cpp-httplib)
compile=("${launcher[@]}" "${CXX:-g++}" -std=c++20 -O1 -Wall -Wextra -Werror -I include -I tests "${flags[@]}")
"${compile[@]}" -c tests/support/main.cpp -o "$build/main.o" &
"${compile[@]}" -c tests/clients/clients_test.cpp -o "$build/clients_test.o"
wait
"${CXX:-g++}" "$build/clients_test.o" "$build/main.o" "${libraries[@]}" -pthread -o "$build/clients_test"

TEST_PG="host=$work/socket user=tester dbname=postgres" TEST_PG_CTL="$work/pg" TEST_REDIS="$work/redis.sock" \
    "$build/clients_test" "$@"
