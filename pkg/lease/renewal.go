package lease

import (
	"context"
	"fmt"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// Renewal is the last sign of life of a Lease's holder.
type Renewal struct {
	// Renewed is when it last showed that it lives, by its own clock; zero where it never did.
	Renewed time.Time `json:"renewed"`
	// Stored is when the RCP has stored that, by the clock of the RCP, in whole seconds; zero where it does not say.
	Stored time.Time `json:"-"`
	// lasts is for how long it holds the Lease after a sign of life; zero where nobody holds it.
	lasts time.Duration
}

// RenewalOf reads it off a Lease.
func RenewalOf(lease *coordinationv1.Lease) Renewal {
	var r Renewal
	s := lease.Spec
	if s.RenewTime != nil {
		r.Renewed = s.RenewTime.Time
	}
	if s.HolderIdentity != nil && *s.HolderIdentity != "" && s.LeaseDurationSeconds != nil {
		r.lasts = time.Duration(*s.LeaseDurationSeconds) * time.Second
	}
	r.Stored = StoredAt(lease.ManagedFields, "renewTime")
	return r
}

// StoredAt is when the RCP has stored a field of an object last, by the clock of the RCP, in whole seconds; zero where the managed
// fields do not say. It may be later than that where who wrote the field has written others of the object since.
func StoredAt(managed []metav1.ManagedFieldsEntry, field string) time.Time {
	var at time.Time
	for _, f := range managed {
		if f.Time != nil && f.FieldsV1 != nil && strings.Contains(f.FieldsV1.GetRawString(), `"f:`+field+`"`) && at.Before(f.Time.Time) {
			at = f.Time.Time
		}
	}
	return at
}

// Silence is for how long it has not shown that it lives, by the clock of the RCP; where that, or when the RCP has stored
// the last sign, is not known, the local one is compared with the holder's own.
func (r Renewal) Silence(now Moment) time.Duration {
	if now.RCP.IsZero() || r.Stored.IsZero() {
		return now.Local.Sub(r.Renewed)
	}
	return max(0, now.RCP.Sub(r.Stored))
}

// Alive says whether somebody holds the Lease: it has a holder who has not been silent for longer than its duration.
func (r Renewal) Alive(now Moment) bool {
	return r.lasts > 0 && !r.Renewed.IsZero() && r.Silence(now) <= r.lasts
}

// Holder is who holds a Lease, empty for nobody: it was given up, or not renewed for its duration.
func Holder(ctx context.Context, kube kubernetes.Interface, name string, now func() Moment) (string, error) {
	lease, err := kube.CoordinationV1().Leases(v1alpha1.Namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read lease %s: %w", name, err)
	}
	if !RenewalOf(lease).Alive(now()) {
		return "", nil
	}
	return *lease.Spec.HolderIdentity, nil
}
