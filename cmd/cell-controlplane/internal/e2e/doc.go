// Package e2e tests the built binary from outside: real processes, real signals, real clients.
//
// The binary is the one that KUBECELL_CONTROLPLANE names, or else the one that build.sh makes. What
// needs nothing but an API runs against one control plane that all such tests share; what breaks a
// control plane starts its own. Every process is ended by its own pid.
package e2e
