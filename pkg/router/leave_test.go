package router

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"k8s.io/apiserver/pkg/endpoints/request"
)

// TestAWatchThatBeginsTooLate is refused in a way that clients repeat by themselves, whether it is merged or passed on.
func TestAWatchThatBeginsTooLate(t *testing.T) {
	stopping, stop := context.WithCancel(t.Context())
	h, err := newHandler(stopping, Config{})
	if err != nil {
		t.Fatal(err)
	}
	info := &request.RequestInfo{IsResourceRequest: true, Verb: "watch", APIVersion: "v1", Resource: "configmaps", Path: "/api/v1/configmaps"}
	stop()
	for name, serve := range map[string]func(w http.ResponseWriter, r *http.Request){
		"merged":    func(w http.ResponseWriter, r *http.Request) { h.watch(w, r, nil, info, []string{"cell-1"}) },
		"passed on": func(w http.ResponseWriter, r *http.Request) { h.pass(w, r, nil) },
	} {
		r := httptest.NewRequestWithContext(request.WithRequestInfo(t.Context(), info), http.MethodGet, "/api/v1/configmaps?watch=true", nil)
		w := httptest.NewRecorder()
		serve(w, r)
		if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "1" || w.Header().Get("Connection") != "close" {
			t.Errorf("%s: %d %v %s; want to be asked to come again, elsewhere", name, w.Code, w.Header(), w.Body)
		}
	}
}

// TestWatchesOutliveTheStopOfARouter by a moment, in which clients learn that they have to connect elsewhere.
func TestWatchesOutliveTheStopOfARouter(t *testing.T) {
	stopping, stop := context.WithCancel(t.Context())
	h, err := newHandler(stopping, Config{})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	stop()
	<-h.leaving.Done()
	if took := time.Since(began); took < farewell {
		t.Errorf("watches end %s after the router was asked to stop; want %s or more", took, farewell)
	}
}
