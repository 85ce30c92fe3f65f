#!/usr/bin/env bash
# Counts what one query costs the proxy's worker thread, exactly: user instructions (valgrind's callgrind) and
# system calls (strace), for a point select in the three modes of pgbench. Compares with benches/accepted.tsv and
# fails where a figure is more than 5 % above the accepted one; --accept writes the figures there instead.
#
#   benches/instructions.sh [--profile release] [--clients 16] [--accept] [--profile-out FILE]
. "$(dirname "${BASH_SOURCE[0]}")/lab.sh"
clients=16 accept= keep= few=40 many=200
while [ $# -gt 0 ]; do
  case $1 in
    --profile) profile=$2 program=${CARGO_TARGET_DIR:-$root/target}/$profile/pgbulkhead && shift ;;
    --clients) clients=$2 && shift ;;
    --accept) accept=yes ;;
    --profile-out) keep=$(realpath "$2") && shift ;;
    *) fail "unknown argument: $1" ;;
  esac
  shift
done
need valgrind valgrind
need strace strace
need pgbench postgresql
accepted=$benches/accepted.tsv
modes="simple extended prepared"

# Runs so many queries for each client in a mode; prints how many there were in all.
queries() { bench "$proxy_port" tenant_1 -M "$1" -c "$clients" -j 1 -t "$2" -f "$benches/point.pgbench" | cut -d' ' -f1; }

# The worker's thread in callgrind's dumps: the one that drives clients.
worker_dump() {
  local file
  for file in "$lab"/callgrind.out.*-*; do
    ! grep -q 'worker::client::Client' "$file" ||
      printf '%d %s\n' "$(awk '/^(summary|totals):/ { sum = $2 } END { print sum + 0 }' "$file")" "$file"
  done | sort -g | tail -1
}

# Sets `sum` to the instructions of the worker for `count` queries of a mode and their logins.
instructions() {
  callgrind_control --zero "$proxy" >"$lab/control.log" 2>&1 || fail "callgrind_control: $(cat "$lab/control.log")"
  rm -f "$lab"/callgrind.out*
  count=$(queries "$1" "$2")
  callgrind_control --dump "$proxy" >"$lab/control.log" 2>&1
  # It answers before everything is written.
  sleep 1
  read -r sum file < <(worker_dump) || fail "no dump of the worker's thread"
}

# Sets `sum` to the system calls of the worker for `count` queries of a mode and their logins.
system_calls() {
  local task thread strace
  for task in "/proc/$proxy/task"/*; do
    [ "$(cat "$task/comm")" != worker-0 ] || thread=${task##*/}
  done
  strace -c -p "$thread" -o "$lab/strace" 2>"$lab/strace.log" &
  strace=$!
  until grep -qs attached "$lab/strace.log"; do sleep 0.05; done
  count=$(queries "$1" "$2")
  kill -INT "$strace"
  wait "$strace" || true
  sum=$(awk '$NF == "total" { print $4 }' "$lab/strace")
}

# The difference of two run lengths: logins and everything else that happens once cancel out.
measure() {
  local what=$1 mode=$2 scale=$3 first
  "$what" "$mode" "$few"
  first=$sum
  local before=$count
  "$what" "$mode" "$many"
  awk -v n=$((sum - first)) -v q=$((count - before)) -v m="$mode" -v w="$what" -v f="$scale" -v p="$profile" \
    'BEGIN { printf "%s\t%s\t%s\t" f "\n", p, m, w, n / q }' | tee -a "$lab/figures"
}

start_server 4 2000
write_config
start_proxy valgrind --tool=callgrind --separate-threads=yes --callgrind-out-file="$lab/callgrind.out" --log-file="$lab/valgrind.log"
for mode in $modes; do
  queries "$mode" 10 >/dev/null
  measure instructions "$mode" %.0f
  [ -z "$keep" ] || cp "$file" "$keep.$mode"
done
kill -INT "$proxy"
while [ -e "/proc/$proxy" ]; do sleep 0.1; done
start_proxy
few=50 many=250
for mode in $modes; do
  queries "$mode" 10 >/dev/null
  measure system_calls "$mode" %.2f
done

if [ -n "$accept" ]; then
  { grep -v "^$profile	" "$accepted" 2>/dev/null || true; cat "$lab/figures"; } | sort >"$lab/accepted"
  cp "$lab/accepted" "$accepted"
  exit
fi
awk -F '\t' 'NR == FNR { was[$1 FS $2 FS $3] = $4; next }
  !(($1 FS $2 FS $3) in was) { printf "%s: no accepted figure\n", $0; bad = 1; next }
  $4 > was[$1 FS $2 FS $3] * 1.05 { printf "%s: more than 5 %% above %s\n", $0, was[$1 FS $2 FS $3]; bad = 1 }
  END { exit bad }' "$accepted" "$lab/figures"
