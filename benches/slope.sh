#!/usr/bin/env bash
# Whether the hot statement costs more where there is much of everything: many tenants with a login each, many
# relations, and many distinct statements that were run before. Two proxies take turns, one in front of a small
# world and one in front of a large one; compared is the CPU of the worker's process for each query.
#
#   benches/slope.sh [--tenants 100000] [--relations 10000] [--statements 10000] [--seconds 5] [--rounds 9]
. "$(dirname "${BASH_SOURCE[0]}")/lab.sh"
tenants=100000 relations=10000 statements=10000 seconds=5 rounds=9
options "tenants relations statements seconds rounds" "$@"
need pgbench postgresql

start_server 4 2000
write_config
start_proxy
small=$proxy small_port=$proxy_port

say "$relations relations, $tenants tenants"
for from in $(seq 1 1000 "$relations"); do
  sql -d ccm -v from="$from" <<'EOF'
select format('create table app.t%s (tenant_id int not null, id bigint primary key, a text, b int, c numeric)', n)
from generate_series(:from, :from + 999) n \gexec
EOF
done
sql -d ccm -c 'grant select on all tables in schema app to app_backend'
proxy_port=$((base + 5)) metrics_port=$((base + 6))
mkdir "$lab/large"
verifier=$(sed -n 's/^verifier = //p' "$lab/pgbulkhead.toml" | head -1)
sed -e "s/127.0.0.1:$small_port/127.0.0.1:$proxy_port/; s/127.0.0.1:$((base + 4))/127.0.0.1:$metrics_port/" \
  -e "s|$lab/audit.jsonl|$lab/large/audit.jsonl|" "$lab/pgbulkhead.toml" >"$lab/large.toml"
seq 10 $((tenants + 9)) | awk -v v="$verifier" \
  '{ printf "[[users]]\nname = \"tenant_%d\"\nverifier = %s\nrole = \"app\"\ntenant = \"%d\"\n", $1, v, $1 }' >>"$lab/large.toml"
mv "$lab/large.toml" "$lab/pgbulkhead.toml"
start_proxy
large=$proxy large_port=$proxy_port

say "$statements distinct statements"
seq 1 "$statements" | awk '{ printf "select id as c%d from documents where id = 1000001;\n", $1 }' >"$lab/distinct.sql"
psql -X -q -o /dev/null -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$large_port" -U tenant_1 -d ccm -f "$lab/distinct.sql"

turn() {
  local before
  before=$(cpu_of "$3")
  read -r done tps latency < <(bench "$2" tenant_1 -T "$seconds" -c 8 -j 1 -f "$benches/point.pgbench")
  awk -v n="$done" -v ns=$(($(cpu_of "$3") - before)) 'BEGIN { printf "%.3f\n", ns / n / 1000 }' >>"$lab/$1.turns"
}
for round in $(seq 1 "$rounds"); do
  turn small "$small_port" "$small"
  turn large "$large_port" "$large"
done
machine
printf '%s tenants, %s relations, %s statements: %.2f µs of CPU a query, in a small world %.2f, ratio %.3f (median of %s rounds)\n' \
  "$tenants" "$relations" "$statements" "$(median <"$lab/large.turns")" "$(median <"$lab/small.turns")" \
  "$(paste "$lab/large.turns" "$lab/small.turns" | awk '{ print $1 / $2 }' | median)" "$rounds"
