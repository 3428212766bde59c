package rebalance

import (
	"testing"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// TestWhatGoesOnIsRecordedOnce while what the run says of it changes, and a unit that fails is recorded however often it was
// tried before that is written down.
func TestWhatGoesOnIsRecordedOnce(t *testing.T) {
	run := &v1alpha1.Rebalance{Spec: v1alpha1.RebalanceSpec{Window: 50}}
	bad := func(condition, message string) {
		c := metav1.Condition{Type: condition, Status: metav1.ConditionTrue, Message: message}
		if message != "" {
			c.Status = metav1.ConditionFalse
		}
		apimeta.SetStatusCondition(&run.Status.Conditions, c)
	}
	window := func(now int32, message string) {
		run.Status.Window = now
		bad(v1alpha1.ConditionFullSpeed, message)
	}
	failed := func(attempts int32) {
		run.Status.Failures = []v1alpha1.UnitFailure{{Key: "ns/x", From: "a", To: "b", Attempts: attempts}}
	}
	r := &recorder{}
	for _, c := range []struct {
		what   string
		happen func()
		want   string // the reason
	}{
		{"the run begins", func() { window(50, "") }, ""},
		{"a router is silent", func() { bad(v1alpha1.ConditionRoutersAcknowledged, "last seen 3s ago") }, "RouterSilent"},
		{"it still is", func() { bad(v1alpha1.ConditionRoutersAcknowledged, "last seen 4s ago") }, ""},
		{"it acknowledges", func() { bad(v1alpha1.ConditionRoutersAcknowledged, "") }, ""},
		{"it is silent again", func() { bad(v1alpha1.ConditionRoutersAcknowledged, "last seen 3s ago") }, "RouterSilent"},
		{"a cell is down", func() { bad(v1alpha1.ConditionCellsUsable, "connection refused") }, "CellUnusable"},
		{"it is so in other words", func() { bad(v1alpha1.ConditionCellsUsable, "i/o timeout") }, ""},
		{"the window shrinks", func() { window(25, "25 instead of 50") }, "WindowReduced"},
		{"it shrinks more", func() { window(12, "12 instead of 50") }, "WindowReduced"},
		{"it grows", func() { window(17, "17 instead of 50") }, ""},
		{"it has grown", func() { window(50, "") }, ""},
		{"a unit has failed twice", func() { failed(2) }, "UnitFailed"},
		{"it fails once more", func() { failed(3) }, ""},
		{"it fails after all was forgiven", func() { failed(1) }, "UnitFailed"},
	} {
		before := run.DeepCopy()
		c.happen()
		got := ""
		for _, e := range Changes(before, run) {
			_, reason, _ := r.words(e, &before.Status, run)
			got += reason
		}
		if got != c.want {
			t.Errorf("%s: %q is recorded; want %q", c.what, got, c.want)
		}
	}
}

func TestNoCharacterIsCutInTwo(t *testing.T) {
	for text, want := range map[string]string{"": "", "abcd": "abcd", "abcde": "abcd…", "abé": "abé", "abcé": "abc…", "a→b": "a→…", "ab→": "ab…"} {
		if got := shorten(text, 4); got != want {
			t.Errorf("%q is cut to %q; want %q", text, got, want)
		}
	}
}
