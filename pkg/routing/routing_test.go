package routing

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/placement"
)

func layout(cells ...string) *v1alpha1.RingLayout {
	l := &v1alpha1.RingLayout{PointsPerWeight: 10}
	for _, cell := range cells {
		l.Members = append(l.Members, v1alpha1.RingMember{Cell: cell, Weight: 100})
	}
	return l
}

func ringOf(spec, current, target *v1alpha1.RingLayout) *v1alpha1.Ring {
	return &v1alpha1.Ring{
		ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.RingName},
		Spec:       v1alpha1.RingSpec{RingLayout: *spec},
		Status: v1alpha1.RingStatus{
			Epoch: 7, Phase: v1alpha1.RingStable, Current: current, Target: target, Unavailable: []string{"dead"},
			Failover: "fo-7", Promoting: []string{"dead"},
		},
	}
}

func TestFromRingPlacesByStatusAlone(t *testing.T) {
	// The spec wants cell-b; data lives in cell-a, and that is what counts.
	s, err := FromRing(ringOf(layout("cell-b"), layout("cell-a"), nil))
	if err != nil {
		t.Fatal(err)
	}
	p, ok := s.Table.LookupKey("ns/name")
	if !ok || p.Old() != "cell-a" || p.New() != "cell-a" {
		t.Errorf("LookupKey = %v, %v; want cell-a, placed", p, ok)
	}
	if s.Epoch != 7 || s.Phase != v1alpha1.RingStable || !s.Unavailable["dead"] || !s.Promoting["dead"] || s.Failover != "fo-7" {
		t.Errorf("snapshot = %+v; want epoch 7, Stable, cell dead unavailable and promoting, failover fo-7", s)
	}
}

func TestSuccessorSharesTheTableAndFollowsTheFailover(t *testing.T) {
	ring := ringOf(layout("cell-a"), layout("cell-a"), nil)
	before, err := FromRing(ring)
	if err != nil {
		t.Fatal(err)
	}
	ring.Status.Failover, ring.Status.Promoting = "", nil
	after, err := Successor(before, ring)
	if err != nil {
		t.Fatal(err)
	}
	if after.Failover != "" || len(after.Promoting) != 0 || after.Table != before.Table {
		t.Errorf("successor = %+v; want the same table, no failover, nothing promoting", after)
	}
	if !before.Promoting["dead"] || before.Failover != "fo-7" {
		t.Errorf("the earlier snapshot changed: %+v", before)
	}
}

func TestFromRingFollowsTarget(t *testing.T) {
	s, err := FromRing(ringOf(layout("cell-a"), layout("cell-a"), layout("cell-b")))
	if err != nil {
		t.Fatal(err)
	}
	p, _ := s.Table.LookupKey("ns/name")
	if p.Old() != "cell-a" || p.New() != "cell-b" || p.Case() != placement.OutToIn {
		t.Errorf("LookupKey = %v; want cell-a to cell-b, case 1", p)
	}
}

func TestWantedGoesFromStatusToSpec(t *testing.T) {
	s, err := Wanted(ringOf(layout("cell-b"), layout("cell-a"), nil))
	if err != nil {
		t.Fatal(err)
	}
	p, _ := s.Table.LookupKey("ns/name")
	if p.Old() != "cell-a" || p.New() != "cell-b" {
		t.Errorf("LookupKey = %v; want cell-a to cell-b", p)
	}
}

func TestNothingIsPlacedBeforeTheFirstLayout(t *testing.T) {
	s, err := FromRing(&v1alpha1.Ring{Spec: v1alpha1.RingSpec{RingLayout: *layout("cell-a")}})
	if err != nil {
		t.Fatal(err)
	}
	if p, ok := s.Table.LookupKey("ns/name"); ok {
		t.Errorf("LookupKey = %v; want nothing placed", p)
	}
}

func TestClassesComeFromTheCurrentLayout(t *testing.T) {
	current := layout("cell-a")
	current.Resources = []v1alpha1.ResourceRule{{Resource: "configmaps", Class: "Sharded", Key: "Name"}}
	s, err := FromRing(ringOf(layout("cell-a"), current, nil))
	if err != nil {
		t.Fatal(err)
	}
	class, key := s.Classes.Of("", "configmaps", "ns")
	if class != placement.Sharded || key != placement.Name {
		t.Errorf("configmaps are %v by %v; want Sharded by Name", class, key)
	}
}

func TestNonsenseIsRefused(t *testing.T) {
	bad := layout("cell-a", "cell-a")
	badClass := layout("cell-a")
	badClass.Resources = []v1alpha1.ResourceRule{{Resource: "x", Class: "Scattered"}}
	badKey := layout("cell-a")
	badKey.Resources = []v1alpha1.ResourceRule{{Resource: "x", Class: "Sharded", Key: "Colour"}}
	for name, l := range map[string]*v1alpha1.RingLayout{"cell twice": bad, "class": badClass, "key": badKey} {
		if _, err := FromRing(ringOf(layout("cell-a"), l, nil)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestSaveAndLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "ring.json")
	if _, err := Load(path); !errors.Is(err, ErrNothingSaved) {
		t.Fatalf("Load before Save: %v; want ErrNothingSaved", err)
	}
	want := &Saved{
		SavedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Server:  "https://127.0.0.1:6443",
		Ring:    *ringOf(layout("cell-a"), layout("cell-a"), nil),
		Cells:   []SavedCell{{Cell: v1alpha1.Cell{ObjectMeta: metav1.ObjectMeta{Name: "cell-a"}}, Kubeconfig: []byte("secret")}},
	}
	for range 2 { // the second replaces the first
		if err := Save(path, want); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("loaded (-want +got):\n%s", diff)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode = %v; want 0600", info.Mode().Perm())
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("folder holds %v, %v; want one file", entries, err)
	}
}

func TestLoadRefusesGarbage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ring.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || errors.Is(err, ErrNothingSaved) {
		t.Errorf("Load = %v; want a parse error", err)
	}
}

// TestKeysMoveWithTheTide: whatever changes, a key moves to a cell that stands above the one it leaves, or between two
// that shrink or two that grow.
func TestKeysMoveWithTheTide(t *testing.T) {
	weights := func(pairs ...any) *v1alpha1.RingLayout {
		l := &v1alpha1.RingLayout{PointsPerWeight: 10}
		for i := 0; i < len(pairs); i += 2 {
			l.Members = append(l.Members, v1alpha1.RingMember{Cell: pairs[i].(string), Weight: int32(pairs[i+1].(int))})
		}
		return l
	}
	before := weights("a", 100, "b", 100, "c", 200, "d", 100)
	for name, after := range map[string]*v1alpha1.RingLayout{
		"join":    weights("a", 100, "b", 100, "c", 200, "d", 100, "e", 100),
		"leave":   weights("b", 100, "c", 200, "d", 100),
		"weights": weights("a", 50, "b", 150, "c", 200, "d", 100),
		"all":     weights("b", 300, "c", 100, "d", 100, "e", 50),
	} {
		s, err := FromRing(ringOf(before, before, after))
		if err != nil {
			t.Fatal(err)
		}
		moved := 0
		for i := range 20_000 {
			p, _ := s.Table.LookupKey(fmt.Sprintf("ns/%d", i))
			if !p.Moves() {
				continue
			}
			from, to := s.Tide(p.Old()), s.Tide(p.New())
			if moved++; from > to || from == to && from*from != 1 {
				t.Fatalf("%s: key %d moves from %s (%d) to %s (%d)", name, i, p.Old(), from, p.New(), to)
			}
		}
		if moved == 0 {
			t.Errorf("%s: nothing moves", name)
		}
	}
	if s, err := FromRing(ringOf(before, before, nil)); err != nil || s.Tide("a") != 0 {
		t.Errorf("while nothing moves: %v, %v", s.Tide("a"), err)
	}
}
