// Package apiserver runs the full kube-apiserver inside this process, configured for a control plane
// that has no nodes: everything that talks Kubernetes behaves as in a real cluster, and what only nodes
// and load balancers need is off.
//
// The settings are kube-apiserver's own flags, see [Config.flags]; each that departs from its default
// has a reason there.
package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/spf13/pflag"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/client-go/rest"
	basecompatibility "k8s.io/component-base/compatibility"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"

	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/layout"
)

// Config is what differs from one control plane to the next.
type Config struct {
	Dir       layout.Dir
	Listener  *net.TCPListener
	Etcd      string // endpoint
	AuditLog  string // file, "-" for standard output, empty for no audit
	Verbosity int
}

// ServiceIP is the address of the kubernetes Service, the first one of the range.
func ServiceIP() net.IP { return net.IPv4(10, 96, 0, 1) }

// Server is a configured apiserver that does not serve yet.
type Server struct {
	options options.CompletedOptions
}

// New applies the logging configuration of the process, which works once, and checks the settings.
func New(ctx context.Context, c Config) (*Server, error) {
	if err := c.writeFiles(); err != nil {
		return nil, err
	}
	o := options.NewServerRunOptions()
	flags := pflag.NewFlagSet("kube-apiserver", pflag.ContinueOnError)
	sets := o.Flags()
	for _, set := range sets.FlagSets {
		flags.AddFlagSet(set)
	}
	if err := flags.Parse(c.flags()); err != nil {
		return nil, fmt.Errorf("configuring apiserver: %w", err)
	}
	// The open listener is handed over, see package listen.
	o.SecureServing.Listener = c.Listener
	registry := o.GenericServerRunOptions.ComponentGlobalsRegistry
	if err := registry.Set(); err != nil {
		return nil, fmt.Errorf("configuring apiserver: %w", err)
	}
	if err := logsapi.ValidateAndApply(o.Logs, registry.FeatureGateFor(basecompatibility.DefaultKubeComponent)); err != nil {
		return nil, fmt.Errorf("configuring logs: %w", err)
	}
	// The apiserver's requests to itself use deprecated APIs on purpose; nobody wants to read of it.
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	completed, err := o.Complete(ctx)
	if err != nil {
		return nil, fmt.Errorf("configuring apiserver: %w", err)
	}
	if errs := completed.Validate(); len(errs) != 0 {
		return nil, fmt.Errorf("configuring apiserver: %w", utilerrors.NewAggregate(errs))
	}
	return &Server{options: completed}, nil
}

// Run serves until the context ends and the requests in flight are answered.
func (s *Server) Run(ctx context.Context) error {
	err := app.Run(ctx, s.options)
	if err == nil && ctx.Err() == nil {
		err = errors.New("it stopped without a reason")
	}
	if err != nil {
		return fmt.Errorf("running apiserver: %w", err)
	}
	return nil
}
