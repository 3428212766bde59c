package upstream

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"k8s.io/component-base/tracing"
)

// tracerName is the scope of the spans of this package.
const tracerName = "github.com/kubecell/kubectl-cell/pkg/router/upstream"

// span begins the part of a client's trace that is a request to this control plane, which goes on with it by the header. It is
// nil where the router traces nothing: what the client says of its trace passes as it came then.
func (c *ControlPlane) span(ctx context.Context, method string, header http.Header) (context.Context, trace.Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.SpanContext().IsValid() {
		return ctx, nil
	}
	ctx, span := parent.TracerProvider().Tracer(tracerName).Start(ctx, method+" "+c.name,
		trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attribute.String("kubecell.control_plane", c.name)))
	tracing.Propagators().Inject(ctx, propagation.HeaderCarrier(header))
	return ctx, span
}

// endSpan ends it with the headers of the answer.
func endSpan(span trace.Span, answer *http.Response, err error) {
	switch {
	case span == nil:
		return
	case err != nil:
		span.RecordError(err)
		span.SetStatus(codes.Error, "no answer")
	default:
		span.SetAttributes(attribute.Int("http.status_code", answer.StatusCode))
	}
	span.End()
}
