package lease

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// TestALeaseIsHeldByTheClockOfTheRCP, and by others only where that is not known.
func TestALeaseIsHeldByTheClockOfTheRCP(t *testing.T) {
	now := time.Date(2026, 3, 7, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for name, test := range map[string]struct {
		renewed, stored time.Time
		at              Moment
		want            bool
	}{
		"all clocks agree":             {ago(10 * time.Second), ago(10 * time.Second), Moment{now, now}, true},
		"silent":                       {ago(16 * time.Second), ago(16 * time.Second), Moment{now, now}, false},
		"the holder's clock is behind": {ago(time.Hour), ago(10 * time.Second), Moment{now, now}, true},
		"the holder's clock is ahead":  {ago(-time.Hour), ago(16 * time.Second), Moment{now, now}, false},
		"this clock is ahead":          {ago(10 * time.Second), ago(10 * time.Second), Moment{now, ago(-time.Hour)}, true},
		"stored within this second":    {now, now.Add(time.Second), Moment{now, now}, true},
		"the RCP tells no time":        {ago(16 * time.Second), now, Moment{Local: now}, false},
		"nor when it was stored":       {ago(10 * time.Second), time.Time{}, Moment{ago(-time.Hour), now}, true},
	} {
		l := &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{
			HolderIdentity: ptr.To("one"), LeaseDurationSeconds: ptr.To[int32](15), RenewTime: ptr.To(metav1.NewMicroTime(test.renewed)),
		}}
		if !test.stored.IsZero() {
			entry := func(fields string, at time.Time) metav1.ManagedFieldsEntry {
				return metav1.ManagedFieldsEntry{Time: ptr.To(metav1.NewTime(at)), FieldsV1: metav1.NewFieldsV1(fields)}
			}
			l.ManagedFields = []metav1.ManagedFieldsEntry{
				entry(`{"f:spec":{"f:renewTime":{}}}`, test.stored.Add(-time.Hour)), entry(`{"f:spec":{"f:renewTime":{}}}`, test.stored),
				entry(`{"f:metadata":{"f:labels":{}}}`, now.Add(time.Hour)),
			}
		}
		renewal := RenewalOf(l)
		if got := renewal.Alive(test.at); got != test.want {
			t.Errorf("%s: held %v after a silence of %s; want %v", name, got, renewal.Silence(test.at), test.want)
		}
	}
}

// TestTheClockIsThatOfTheAnswers of a server whose clock is an hour ahead.
func TestTheClockIsThatOfTheAnswers(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
	}))
	t.Cleanup(server.Close)
	var c Clock
	if now := c.Now(); !now.RCP.IsZero() || c.Since(now.Local.Add(-time.Minute)) < time.Minute {
		t.Errorf("before the first answer: %v", now)
	}
	answer, err := (&http.Client{Transport: c.Watch(http.DefaultTransport)}).Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	now := c.Now()
	if ahead := now.RCP.Sub(now.Local); ahead > time.Hour || ahead < time.Hour-time.Minute {
		t.Errorf("%s ahead; want an hour", ahead)
	}
	if since := c.Since(time.Now()); since < time.Hour-time.Minute {
		t.Errorf("what was noted an hour ago was %s ago", since)
	}
}
