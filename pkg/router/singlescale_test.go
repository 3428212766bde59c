package router_test

import (
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
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
