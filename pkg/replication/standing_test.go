package replication

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// TestVerdict says, step by step, what is known of a cell.
func TestVerdict(t *testing.T) {
	const unknown, replicated = "unknown", "Compared: every copy is as its source"
	namespaces := schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	roles := schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"}
	a, b := Object{Resource: namespaces, Name: "a"}, Object{Resource: namespaces, Name: "b"}
	refused, silent := errors.New("quota exceeded"), &url.Error{Op: "Get", URL: "https://cell", Err: errors.New("connection refused")}
	compared := func(s *standing, resources ...schema.GroupVersionResource) {
		for _, resource := range resources {
			s.ended(resource, s.began(resource), nil)
		}
	}
	pass := func(clock *time.Time, d time.Duration) { *clock = clock.Add(d) }
	failTwo := func(s *standing, clock *time.Time) {
		s.expect(namespaces)
		compared(s, namespaces)
		s.repaired(a, refused)
		s.repaired(b, refused)
		pass(clock, patience)
		s.verdict()
	}
	tests := map[string]struct {
		steps func(s *standing, clock *time.Time)
		want  string
	}{
		"nothing is followed yet": {func(*standing, *time.Time) {}, unknown},
		"not all was compared": {func(s *standing, _ *time.Time) {
			s.expect(namespaces)
			s.expect(roles)
			compared(s, roles)
		}, unknown},
		"all was compared": {func(s *standing, _ *time.Time) {
			s.expect(namespaces)
			s.expect(roles)
			compared(s, roles, namespaces)
		}, replicated},
		"a resource that was not compared is gone": {func(s *standing, _ *time.Time) {
			s.expect(namespaces)
			s.expect(roles)
			compared(s, roles)
			s.drop(namespaces)
		}, replicated},
		"another comparison was asked for while one ran": {func(s *standing, _ *time.Time) {
			s.expect(namespaces)
			began := s.began(namespaces)
			s.expect(namespaces)
			s.ended(namespaces, began, nil)
		}, unknown},
		"a comparison found a difference": {func(s *standing, _ *time.Time) {
			s.expect(namespaces)
			s.differs(a)
			compared(s, namespaces)
		}, unknown},
		"the difference was repaired": {func(s *standing, _ *time.Time) {
			s.expect(namespaces)
			s.differs(a)
			compared(s, namespaces)
			s.repaired(a, nil)
		}, replicated},
		"a repair has failed a moment ago": {func(s *standing, _ *time.Time) {
			s.expect(namespaces)
			compared(s, namespaces)
			s.repaired(a, refused)
		}, unknown},
		"a repair keeps failing": {func(s *standing, clock *time.Time) {
			s.expect(namespaces)
			compared(s, namespaces)
			s.repaired(a, refused)
			pass(clock, patience)
		}, "RepairsFail: repair namespaces a: quota exceeded"},
		"what failed first is named, with its first error": {func(s *standing, clock *time.Time) {
			s.expect(namespaces)
			compared(s, namespaces)
			s.repaired(b, refused)
			pass(clock, time.Second)
			s.repaired(a, refused)
			s.repaired(b, errors.New("something else"))
			pass(clock, patience)
		}, "RepairsFail: repair namespaces b: quota exceeded"},
		"what was told of has ended a moment ago, another failure has not": {func(s *standing, clock *time.Time) {
			failTwo(s, clock)
			s.repaired(a, nil)
			pass(clock, patience)
		}, unknown},
		"what was told of has ended, another failure goes on": {func(s *standing, clock *time.Time) {
			failTwo(s, clock)
			s.repaired(a, nil)
			pass(clock, mending)
		}, "RepairsFail: repair namespaces b: quota exceeded"},
		"a repair has worked at last": {func(s *standing, clock *time.Time) {
			s.expect(namespaces)
			compared(s, namespaces)
			s.repaired(a, refused)
			pass(clock, patience)
			s.repaired(a, nil)
		}, replicated},
		"the cell does not answer": {func(s *standing, clock *time.Time) {
			s.expect(namespaces)
			s.watched(namespaces, fmt.Errorf("list: %w", silent))
			pass(clock, patience)
		}, "CellUnreachable: watch namespaces: list: Get \"https://cell\": connection refused"},
		"the cell answers again": {func(s *standing, clock *time.Time) {
			s.expect(namespaces)
			s.watched(namespaces, silent)
			s.ended(namespaces, 1, silent)
			pass(clock, patience)
			s.watched(namespaces, nil)
			compared(s, namespaces)
		}, replicated},
		"the cell does not serve a resource yet": {func(s *standing, clock *time.Time) {
			s.expect(namespaces)
			compared(s, namespaces)
			s.watched(namespaces, apierrors.NewNotFound(namespaces.GroupResource(), ""))
			pass(clock, patience)
		}, replicated},
		"the RCP does not answer": {func(s *standing, clock *time.Time) {
			s.expect(namespaces)
			s.expect(roles)
			compared(s, namespaces)
			s.repaired(a, fmt.Errorf("repair: %w", &sourceError{silent}))
			s.ended(roles, 1, &sourceError{silent})
			pass(clock, patience)
		}, unknown},
		"the RCP refuses": {func(s *standing, clock *time.Time) {
			s.expect(namespaces)
			compared(s, namespaces)
			s.repaired(a, &sourceError{apierrors.NewForbidden(namespaces.GroupResource(), "a", errors.New("no right"))})
			pass(clock, patience)
		}, `RepairsFail: repair namespaces a: namespaces "a" is forbidden: no right`},
		"the daemon ends": {func(s *standing, clock *time.Time) {
			s.expect(namespaces)
			compared(s, namespaces)
			s.repaired(a, fmt.Errorf("repair: %w", context.Canceled))
			pass(clock, patience)
		}, replicated},
		"a failure of a resource that is not followed any more": {func(s *standing, clock *time.Time) {
			s.expect(namespaces)
			s.expect(roles)
			compared(s, roles)
			s.repaired(a, refused)
			s.drop(namespaces)
			s.repaired(a, refused)
			s.differs(b)
			pass(clock, patience)
		}, replicated},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			now := time.Unix(1_000_000, 0)
			s := newStanding(func() time.Time { return now })
			test.steps(s, &now)
			got := unknown
			v, known := s.verdict()
			if known {
				got = v.Reason + ": " + v.Message
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if known && v.Replicated != (test.want == replicated) {
				t.Errorf("replicated = %v", v.Replicated)
			}
		})
	}
}

// TestAMessageFitsIntoACondition, whatever a webhook has to say.
func TestAMessageFitsIntoACondition(t *testing.T) {
	v := matter{repairing, Object{Name: "a"}}.verdict(errors.New(strings.Repeat("x", 100_000)))
	if len(v.Message) != longestMessage || !strings.HasPrefix(v.Message, "repair") {
		t.Errorf("message has %d bytes: %.40s", len(v.Message), v.Message)
	}
}
