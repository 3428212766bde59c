package launch

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

// Pods is how a daemon runs in pods.
type Pods struct {
	// Role is the name of the roles in the router control plane that `init` installs for it.
	Role string
	// ServicePort leads to Port, which is called PortName. PortName is "admin" where the daemon serves nothing else.
	PortName          string
	ServicePort, Port int32
	// AdminPort is that of health and metrics.
	AdminPort int32
	// Flags of `run` beside those that every daemon gets.
	Flags []string
	// Sources are what is mounted for these flags.
	Sources []Source
}

// Source is a ConfigMap or Secret that has to be made by people, and where it is mounted.
type Source struct {
	// Flag names another one; Name is the usual one.
	Flag, Name string
	// Secret tells a Secret from a ConfigMap.
	Secret bool
	// Folder below /etc/kubectl-cell.
	Folder string
	// Content is for messages.
	Content string
}

type deploymentOptions struct {
	program     Program
	image       string
	replicas    int32
	memory      string
	limit       resource.Quantity
	rcpSecret   string
	serviceType string
	adminFrom   []string
	adminPeers  []networkingv1.NetworkPolicyPeer
	sources     []string
	extra       []string
	namespace   string
}

const (
	minReplicas = 1
	// usualMemory is enough for a router, and for the backup of half a million objects.
	usualMemory = "2Gi"
	// minMemory is what a pod asks its node for at least.
	minMemory = "256Mi"
)

func newExportDeployment(p Program) *cobra.Command {
	o := &deploymentOptions{program: p, sources: make([]string, len(p.Pods.Sources))}
	cmd := &cobra.Command{
		Use:   "deployment --image IMAGE [-- FLAGS OF run]",
		Short: "Print the manifests of a Deployment that runs the " + p.Noun,
		Long: "Print the manifests of a Deployment that runs the " + p.Noun + ": Namespace, ServiceAccount, bindings\n" +
			"to the roles that `init` has installed and to nothing else, Deployment with probes,\n" +
			"PodDisruptionBudget, Service and NetworkPolicy. The pods run without root, on a read-only file system,\n" +
			"without capabilities.\n\n" +
			"The NetworkPolicy keeps the admin port, which asks for no credentials, to the pods of the namespace.\n" +
			"Prometheus, and whoever runs a failover, reach it from elsewhere where --admin-from names their namespace\n" +
			"or addresses.\n\n" +
			"They are meant for the router control plane itself, where the ServiceAccount is their identity. For any\n" +
			"other cluster put a kubeconfig of the router control plane into a Secret (key \"kubeconfig\") and name it\n" +
			"with --rcp-secret. The image is any that holds kubectl-cell on its PATH: see the runbook.\n\n" +
			"A pod that takes more memory than --memory says is killed, and started anew. The page on operations says how\n" +
			"much it needs, which for a backup daemon grows with the objects.",
		Example: p.example("Into the router control plane", "export deployment --image registry.example/kubectl-cell:v1") + " | kubectl apply -f -\n\n" +
			p.example("For Prometheus and a bastion, too", "export deployment --image registry.example/kubectl-cell:v1 --admin-from monitoring --admin-from 10.0.0.7/32") + "\n\n" +
			p.example("With a flag of `run`", "export deployment --image registry.example/kubectl-cell:v1 -- -v=2"),
		RunE: command.RunE(o),
	}
	flags := cmd.Flags()
	flags.StringVar(&o.image, "image", "", "Image that holds kubectl-cell (required)")
	flags.Int32Var(&o.replicas, "replicas", 2, "Number of pods")
	flags.StringVar(&o.memory, "memory", usualMemory, "Memory that each pod may take at most, such as 6Gi")
	flags.StringVar(&o.rcpSecret, "rcp-secret", "", "Secret with a kubeconfig of the router control plane; where empty, the pods run in that")
	flags.StringVar(&o.serviceType, "service-type", string(corev1.ServiceTypeClusterIP), "Type of the Service: ClusterIP, NodePort or LoadBalancer")
	flags.StringArrayVar(&o.adminFrom, adminFrom, nil,
		"Namespace or CIDR that reaches the admin port as well, such as that of Prometheus; may be given more than once")
	for i, source := range p.Pods.Sources {
		kind := "ConfigMap"
		if source.Secret {
			kind = "Secret"
		}
		flags.StringVar(&o.sources[i], source.Flag, source.Name, kind+" with "+source.Content)
	}
	return cmd
}

// Complete checks the flags, and those of `run` behind --.
func (o *deploymentOptions) Complete(args []string) error {
	p := o.program
	usage := func(err *exit.Error) error {
		return err.WithHint("%s %s export deployment --help", p.Env.Program, p.Name)
	}
	if o.image == "" {
		return usage(exit.Required("image"))
	}
	if o.replicas < minReplicas {
		return usage(exit.Flagf("replicas", o.replicas, "be %d or more", minReplicas))
	}
	limit, ok := memoryLimit(o.memory)
	if !ok {
		return usage(exit.Flagf("memory", o.memory, "be a quantity of %s or more, such as %s", minMemory, usualMemory))
	}
	o.limit = limit
	types := []corev1.ServiceType{corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort, corev1.ServiceTypeLoadBalancer}
	if !slices.Contains(types, corev1.ServiceType(o.serviceType)) {
		return usage(exit.Flagf("service-type", printers.Clip(o.serviceType), "be ClusterIP, NodePort or LoadBalancer"))
	}
	names := slices.Clone(o.sources)
	if o.rcpSecret != "" {
		names = append(names, o.rcpSecret)
	}
	for _, name := range names {
		if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
			return usage(exit.Usagef("%q is no name of an object: %s", name, problems[0]))
		}
	}
	for _, value := range o.adminFrom {
		from, err := peer(value)
		if err != nil {
			return usage(err)
		}
		o.adminPeers = append(o.adminPeers, from)
	}
	o.namespace = v1alpha1.Namespace
	if given := p.Env.Flags.Namespace; given != nil && *given != "" {
		o.namespace = *given
	}
	o.extra = args
	known := pflag.NewFlagSet("run", pflag.ContinueOnError)
	p.Flags(known)
	known.IntP(verbosity, verbosity, 0, "") // of all commands
	if err := known.Parse(args); err != nil {
		return usage(exit.Usagef("flags of %s run behind --: %w", p.Name, err))
	}
	if known.NArg() > 0 {
		return usage(exit.Usagef("unexpected argument %q", known.Arg(0)))
	}
	return nil
}

// memoryLimit is the quantity that --memory names. It is not ok where that is none, or less than a daemon needs to begin with.
func memoryLimit(value string) (limit resource.Quantity, ok bool) {
	limit, err := resource.ParseQuantity(value)
	return limit, err == nil && limit.Cmp(resource.MustParse(minMemory)) >= 0
}

// Run prints the manifests.
func (o *deploymentOptions) Run(context.Context) error {
	data, err := encode(o.manifests())
	if err != nil {
		return err
	}
	if _, err := o.program.Env.Out.Write(data); err != nil {
		return fmt.Errorf("print manifests: %w", err)
	}
	for i, source := range o.program.Pods.Sources {
		kind := "configmap"
		if source.Secret {
			kind = "secret"
		}
		fmt.Fprintf(o.program.Env.ErrOut, "needed beforehand: %s %s/%s with %s\n", kind, o.namespace, o.sources[i], source.Content)
	}
	if o.rcpSecret != "" {
		fmt.Fprintf(o.program.Env.ErrOut, "needed beforehand: secret %s/%s with a kubeconfig under the key kubeconfig\n", o.namespace, o.rcpSecret)
	}
	return nil
}
