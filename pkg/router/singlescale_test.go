package router_test

import (
	"testing"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/fence"
)

// TestAScaleHasTheVersionOfItsObject also where that has moved: a Scale does not show in which epoch.
func TestAScaleHasTheVersionOfItsObject(t *testing.T) {
	b := newMovingBed(t)
	ns := b.namespace(t, "scaled")
	for encoding, name := range map[string]string{runtime.ContentTypeJSON: "json", runtime.ContentTypeProtobuf: "protobuf"} {
		config := rest.CopyConfig(b.router)
		config.ContentType, config.AcceptContentTypes = encoding, encoding
		deployments := kube(t, config).AppsV1().Deployments(ns)
		for _, phase := range []v1alpha1.RingPhase{v1alpha1.RingRebalancing, v1alpha1.RingStable} {
			b.phase(t, phase)
			if phase == v1alpha1.RingRebalancing {
				// It is made where its key moves to, and has the epoch of that.
				if _, err := deployments.Create(t.Context(), deployment(name), metav1.CreateOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			object, err := deployments.Get(t.Context(), name, metav1.GetOptions{})
			if err != nil || shown(t, object.ResourceVersion).Epoch == 0 {
				t.Fatalf("%s, %s: version %s, error %v; want one with an epoch", encoding, phase, object.ResourceVersion, err)
			}
			scale, err := deployments.GetScale(t.Context(), name, metav1.GetOptions{})
			if err != nil || scale.ResourceVersion != object.ResourceVersion {
				t.Fatalf("%s, %s: the scale has version %s, error %v; want %s", encoding, phase, scale.ResourceVersion, err, object.ResourceVersion)
			}
			scale.Spec.Replicas++
			scaled, err := deployments.UpdateScale(t.Context(), name, scale, metav1.UpdateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if c, err := resourceversion.CompareResourceVersion(object.ResourceVersion, scaled.ResourceVersion); err != nil || c >= 0 {
				t.Errorf("%s, %s: the version went from %s to %s", encoding, phase, object.ResourceVersion, scaled.ResourceVersion)
			}
			if _, err := deployments.UpdateScale(t.Context(), name, scale, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
				t.Errorf("%s, %s: the same a second time: %v; want a conflict", encoding, phase, err)
			}
		}
	}
}

// TestAScaleIsThatOfWhatCounts: of a tombstone and of a copy there is none, and what is being copied is not scaled. A cell
// would answer all of them.
func TestAScaleIsThatOfWhatCounts(t *testing.T) {
	b := newMovingBed(t)
	ns := b.namespace(t, "scale-left")
	b.phase(t, v1alpha1.RingStable)
	there := kube(t, fence.AsMover(b.cells["cell-2"])).AppsV1().Deployments(ns)
	through := kube(t, impatient(b.router)).AppsV1().Deployments(ns)
	nobody := rest.CopyConfig(impatient(b.router))
	nobody.Impersonate.UserName = "nobody"
	for status, want := range map[v1alpha1.RebalanceStatus]struct{ read, write func(error) bool }{
		v1alpha1.Migrated:  {apierrors.IsNotFound, apierrors.IsNotFound},
		v1alpha1.Incoming:  {apierrors.IsNotFound, apierrors.IsNotFound},
		v1alpha1.Migrating: {func(err error) bool { return err == nil }, apierrors.IsTooManyRequests},
	} {
		name := string(status)
		object := deployment(name)
		object.Labels = map[string]string{v1alpha1.LabelRebalanceStatus: name}
		laid, err := there.Create(t.Context(), object, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := through.GetScale(t.Context(), name, metav1.GetOptions{}); !want.read(err) {
			t.Errorf("scale of one that is %s: %v", name, err)
		}
		scale := &autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns}, Spec: autoscalingv1.ScaleSpec{Replicas: 9}}
		if _, err := through.UpdateScale(t.Context(), name, scale, metav1.UpdateOptions{}); !want.write(err) {
			t.Errorf("update of the scale of one that is %s: %v", name, err)
		}
		_, err = through.Patch(t.Context(), name, types.MergePatchType, []byte(`{"spec":{"replicas":9}}`), metav1.PatchOptions{}, "scale")
		if !want.write(err) {
			t.Errorf("patch of the scale of one that is %s: %v", name, err)
		}
		if _, err := kube(t, nobody).AppsV1().Deployments(ns).GetScale(t.Context(), name, metav1.GetOptions{}); !apierrors.IsForbidden(err) {
			t.Errorf("scale of one that is %s, without any rights: %v; want forbidden", name, err)
		}
		left, err := there.Get(t.Context(), name, metav1.GetOptions{})
		if err != nil || *left.Spec.Replicas != *laid.Spec.Replicas {
			t.Errorf("one that is %s was changed, error %v: %v", name, err, left.ManagedFields)
		}
	}
}
