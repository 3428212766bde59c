package metrics

import (
	"maps"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
)

const (
	// other is the label of what a client may have invented.
	other = "other"
	// maxKnown bounds how many resources, with their subresources, have labels of their own.
	maxKnown = 2000
	// aborted is the code of a request whose answer broke off or that got none, since nobody waits for it.
	aborted = -1
)

// children keeps what labels lead to. Reading takes no lock and allocates nothing.
type children[K comparable, V any] struct {
	make func(K) V

	mu    sync.Mutex // held for adding
	found atomic.Pointer[map[K]V]
}

func (c *children[K, V]) of(key K) V {
	if found := c.found.Load(); found != nil {
		if v, ok := (*found)[key]; ok {
			return v
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	next := map[K]V{}
	if found := c.found.Load(); found != nil {
		if v, ok := (*found)[key]; ok {
			return v
		}
		next = maps.Clone(*found)
	}
	v := c.make(key)
	next[key] = v
	c.found.Store(&next)
	return v
}

// triple is a resource and a subresource of it, which may be empty.
type triple struct{ group, resource, subresource string }

// known are the resources that exist for certain.
type known struct {
	mu    sync.Mutex // held for adding
	found atomic.Pointer[map[triple]struct{}]
}

func (k *known) has(t triple) bool {
	found := k.found.Load()
	if found == nil {
		return false
	}
	_, ok := (*found)[t]
	return ok
}

// add is false where there are too many already.
func (k *known) add(t triple) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	next := map[triple]struct{}{}
	if found := k.found.Load(); found != nil {
		next = maps.Clone(*found)
	}
	if len(next) >= maxKnown {
		return false
	}
	next[t] = struct{}{}
	k.found.Store(&next)
	return true
}

// verbLabel is the verb, of those that the API has, and methods for what is no resource.
func verbLabel(verb string) string {
	switch verb {
	case "get", "list", "watch", "create", "update", "patch", "delete", "deletecollection",
		"head", "post", "put", "options":
		return verb
	}
	return other
}

func codeLabel(code int) string {
	switch {
	case code == aborted:
		return "aborted"
	case http.StatusText(code) == "":
		return other
	}
	return strconv.Itoa(code)
}
