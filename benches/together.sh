#!/usr/bin/env bash
# CPU per query of PgBouncer and of PgBulkhead while both are used at the same time, by as many clients each: what else
# runs on the machine disturbs both alike, so that the ratio can be trusted where throughput cannot. Medians of the runs.
#
#   benches/together.sh [--seconds 5] [--runs 7] [--clients 8] [--modes "simple extended prepared"]
. "$(dirname "${BASH_SOURCE[0]}")/lab.sh"
seconds=5 runs=7 clients=8 modes="simple extended prepared"
options "seconds runs clients modes" "$@"
need pgbench postgresql
need pgbouncer pgbouncer

start_server 20 2000
start_bouncer "$bouncer_port" app_backend
bouncer=$(pid_of "$bouncer_port")
write_config
start_proxy

# Starts pgbench in the background; its figures are in a file of this name.
load() {
  setsid pgbench -n -h 127.0.0.1 -p "$2" -U "$3" -M "$4" -c "$clients" -j 1 -T "$seconds" \
    -f "$benches/point.pgbench" ccm >"$lab/$1.out" 2>"$lab/$1.err" &
}
queries() { awk '/actually processed/ { split($NF, n, "/"); print n[1] }' "$lab/$1.out"; }

# PgBouncer before 1.21 keeps no prepared statements in transaction pooling: it is compared with its extended.
run() {
  local mode=$1 plain=${1/prepared/extended} of_bouncer of_proxy
  of_bouncer=$(cpu_of "$bouncer") of_proxy=$(cpu_of "$proxy")
  load bouncer "$bouncer_port" app_backend "$plain"
  local first=$!
  load proxy "$proxy_port" tenant_1 "$mode"
  wait "$first" || fail "pgbench: $(tail -3 "$lab/bouncer.err")"
  wait "$!" || fail "pgbench: $(tail -3 "$lab/proxy.err")"
  of_bouncer=$(($(cpu_of "$bouncer") - of_bouncer)) of_proxy=$(($(cpu_of "$proxy") - of_proxy))
  awk -v a="$of_bouncer" -v b="$of_proxy" -v m="$(queries bouncer)" -v n="$(queries proxy)" \
    'BEGIN { printf "%.2f %.2f %.3f\n", a / m / 1000, b / n / 1000, (b / n) / (a / m) }' | tee -a "$lab/$mode.runs" >&2
}

say "warming up"
kept=$seconds seconds=1
for mode in $modes; do run "$mode"; done
seconds=$kept
rm -f "$lab"/*.runs
for _ in $(seq 1 "$runs"); do for mode in $modes; do run "$mode"; done; done
column() { awk -v c="$2" '{ print $c }' "$lab/$1.runs" | median; }
machine
printf '%s clients each, %s runs of %s s\n\n| protocol | PgBouncer, µs | PgBulkhead, µs | ratio |\n|---|---|---|---|\n' \
  "$clients" "$runs" "$seconds"
for mode in $modes; do
  printf '| %s | %.1f | %.1f | %.2f |\n' "$mode" "$(column "$mode" 1)" "$(column "$mode" 2)" "$(column "$mode" 3)"
done
