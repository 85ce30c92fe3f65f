# Sourced by the other scripts here: a PostgreSQL of its own with one table of many tenants, PgBouncer and
# PgBulkhead in front of it, and how to count what a process used. Everything lies in a temporary directory and is
# gone when the script ends. Ports begin at BENCH_PORT (26400): below the range of outgoing connections.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
benches=$root/benches
say() { printf '%s\n' "$*" >&2; }
has() { command -v "$1" >/dev/null 2>&1; }
fail() {
  say "$*"
  exit 1
}

# Sets what a script has defaults for from its command line: options "seconds rounds" --seconds 5.
options() {
  local known=" $1 " name
  shift
  while [ $# -gt 0 ]; do
    name=${1#--}
    [ "$1" = "--$name" ] && [ -z "${known##* "$name" *}" ] || fail "unknown argument: $1 (there are:$(sed 's/ *\([a-z][a-z]*\)/ --\1/g' <<<"$known"))"
    [ $# -ge 2 ] || fail "$1 wants a value"
    printf -v "$name" '%s' "$2"
    shift 2
  done
}

profile=${BENCH_PROFILE:-release}
program=${BENCH_PROGRAM:-${CARGO_TARGET_DIR:-$root/target}/$profile/pgbulkhead}
base=${BENCH_PORT:-26400}
server_port=$base
bouncer_port=$((base + 1))
bouncer_rls_port=$((base + 2))
proxy_port=$((base + 3))
metrics_port=$((base + 4))
pool=16

lab=$(mktemp -d "${TMPDIR:-/tmp}/pgbulkhead-bench.XXXXXX")
chmod 755 "$lab"
started=()

# Nobody but root has another user to run the server as.
unprivileged() {
  if [ "$(id -u)" = 0 ]; then
    setsid runuser -u postgres -- "$@"
  else
    setsid "$@"
  fi
}

# Ends what listens on our ports (what was started may be runuser, which waits for it), then removes the lab.
close_lab() {
  local pid
  for pid in "${started[@]}"; do
    kill -TERM "$pid" 2>/dev/null || true
  done
  [ ! -s "$lab/data/postmaster.pid" ] || kill -INT "$(head -1 "$lab/data/postmaster.pid")" 2>/dev/null || true
  wait
  rm -rf "$lab" 2>/dev/null || { sleep 2 && rm -rf "$lab"; } || true
}
trap close_lab EXIT

# Installs what a script needs, where apt may: name of the program, name of Debian's package.
need() {
  has "$1" && return
  if [ "$(id -u)" = 0 ] && has apt-get; then
    say "installing $2"
    apt-get update -qq >&2 || true
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" >&2 || true
  fi
  has "$1" || fail "please install $2 (for $1)"
}

binaries() {
  local directory newest=
  for directory in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin; do
    [ -x "$directory/initdb" ] && newest=$directory
  done
  [ -n "$newest" ] || newest=$(dirname "$(command -v initdb)") || fail "PostgreSQL's server binaries are missing"
  printf '%s' "$newest"
}

wait_for_port() {
  local tries
  for tries in $(seq 1 600); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then return; fi
    sleep 0.2
  done
  fail "nothing listens on port $1 after $tries tries: $(tail -5 "$lab"/*.log)"
}

sql() { psql -X -q -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$server_port" -U postgres "$@"; }

# TENANTS tenants with ROWS rows each; the same rows under row-level security in schema rls.
start_server() {
  local tenants=${1:-20} rows=${2:-2000} bin
  bin=$(binaries)
  export PATH=$bin:$PATH
  mkdir "$lab/data"
  [ "$(id -u)" != 0 ] || chown postgres: "$lab/data"
  unprivileged "$bin/initdb" -D "$lab/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >"$lab/initdb.log"
  unprivileged "$bin/postgres" -D "$lab/data" -p "$server_port" -c listen_addresses=127.0.0.1 \
    -c unix_socket_directories= -c max_connections=120 -c shared_buffers=256MB -c fsync=off \
    -c full_page_writes=off -c autovacuum=off -c log_min_messages=error >"$lab/server.log" 2>&1 &
  wait_for_port "$server_port"
  until sql -d postgres -c 'select 1' >/dev/null 2>&1; do sleep 0.2; done
  sql -d postgres -c 'create database ccm'
  sql -d ccm -v tenants="$tenants" -v rows="$rows" -f "$benches/schema.sql"
}

start_bouncer() {
  local port=$1 role=$2
  cat >"$lab/bouncer-$port.ini" <<EOF
[databases]
ccm = host=127.0.0.1 port=$server_port dbname=ccm user=$role
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $port
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = $pool
max_client_conn = 6000
ignore_startup_parameters = extra_float_digits
log_connections = 0
log_disconnections = 0
EOF
  chmod 644 "$lab/bouncer-$port.ini"
  # Another user begins with the usual limit of open files.
  unprivileged sh -c 'ulimit -n "$(ulimit -Hn)"; exec pgbouncer "$0"' "$lab/bouncer-$port.ini" >"$lab/bouncer-$port.log" 2>&1 &
  wait_for_port "$port"
  started+=("$(pid_of "$port")")
}

# The process that listens on a port (what was started may be runuser, which waits for it).
pid_of() {
  local inode directory
  inode=$(awk -v port="$(printf '%04X' "$1")" '$4 == "0A" && $2 ~ ":" port "$" { print $10; exit }' /proc/net/tcp)
  for directory in /proc/[0-9]*; do
    if ls -l "$directory/fd" 2>/dev/null | grep -q "socket:\[$inode\]"; then
      printf '%s' "${directory#/proc/}"
      return
    fi
  done
  fail "nobody listens on port $1"
}

# Password of every user: "pencil". What is given on the command line is added to [general].
write_config() {
  head -c 48 /dev/urandom | base64 -w0 >"$lab/token.key"
  local verifier='SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU='
  cat >"$lab/pgbulkhead.toml" <<EOF
[general]
listen = ["127.0.0.1:$proxy_port"]
metrics_listen = "127.0.0.1:$metrics_port"
default_pool_size = $pool
max_client_conn = 6000
workers = 1
checkout_timeout = "120s"
$(printf '%s\n' "$@")
[[databases]]
name = "ccm"
host = "127.0.0.1"
port = $server_port
user = "app_backend"
tls = "disable"
search_path = ["app"]
[tenancy]
column = "tenant_id"
[[users]]
name = "tenant_1"
verifier = "$verifier"
role = "app"
tenant = "1"
[[users]]
name = "tenant_2"
verifier = "$verifier"
role = "app"
tenant = "2"
[[users]]
name = "by_token"
verifier = "$verifier"
role = "app"
tenant_from = "token"
[[token_keys]]
kid = "bench"
algorithm = "HS256"
file = "$lab/token.key"
[audit]
sink = "file"
path = "$lab/audit.jsonl"
EOF
  export PGPASSWORD=pencil
}

# The rest of the command line runs the proxy (valgrind, strace), if there is any.
start_proxy() {
  [ -x "$program" ] || fail "$program is missing: cargo build --profile $profile --bin pgbulkhead"
  (
    cd "$lab"
    exec setsid "$@" "$program" run --config "$lab/pgbulkhead.toml" >"$lab/proxy.log" 2>&1
  ) &
  wait_for_port "$proxy_port"
  proxy=$(pid_of "$proxy_port")
  started+=("$proxy")
}

base64_url() { base64 -w0 | tr '+/' '-_' | tr -d '='; }

# A tenant token, good for a day.
token() {
  local head body signature key
  head=$(printf '{"alg":"HS256","typ":"JWT","kid":"bench"}' | base64_url)
  body=$(printf '{"tenant":"%s","exp":%d}' "$1" $(($(date +%s) + 86400)) | base64_url)
  key=$(od -An -v -tx1 "$lab/token.key" | tr -d ' \n')
  signature=$(printf '%s.%s' "$head" "$body" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | base64_url)
  printf '%s.%s.%s' "$head" "$body" "$signature"
}

# Nanoseconds of CPU that all threads of a process have used. (%d of mawk ends at 2 s.)
cpu_of() { cat "/proc/$1"/task/*/schedstat | awk '{ sum += $1 } END { printf "%.0f", sum }'; }

# Runs pgbench against a port and prints "transactions tps latency-in-µs".
bench() {
  local port=$1 user=$2
  shift 2
  setsid pgbench -n -h 127.0.0.1 -p "$port" -U "$user" "$@" ccm >"$lab/pgbench.out" 2>"$lab/pgbench.err" ||
    fail "pgbench failed: $(tail -3 "$lab/pgbench.err")"
  awk '/actually processed/ { split($NF, n, "/"); done = n[1] } /^tps/ { tps = $3 }
    /latency average/ { latency = $4 * 1000 } END { print done, tps, latency }' "$lab/pgbench.out"
}

median() { sort -g | awk '{ v[NR] = $1 } END { if (NR) print (NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2); else print "nan" }'; }

# What this was measured on.
machine() {
  printf '%s, %s processors, Linux %s, PostgreSQL %s, %s, %s\n' \
    "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)" "$(nproc)" "$(uname -r)" \
    "$(postgres --version | awk '{ print $3 }')" "$(pgbouncer --version 2>/dev/null | head -1)" "$(date +%F)"
}
