package lease

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestNothingIsWrittenOnceTheLeaseIsOver, by work that was suspended: reads pass, and so does what has to be done all the same.
func TestNothingIsWrittenOnceTheLeaseIsOver(t *testing.T) {
	arrived := 0
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { arrived++ }))
	t.Cleanup(server.Close)
	holding := func(renewed time.Time) (context.Context, *term) {
		held := &term{duration: time.Minute, renewed: renewed, over: make(chan struct{})}
		return context.WithValue(t.Context(), termKey{}, held), held
	}
	held, _ := holding(time.Now())
	over, ended := holding(time.Now().Add(-time.Hour))
	slept, _ := holding(time.Now().Round(0).Add(-time.Hour)) // which the wall clock alone tells
	for name, test := range map[string]struct {
		ctx     context.Context
		method  string
		refused bool
	}{
		"a write while it is held":      {held, http.MethodPatch, false},
		"a write by who holds none":     {t.Context(), http.MethodPatch, false},
		"a write when it is over":       {over, http.MethodPatch, true},
		"a deletion when it is over":    {over, http.MethodDelete, true},
		"a write after a sleep":         {slept, http.MethodPut, true},
		"a read when it is over":        {over, http.MethodGet, false},
		"what has to be done":           {Unguarded(over), http.MethodPatch, false},
		"a write that outlives a cause": {context.WithoutCancel(over), http.MethodPost, true},
	} {
		before := arrived
		request, err := http.NewRequestWithContext(test.ctx, test.method, server.URL, strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := (&http.Client{Transport: Guard(http.DefaultTransport)}).Do(request)
		if err == nil {
			_ = answer.Body.Close()
		}
		if errors.Is(err, ErrLost) != test.refused || (arrived == before) != test.refused {
			t.Errorf("%s: %v, and %d arrived", name, err, arrived-before)
		}
	}
	select {
	case <-ended.over:
	default:
		t.Error("the work is not told that its lease is over")
	}
}
