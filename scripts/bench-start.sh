#!/usr/bin/env bash
# Prints how long commands take from the shell's point of view, as medians of runs in turn, so that what else the machine
# does harms all alike: `kubectl cell where` beside `kubectl get` of the same object, and `version --client`. Targets: 1.2
# times as long, and 100 ms. ROUNDS=9 makes fewer rounds than 21.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/cleanup.sh
home=$(mktemp -d)
export HOME=$home KUBECTL_CELL_HOME=$home/state KUBECONFIG=$home/kubeconfig KUBECELL_CONTROLPLANE=$PWD/bin/cell-controlplane
ln -s "$PWD/bin/kubectl-cell" "$home/kubectl-cell"
export PATH=$home:$PATH
cleanup() {
  local status=$?
  trap - EXIT
  end_sandboxes "$home" >&2 || status=1
  exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
kubectl-cell sandbox up --cells 2 >"$home/up" 2>&1 || { cat "$home/up" >&2; exit 1; }
kubectl create configmap checkout >"$home/made"

commands=(
  'kubectl get configmap checkout'
  'kubectl cell where configmap/checkout'
  'kubectl-cell where configmap/checkout'
  'kubectl cell version --client'
  'kubectl-cell version --client'
)
# once VALUE: microseconds that a command takes; it fails where the command does.
once() {
  local began=${EPOCHREALTIME/[.,]/}
  $1 >"$home/out"
  echo $((${EPOCHREALTIME/[.,]/} - began))
}
for command in "${commands[@]}"; do once "$command" >"$home/first"; done # from the disk, and the cache of discovery
for ((round = 0; round < ${ROUNDS:-21}; round++)); do
  for i in "${!commands[@]}"; do once "${commands[i]}" >>"$home/times.$i"; done
done
median() { sort -n "$home/times.$1" | awk '{t[NR] = $1} END {printf "%.1f", t[int((NR + 1) / 2)] / 1000}'; }
for i in "${!commands[@]}"; do printf '%-40s %8s ms\n' "${commands[i]}" "$(median "$i")"; done
awk -v where="$(median 1)" -v get="$(median 0)" -v plugin="$(median 3)" 'BEGIN {
  printf "where ÷ get: %.2f (target 1.20); a plugin that asks nothing ÷ get: %.2f\n", where / get, plugin / get
}'
