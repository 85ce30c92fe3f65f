#!/usr/bin/env bash
# Throughput, proxy CPU and latency side by side: directly to the server, through PgBouncer (transaction pooling,
# does nothing but pool), through PgBulkhead (isolation, audit and metrics on), and row-level security as
# applications use it (BEGIN, SET LOCAL, query, COMMIT, through PgBouncer). A point select of one tenant's table.
# Through PgBouncer it runs as it is, for any tenant's row, and with `tenant_id = 1 and` written by hand: what the server
# does for the predicate costs the same whoever writes it. All cases take turns in each round; the table shows
# medians, and ratios to PgBouncer in the same round.
#
#   benches/compare.sh [--seconds 10] [--rounds 5] [--clients 16] [--modes "simple extended prepared"]
. "$(dirname "${BASH_SOURCE[0]}")/lab.sh"
seconds=10 rounds=5 clients=16 modes="simple extended prepared"
options "seconds rounds clients modes" "$@"
need pgbench postgresql
need pgbouncer pgbouncer
need openssl openssl

start_server 20 2000
start_bouncer "$bouncer_port" app_backend
start_bouncer "$bouncer_rls_port" app_rls
bouncer=$(pid_of "$bouncer_port")
bouncer_rls=$(pid_of "$bouncer_rls_port")
write_config
start_proxy

token=$(token 1)
select='select id, title, status, body, amount from documents where id = :id;'
variable='\set id random(1000001, 1002000)'
printf '%s\nbegin;\nset local app.tenant = 1;\n%s\ncommit;\n' "$variable" "$select" >"$lab/rls.pgbench"
printf '%s\nbegin\\; set local app.tenant = 1;\n%s\ncommit;\n' "$variable" "$select" >"$lab/rls_packed.pgbench"
printf "%s\nbegin\\\\; set local pgbulkhead.tenant_token = '%s';\n%s\ncommit;\n" "$variable" "$token" "$select" >"$lab/token.pgbench"
printf '%s\nbegin;\n%s\ncommit;\n' "$variable" "$select" >"$lab/transaction.pgbench"
sed 's/where /where tenant_id = 1 and /' "$benches/point.pgbench" >"$lab/by_hand.pgbench"

# One turn of a case: appends "transactions/s, latency in µs, proxy's CPU in µs per transaction, context switches".
turn() {
  local name=$1 port=$2 user=$3 pid=$4 before=0 after=0
  shift 4
  [ -z "$pid" ] || before=$(cpu_of "$pid")
  read -r done tps latency < <(bench "$port" "$user" -T "$seconds" -j 1 "$@")
  [ -z "$pid" ] || after=$(cpu_of "$pid")
  awk -v n="$done" -v tps="$tps" -v l="$latency" -v ns=$((after - before)) \
    'BEGIN { printf "%.1f %.1f %.3f\n", tps, l, n ? ns / n / 1000 : 0 }' >>"$lab/$name.turns"
  say "  $name $(tail -1 "$lab/$name.turns")"
}

# All ways to the server for a point select in one protocol. PgBouncer before 1.21 keeps no prepared statements in
# transaction pooling: it is compared with its extended.
each_way() {
  local name=$1 mode=$2 bouncers=${2/prepared/extended}
  shift 2
  turn "$name.direct" "$server_port" app_backend "" -M "$mode" "$@" -f "$benches/point.pgbench"
  turn "$name.pgbouncer" "$bouncer_port" app_backend "$bouncer" -M "$bouncers" "$@" -f "$benches/point.pgbench"
  turn "$name.by_hand" "$bouncer_port" app_backend "$bouncer" -M "$bouncers" "$@" -f "$lab/by_hand.pgbench"
  turn "$name.pgbulkhead" "$proxy_port" tenant_1 "$proxy" -M "$mode" "$@" -f "$benches/point.pgbench"
}

one_round() {
  local mode
  for mode in $modes; do each_way "$mode" "$mode" -c "$clients"; done
  each_way one_client simple -c 1
  turn tx.pgbouncer_rls "$bouncer_rls_port" app_rls "$bouncer_rls" -M simple -c "$clients" -f "$lab/rls.pgbench"
  turn tx.pgbouncer_rls_packed "$bouncer_rls_port" app_rls "$bouncer_rls" -M simple -c "$clients" -f "$lab/rls_packed.pgbench"
  turn tx.pgbouncer "$bouncer_port" app_backend "$bouncer" -M simple -c "$clients" -f "$lab/transaction.pgbench"
  turn tx.pgbulkhead "$proxy_port" tenant_1 "$proxy" -M simple -c "$clients" -f "$lab/transaction.pgbench"
  turn tx.pgbulkhead_token "$proxy_port" by_token "$proxy" -M simple -c "$clients" -f "$lab/token.pgbench"
}

say "warming up"
kept=$seconds
seconds=1
one_round
seconds=$kept
rm -f "$lab"/*.turns
for round in $(seq 1 "$rounds"); do
  say "round $round of $rounds"
  one_round
done

column() { awk -v c="$2" '{ print $c }' "$lab/$1.turns" | median; }
# Median over the rounds of one case's figure divided by another's in the same round.
ratio() { paste "$lab/$1.turns" "$lab/$2.turns" | awk -v c="$3" '$(c + 3) > 0 { print $c / $(c + 3) }' | median; }
row() {
  printf '| %s | %s | %.0f | %.0f | %.1f | %.2f | %.2f |' "$1" "$2" "$(column "$3" 1)" "$(column "$3" 2)" \
    "$(column "$3" 3)" "$(ratio "$3" "$4" 1)" "$(ratio "$3" "$4" 3)"
  [ -z "${5:-}" ] || printf ' %.2f | %.2f |' "$(ratio "$3" "$5" 1)" "$(ratio "$3" "$5" 3)"
  printf '\n'
}
rows_of() {
  row "$1" direct "$2.direct" "$2.pgbouncer" "$2.by_hand"
  row "$1" pgbouncer "$2.pgbouncer" "$2.pgbouncer" "$2.by_hand"
  row "$1" 'pgbouncer, predicate by hand' "$2.by_hand" "$2.pgbouncer" "$2.by_hand"
  row "$1" pgbulkhead "$2.pgbulkhead" "$2.pgbouncer" "$2.by_hand"
}

machine
printf '%s clients, %s rounds of %s s\n\n' "$clients" "$rounds" "$seconds"
printf '| protocol | through | transactions/s | latency µs | proxy CPU µs each | tps × PgBouncer | CPU × PgBouncer | tps × by hand | CPU × by hand |\n|---|---|---|---|---|---|---|---|---|\n'
for mode in $modes; do rows_of "$mode" "$mode"; done
rows_of 'simple, one client' one_client
printf '\n| transaction | through | transactions/s | latency µs | proxy CPU µs each | tps × RLS | CPU × RLS |\n|---|---|---|---|---|---|---|\n'
row 'BEGIN, SET LOCAL, query, COMMIT (RLS)' pgbouncer tx.pgbouncer_rls tx.pgbouncer_rls
row 'BEGIN; SET LOCAL in one packet, query, COMMIT (RLS)' pgbouncer tx.pgbouncer_rls_packed tx.pgbouncer_rls
row 'BEGIN, query, COMMIT (no isolation)' pgbouncer tx.pgbouncer tx.pgbouncer_rls
row 'BEGIN, query, COMMIT' pgbulkhead tx.pgbulkhead tx.pgbouncer_rls
row 'BEGIN; SET LOCAL token in one packet, query, COMMIT' pgbulkhead tx.pgbulkhead_token tx.pgbouncer_rls
case " $modes " in *" simple "*) row 'query' pgbulkhead simple.pgbulkhead tx.pgbouncer_rls ;; esac
