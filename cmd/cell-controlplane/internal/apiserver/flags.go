package apiserver

import (
	"strconv"

	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/layout"
	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/pki"
)

// Issuer is the issuer of service account tokens, and their audience.
const Issuer = "https://kubernetes.default.svc.cluster.local"

// anonymousHealth lets anybody ask for health, as load balancers do, and nobody for anything else
// without a certificate or a token.
const anonymousHealth = `apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
anonymous:
  enabled: true
  conditions:
  - path: /livez
  - path: /readyz
  - path: /healthz
`

// auditPolicy records who did what to which object, once per request and without the content.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
`

// writeFiles writes the configuration that the apiserver takes only as files.
func (c Config) writeFiles() error {
	if err := layout.WriteFile(c.Dir.Authentication(), []byte(anonymousHealth), 0o600); err != nil {
		return err
	}
	return layout.WriteFile(c.Dir.AuditPolicy(), []byte(auditPolicy), 0o600)
}

func (c Config) flags() []string {
	flags := []string{
		"--etcd-servers=" + c.Etcd,

		"--tls-cert-file=" + c.Dir.Cert(pki.APIServer),
		"--tls-private-key-file=" + c.Dir.Key(pki.APIServer),
		"--client-ca-file=" + c.Dir.Cert("ca"),
		"--authentication-config=" + c.Dir.Authentication(),
		"--authorization-mode=Node,RBAC",

		"--service-account-issuer=" + Issuer,
		"--service-account-signing-key-file=" + c.Dir.Key(pki.ServiceAccount),
		"--service-account-key-file=" + c.Dir.PublicKey(pki.ServiceAccount),

		"--service-cluster-ip-range=10.96.0.0/12",
		// Without an address of its own the apiserver looks for a default route, which a machine without
		// network does not have.
		"--advertise-address=127.0.0.1",
		// Endpoints of the kubernetes Service are for pods, and must not be loopback addresses.
		"--endpoint-reconciler-type=none",

		// It puts finalizers on volume claims that only controllers of volumes take off again: no claim,
		// and no namespace that holds one, could ever be deleted.
		"--disable-admission-plugins=StorageObjectInUseProtection",
		"--enable-admission-plugins=NodeRestriction",

		// Open watches are ended at shutdown; by default the server waits a minute for them to end.
		"--shutdown-watch-termination-grace-period=2s",
		"--profiling=false",
		"--v=" + strconv.Itoa(c.Verbosity),
	}
	if c.AuditLog != "" {
		flags = append(flags,
			"--audit-log-path="+c.AuditLog,
			"--audit-policy-file="+c.Dir.AuditPolicy(),
			"--audit-log-maxsize=100",
			"--audit-log-maxbackup=3",
		)
	}
	return flags
}
