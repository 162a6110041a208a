#!/usr/bin/env bash
# Runs the k6 scripts against a demo of its own and stops it again.
#
#   loadtest/run.sh [SCRIPT ...]     default: baseline tenants
#
#   SLUICE     binary (default bin/sluice)      K6     binary (default bin/k6)
#   OUT        directory for results and logs   PORT   first of eleven ports (default 18400)
#   NODES      gateway nodes (default 1)
#
# The scripts' own settings are read from the environment, too: RATE, ROUNDS, …
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
sluice=${SLUICE:-$root/bin/sluice}
k6=${K6:-$root/bin/k6}
out=${OUT:-$root/out/loadtest}
port=${PORT:-18400}
scripts=("$@")
((${#scripts[@]})) || scripts=(baseline tenants)

for program in "$sluice" "$k6"; do
  [[ -x $program ]] || { echo "$program is missing: make build bin/k6" >&2; exit 1; }
done

mkdir -p "$out"
dir=$(mktemp -d)
demo_pid=
finish() {
  if [[ -n $demo_pid ]] && kill -0 "$demo_pid" 2>/dev/null; then
    kill "$demo_pid"
    wait "$demo_pid" || true
  fi
  rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT TERM

"$sluice" demo --dir "$dir" --port-base "$port" --nodes "${NODES:-1}" --redis off >"$out/demo.log" 2>&1 &
demo_pid=$!
# The demo writes demo.json once its gateway is ready; the brace is its last line.
for ((tries = 300; ; tries--)); do
  [[ -s $dir/demo.json && $(tail -n 1 "$dir/demo.json") == "}" ]] && break
  if ((tries == 0)) || ! kill -0 "$demo_pid" 2>/dev/null; then
    echo "The demo did not start:" >&2
    cat "$out/demo.log" >&2
    exit 1
  fi
  sleep 0.1
done

failed=0
for script in "${scripts[@]}"; do
  printf '\n== %s ==\n' "$script"
  result=$out/$script.json
  rm -f "$result"
  args=(run --quiet --no-color --address '' -e DEMO="$dir/demo.json" -e OUT="$result")
  if ! K6_NO_USAGE_REPORT=true "$k6" "${args[@]}" "$root/loadtest/k6/$script.js"; then
    failed=1
  elif [[ -s $result ]] && ! grep -q '"passed": true' "$result"; then
    failed=1
  fi
done

if ! kill -0 "$demo_pid" 2>/dev/null; then
  failed=1
  printf "\nThe demo has ended on the way:\n" >&2
  tail -n 20 "$out/demo.log" >&2
fi
printf '\nresults in %s\n' "$out"
exit "$failed"
