package federation

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// EnvelopeType is the type of the Secrets that hold backup copies.
const EnvelopeType = v1alpha1.GroupName + "/workload-backup"

// namedRemains is how many leftover objects an error names.
const namedRemains = 3

// Remains are what a cell still holds for the federation.
type Remains struct {
	// Objects are sharded objects that are not tombstones; Named are some of them.
	Objects int64    `json:"objects"`
	Named   []string `json:"named,omitempty"`
	// Tombstones are objects that have moved away and wait for the end of their grace period.
	Tombstones int64 `json:"tombstones"`
	// Envelopes are backup copies of other cells' workloads.
	Envelopes int64 `json:"envelopes"`
}

// None says that the cell holds nothing.
func (r Remains) None() bool { return r.Objects == 0 && r.Tombstones == 0 && r.Envelopes == 0 }

// RemoveOptions say how careful a removal is.
type RemoveOptions struct {
	Options
	// Force forgets the cell without looking into it, for a control plane that is lost, or whose
	// remaining objects are to be left where they are. A cell of the ring is refused all the same.
	// The fence is taken off where that can be done.
	Force bool
	// FailedOver is for a cell that was failed over, which is refused otherwise: to take its name off the Ring is the caller's
	// to do, as package failover does. Nobody looks into the cell, and its fence and its freeze stay. One that is gone already
	// is no error.
	FailedOver bool
}

// RemoveReport is what [RemoveCell] found and did.
type RemoveReport struct {
	// Removed is false where there was no such cell any more.
	Removed bool `json:"removed"`
	// Remains is what the cell held; zero with Force.
	Remains Remains `json:"remains"`
	// FenceLeft says why the fence could not be taken off; empty where it is off. Only with Force.
	FenceLeft string `json:"fenceLeft,omitempty"`
}

// RemoveCell forgets a cell: it deletes the Cell and its credentials. It refuses while the cell is in
// the current, target or wanted ring, or still holds anything for the federation. What is in the
// control plane itself stays, but for the fence. Where the Cell is deleted and its credentials are not, the error has the code
// [exit.Partial].
func RemoveCell(ctx context.Context, rcp *rest.Config, name string, options RemoveOptions) (RemoveReport, error) {
	c, err := connect(rcp)
	if err != nil {
		return RemoveReport{}, err
	}
	ring, err := c.ring(ctx)
	if err != nil {
		return RemoveReport{}, err
	}
	if err := checkOutside(ring, name); err != nil {
		return RemoveReport{}, err
	}
	if slices.Contains(ring.Status.Unavailable, name) && !options.FailedOver {
		return RemoveReport{}, FailedOver(name)
	}
	cell, err := c.cell.Cells().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return c.finishRemoval(ctx, ring, name, options)
	}
	if err != nil {
		return RemoveReport{}, passOn("read cell "+name, err)
	}
	var report RemoveReport
	if !options.Force && !options.FailedOver {
		if report.Remains, err = c.remains(ctx, cell, ring); err != nil {
			return report, exit.Refusedf("cannot look into cell %s, so it may hold workloads: %w", name, err).
				WithHint("kubectl cell remove %s --force   # if that control plane is lost for good", name)
		}
		if !report.Remains.None() {
			return report, refuseRemains(ring, name, report.Remains)
		}
	}
	report.Removed = true
	if options.DryRun {
		return report, nil
	}
	if !options.FailedOver {
		if err := c.takeOffFence(ctx, cell); err != nil {
			if !options.Force {
				return report, err
			}
			report.FenceLeft = err.Error()
		}
	}
	report.Removed, err = c.deleteCell(ctx, cell)
	return report, err
}

// FailedOver is the refusal to remove a cell that was failed over without a word for it.
func FailedOver(name string) error {
	return exit.Refusedf("cell %s was failed over", name).
		WithHint("kubectl cell failback %s   # once it answers again; one that is lost for good: kubectl cell remove %s --force", name, name)
}

// deleteCell deletes the Cell as it was looked at, then its Secret. The ring may have been changed in
// between; a member without a Cell would be worse than a Cell without a member, so it looks again. gone says that there is no
// Cell any more, whatever became of its Secret.
func (c *connection) deleteCell(ctx context.Context, cell *v1alpha1.Cell) (gone bool, err error) {
	ring, err := c.ring(ctx)
	if err != nil {
		return false, err
	}
	if err := checkOutside(ring, cell.Name); err != nil {
		return false, err
	}
	precondition := metav1.NewUIDPreconditions(string(cell.UID))
	err = c.cell.Cells().Delete(ctx, cell.Name, metav1.DeleteOptions{Preconditions: precondition})
	if err != nil && !apierrors.IsNotFound(err) {
		return false, passOn("delete cell "+cell.Name, err)
	}
	secret := cell.Spec.KubeconfigSecretRef.Name
	err = c.kube.CoreV1().Secrets(v1alpha1.Namespace).Delete(ctx, secret, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return true, exit.Errorf(exit.Partial, "cell %s is deleted, and its stored credentials may be left: %w", cell.Name,
			passOn("delete the credentials of cell "+cell.Name, err)).
			WithHint("kubectl -n %s delete secret %s --ignore-not-found", v1alpha1.Namespace, secret)
	}
	return true, nil
}

// finishRemoval is for a Cell that is gone: by a removal that was cut off, whose Secret is deleted
// now, or because there never was one.
func (c *connection) finishRemoval(ctx context.Context, ring *v1alpha1.Ring, name string, options RemoveOptions) (RemoveReport, error) {
	secrets := c.kube.CoreV1().Secrets(v1alpha1.Namespace)
	gone := func() error {
		if options.FailedOver {
			return nil
		}
		return c.requireCell(ctx, ring, name)
	}
	if options.DryRun {
		_, err := secrets.Get(ctx, secretName(name), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			err = gone()
		}
		return RemoveReport{}, err
	}
	err := secrets.Delete(ctx, secretName(name), metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return RemoveReport{}, gone()
	}
	if err != nil {
		return RemoveReport{}, passOn("delete the credentials of cell "+name, err)
	}
	return RemoveReport{Removed: true}, nil
}

// checkOutside refuses a cell that any ring has.
func checkOutside(ring *v1alpha1.Ring, name string) error {
	in := func(layout *v1alpha1.RingLayout) bool {
		return layout != nil && memberIndex(layout.Members, name) >= 0
	}
	switch {
	case in(&ring.Spec.RingLayout):
		return exit.Refusedf("cell %s is in the wanted ring", name).WithHint("kubectl cell drain %s", name)
	case in(ring.Status.Target):
		return exit.Refusedf("a rebalance is running, and cell %s is in its target ring", name).
			WithHint("kubectl cell status")
	case in(ring.Status.Current):
		return exit.Refusedf("cell %s is in the current ring: its workloads are still there", name).
			WithHint("kubectl cell rebalance --window 50   # moves away what it holds; remove the cell when that is done")
	}
	return nil
}

func refuseRemains(ring *v1alpha1.Ring, name string, r Remains) error {
	var parts []string
	if r.Objects > 0 {
		parts = append(parts, fmt.Sprintf("%d sharded objects (%s)", r.Objects, strings.Join(r.Named, ", ")))
	}
	if r.Tombstones > 0 {
		retention := 12 * time.Hour
		if ring.Spec.Retention != nil {
			retention = ring.Spec.Retention.Duration
		}
		parts = append(parts, fmt.Sprintf("%d tombstones, which are deleted %s after their move at the latest", r.Tombstones, retention))
	}
	if r.Envelopes > 0 {
		parts = append(parts, fmt.Sprintf("%d envelopes, which go when the backups have settled in other cells", r.Envelopes))
	}
	refused := exit.Refusedf("cell %s still holds %s", name, strings.Join(parts, "; "))
	if r.Objects > 0 {
		return refused.WithHint("kubectl cell remove %s --force   # leaves them in that control plane, out of the federation's sight", name)
	}
	return refused.WithHint("kubectl cell status %s   # and remove it later", name)
}

// remains counts what the cell holds, whatever the map says of it: the cell is in no ring.
func (c *connection) remains(ctx context.Context, cell *v1alpha1.Cell, ring *v1alpha1.Ring) (Remains, error) {
	config, err := c.cellConfig(ctx, cell)
	if err != nil {
		return Remains{}, err
	}
	return c.remainsIn(ctx, config, ring)
}

// remainsIn is remains of a control plane.
func (c *connection) remainsIn(ctx context.Context, config *rest.Config, ring *v1alpha1.Ring) (Remains, error) {
	var r Remains
	snap, err := routing.FromRing(ring)
	if err != nil {
		return r, err
	}
	resources, err := ShardedResources(c.config, snap.Classes)
	if err != nil {
		return r, err
	}
	client, err := metadata.NewForConfig(metadata.ConfigFor(withTimeout(config)))
	if err != nil {
		return r, fmt.Errorf("build metadata client: %w", err)
	}
	for _, resource := range resources {
		err := eachPage(ctx, client, resource.GroupVersionResource, "", metav1.ListOptions{}, func(page []metav1.PartialObjectMetadata) error {
			for i := range page {
				r.add(resource, &page[i])
			}
			return nil
		})
		if err != nil {
			return r, err
		}
	}
	secrets := corev1.SchemeGroupVersion.WithResource("secrets")
	envelopes := metav1.ListOptions{FieldSelector: "type=" + EnvelopeType}
	err = eachPage(ctx, client, secrets, v1alpha1.Namespace, envelopes, func(page []metav1.PartialObjectMetadata) error {
		r.Envelopes += int64(len(page))
		return nil
	})
	return r, err
}

func (r *Remains) add(resource Resource, obj *metav1.PartialObjectMetadata) {
	if placement.SystemNamespace(obj.Namespace) || placement.IsSelfMade(resource.Group, resource.Resource, obj.Namespace, obj.Name) {
		return
	}
	if v1alpha1.RebalanceStatus(obj.Labels[v1alpha1.LabelRebalanceStatus]) == v1alpha1.Migrated {
		r.Tombstones++
		return
	}
	if r.Objects++; len(r.Named) < namedRemains {
		r.Named = append(r.Named, resource.Resource+" "+obj.Namespace+"/"+obj.Name)
	}
}
