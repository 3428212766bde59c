package mirror_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/backup/mirror"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/replication"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// state is what is verified: all cells, by a ring.
func (b *bed) state(ring *routing.Snapshot) *replication.State {
	state := &replication.State{Snapshot: ring, Cells: map[string]replication.Access{}}
	for name, config := range b.configs {
		state.Cells[name] = replication.Access{Config: config, Version: name}
	}
	return state
}

// TestVerify finds each problem, and nothing where there is none.
func TestVerify(t *testing.T) {
	b := newBed(t)
	ring := b.setRing([]string{east, west}, nil)
	stop := b.start(ring)
	names := map[mirror.Problem]string{}
	for _, problem := range []mirror.Problem{mirror.Missing, mirror.Stale, mirror.Corrupt, mirror.Orphaned} {
		names[problem] = b.owned(ring, fmt.Sprintf("x%d", len(names)), of(east))
		b.awaitSealed(west, east, configMaps, b.make(east, configMaps, `{metadata: {name: `+names[problem]+`}}`))
	}
	names[mirror.Unpromotable] = b.owned(ring, "x9", of(east))
	b.awaitSealed(west, east, secrets, b.make(east, secrets, `{metadata: {name: `+names[mirror.Unpromotable]+`}}`))
	b.settled(east, west)
	stop()
	state := b.state(ring)
	verify := func(sample int) *mirror.Verified {
		t.Helper()
		v, err := mirror.Verify(t.Context(), state, mirror.VerifyOptions{Sample: sample})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if v := verify(-1); len(v.Findings) > 0 || v.Objects != 5 || v.Envelopes != 5 || v.Read != 5 {
		t.Errorf("where all is well: %+v", v)
	}
	if v := verify(2); v.Read != 2 {
		t.Errorf("a sample of two read %d", v.Read)
	}

	if err := b.envelopes(west).Delete(t.Context(), nameOf(configMaps, b.namespace, names[mirror.Missing]), metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	b.edit(east, configMaps, names[mirror.Stale], func(o *unstructured.Unstructured) { o.Object["data"] = map[string]any{"a": "b"} })
	secret := b.sealed(west, configMaps, names[mirror.Corrupt])
	secret.Data[envelope.DataKey] = []byte("nonsense")
	if _, err := b.envelopes(west).Update(t.Context(), secret, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	b.delete(east, configMaps, names[mirror.Orphaned])
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "none"}, Spec: corev1.ResourceQuotaSpec{
		Hard: corev1.ResourceList{"count/secrets": resource.MustParse("0")},
	}}
	if _, err := b.kube[west].CoreV1().ResourceQuotas(b.namespace).Create(t.Context(), quota, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	b.await("all problems to be found", func() bool { // the quota takes a moment to be in force
		got := map[mirror.Problem]string{}
		for _, f := range verify(-1).Findings {
			got[f.Problem] += f.Object + " from " + f.Source + " in " + f.Cell
		}
		want := map[mirror.Problem]string{}
		for problem, name := range names {
			kind := "configmaps"
			if problem == mirror.Unpromotable {
				kind = "secrets"
			}
			want[problem] = kind + " " + b.namespace + "/" + name + " from east in west"
		}
		diff := cmp.Diff(want, got)
		if diff != "" {
			t.Logf("findings (-want +got):\n%s", diff)
		}
		return diff == ""
	})
}

// TestVerifyOfWhatIsWrittenAllTheTime: an envelope that follows is not stale, though its object is ahead at every look; one
// that does not follow is.
func TestVerifyOfWhatIsWrittenAllTheTime(t *testing.T) {
	b := newBed(t)
	ring := b.setRing([]string{east, west}, nil)
	stop := b.start(ring)
	const objects = 4
	var names []string
	for i := range objects {
		names = append(names, b.owned(ring, fmt.Sprintf("x%d", i), of(east)))
		b.make(east, configMaps, `{metadata: {name: `+names[i]+`}}`)
	}
	b.settled(east, west)
	state := b.state(ring)
	written, end := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for _, name := range names {
		writers.Go(func() {
			for n := 0; written.Err() == nil; n++ {
				patch := fmt.Sprintf(`{"data":{"n":"%d"}}`, n)
				if _, err := b.in(east, configMaps).Patch(written, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil && written.Err() == nil {
					t.Errorf("write %s: %v", name, err)
					return
				}
			}
		})
	}
	defer writers.Wait()
	defer end()
	verify := func(lag time.Duration) []mirror.Finding {
		t.Helper()
		v, err := mirror.Verify(t.Context(), state, mirror.VerifyOptions{Lag: lag})
		if err != nil {
			t.Fatal(err)
		}
		return v.Findings
	}
	for range 3 {
		if found := verify(10 * time.Second); len(found) > 0 {
			t.Errorf("while the mirror follows: %+v", found)
		}
	}
	stop()
	stale := 0
	for _, f := range verify(time.Second) {
		if f.Problem != mirror.Stale {
			t.Errorf("while nothing follows: %+v", f)
		}
		stale++
	}
	if stale != objects {
		t.Errorf("%d are stale while nothing follows; want all %d", stale, objects)
	}
}
