// Package conformance runs Kubernetes' own end-to-end specs, those that need no nodes, against any
// control plane that a kubeconfig names. It is compiled with `go test -c`, and scripts/conformance.sh runs
// it twice: against one cell directly, and through a router over three cells. Whatever passes directly has
// to pass through the router.
//
// The specs are upstream's, unchanged; specs.txt names the ones that run. The outcome of each is appended
// to a file as soon as it is known, so that a run that was cut off says how far it came. Failing specs do
// not fail the binary: judging is the business of cmd/compare, which sees both runs.
//
// It is a module of its own because it needs k8s.io/kubernetes with its replaces, and takes minutes to compile.
package conformance
