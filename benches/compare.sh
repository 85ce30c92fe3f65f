#!/usr/bin/env bash
# Throughput, proxy CPU and latency side by side: directly to the server, through PgBouncer (transaction pooling,
# does nothing but pool), through PgBulkhead (isolation, audit and metrics on), and row-level security as
# applications use it (BEGIN, SET LOCAL, query, COMMIT, through PgBouncer). A point select of one tenant's table.
# All cases take turns in each round; the table shows medians and ratios to PgBouncer in the same round.
#
#   benches/compare.sh [--seconds 10] [--rounds 5] [--clients 16] [--modes "simple extended prepared"]
. "$(dirname "${BASH_SOURCE[0]}")/lab.sh"
seconds=10 rounds=5 clients=16 modes="simple extended prepared"
while [ $# -gt 0 ]; do
  case $1 in
    --seconds) seconds=$2 ;;
    --rounds) rounds=$2 ;;
    --clients) clients=$2 ;;
    --modes) modes=$2 ;;
    *) fail "unknown argument: $1" ;;
  esac
  shift 2
done
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

four() {
  local name=$1
  shift
  turn "$name.direct" "$server_port" app_backend "" "$@"
  turn "$name.pgbouncer" "$bouncer_port" app_backend "$bouncer" "$@"
  turn "$name.pgbulkhead" "$proxy_port" tenant_1 "$proxy" "$@"
}

one_round() {
  local mode many=$seconds
  for mode in $modes; do
    # PgBouncer before 1.21 keeps no prepared statements in transaction pooling: it is compared with its extended.
    if [ "$mode" = prepared ]; then
      turn prepared.direct "$server_port" app_backend "" -M prepared -c "$clients" -f "$benches/point.pgbench"
      turn prepared.pgbouncer "$bouncer_port" app_backend "$bouncer" -M extended -c "$clients" -f "$benches/point.pgbench"
      turn prepared.pgbulkhead "$proxy_port" tenant_1 "$proxy" -M prepared -c "$clients" -f "$benches/point.pgbench"
    else
      four "$mode" -M "$mode" -c "$clients" -f "$benches/point.pgbench"
    fi
  done
  four one_client -M simple -c 1 -f "$benches/point.pgbench"
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
  printf '| %s | %s | %.0f | %.0f | %.1f | %.2f | %.2f |\n' "$1" "$2" "$(column "$3" 1)" "$(column "$3" 2)" \
    "$(column "$3" 3)" "$(ratio "$3" "$4" 1)" "$(ratio "$3" "$4" 3)"
}

machine
printf '%s clients, %s rounds of %s s\n\n' "$clients" "$rounds" "$seconds"
printf '| protocol | through | transactions/s | latency µs | proxy CPU µs each | tps × PgBouncer | CPU × PgBouncer |\n|---|---|---|---|---|---|---|\n'
for mode in $modes; do
  for through in direct pgbouncer pgbulkhead; do row "$mode" "$through" "$mode.$through" "$mode.pgbouncer"; done
done
for through in direct pgbouncer pgbulkhead; do row "simple, one client" "$through" "one_client.$through" one_client.pgbouncer; done
printf '\n| transaction | through | transactions/s | latency µs | proxy CPU µs each | tps × RLS | CPU × RLS |\n|---|---|---|---|---|---|---|\n'
row 'BEGIN, SET LOCAL, query, COMMIT (RLS)' pgbouncer tx.pgbouncer_rls tx.pgbouncer_rls
row 'BEGIN; SET LOCAL in one packet, query, COMMIT (RLS)' pgbouncer tx.pgbouncer_rls_packed tx.pgbouncer_rls
row 'BEGIN, query, COMMIT (no isolation)' pgbouncer tx.pgbouncer tx.pgbouncer_rls
row 'BEGIN, query, COMMIT' pgbulkhead tx.pgbulkhead tx.pgbouncer_rls
row 'BEGIN; SET LOCAL token in one packet, query, COMMIT' pgbulkhead tx.pgbulkhead_token tx.pgbouncer_rls
case " $modes " in *" simple "*) row 'query' pgbulkhead simple.pgbulkhead tx.pgbouncer_rls ;; esac
