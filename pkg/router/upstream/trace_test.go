package upstream

import (
	"net/http"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

const clients = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// TestATraceGoesOnInTheControlPlane as what the router made of it, or as the client sent it where the router traces nothing.
func TestATraceGoesOnInTheControlPlane(t *testing.T) {
	var seen http.Header
	c := plane(t, &seen, http.StatusOK)
	recorded := tracetest.NewSpanRecorder()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorded)).Tracer("test")
	for name, send := range map[string]func(*http.Request) (*http.Response, error){
		"Do":   c.Do,
		"Send": func(r *http.Request) (*http.Response, error) { return c.Send(r, Changes{}) },
	} {
		t.Run(name, func(t *testing.T) {
			r := requestAs("alice")
			r.Header.Set("Traceparent", clients)
			wantOK(t, send, r)
			if got := seen.Get("Traceparent"); got != clients {
				t.Errorf("without a tracer it is told of %q; want the client's %q", got, clients)
			}
			recorded.Reset()
			ctx, parent := tracer.Start(r.Context(), "request")
			wantOK(t, send, r.WithContext(ctx))
			parent.End()
			spans := recorded.Ended()
			if len(spans) != 2 || spans[0].Name() != "GET cell-1" || spans[0].Parent().SpanID() != parent.SpanContext().SpanID() {
				t.Fatalf("spans %v; want one of the control plane in one of the request", spans)
			}
			want := spans[0].SpanContext().TraceID().String() + "-" + spans[0].SpanContext().SpanID().String()
			if got := seen.Get("Traceparent"); !strings.Contains(got, want) {
				t.Errorf("it is told of %q; want %q", got, want)
			}
		})
	}
	c.Close()
	down := &DownError{}
	c.down.Store(down)
	recorded.Reset()
	r := requestAs("alice")
	ctx, _ := tracer.Start(r.Context(), "request")
	if _, err := c.Do(r.WithContext(ctx)); err == nil { //nolint:bodyclose // there is none
		t.Error("a control plane that is down has answered")
	}
	if spans := recorded.Ended(); len(spans) != 1 || spans[0].Status().Code != codes.Error {
		t.Errorf("spans %v; want one that says that there was no answer", spans)
	}
}

func wantOK(t *testing.T, send func(*http.Request) (*http.Response, error), r *http.Request) {
	t.Helper()
	answer, err := send(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := answer.Body.Close(); err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("answered %s, %v", answer.Status, err)
	}
}
