package mirror

import (
	"time"

	"k8s.io/client-go/util/workqueue"
)

// Times between two attempts at one envelope.
const (
	firstRetry = 200 * time.Millisecond
	lastRetry  = 10 * time.Second
)

// lanes is the order of a queue: what has just changed first, then what is to be re-homed or compared. The queue calls
// it under its own lock.
type lanes struct {
	urgent, bulk []*item
	in           map[*item]bool
}

// Touch moves what has changed since to the front.
func (l *lanes) Touch(it *item) {
	if it.urgent.Load() {
		l.urgent = append(l.urgent, it)
	}
}

// Push adds an item.
func (l *lanes) Push(it *item) {
	l.in[it] = true
	if it.urgent.Load() {
		l.urgent = append(l.urgent, it)
		return
	}
	l.bulk = append(l.bulk, it)
}

// Len counts each item once.
func (l *lanes) Len() int { return len(l.in) }

// Pop takes the next one. There is one: Len is not 0.
func (l *lanes) Pop() *item {
	for {
		var it *item
		if len(l.urgent) > 0 {
			it, l.urgent = l.urgent[0], l.urgent[1:]
		} else {
			it, l.bulk = l.bulk[0], l.bulk[1:]
		}
		if l.in[it] { // else it was in both, or twice
			delete(l.in, it)
			return it
		}
	}
}

func newQueue() workqueue.TypedRateLimitingInterface[*item] {
	ordered := workqueue.NewTypedWithConfig(workqueue.TypedQueueConfig[*item]{Queue: &lanes{in: map[*item]bool{}}})
	delaying := workqueue.NewTypedDelayingQueueWithConfig(workqueue.TypedDelayingQueueConfig[*item]{Queue: ordered})
	return workqueue.NewTypedRateLimitingQueueWithConfig(
		workqueue.NewTypedItemExponentialFailureRateLimiter[*item](firstRetry, lastRetry),
		workqueue.TypedRateLimitingQueueConfig[*item]{DelayingQueue: delaying})
}
