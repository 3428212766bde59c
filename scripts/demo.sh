#!/usr/bin/env bash
# The main job end to end, on real control planes: stock kubectl creates several hundred objects through
# the router, `kubectl cell where` names the cell of each, and a direct look into every cell agrees.
#
# Everything lives in a temporary folder and ends with the script: nothing of yours is touched.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH="$PWD/bin:$PATH"
. scripts/cleanup.sh

work=$(mktemp -d "${TMPDIR:-/tmp}/kubectl-cell-demo.XXXXXX")
export KUBECONFIG="$work/kubeconfig" KUBECTL_CELL_HOME="$work/state"
readonly kinds=deployments,statefulsets,cronjobs,configmaps,secrets,services
readonly namespaces=(payments search ads mail) each=15
readonly cells=(cell-1 cell-2 cell-3)

cleanup() {
  local status=$?
  trap - EXIT
  [[ ! -d $KUBECTL_CELL_HOME ]] || say 'Clean up'
  end_sandboxes "$work" || status=1
  ((status == 0)) && printf '\nDone in %ss: every object is in exactly the cell that `kubectl cell where` names.\n' "$SECONDS"
  exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

say() { printf '\n\033[1m── %s (%ss)\033[0m\n' "$1" "$SECONDS"; }
[[ -t 1 && -z ${NO_COLOR:-} ]] || say() { printf '\n── %s (%ss)\n' "$1" "$SECONDS"; }
# run shows a command as one would type it, then runs it.
run() { printf '$ %s\n' "$*"; "$@"; }

# manifests prints one object of each of six kinds for each name.
manifests() {
  local ns i
  for ns in "${namespaces[@]}"; do
    printf 'apiVersion: v1\nkind: Namespace\nmetadata: {name: %s}\n---\n' "$ns"
  done
  for ns in "${namespaces[@]}"; do
    for ((i = 1; i <= each; i++)); do
      cat <<YAML
apiVersion: apps/v1
kind: Deployment
metadata: {name: web-$i, namespace: $ns}
spec:
  selector: {matchLabels: {app: web-$i}}
  template:
    metadata: {labels: {app: web-$i}}
    spec: {containers: [{name: web, image: example/web:1}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db-$i, namespace: $ns}
spec:
  serviceName: db-$i
  selector: {matchLabels: {app: db-$i}}
  template:
    metadata: {labels: {app: db-$i}}
    spec: {containers: [{name: db, image: example/db:1}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: report-$i, namespace: $ns}
spec:
  schedule: "0 3 * * *"
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: report, image: example/report:1}]}}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings-$i, namespace: $ns}
data: {mode: "$i"}
---
apiVersion: v1
kind: Secret
metadata: {name: password-$i, namespace: $ns}
stringData: {password: "demo-$i"}
---
apiVersion: v1
kind: Service
metadata: {name: web-$i, namespace: $ns}
spec: {selector: {app: web-$i}, ports: [{port: 80}]}
---
YAML
    done
  done
}

# direct prints "kinds/namespace/name cell" for every object of the demo, asked from the cells themselves.
direct() {
  local cell ns
  for cell in "${cells[@]}"; do
    for ns in "${namespaces[@]}"; do
      kubectl --context "cell-sandbox-$cell" -n "$ns" get "$kinds" --no-headers \
        -o custom-columns=KIND:.kind,NS:.metadata.namespace,NAME:.metadata.name |
        awk -v cell="$cell" '$3 != "kube-root-ca.crt" {print tolower($1) "s/" $2 "/" $3, cell}'
    done
  done | sort
}

say 'Three cells, a router control plane and a router, on this machine'
run kubectl-cell sandbox up --cells 3
run kubectl cell get cells

say 'Stock kubectl, through the router'
manifests >"$work/objects.yaml"
printf '$ kubectl apply --server-side -f objects.yaml\n'
kubectl apply --server-side -f "$work/objects.yaml" >"$work/applied"
printf '%s objects of %s kinds in %s namespaces\n' "$(grep -vc ^namespace/ "$work/applied")" "$(grep -o , <<<"$kinds," | wc -l)" "${#namespaces[@]}"
run kubectl -n payments get deployments
run kubectl -n payments scale deployment web-3 --replicas 5
run kubectl -n payments patch configmap settings-2 -p '{"data":{"mode":"fast"}}'
run kubectl -n payments delete secret password-1

say 'Where does it live?'
run kubectl cell where payments/web-3 search/web-1 deploy/ads/web-2
run kubectl cell where payments/web-3 --why

say 'Compare every answer with a direct look into every cell'
direct >"$work/found"
awk '{print $1}' "$work/found" | sort -u >"$work/names"
kubectl cell where -f "$work/names" --no-headers | awk '{print $1, $2}' | sort >"$work/computed"
objects=$(wc -l <"$work/names")
printf '%s objects: %s\n' "$objects" "$(awk '{print $2}' "$work/found" | sort | uniq -c | awk '{printf "%s%s in %s", sep, $1, $2; sep = ", "}')"
if [[ $objects -lt 300 || $(wc -l <"$work/found") -ne $objects ]]; then
  echo "error: $objects names, $(wc -l <"$work/found") objects: each must be in exactly one cell" >&2
  exit 1
fi
if ! diff "$work/computed" "$work/found" >"$work/difference"; then
  echo 'error: `kubectl cell where` and the cells disagree:' >&2
  head -20 "$work/difference" >&2
  exit 1
fi
printf 'agreement: %s of %s, each object in exactly one cell\n' "$objects" "$objects"

say 'What would a fourth cell take over?'
run kubectl cell sandbox cell add cell-4
run kubectl cell diff || [[ $? -eq 1 ]]
