#!/usr/bin/env bash
# Usage: conformance.sh [--short] [--focus REGEXP]
#
# Runs Kubernetes' own specs, those that need no nodes, first against one cell directly and then through a
# router over three cells, and prints both columns. Fails when a spec passes directly and not through the
# router, unless test/conformance/exceptions.txt excuses it. A complete run writes docs/conformance.md.
#
#   --short         only the most telling specs: less than three minutes
#   --focus REGEXP  only specs whose names match, such as 'Watchers'
#
# Results, logs and JUnit reports stay in bin/conformance until the next run. The control planes live in a
# temporary folder and end with the script.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH="$PWD/bin:$PATH"
. scripts/cleanup.sh
readonly module=$PWD/test/conformance out=$PWD/bin/conformance
# Exit code of the binary that asks to be run again for what is left: one spec had to be interrupted.
readonly left=3
# Processes that run specs at the same time.
readonly shards=3
# Longest time of a step of a spec: one watches for a minute and a half that nothing is deleted, half a minute after
# the garbage collector has come to know the kind. And of one that upstream calls slow: it may wait ten minutes.
readonly limit=${CONFORMANCE_LIMIT:-3m} slow_limit=12m

selection=() focus=
while (($#)); do
  case $1 in
    --short) selection+=(-short) ;;
    --focus) focus=${2:?--focus takes a regular expression} && shift ;;
    *) echo "error: conformance.sh does not know $1" >&2; exit 2 ;;
  esac
  shift
done
[[ -z $focus ]] || selection+=("-focus=$focus")

work=$(mktemp -d "${TMPDIR:-/tmp}/kubectl-cell-conformance.XXXXXX")
export KUBECONFIG="$work/kubeconfig" KUBECTL_CELL_HOME="$work/state"
cleanup() {
  local status=$? pid
  trap - EXIT
  for pid in $(jobs -p); do
    kill -KILL -- "-$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true # without a line on each that it was killed
  done
  end_sandboxes "$work" >&2 || status=1
  exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# background runs a function as a process group of its own, so that whatever it has started ends with it.
background() {
  set -m
  "$@" </dev/null &
  set +m
}

# shard runs a part of the selected specs, again and again while some are left.
shard() { # COLUMN CONTEXT NUMBER LIMIT
  local dir=$out/$1 context=$2 number=$3 round code=$left
  for ((round = 1; code == left; round++)); do
    code=0
    "$out/conformance.test" "${selection[@]/#-short/-selection-short}" -shard "$number" -shards "$shards" \
      -specs "$module/specs.txt" -results "$dir/results.jsonl" -limit "$4" \
      -kubeconfig "$KUBECONFIG" -context "$context" -e2e-output-dir "$work" \
      -report-dir "$dir" -report-prefix "$number-$round-" -dump-logs-on-failure=false -disable-log-dump \
      -ginkgo.no-color -ginkgo.grace-period=5s >>"$dir/log-$number" 2>&1 || code=$?
  done
  ((code == 0)) || printf 'error: the specs did not run\n  hint: read %s\n' "$dir/log-$number" >&2
  return "$code"
}

# column runs the selected specs against a context of the kubeconfig: first those that tolerate company, most
# of which wait most of the time, then one by one those that do not.
column() { # NAME CONTEXT
  local start=$SECONDS number pid pids=() failed=0
  for ((number = 0; number < shards; number++)); do
    background shard "$1" "$2" "$number" "$limit"
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
  ((failed == 0)) || return 1
  shard "$1" "$2" "$shards" "$limit"
  printf '%s: %s specs in %s s\n' "$1" "$(wc -l <"$out/$1/results.jsonl")" "$((SECONDS - start))" >&2
}

# slow runs those specs that take minutes. One of them gives an apiserver ten minutes to forget a version, which
# takes up to a quarter of a minute more from when the apiserver started: it must not begin at once.
slow() { # NAME CONTEXT
  sleep 20
  shard "$1" "$2" "$((shards + 1))" "$slow_limit"
}

rm -rf "$out/direct" "$out/router"
"$module/build.sh" "$out/conformance.test"
kubectl-cell sandbox up --cells 3 --name conformance --tui never >&2
mkdir -p "$out/direct" "$out/router"
touch "$out/direct/results.jsonl" "$out/router/results.jsonl"

# Nearly always waiting, they disturb nobody, and so do not lengthen the columns.
background slow direct conformance-cell-1
pids=($!)
background slow router conformance
pids+=($!)
column direct conformance-cell-1
column router conformance
for pid in "${pids[@]}"; do wait "$pid"; done

document=()
((${#selection[@]})) || document=(-document "$PWD/docs/conformance.md")
(cd "$module" && go build -o "$out/compare" ./cmd/compare)
"$out/compare" -specs "$module/specs.txt" -exceptions "$module/exceptions.txt" \
  -direct "$out/direct/results.jsonl" -router "$out/router/results.jsonl" "${selection[@]}" "${document[@]}"
