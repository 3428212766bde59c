package backup_test

import (
	"context"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/backup"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// TestSettleWaitsForEveryCell of the ring that is reached, and for nobody where there is no backup.
func TestSettleWaitsForEveryCell(t *testing.T) {
	rcp := kube(t, sandboxtest.ControlPlane(t))
	ctx := t.Context()
	if _, err := rcp.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.Namespace}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	ring := &v1alpha1.Ring{Status: v1alpha1.RingStatus{Epoch: 7, Target: &v1alpha1.RingLayout{
		Members: []v1alpha1.RingMember{{Cell: "a", Weight: 100}, {Cell: "b", Weight: 100}},
	}}}
	settle := backup.Settle(rcp)
	if err := settle(ctx, ring); err != nil {
		t.Errorf("without a backup: %v", err)
	}
	_, err := rcp.CoordinationV1().Leases(v1alpha1.Namespace).Create(ctx, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: backup.LeaseName}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	publish := func(cell, epoch string) {
		t.Helper()
		maps := rcp.CoreV1().ConfigMaps(v1alpha1.Namespace)
		published := &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.MarksPrefix + cell, Labels: map[string]string{v1alpha1.LabelComponent: v1alpha1.ComponentMarks}},
			Data:       map[string]string{v1alpha1.MarksKey: `{"cell":"` + cell + `","epoch":` + epoch + `}`},
		}
		if _, err := maps.Create(ctx, published, metav1.CreateOptions{}); err == nil {
			return
		}
		if _, err := maps.Update(ctx, published, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	publish("a", "7")
	publish("b", "6")
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := settle(short, ring); err == nil {
		t.Error("it did not wait for a cell that is an epoch behind")
	}
	ended := make(chan error, 1)
	go func() { ended <- settle(ctx, ring) }()
	publish("b", "8")
	if err := <-ended; err != nil {
		t.Errorf("with all cells there: %v", err)
	}
	ring.Status.Epoch = 9
	if err := settle(ctx, ring); err == nil || !strings.Contains(err.Error(), "a, b") {
		t.Errorf("after a while it must say for whom it waits: %v", err)
	}
}
