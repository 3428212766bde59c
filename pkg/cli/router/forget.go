package router

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/cli/completion"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/failover"
	"github.com/kubecell/kubectl-cell/pkg/lease"
	"github.com/kubecell/kubectl-cell/pkg/printers"
	"github.com/kubecell/kubectl-cell/pkg/routers"
)

// Forgotten is the data of `router forget -o json`.
type Forgotten struct {
	Name string `json:"name"`
	// Forgotten is false where there was no such router, or in a dry run.
	Forgotten bool `json:"forgotten"`
	// Alive says that it had renewed its Lease of late.
	Alive  bool `json:"alive"`
	DryRun bool `json:"dryRun"`
}

type forgetOptions struct {
	env     *command.Env
	force   bool
	dryRun  bool
	output  printers.Output
	printer *printers.Printer
	name    string
}

func newForget(env *command.Env) *cobra.Command {
	o := &forgetOptions{env: env}
	cmd := &cobra.Command{
		Use:   "forget NAME",
		Short: "Wait no longer for a router that is known to be dead",
		Long: "Delete the registration of a router that died without giving it up. A rebalance waits for every router\n" +
			"that is registered, so that no two of them send writes of one workload to two cells.\n\n" +
			"Refused (exit code 4) while the router renews its registration: it lives, and restarting it is what\n" +
			"helps. Refused as well while it does not and answers at its admin port: it is cut off, and has to be\n" +
			"ended. --force deletes it all the same; a router that lives registers again within seconds.\n\n" +
			"Be sure that the process is gone, and not merely cut off from the router control plane: one that still\n" +
			"serves by an old ring could write to a workload's old cell while it moves, and that write would be lost.",
		Example: "  # Which one is it?\n  " + env.Program + " status\n\n" +
			"  # Its machine is gone\n  " + env.Program + " router forget bastion-1-3f2a9c01",
		Args:              command.Args("the name of a router"),
		RunE:              command.RunE(o),
		ValidArgsFunction: completeRouters(env),
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.force, "force", false, "Forget a router that seems to live")
	flags.BoolVar(&o.dryRun, "dry-run", false, "Say what would be done, and do nothing")
	o.output.AddFlags(flags)
	return cmd
}

// Complete checks the output format.
func (o *forgetOptions) Complete(args []string) (err error) {
	o.name = args[0]
	o.printer, err = o.output.Printer()
	return err
}

// Run looks at the registration and deletes it as it was looked at.
func (o *forgetOptions) Run(ctx context.Context) error {
	fed, err := o.env.Connect()
	if err != nil {
		return err
	}
	leases := fed.Kube.CoordinationV1().Leases(v1alpha1.Namespace)
	registered, err := leases.Get(ctx, o.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return o.unknown(ctx, fed)
	}
	if err != nil {
		return fmt.Errorf("read the registration of router %s: %w", printers.Clip(o.name), err)
	}
	if registered.Labels[v1alpha1.LabelComponent] != "router" {
		return exit.Refusedf("the lease %s is not that of a router", printers.Clip(o.name)).WithHint("%s status", o.env.Program)
	}
	renewal, now := lease.RenewalOf(registered), fed.Clock.Now()
	silence := printers.Age(renewal.Silence(now))
	result := Forgotten{Name: o.name, Alive: renewal.Alive(now), DryRun: o.dryRun, Forgotten: !o.dryRun}
	if result.Alive && !o.force {
		return exit.Refusedf("router %s is alive: it renewed its registration %s ago", o.name, silence).
			WithHint("end it or restart it; it says why it does not follow the ring in its log")
	}
	router := routers.Of(registered)
	cutOff := !result.Alive && failover.Answers(ctx, router)
	if cutOff && !o.force {
		return exit.Refusedf("router %s renews no registration, and answers at %s: it is cut off, and may serve clients by the ring that it has",
			o.name, router.AdminURL).WithHint("end its process, and run this again")
	}
	const lost = "If it does not follow the ring, a write through it may reach the old cell of a workload that moves, and be lost"
	switch {
	case result.Alive:
		o.env.Warn("router %s seems to live. "+lost+"; it registers again within seconds", o.name)
	case cutOff:
		o.env.Warn("router %s answers at %s. "+lost, o.name, router.AdminURL)
	}
	if !o.dryRun {
		err = leases.Delete(ctx, o.name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &registered.UID, ResourceVersion: o.version(registered)}})
		if apierrors.IsConflict(err) {
			return exit.Refusedf("router %s is alive: it has just renewed its registration", o.name).WithHint("end it or restart it")
		}
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("forget router %s: %w", o.name, err)
		}
	}
	return o.print(result, registered, silence)
}

// version is what must not have changed: nothing where the router is known to renew.
func (o *forgetOptions) version(registered *coordinationv1.Lease) *string {
	if o.force {
		return nil
	}
	return &registered.ResourceVersion
}

// unknown is fine where nothing is left to forget; a name that is close to another is a slip.
func (o *forgetOptions) unknown(ctx context.Context, fed *command.Federation) error {
	all, err := routers.List(ctx, fed.Kube)
	if err != nil {
		return err
	}
	result := Forgotten{Name: o.name, DryRun: o.dryRun}
	if slices.ContainsFunc(all, func(r routers.Router) bool { return r.Name == o.name }) {
		return exit.Refusedf("router %s has just registered again: it is alive", o.name).WithHint("%s status", o.env.Program)
	}
	return o.print(result, nil, "")
}

func (o *forgetOptions) print(result Forgotten, registered *coordinationv1.Lease, silence string) error {
	err := o.printer.Print(o.env.Out, printers.View{
		Document: printers.NewDocument("ForgottenRouter", 0, result),
		Names:    func() []string { return []string{result.Name} },
		Text: func(w io.Writer, _ printers.Layout) error {
			text := fmt.Sprintf("router %s forgotten", o.name)
			switch {
			case registered == nil:
				text = fmt.Sprintf("router %s is not registered; nothing to do", printers.Clip(o.name))
			case o.dryRun:
				text += " (dry run)"
			case registered.Spec.RenewTime != nil:
				text += fmt.Sprintf(": its last sign of life was %s ago", silence)
			}
			_, err := fmt.Fprintln(w, text)
			return err
		},
	})
	if err == nil && result.Forgotten && o.printer.Text() {
		fmt.Fprintln(o.env.ErrOut, "undo: start the router again; it registers by itself")
	}
	return err
}

// completeRouters completes names of routers, with their age.
func completeRouters(env *command.Env) cobra.CompletionFunc {
	return completion.Matching(func(ctx context.Context) ([]cobra.Completion, error) {
		fed, err := env.Connect()
		if err != nil {
			return nil, err
		}
		all, err := routers.List(ctx, fed.Kube)
		if err != nil {
			return nil, err
		}
		var out []cobra.Completion
		for _, r := range all {
			seen := "never seen"
			if !r.Renewed.IsZero() {
				seen = "seen " + printers.Age(r.Silence(fed.Clock.Now())) + " ago"
			}
			out = append(out, cobra.CompletionWithDesc(r.Name, seen))
		}
		return out, nil
	})
}
