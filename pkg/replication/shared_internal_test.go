package replication

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// TestAReadIsSharedThatHasNotBegun: ten that ask while a read is under way share one, which begins after that; what was under
// way may not have seen what they have done.
func TestAReadIsSharedThatHasNotBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var of reads
		answers := make(chan *unstructured.Unstructured)
		begun := 0
		find := func() (*unstructured.Unstructured, error) {
			begun++ // one is under way at a time
			return <-answers, nil
		}
		var first, late sync.WaitGroup
		ask := func(group *sync.WaitGroup, want string) {
			group.Go(func() {
				obj, err := of.get(t.Context(), find)
				if err != nil {
					t.Error(err)
					return
				}
				if got := obj.GetResourceVersion(); got != want {
					t.Errorf("read version %q, want %q", got, want)
				}
				obj.SetResourceVersion("changed") // which nobody else sees
			})
		}
		ask(&first, "1")
		synctest.Wait() // it is under way, and has not waited for the others
		for range 10 {
			ask(&late, "2")
		}
		synctest.Wait()
		answers <- version("1")
		first.Wait()
		answers <- version("2")
		late.Wait()
		if begun != 2 {
			t.Errorf("%d reads, want 2", begun)
		}
	})
}

// TestWhoGivesUpLeavesTheReadToOthers: the first to ask ends, and those that share what it has begun do not.
func TestWhoGivesUpLeavesTheReadToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var of reads
		answer := make(chan *unstructured.Unstructured)
		find := func() (*unstructured.Unstructured, error) { return <-answer, nil }
		var asked sync.WaitGroup
		asked.Go(func() { _, _ = of.get(t.Context(), find) })
		synctest.Wait() // the next read waits for this one
		ctx, cancel := context.WithCancel(t.Context())
		asked.Go(func() {
			if _, err := of.get(ctx, find); !errors.Is(err, context.Canceled) {
				t.Errorf("get = %v, want the end of its context", err)
			}
		})
		synctest.Wait()
		asked.Go(func() {
			obj, err := of.get(t.Context(), find)
			if err != nil || obj.GetResourceVersion() != "2" {
				t.Errorf("get = %v, %v; want version 2", obj, err)
			}
		})
		synctest.Wait()
		cancel()
		synctest.Wait()
		answer <- version("1")
		answer <- version("2")
		asked.Wait()
	})
}

func version(of string) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{}
	obj.SetResourceVersion(of)
	return obj
}
