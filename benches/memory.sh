#!/usr/bin/env bash
# What clients and large results cost in memory and CPU: many clients that have run one query and wait, the same
# clients at once on 16 server connections, and a large result and a COPY passed through. PgBouncer beside.
#
#   benches/memory.sh [--clients 5000] [--megabytes 200]
. "$(dirname "${BASH_SOURCE[0]}")/lab.sh"
clients=5000 megabytes=200
options "clients megabytes" "$@"
need pgbench postgresql
need pgbouncer pgbouncer
need python3 python3-minimal
ulimit -n "$(ulimit -Hn)"
[ "$(ulimit -n)" -gt $((clients * 2 + 100)) ] || fail "the limit of open files ($(ulimit -n)) is too low for $clients clients"

start_server 4 2000
sql -d ccm -v rows=$((megabytes * 1000)) <<'EOF'
create table app.large (tenant_id int not null, id bigint primary key, body text not null);
alter table app.large alter column body set storage plain;
insert into app.large select 1, n, repeat('x', 970) from generate_series(1, :rows) n;
create table app.intake (tenant_id int not null default 1, id bigint, body text not null);
grant select on app.large to app_backend;
grant select, insert on app.intake to app_backend;
vacuum analyze app.large;
EOF
start_bouncer "$bouncer_port" app_backend
bouncer=$(pid_of "$bouncer_port")
write_config
start_proxy

field() { awk -v f="$2:" '$1 == f { print $2 }' "/proc/$1/status"; }

# Clients of crowd.py that wait until `disperse`.
gather() {
  coproc CROWD { exec python3 "$benches/crowd.py" "$1" "$2" pencil "$3" 2>"$lab/crowd.err"; }
  crowd_pid=$CROWD_PID
  local from=${CROWD[0]} to=${CROWD[1]}
  exec 7<&"$from" 8>&"$to"
  exec {from}<&- {to}>&-
  read -r told <&7 && [ "$told" = ready ] || fail "$(tail -3 "$lab/crowd.err")"
  sleep 2
}

disperse() {
  exec 8>&- 7<&-
  wait "$crowd_pid" 2>/dev/null || true
  sleep 2
}

# Memory of a waiting client: how much more the process has with all of them than with a fifth, so that what is there
# once is no part of it.
idle() {
  local name=$1 port=$2 user=$3 pid=$4 few=$((clients / 5)) before after
  gather "$port" "$user" "$few"
  before=$(field "$pid" VmRSS)
  disperse
  gather "$port" "$user" "$clients"
  after=$(field "$pid" VmRSS)
  disperse
  awk -v n="$name" -v c="$clients" -v f="$few" -v kib=$((after - before)) \
    'BEGIN { printf "| %s | %d idle clients | %.2f KiB each |\n", n, c, kib / (c - f) }'
}

# All clients at once, five times.
crowd() {
  local name=$1 port=$2 user=$3 round served=0 began
  gather "$port" "$user" "$clients"
  began=$(date +%s%N)
  for round in 1 2 3 4 5; do
    echo go >&8
    read -r told count <&7 && [ "$told" = served ] || fail "$name: $(tail -3 "$lab/crowd.err")"
    served=$((served + count))
  done
  awk -v n="$name" -v c="$clients" -v p="$pool" -v s="$served" -v ns=$(($(date +%s%N) - began)) \
    'BEGIN { printf "| %s | %d clients on %d server connections | %d queries without an error, %.0f/s |\n", n, c, p, s, s / ns * 1e9 }'
  disperse
}

lines() { seq 1 $((megabytes * 1000)) | awk -v by="$1" '{ x = sprintf("%970s", ""); gsub(/ /, "x", x); printf "%d%s%s\n", $1, by, x }'; }
lines '\t' >"$lab/text"
lines , >"$lab/csv"
sql -d ccm -c 'copy (select id, body from app.large) to stdout (format binary)' >"$lab/binary"

# A large answer, or a large load of a file, through one and the other in turns: CPU for each GB, and how far memory grew.
stream() {
  local what=$1 command=$2 load=${3:-/dev/null} name port user pid round cpu
  for round in 0 1 2 3 4 5; do
    while read -r name port user pid <&9; do
      if [ "$round" = 0 ]; then
        field "$pid" VmRSS >"$lab/$name.before"
        echo 5 >"/proc/$pid/clear_refs" 2>/dev/null || true
        continue
      fi
      cpu=$(cpu_of "$pid")
      PGPASSWORD=pencil psql -X -q -At -h 127.0.0.1 -p "$port" -U "$user" -d ccm -c "$command" <"$load" >/dev/null
      echo $(($(cpu_of "$pid") - cpu)) >>"$lab/$name-$what.cpu"
      sql -d ccm -c 'truncate app.intake'
    done 9<<<"pgbouncer $bouncer_port app_backend $bouncer
pgbulkhead $proxy_port tenant_1 $proxy"
  done
  for name in pgbouncer pgbulkhead; do
    pid=$bouncer
    [ "$name" = pgbouncer ] || pid=$proxy
    awk -v n="$name" -v w="$what" -v mb="$megabytes" -v ns="$(median <"$lab/$name-$what.cpu")" \
      -v ratio="$(paste "$lab/$name-$what.cpu" "$lab/pgbouncer-$what.cpu" | awk '{ print $1 / $2 }' | median)" \
      -v grown=$(($(field "$pid" VmHWM) - $(<"$lab/$name.before"))) \
      'BEGIN { printf "| %s | %s of %d MB | %.2f s of CPU/GB, × PgBouncer %.2f, memory +%.1f MiB |\n", n, w, mb, ns / 1e9 / mb * 1000, ratio, grown / 1024 }'
  done
}

# What is there once (plans, server connections, buffers) is no part of a client.
for mode in simple extended prepared; do
  bench "$proxy_port" tenant_1 -M "$mode" -c 64 -t 20 -f "$benches/point.pgbench" >/dev/null
  bench "$bouncer_port" app_backend -M simple -c 64 -t 20 -f "$benches/point.pgbench" >/dev/null
done

machine
printf '\n| through | what | figure |\n|---|---|---|\n'
for what in idle crowd; do
  "$what" pgbouncer "$bouncer_port" app_backend "$bouncer"
  "$what" pgbulkhead "$proxy_port" tenant_1 "$proxy"
done
stream SELECT 'select body from large'
stream COPY-TO 'copy (select body from large) to stdout'
stream COPY-FROM-text 'copy intake (id, body) from stdin' "$lab/text"
stream COPY-FROM-csv 'copy intake (id, body) from stdin (format csv)' "$lab/csv"
stream COPY-FROM-binary 'copy intake (id, body) from stdin (format binary)' "$lab/binary"
