// Package router holds the commands for the router daemon.
package router

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"runtime/debug"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/cli/launch"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/printers"
	"github.com/kubecell/kubectl-cell/pkg/router"
)

// defaultPort is the one at which people expect a Kubernetes API.
const defaultPort = 6443

// defaultAdmin keeps health, metrics and profiles on this machine, where nobody has asked for more.
const defaultAdmin = "127.0.0.1:6444"

// gcPercent lets the heap grow to four times what lives, where GOGC says nothing else: little lives in a
// router, some 20 MiB, and its garbage is that of many small requests.
const gcPercent = 300

// NewCommand returns "router" and its subcommands.
func NewCommand(env *command.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "router",
		Short: "Run the proxy that makes all cells look like one Kubernetes API",
		Example: "  # Serve in the background\n  " + env.Program + " router start --rcp-kubeconfig rcp.conf" +
			" --client-ca-file ca.crt\n\n  # Serve in the foreground\n  " + env.Program + " router run --rcp-kubeconfig rcp.conf" +
			" --client-ca-file ca.crt --state-dir /var/lib/kubectl-cell/router",
	}
	cmd.AddCommand(newRun(env), newForget(env))
	cmd.AddCommand(launch.Commands(Program(env))...)
	return cmd
}

// Program is the daemon as the commands that start and watch it see it.
func Program(env *command.Env) launch.Program {
	return launch.Program{
		Env: env, Name: "router", Noun: "router", Required: "--rcp-kubeconfig FILE --client-ca-file FILE",
		Flags: func(flags *pflag.FlagSet) launch.Runner { return newOptions(env, flags) },
		Paths: []string{
			"client-ca-file", "authentication-config", "tls-cert-file", "tls-private-key-file", "audit-policy-file", "audit-log-path",
			"tracing-config-file",
		},
		Examine: examine,
		Pods:    pods(),
	}
}

// podAdminPort of a router in a pod.
const podAdminPort = 6444

// pods is how a router runs in pods: all of them with one serving certificate, since they have one address.
func pods() launch.Pods {
	return launch.Pods{
		Role: federation.RoleRouter, PortName: "https", Port: defaultPort, ServicePort: 443, AdminPort: podAdminPort,
		Flags: []string{
			"--client-ca-file=/etc/kubectl-cell/client-ca/ca.crt",
			"--tls-cert-file=/etc/kubectl-cell/tls/tls.crt", "--tls-private-key-file=/etc/kubectl-cell/tls/tls.key",
			fmt.Sprintf("--secure-port=%d", defaultPort),
			fmt.Sprintf("--admin-listen=:%d", podAdminPort), "--admin-url=" + launch.PodURL(podAdminPort),
		},
		Sources: []launch.Source{
			{Flag: "client-ca-configmap", Name: "kubecell-client-ca", Folder: "client-ca",
				Content: "the CA bundle of client certificates under the key ca.crt"},
			{Flag: "tls-secret", Name: "kubecell-router-tls", Secret: true, Folder: "tls",
				Content: "the serving certificate of the routers (type kubernetes.io/tls)"},
		},
	}
}

// examine asks a router what it sees of the cells.
func examine(ctx context.Context, ask launch.Ask, status *launch.Status) error {
	data, err := ask(ctx, "/cells")
	if err != nil {
		return err
	}
	var seen router.Views
	if err := json.Unmarshal(data, &seen); err != nil {
		return fmt.Errorf("read what the router says of the cells: %w", err)
	}
	status.Identity, status.Epoch, status.Cells, status.CellsUp = seen.Router, seen.Epoch, len(seen.Cells), 0
	for _, cell := range seen.Cells {
		if cell.Reachable {
			status.CellsUp++
		}
	}
	return nil
}

// runOptions are the flags of "router run".
type runOptions struct {
	command.Daemon
	clientCA string
	authn    string
	tracing  string
	admin    string
	adminURL string
	serving  *genericoptions.SecureServingOptions
	audit    *genericoptions.AuditOptions
	limits   router.Limits
}

// newOptions are the options of "run", whose flags are added to a set.
func newOptions(env *command.Env, flags *pflag.FlagSet) *runOptions {
	o := &runOptions{
		Daemon:  command.Daemon{Env: env, Command: "router", Another: "router", Each: "router"},
		serving: genericoptions.NewSecureServingOptions(),
		audit:   genericoptions.NewAuditOptions(),
		limits:  router.DefaultLimits(),
	}
	o.serving.ServerCert.PairName = "router"
	o.serving.BindPort = defaultPort
	o.AddFlags(flags, "Directory for the lock and the last good configuration")
	flags.StringVar(&o.clientCA, "client-ca-file", "", "CA bundle of client certificates, followed when it changes (required)")
	flags.StringVar(&o.authn, "authentication-config", "",
		"AuthenticationConfiguration (apiserver.config.k8s.io): issuers whose JWTs are accepted; followed when it changes")
	flags.StringVar(&o.tracing, "tracing-config-file", "",
		"TracingConfiguration (apiserver.config.k8s.io): the OTLP collector that gets spans, and of how many requests")
	flags.StringVar(&o.admin, "admin-listen", defaultAdmin,
		"Address (host:port) of /healthz, /livez, /readyz, /metrics, /cells, /ledger and /debug/pprof over plain HTTP, without authentication:"+
			" whoever reaches it may read them all, so keep it on loopback; port 0: a free one; empty: none")
	flags.StringVar(&o.adminURL, "admin-url", "",
		"Base URL at which others reach that port, for the registration of the router; where empty, that of --admin-listen")
	flags.IntVar(&o.limits.Reading, "max-requests-inflight", o.limits.Reading,
		"Reading requests in flight for one cell, from which on more are answered with 429; 0 for no limit")
	flags.IntVar(&o.limits.Mutating, "max-mutating-requests-inflight", o.limits.Mutating,
		"Writing requests in flight for one cell, from which on more are answered with 429; 0 for no limit")
	addServingFlags(flags, o.serving)
	addAuditFlags(flags, o.audit)
	return o
}

func newRun(env *command.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run --rcp-kubeconfig FILE --client-ca-file FILE",
		Short: "Serve in the foreground until SIGTERM",
		Long: `Serve in the foreground until SIGTERM, which lets requests in flight finish.

The router reads Ring and Cell from the router control plane and follows them. The last good
configuration is kept in the state directory, so that it can start while that control plane is
down. One line "ready URL" on standard output says that it serves; logs are JSON on standard
error, or in --log-file. A service manager that listens at NOTIFY_SOCKET is told the same.

Health, metrics, profiles, the router's view of the cells and its ledger are at --admin-listen,
without authentication: they are there whatever else is down, and a failover reads them. A second
router on one machine needs another port there.

Ring and Cells, certificates, the client CA and the authentication configuration are followed: a
change needs no restart and no signal. SIGHUP opens the log file anew. Flags, the audit policy and
the address in the kubeconfig are read at the start.`,
		Example: "  " + env.Program + " router run --rcp-kubeconfig rcp.conf --client-ca-file ca.crt" +
			" --state-dir /var/lib/kubectl-cell/router --secure-port 6443",
		Args: cobra.NoArgs,
	}
	cmd.RunE = command.RunE(newOptions(env, cmd.Flags()))
	return cmd
}

// flag is one of the generic server's, in our words.
type flag struct{ name, usage string }

// addServingFlags takes over those flags of the generic server that a router has.
func addServingFlags(flags *pflag.FlagSet, serving *genericoptions.SecureServingOptions) {
	all := pflag.NewFlagSet("serving", pflag.ContinueOnError)
	serving.AddFlags(all)
	takeOver(flags, all, []flag{
		{"bind-address", "Address to listen on"},
		{"secure-port", "Port to listen on"},
		{"tls-cert-file", "Serving certificate, followed when it changes; where empty, one is made and kept in the state directory"},
		{"tls-private-key-file", "Key of that certificate"},
		{"tls-min-version", "Lowest TLS version: VersionTLS12 or VersionTLS13"},
		{"tls-cipher-suites", "Cipher suites below TLS 1.3; Go's where empty"},
	})
}

// addAuditFlags does so for the audit log.
func addAuditFlags(flags *pflag.FlagSet, audit *genericoptions.AuditOptions) {
	all := pflag.NewFlagSet("audit", pflag.ContinueOnError)
	audit.AddFlags(all)
	takeOver(flags, all, []flag{
		{"audit-policy-file", "Audit policy (audit.k8s.io): which requests are written down, and how much of them"},
		{"audit-log-path", "File of the audit log, or - for standard output; where empty, nothing is written down"},
		{"audit-log-maxage", "Days for which rotated audit logs are kept; 0 for no limit"},
		{"audit-log-maxbackup", "How many rotated audit logs are kept; 0 for no limit"},
		{"audit-log-maxsize", "Size in megabytes at which the audit log is rotated; 0 for never"},
		{"audit-log-mode", "Whether answers wait for the audit log: blocking, blocking-strict or batch"},
	})
}

func takeOver(flags, all *pflag.FlagSet, known []flag) {
	for _, k := range known {
		f := all.Lookup(k.name)
		f.Usage = k.usage
		flags.AddFlag(f)
	}
}

// Complete checks what can be checked without the network.
func (o *runOptions) Complete([]string) error {
	if err := o.Require([2]string{"client-ca-file", o.clientCA}); err != nil {
		return err
	}
	if (o.audit.PolicyFile == "") != (o.audit.LogOptions.Path == "") {
		return o.Hinted(exit.Usagef("--audit-policy-file and --audit-log-path belong together"))
	}
	if err := errors.Join(o.audit.Validate()...); err != nil {
		return o.Hinted(exit.Usagef("%w", err))
	}
	if _, _, err := net.SplitHostPort(o.admin); err != nil && o.admin != "" {
		return o.Hinted(exit.Flagf("admin-listen", printers.Clip(o.admin), "be host:port, or empty"))
	}
	if n := o.limits.Reading; n < 0 {
		return o.Hinted(exit.Flagf("max-requests-inflight", n, "not be negative"))
	}
	if n := o.limits.Mutating; n < 0 {
		return o.Hinted(exit.Flagf("max-mutating-requests-inflight", n, "not be negative"))
	}
	if o.serving.ServerCert.CertKey.CertFile == "" {
		// A certificate that the router signs for itself is kept, so that a restart does not change it.
		o.serving.ServerCert.CertDirectory = filepath.Join(o.StateDir, "pki")
	}
	return nil
}

// Run serves until ctx ends.
func (o *runOptions) Run(ctx context.Context) error {
	if o.Env.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	return o.Daemon.Run(ctx, func(rcp *rest.Config, logger *slog.Logger, ready func(url string)) error {
		return router.Run(ctx, router.Config{
			RCP:          rcp,
			Serving:      o.serving,
			ClientCAFile: o.clientCA,
			StateDir:     o.StateDir,
			Logger:       logger,
			Ready:        ready,

			AuthenticationConfig: o.authn,
			TracingConfig:        o.tracing,
			AdminListen:          o.admin,
			AdminURL:             o.adminURL,
			AdminReady:           func(url string) { o.Admin = url },
			Audit:                o.audit,
			Limits:               o.limits,
		})
	})
}
