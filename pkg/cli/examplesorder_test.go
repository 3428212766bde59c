//go:build linux

package cli_test

import (
	"slices"
	"strings"

	"github.com/kubecell/kubectl-cell/pkg/exit"
)

// Flags and words that several examples share.
const (
	loopbackRouter = "--bind-address 127.0.0.1 --secure-port $PORT --admin-listen 127.0.0.1:0"
	loopbackBackup = "--listen 127.0.0.1:0"
	// asAdministrator is whoever has a kubeconfig of the router control plane, and no other.
	asAdministrator = "export KUBECONFIG=rcp.conf"
	// withStandIns has stand-ins for sudo, useradd and systemctl before all else on PATH, and one for the program, whose
	// daemons listen on loopback.
	withStandIns = "PATH=$STANDINS:$PATH"
)

// files are what FILE and paths of a machine stand for.
func files() []string {
	return []string{
		"--rcp-kubeconfig FILE", "--rcp-kubeconfig $PWD/rcp.conf", "--client-ca-file FILE", "--client-ca-file $PWD/ca.crt",
		"/var/lib", "$ROOT/var/lib", "--secure-port 6443", "",
	}
}

// examplesInOrder are all examples but those of init, in an order in which each finds what it speaks of.
func examplesInOrder() []example {
	return slices.Concat(
		examplesWithoutFederation(), examplesOfSandboxes(), examplesThatLook(), examplesOfCells(), examplesOfRebalances(),
		examplesOfFailovers(), examplesOfRouters(), examplesOfBackups(), examplesOfChaos(),
	)
}

// examplesWithoutFederation load scripts into bash, and into stand-ins for shells that are not everywhere.
func examplesWithoutFederation() []example {
	return []example{
		{line: "kubectl cell completion install", prints: "/bin/kubectl_complete-cell"},
		{line: "kubectl cell completion install --dir ~/.local/bin", given: "mkdir -p ~/.local/bin"},
		{line: "source <(kubectl-cell completion bash)", with: "; complete -p kubectl-cell", prints: "complete -o default -F "},
		{line: "source <(kubectl-cell completion zsh)", here: `source() { grep -c '#compdef kubectl-cell' "$1"; }`},
		{line: "kubectl-cell completion fish | source", here: "source() { grep -c 'complete -c kubectl-cell'; }"},
		{
			line: "kubectl-cell completion powershell | Out-String | Invoke-Expression",
			here: "Out-String() { cat; }; Invoke-Expression() { grep -c Register-ArgumentCompleter; }",
		},
		{line: "kubectl cell options", prints: "--kubeconfig"},
		{line: "kubectl cell explain", prints: "rebalance"},
		{line: "kubectl cell explain ring", prints: "ring"},
		{line: "kubectl cell simulate --workloads 10M --cells 8 --add 1", prints: "add 1: moves 1"},
		{line: "kubectl cell simulate --cells 8 --drain cell-3 --weight cell-5=120", prints: "moves "},
		{line: "kubectl cell simulate --cells 8 --kill cell-3,cell-1", prints: "lose both copies"},
		{line: "kubectl cell version --client -o json", prints: `"kind": "Versions"`},
	}
}

// examplesOfInit are for control planes that belong to nobody.
func examplesOfInit() []example {
	const here = "export KUBECONFIG=unfounded.yaml"
	return []example{
		{line: "kubectl cell init --dry-run", here: here, prints: "(dry run)"},
		{line: "kubectl cell init --founder cell-1=c1.yaml --founder cell-2=c2.yaml,weight=200", here: here, prints: "founded with 2 cells, epoch 1"},
	}
}

func examplesOfSandboxes() []example {
	return []example{
		{line: "kubectl cell sandbox up --cells 3", prints: "is up: 3 cells"},
		{line: "kubectl create deployment web --image nginx", prints: "web created"},
		{line: "kubectl cell sandbox ls", prints: "3/3"},
		{line: "kubectl cell sandbox ls -o json", prints: `"pid": `},
		{line: "kubectl cell where deploy/web", prints: "web", given: `
kubectl config view --minify --flatten --context cell-sandbox-rcp >rcp.conf
kubectl config view --minify --flatten --context cell-sandbox-rcp -o jsonpath='{.clusters[0].cluster.certificate-authority-data}' | base64 -d >ca.crt
for namespace in payments search canary; do
  kubectl create namespace $namespace
  printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: item-%d, namespace: '$namespace'}\n---\n' $(seq 12) | kubectl create -f -
done
kubectl -n payments create deployment checkout --image example/checkout:1
kubectl -n search create deployment index --image example/index:1
`},
	}
}

// examplesThatLook change nothing.
func examplesThatLook() []example {
	const event = `
kubectl --context cell-sandbox-cell-1 -n payments create -f - <<'EVENT'
apiVersion: v1
kind: Event
metadata: {name: checkout.example, namespace: payments}
involvedObject: {kind: Deployment, name: checkout, namespace: payments}
type: Warning
reason: Example
message: that is what happens to it
EVENT
`
	return []example{
		{line: "kubectl cell where checkout search/index", prints: "search/index"},
		{line: "kubectl cell where deploy/checkout -n payments", prints: "deployments/payments/checkout"},
		{line: "kubectl cell where deploy/checkout -n payments --why", prints: "key payments/checkout"},
		{line: "kubectl get deploy -n payments -o name | kubectl cell where -n payments -f - --live", prints: "checkout"},
		{line: "kubectl cell where payments/checkout --offline", prints: "payments/checkout"},
		{line: "kubectl cell version", prints: "server: "},
		{line: "kubectl cell get cells", prints: "cell-3"},
		{
			line: "kubectl cell get cells -o wide -l topology.kubernetes.io/zone=a", prints: "cell-1",
			given: "kubectl --context cell-sandbox-rcp label cells.kubecell.io cell-1 topology.kubernetes.io/zone=a",
		},
		{line: "kubectl cell get workloads", prints: "default/web"},
		{line: "kubectl cell get workloads -n payments", prints: "payments/item-12"},
		{line: "kubectl cell get workloads -A --no-headers | awk '$2 == \"cell-3\"'", prints: "cell-3"},
		{line: "kubectl cell status", prints: "ring default"},
		{line: "kubectl cell status cell-3", prints: "apiserver"},
		{line: "kubectl cell status --exit-status -o json", prints: `"findings": []`, awaits: true},
		{line: "kubectl cell top", prints: "cell-3"},
		{line: "kubectl cell top --tui=never", prints: "cell-3"},
		{line: "kubectl cell events -A --types Warning --since 1h", given: event, prints: "that is what happens to it"},
		{line: "kubectl cell events -n payments --for deployment/checkout -w", until: "that is what happens to it", code: exit.Detached},
		{line: "kubectl cell doctor", awaits: true, prints: "cell cell-3"},
		{line: "kubectl cell doctor -o json", prints: `"kind": "CheckList"`},
		// unzip is not everywhere.
		{
			line: "kubectl cell report -f report.zip && unzip -l report.zip", prints: "report.zip",
			here: `command -v unzip >/dev/null || unzip() { test -s "$2"; }`,
		},
		{line: "kubectl cell verify", awaits: true, prints: "nothing found"},
		{line: "kubectl cell verify -n payments --full", awaits: true, prints: "nothing found"},
		{line: "kubectl cell verify --repair", awaits: true, prints: "nothing found"},
		{line: "kubectl cell backup verify", awaits: true, prints: "; 0 findings"},
		{line: "kubectl cell backup verify --full", awaits: true, prints: "; 0 findings"},
	}
}

// examplesOfCells have a fourth cell, and give its control plane to the federation under other names.
func examplesOfCells() []example {
	return []example{
		{line: "kubectl cell sandbox cell add cell-4", prints: "in the wanted ring"},
		{line: "kubectl cell diff", code: exit.Failure, prints: "+cell-4"},
		{line: "kubectl cell diff -n payments", code: exit.Failure, prints: "13 workloads in payments"},
		{line: "kubectl cell diff --per-namespace", code: exit.Failure, prints: "payments"},
		{line: "kubectl cell diff --summary || echo differs", prints: "\ndiffers\n"},
		{
			line: "kubectl cell add cell-7 --kubeconfig c7.yaml --weight 200 --label topology.kubernetes.io/zone=b --dry-run", prints: "(dry run)",
			given: `
kubectl cell drain cell-4
kubectl cell remove cell-4 --yes
kubectl config view --minify --flatten --context cell-sandbox-cell-4 >c6.yaml
cp c6.yaml c7.yaml
`,
		},
		{line: "kubectl cell add cell-6 --kubeconfig c6.yaml", prints: "cell-6"},
		{line: "kubectl cell remove cell-3", given: "kubectl cell drain cell-6", as: []string{"cell-3", "cell-6"}, with: "--yes", prints: "cell-6"},
		{line: "kubectl cell sandbox cell remove cell-4", prints: "is removed"},
		{line: "kubectl cell weight cell-5 120", as: []string{"cell-5", "cell-2"}, prints: "cell-2"},
	}
}

// examplesOfRebalances move workloads out of cell-3, and back.
func examplesOfRebalances() []example {
	const slowly = "kubectl cell rebalance --window 1 --rate "
	return []example{
		{line: "kubectl cell drain cell-3 --dry-run", given: "kubectl cell weight cell-2 100", prints: "(dry run)"},
		{line: "kubectl cell drain cell-3", prints: "-cell-3"},
		{line: "kubectl cell rebalance --dry-run", prints: "units, 50 at a time (dry run)"},
		{line: "kubectl cell rebalance -n canary", with: "--yes", prints: "canary/item-"},
		{line: "kubectl cell rebalance resume", prints: "goes on"},
		{line: "kubectl cell rebalance status -w", prints: "is Succeeded"},
		{line: "kubectl cell undrain cell-3", prints: "+cell-3"},
		{line: "kubectl cell rebalance pause", given: slowly + "1 --yes --detach", prints: "pauses"},
		{line: "kubectl cell rebalance status", prints: "rebalance r-"},
		{line: "kubectl cell rebalance step", prints: "moves 1 windows"},
		{line: "kubectl cell rebalance abort", with: "--yes", prints: "is aborted"},
		{
			line: "kubectl cell rebalance --window 50 --yes --detach", prints: "is left to the backup daemon",
			given: "kubectl cell rebalance status -w || [ $? = 1 ]", // which says that it was aborted
		},
		{
			line: "kubectl cell rebalance --attach", prints: "Succeeded",
			given: "kubectl cell rebalance status -w\nkubectl cell weight cell-3 200\n" + slowly + "4 --yes --detach",
		},
		{line: "kubectl cell history", prints: "Aborted"},
		{line: "kubectl cell history -o wide", prints: "cell-3 100→200"},
	}
}

// examplesOfFailovers lose cell-3, and have it back.
func examplesOfFailovers() []example {
	const protected = "for _ in $(seq 50); do ! kubectl cell backup verify || exit 0; done; exit 1" // it waits for three seconds before it finds something
	return []example{
		{line: "kubectl cell failover cell-3 --drill", given: protected, prints: "cell-3"},
		{line: "kubectl cell failover cell-3 --dry-run", given: "kubectl cell sandbox chaos kill cell-3", code: exit.Refused, prints: "--confirm=cell-3@epoch"},
		{line: "kubectl cell failover cell-3 --dry-run -o name", code: exit.Refused},
		{
			line: "kubectl cell failover cell-3 --accept-loss=25 --confirm=cell-3@epoch42", awaits: true, prints: "cell-3",
			as: []string{"@epoch42", "@epoch$(kubectl --context cell-sandbox-rcp get rings.kubecell.io default -o jsonpath={.status.epoch})"},
		},
		{line: "kubectl cell remove cell-3 --force --dry-run", prints: "cell cell-3 removed (dry run)"},
		{line: "kubectl cell failback cell-3 --dry-run", given: "kubectl cell sandbox chaos restart cell-3", prints: "nothing was changed"},
		{line: "kubectl cell failback cell-3", with: "--yes", prints: "is back in the wanted ring"},
		{line: "kubectl cell rebalance --window 50", with: "--yes", prints: "Succeeded"},
	}
}

func examplesOfRouters() []example {
	const (
		start = "kubectl cell router start --rcp-kubeconfig rcp.conf --client-ca-file ca.crt "
		run   = "kubectl cell router run --rcp-kubeconfig rcp.conf --client-ca-file ca.crt --state-dir /var/lib/kubectl-cell/router"
		names = "kubectl --context cell-sandbox-rcp -n kubecell-system get leases -l kubecell.io/component=router -o name | sort"
	)
	return examplesOfDaemon("router", "router", "--rcp-kubeconfig rcp.conf --client-ca-file ca.crt", loopbackRouter, []example{
		{
			line: "kubectl cell router forget bastion-1-3f2a9c01", as: []string{"bastion-1-3f2a9c01", "$(cat dead)"}, with: "--force", prints: "forgotten",
			given: "kubectl cell router stop\n" + names + " >before\n" + start + loopbackRouter + "\n" +
				"kill -9 $(kubectl cell router status -o jsonpath={.data[0].pid})\n" + names + " | comm -13 before - | cut -d/ -f2 >dead",
		},
		{line: run, as: files(), with: loopbackRouter, until: "ready https://"},
		{line: run + " --secure-port 6443", as: files(), with: loopbackRouter, until: "ready https://"},
		{line: "sudo useradd --system --no-create-home kubectl-cell", here: withStandIns},
	})
}

func examplesOfBackups() []example {
	return examplesOfDaemon("backup", "backup daemon", "--rcp-kubeconfig rcp.conf", loopbackBackup, []example{{
		line: "kubectl cell backup run --rcp-kubeconfig rcp.conf --state-dir /var/lib/kubectl-cell/backup", given: "kubectl cell backup stop",
		as: files(), with: loopbackBackup, until: "ready http://",
	}})
}

// examplesOfDaemon are those of a daemon that has the flags required. Its own ones find it running, and leave none.
func examplesOfDaemon(name, noun, required, loopback string, own []example) []example {
	var (
		program = "kubectl cell " + name + " "
		home    = "/var/lib/kubectl-cell/" + name + "-2"
		unit    = "kubectl-cell-" + name
		given   = strings.NewReplacer("rcp.conf", "FILE", "ca.crt", "FILE").Replace(required)
		systemd = program + "export systemd " + given
		image   = program + "export deployment --image registry.example/kubectl-cell:v1"
	)
	return slices.Concat([]example{
		{line: program + "start " + required, with: loopback, prints: noun + " started"},
		{line: program + "status", prints: "Up"},
		{line: program + "status --exit-status >/dev/null", awaits: true},
		{line: program + "restart", prints: noun + " restarted"},
		{line: program + "restart --log-max-size 10", prints: noun + " restarted"},
		{line: program + "logs --tail 20 -f", until: `{"time":"`, code: exit.Detached},
		{line: program + "logs --previous", given: "cd $KUBECTL_CELL_HOME/" + name + "; cp log log.1", prints: `{"time":"`},
		{
			line: program + "stop --state-dir " + home, as: files(), prints: noun + " stopped",
			given: program + "stop\n" + program + "start " + required + " " + loopback + " --state-dir $ROOT" + home,
		},
		{line: program + "start " + given, as: files(), with: loopback, prints: noun + " started"},
	}, own, []example{
		{line: systemd, as: files(), prints: "ExecStart="},
		{line: systemd + " | sudo tee /etc/systemd/system/" + unit + ".service", as: files(), here: withStandIns},
		{line: "sudo systemctl daemon-reload && sudo systemctl enable --now " + unit, here: withStandIns, prints: noun + " started"},
		{line: program + "stop", prints: noun + " stopped"},
		{line: image, prints: "kind: Deployment"},
		{line: image + " | kubectl apply -f -", here: asAdministrator, prints: "deployment.apps/kubecell-" + name + " created"},
		{line: image + " --admin-from monitoring --admin-from 10.0.0.7/32", prints: "10.0.0.7/32"},
		{line: image + " -- -v=2", prints: "-v=2"},
	})
}

// examplesOfChaos break cell-1 in all ways, have it mended, and end everything.
func examplesOfChaos() []example {
	return []example{
		{line: "kubectl cell sandbox chaos kill cell-1", prints: "does not run"},
		{line: "kubectl cell sandbox chaos restart cell-1", prints: "https://"},
		{line: "kubectl cell sandbox chaos pause cell-1", prints: "is stopped"},
		{line: "kubectl cell sandbox chaos resume cell-1", prints: "goes on"},
		{line: "kubectl cell sandbox chaos partition cell-1", prints: "do not reach it"},
		{line: "kubectl cell sandbox up", prints: "3 cells"},
		{line: "kubectl cell sandbox up --name demo --cells 1", prints: "sandbox demo is up"},
		{line: "kubectl cell sandbox down", prints: "is down, its data is deleted"},
		{line: "kubectl cell sandbox down --all", prints: "sandbox demo is down"},
	}
}
