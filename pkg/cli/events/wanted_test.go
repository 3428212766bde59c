package events

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/cli/kinds"
)

func TestWanted(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	e := Event{Type: "Warning", group: "apps", Object: "Deployment/checkout", LastSeen: now.Add(-time.Hour)}
	for name, test := range map[string]struct {
		options options
		want    bool
	}{
		"all":           {options{}, true},
		"type":          {options{types: []string{"Warning"}}, true},
		"other type":    {options{types: []string{"Normal"}}, false},
		"long enough":   {options{since: 2 * time.Hour}, true},
		"too old":       {options{since: time.Minute}, false},
		"kind":          {options{kind: "deployment", name: "checkout"}, true},
		"short kind":    {options{kind: "deploy", name: "checkout"}, true},
		"plural, group": {options{kind: "deployments.apps", name: "checkout"}, true},
		"other kind":    {options{kind: "job", name: "checkout"}, false},
		"other name":    {options{kind: "deploy", name: "check"}, false},
		"other group":   {options{kind: "deployments.example.com", name: "checkout"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			test.options.env = &command.Env{Clock: clocktesting.NewFakePassiveClock(now)}
			test.options.known = kinds.Builtin()
			if got := test.options.wanted(e); got != test.want {
				t.Errorf("wanted: %v", got)
			}
		})
	}
}

// The time of an event is in one of four places, by how old the API is that it was made through.
func TestTimesOfAnEvent(t *testing.T) {
	at := func(second int) time.Time { return time.Date(2026, 1, 1, 0, 0, second, 0, time.UTC) }
	for name, test := range map[string]struct {
		event corev1.Event
		last  time.Time
		count int32
	}{
		"old API":  {corev1.Event{FirstTimestamp: metav1.NewTime(at(1)), LastTimestamp: metav1.NewTime(at(2)), Count: 3}, at(2), 3},
		"new API":  {corev1.Event{EventTime: metav1.NewMicroTime(at(4))}, at(4), 1},
		"a series": {corev1.Event{EventTime: metav1.NewMicroTime(at(4)), Series: &corev1.EventSeries{Count: 7, LastObservedTime: metav1.NewMicroTime(at(9))}}, at(9), 7},
		"neither":  {corev1.Event{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(at(5))}}, at(5), 1},
	} {
		t.Run(name, func(t *testing.T) {
			if got := newEvent("cell-1", &test.event); !got.LastSeen.Equal(test.last) || got.Count != test.count {
				t.Errorf("last seen %s, %d times; want %s, %d", got.LastSeen, got.Count, test.last, test.count)
			}
		})
	}
}
