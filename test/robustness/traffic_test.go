package robustness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/test/robustness/history"
)

const (
	// requestPatience is how long a client waits for an answer; client-go repeats what is answered with 429 within it.
	requestPatience = 30 * time.Second
	// hot is how many keys get half of the requests.
	hot = 24
	// thinking is how long a client rests between two requests, on average.
	thinking = 60 * time.Millisecond
)

// traffic are the clients, and what they share.
type traffic struct {
	*bed
	keys  []string
	marks atomic.Int64
	// reports has clients write status as well.
	reports bool
	// direct are the writes past the routers.
	direct direct
}

// caller is one client: it asks for one thing at a time, through either router.
type caller struct {
	*traffic
	id     int
	random *rand.Rand
	last   map[string]*unstructured.Unstructured // the objects that it was shown, by key
}

// fill makes all objects but those that are there, by n clients at once.
func (t *traffic) fill(ctx context.Context, n int, there map[string]history.State) {
	var making sync.WaitGroup
	for i := range n {
		c := t.caller(i, 0)
		making.Go(func() {
			for k := i; k < len(t.keys) && ctx.Err() == nil; k += n {
				if _, is := there[t.keys[k]]; !is {
					c.do(ctx, history.Create, t.keys[k])
				}
			}
		})
	}
	making.Wait()
}

// run writes until the context of stopping ends, and returns when the last request is answered.
func (t *traffic) run(ctx, stopping context.Context, n int, seed uint64) {
	var asking sync.WaitGroup
	for i := range n {
		c := t.caller(i, seed)
		asking.Go(func() {
			for stopping.Err() == nil && ctx.Err() == nil {
				c.next(ctx)
				c.rest(stopping)
			}
		})
	}
	asking.Wait()
}

func (t *traffic) caller(id int, seed uint64) *caller {
	return &caller{traffic: t, id: id, random: rand.New(rand.NewPCG(seed, uint64(id))), last: map[string]*unstructured.Unstructured{}}
}

func (c *caller) rest(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Duration(c.random.Int64N(int64(2 * thinking)))):
	}
}

// next draws a key and what to do with it.
func (c *caller) next(ctx context.Context) {
	key := c.keys[c.random.IntN(len(c.keys))]
	if c.random.IntN(2) == 0 {
		// Spread over the kinds, since neighbours are not.
		key = c.keys[c.random.IntN(hot)*len(c.keys)/hot]
	}
	n := c.random.IntN(100)
	switch {
	case n < 22:
		c.do(ctx, history.Get, key)
	case n < 44:
		c.do(ctx, history.Update, key)
	case n < 62 && kindOf(key) == deployments:
		c.do(ctx, history.Scale, key)
	case n < 69 && c.reports && kindOf(key) == deployments:
		c.do(ctx, history.Report, key)
	case n < 72:
		c.do(ctx, history.Patch, key)
	case n < 80 && !isHeld(key):
		c.do(ctx, history.Delete, key)
	default:
		c.do(ctx, history.Create, key)
	}
}

// do makes one request and records it. An Update is of the object as this client saw it last; where it never did, it
// becomes a Patch: of thousands of names a client knows few, and what it wants is to write.
func (c *caller) do(ctx context.Context, verb history.Verb, key string) {
	via := c.through[c.random.IntN(len(c.through))]
	op := history.Op{Client: c.id, Via: via.name, Key: key, Verb: verb}
	known := c.last[key]
	if verb == history.Update && known == nil {
		op.Verb = history.Patch
	}
	if op.Writes() {
		op.Mark = fmt.Sprintf("c%d-%d", c.id, c.marks.Add(1))
	}
	if verb == history.Scale || verb == history.Create && kindOf(key) == deployments {
		op.Replicas = c.marks.Add(1)
	}
	if verb == history.Report {
		op.Reported = c.marks.Add(1)
	}
	if conditional := c.random.IntN(3) == 0; known != nil && (verb == history.Update || conditional && (verb == history.Scale || verb == history.Report || verb == history.Delete)) {
		op.IfVersion = known.GetResourceVersion()
	}
	asking, cancel := context.WithTimeout(ctx, requestPatience)
	defer cancel()
	var seen *unstructured.Unstructured
	var err error
	op = c.record.Do(op, func(op *history.Op) {
		seen, err = ask(asking, via, op, known)
		answer(op, seen, err)
	})
	c.learn(op, seen)
	if op.Outcome == history.Refused && !apierrors.IsTooManyRequests(err) && !neverSent(err) && !isUnavailable(err) {
		c.strange("%s", op)
	}
}

func (c *caller) learn(op history.Op, seen *unstructured.Unstructured) {
	switch {
	case op.Outcome == history.Absent, op.Outcome == history.OK && op.Verb == history.Delete:
		delete(c.last, op.Key)
	case op.Outcome == history.OK && op.Verb != history.Scale:
		c.last[op.Key] = seen
	}
}

// ask makes the request of an operation.
func ask(ctx context.Context, via access, op *history.Op, known *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	r, name := resourceOf(via.client, op.Key), nameOf(op.Key)
	switch op.Verb {
	case history.Create:
		return r.Create(ctx, fresh(op.Key, op.Mark, op.Replicas), metav1.CreateOptions{})
	case history.Update:
		o := known.DeepCopy()
		setMark(o, op.Key, op.Mark)
		return r.Update(ctx, o, metav1.UpdateOptions{})
	case history.Patch:
		return r.Patch(ctx, name, types.MergePatchType, encode(markPatch(op.Key, op.Mark, op.IfVersion)), metav1.PatchOptions{})
	case history.Scale:
		if op.IfVersion != "" {
			return r.Update(ctx, newScale(op.Key, op.Replicas, op.IfVersion), metav1.UpdateOptions{}, "scale")
		}
		return r.Patch(ctx, name, types.MergePatchType, fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, op.Replicas), metav1.PatchOptions{}, "scale")
	case history.Report:
		return r.Patch(ctx, name, types.MergePatchType, encode(report(op.Reported, op.IfVersion)), metav1.PatchOptions{}, "status")
	case history.Delete:
		var options metav1.DeleteOptions
		if op.IfVersion != "" {
			options.Preconditions = &metav1.Preconditions{ResourceVersion: &op.IfVersion}
		}
		return nil, r.Delete(ctx, name, options)
	}
	return r.Get(ctx, name, metav1.GetOptions{})
}

// encode is a merge patch on the wire, which names no kind.
func encode(o *unstructured.Unstructured) []byte {
	data, err := json.Marshal(o.Object)
	if err != nil {
		panic(err)
	}
	return data
}

// answer says in an operation what came of it.
func answer(op *history.Op, seen *unstructured.Unstructured, err error) {
	op.Outcome = outcome(op.Verb, err)
	if err != nil {
		op.Detail = err.Error()
	} else if seen != nil {
		op.Seen = stateOf(op.Key, seen)
	}
}

// outcome tells what was not done from what may have been.
func outcome(verb history.Verb, err error) history.Outcome {
	var status apierrors.APIStatus
	switch {
	case err == nil:
		return history.OK
	case apierrors.IsNotFound(err) && verb != history.Create:
		return history.Absent
	case apierrors.IsAlreadyExists(err):
		return history.Exists
	case apierrors.IsConflict(err):
		return history.Conflict
	case apierrors.IsTooManyRequests(err), neverSent(err), isUnavailable(err):
		return history.Refused
	case errors.As(err, &status) && status.Status().Code >= 400 && status.Status().Code < 500 && !apierrors.IsTimeout(err):
		return history.Refused
	}
	return history.Unknown
}

// isUnavailable says whether a router could not do it, and did nothing: it tells when to come again then.
func isUnavailable(err error) bool {
	_, again := apierrors.SuggestsClientDelay(err)
	return again && apierrors.IsServiceUnavailable(err)
}

// neverSent says whether there was nobody to send it to.
func neverSent(err error) bool {
	var dial *net.OpError
	return errors.As(err, &dial) && dial.Op == "dial"
}
