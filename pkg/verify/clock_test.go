package verify

import (
	"net/http"
	"testing"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/lease"
)

// dated is an answer that tells a time.
type dated time.Time

func (d dated) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{Header: http.Header{"Date": {time.Time(d).UTC().Format(http.TimeFormat)}}, Body: http.NoBody}, nil
}

// TestGraceIsCountedByTheClockOfTheRCP: with a clock that is put ahead, verify --repair would take tombstones away whose
// grace has just begun.
func TestGraceIsCountedByTheClockOfTheRCP(t *testing.T) {
	rcp := time.Date(2026, 3, 7, 11, 0, 0, 0, time.UTC)
	v := &verifier{clock: &lease.Clock{}, now: func() time.Time { return rcp.AddDate(100, 0, 0) }}
	if got := v.time(); !got.Equal(rcp.AddDate(100, 0, 0)) {
		t.Errorf("before the RCP has answered it is %s; want the time of this machine", got)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://rcp", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := v.clock.Watch(dated(rcp)).RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	if err := answer.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if got := v.time(); got.Before(rcp.Add(-time.Second)) || got.After(rcp.Add(time.Minute)) {
		t.Errorf("it is %s; want the RCP's %s", got, rcp)
	}
}
