package verify

import (
	"fmt"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/backup/mirror"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// moving is a world in the middle of a rebalance from a and b to a, b and c, and a key that moves to c.
func moving(t *testing.T) (w *world, key string, from string) {
	t.Helper()
	ring := &v1alpha1.Ring{}
	layout := func(cells ...string) *v1alpha1.RingLayout {
		out := &v1alpha1.RingLayout{}
		for _, cell := range cells {
			out.Members = append(out.Members, v1alpha1.RingMember{Cell: cell, Weight: 1})
		}
		return out
	}
	s := &ring.Status
	s.Current, s.Target = layout("a", "b"), layout("a", "b", "c")
	s.Phase, s.Rebalance, s.Epoch = v1alpha1.RingRebalancing, "rb-7", 7
	snap, err := routing.FromRing(ring)
	if err != nil {
		t.Fatal(err)
	}
	w = &world{
		ring: ring, snap: snap, readable: map[string]bool{"a": true, "b": true, "c": true},
		grace: func(string) time.Duration { return time.Hour }, moving: true, now: time.Now(),
	}
	for i := 0; ; i++ {
		key = fmt.Sprintf("ns/x-%d", i)
		if p, _ := snap.Table.LookupKey(key); p.New() == "c" {
			return w, key, p.Old()
		}
	}
}

func see(key string, records map[string]v1alpha1.RebalanceStatus) *sighting {
	s := &sighting{ref: ref{namespace: "ns", name: key[len("ns/"):]}, class: placement.Sharded, key: key, records: map[string]*record{}}
	s.resource.Resource = "configmaps"
	for cell, status := range records {
		meta := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
			Namespace: "ns", Name: s.name, UID: types.UID("uid-" + cell), ResourceVersion: "5",
			Annotations: map[string]string{v1alpha1.AnnotationRebalance: "rb-7", v1alpha1.AnnotationMovesTo: "c", v1alpha1.AnnotationMigrationTime: time.Now().Format(time.RFC3339)},
		}}
		if status != "" {
			meta.Labels = map[string]string{v1alpha1.LabelRebalanceStatus: string(status)}
		}
		s.records[cell] = &record{meta: meta, unit: key}
	}
	return s
}

// TestJudgeWhileUnitsMove: every state that a move goes through is none of a finding.
func TestJudgeWhileUnitsMove(t *testing.T) {
	w, key, from := moving(t)
	other := "a"
	if from == other {
		other = "b"
	}
	const none = v1alpha1.RebalanceStatus("")
	for _, c := range []struct {
		name    string
		records map[string]v1alpha1.RebalanceStatus
		counts  string
		want    []Class
	}{
		{"before", map[string]v1alpha1.RebalanceStatus{from: none}, from, nil},
		{"marked", map[string]v1alpha1.RebalanceStatus{from: v1alpha1.Migrating}, from, nil},
		{"copied", map[string]v1alpha1.RebalanceStatus{from: v1alpha1.Migrating, "c": v1alpha1.Incoming}, from, nil},
		{"flipped", map[string]v1alpha1.RebalanceStatus{from: v1alpha1.Migrated, "c": v1alpha1.Incoming}, "", nil},
		{"moved", map[string]v1alpha1.RebalanceStatus{from: v1alpha1.Migrated, "c": none}, "c", nil},
		{"buried", map[string]v1alpha1.RebalanceStatus{"c": none}, "c", nil},
		{"in both", map[string]v1alpha1.RebalanceStatus{from: none, "c": none}, from, []Class{Duplicate}},
		{"in neither", map[string]v1alpha1.RebalanceStatus{other: none}, "", []Class{Misplaced}},
		{"in another one too", map[string]v1alpha1.RebalanceStatus{from: v1alpha1.Migrated, "c": none, other: none}, "c", []Class{Duplicate}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := see(key, c.records)
			j := w.judge(s)
			var got []Class
			for _, f := range j.findings {
				got = append(got, f.Class)
			}
			if !slices.Equal(got, c.want) || j.counts != c.counts {
				t.Errorf("found %v, counts in %q; want %v and %q", got, j.counts, c.want, c.counts)
			}
			w.readable[from] = false
			defer func() { w.readable[from] = true }()
			if j := w.judge(s); j.known {
				t.Errorf("with the cell that it moves from away: counts in %q; want that nobody knows", j.counts)
			}
		})
	}
}

// TestJudgeEnvelopesWhileUnitsMove: those for one of the two rings do, and a daemon that is behind is waited for.
func TestJudgeEnvelopesWhileUnitsMove(t *testing.T) {
	w, key, from := moving(t)
	w.backup = backupState{on: true, working: true, settled: map[string]int64{from: 7}}
	homes := w.snap.Homes(from, key)
	good := func(s *sighting, home string) *sealed {
		return &sealed{name: s.envelope(), uid: "e", version: "1", header: envelope.Header{
			UID: s.records[from].meta.UID, ResourceVersion: "5", Unit: key, SourceCell: from, BackupCell: home,
		}}
	}
	s := see(key, map[string]v1alpha1.RebalanceStatus{from: ""})
	s.envelopes = map[string]*sealed{}
	if j := w.judge(s); len(j.findings) != len(homes) || j.findings[0].Class != Unprotected {
		t.Errorf("without any envelope: %+v; want it unprotected", j.findings)
	}
	s.envelopes[homes[0]] = good(s, homes[0])
	if j := w.judge(s); len(j.findings) > 0 {
		t.Errorf("with an envelope in %s of %v: %+v; want nothing", homes[0], homes, j.findings)
	}
	s.envelopes[homes[0]].header.ResourceVersion = "4"
	j := w.judge(s)
	if len(j.findings) == 0 || j.findings[0].Class != Stale || j.findings[0].behind != 5 || j.findings[0].holds != 4 {
		t.Errorf("with an envelope of an earlier state: %+v; want it stale", j.findings)
	}
	later := j.findings[0]
	if later.holds = 5; j.findings[0].same(&later) {
		t.Error("an envelope that has caught up with what was seen first is no finding, however far the object has gone on")
	}
	delete(s.envelopes, homes[0])
	if w.backup.settled[from] = 6; !w.judge(s).waits || len(w.judge(s).findings) > 0 {
		t.Errorf("while a daemon catches up: %+v; want to wait for it", w.judge(s))
	}
	w.backup.settled[from] = 7
	w.backup.refused = map[refusal]mirror.Unprotected{{s.ref, string(s.records[from].meta.UID)}: {Backup: homes[0], Reason: "TooLarge"}}
	if j := w.judge(s); len(j.findings) == 0 || j.findings[0].Safe {
		t.Errorf("of what the backup cannot have: %+v; want it for a person", j.findings)
	}
}

// TestDigests differ exactly in the buckets whose envelopes do, in rounds that are bounded.
func TestDigests(t *testing.T) {
	d := newDigests()
	var odd []place
	for i := range 5000 {
		c := content{name: envelope.Name("", "configmaps", "ns", fmt.Sprint(i)), source: "a", unit: "u", uid: "1", version: "1"}
		d.add(d.wanted, "b", c)
		if i%1000 == 0 {
			bucket, ok := bucketOf(c.name)
			if !ok {
				t.Fatalf("%s has no bucket", c.name)
			}
			odd = append(odd, place{"b", bucket})
			c.version = "2"
		}
		d.add(d.found, "b", c)
	}
	rounds := d.differ(6)
	found := map[place]bool{}
	for _, round := range rounds {
		for at := range round {
			found[at] = true
		}
	}
	if len(found) != len(odd) || len(rounds) < 2 {
		t.Errorf("%d buckets in %d rounds; want %v in several", len(found), len(rounds), odd)
	}
	for _, at := range odd {
		if !found[at] {
			t.Errorf("bucket %v is not among %v", at, found)
		}
	}
	if _, ok := bucketOf("envelope-xyz"); ok {
		t.Error("xyz is read as a bucket")
	}
}

// TestFilter knows all that is in it, and hardly anything else.
func TestFilter(t *testing.T) {
	f := newFilter()
	for i := range 100_000 {
		f.add(types.UID(fmt.Sprint("in-", i)))
	}
	wrong := 0
	for i := range 100_000 {
		if !f.has(types.UID(fmt.Sprint("in-", i))) {
			t.Fatalf("in-%d is not in it", i)
		}
		if f.has(types.UID(fmt.Sprint("out-", i))) {
			wrong++
		}
	}
	if wrong > 1 {
		t.Errorf("%d of 100,000 others are taken for one that is in it", wrong)
	}
}

// TestExplain has words for each class.
func TestExplain(t *testing.T) {
	for _, class := range Classes() {
		if e := class.Explain(); e.Meaning == "" || e.Example == "" || e.Repair == "" || e.Otherwise == "" {
			t.Errorf("%s: %+v", class, e)
		}
	}
}
