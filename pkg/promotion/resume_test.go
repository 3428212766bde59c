package promotion_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/promotion"
)

var errKilled = errors.New("killed")

// killAfter runs what ends at the nth step, as if the process did, and says whether it got there.
func killAfter(p *promotion.Promoter, n int, do func()) (name promotion.StepName, killed bool) {
	seen := 0
	p.Step = func(s promotion.Step) {
		if seen++; seen == n {
			name = s.Name
			panic(errKilled)
		}
	}
	defer func() {
		if r := recover(); r != nil {
			if r != errKilled { //nolint:errorlint // what was thrown above
				panic(r)
			}
			killed = true
		}
	}()
	do()
	return name, killed
}

// TestResume kills the promotion after every single step: the next call ends as an undisturbed one does.
func TestResume(t *testing.T) {
	b := newBed(t)
	var steps []promotion.StepName
	p := b.promoter(nil)
	for n := 1; ; n++ {
		f := newFamily(b, fmt.Sprintf("f%d", n))
		step, killed := killAfter(p, n, func() { p.Promote(context.Background(), heir, f.envelopes[2]) })
		p.Step = nil
		for _, name := range f.envelopes {
			if result := p.Promote(t.Context(), heir, name); !result.Done() {
				t.Fatalf("killed after step %d, %s: %+v", n, step, result)
			}
		}
		f.arrived()
		if t.Failed() {
			t.Fatalf("killed after step %d, %s", n, step)
		}
		if !killed {
			break
		}
		steps = append(steps, step)
	}
	for _, step := range []promotion.StepName{
		promotion.Created, promotion.Stated, promotion.Verified, promotion.Committed, promotion.Revealed, promotion.Cleared,
	} {
		if !slices.Contains(steps, step) {
			t.Errorf("never killed after %s", step)
		}
	}
}

// TestManyPromotersMakeOneObject: each of them says that it is there, and they mean the same one.
func TestManyPromotersMakeOneObject(t *testing.T) {
	b := newBed(t)
	promoters := make([]*promotion.Promoter, 5)
	for i := range promoters {
		promoters[i] = b.promoter(nil)
	}
	for n := range 10 {
		f := newFamily(b, fmt.Sprintf("f%d", n))
		results := make([]promotion.Result, len(promoters))
		var all sync.WaitGroup
		for i, p := range promoters {
			all.Go(func() {
				// Half of them come for the owner first.
				p.Promote(t.Context(), heir, f.envelopes[i%len(f.envelopes)])
				results[i] = p.Promote(t.Context(), heir, f.envelopes[2])
			})
		}
		all.Wait()
		f.arrived()
		uid := b.get(heir, secrets, fmt.Sprintf("f%d", n)).GetUID()
		for _, r := range results {
			if !r.Done() || r.Outcome == promotion.Promoted && r.UID != uid || !slices.Contains([]types.UID{"", uid}, r.UID) {
				t.Errorf("%+v; the UID is %s", r, uid)
			}
		}
	}
}
