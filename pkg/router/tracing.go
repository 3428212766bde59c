package router

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.17.0"
	"k8s.io/apiserver/pkg/features"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/apiserver/pkg/util/feature"
	"k8s.io/component-base/tracing"
	tracingapi "k8s.io/component-base/tracing/api/v1"
)

const (
	// serviceName is what spans say of who made them.
	serviceName = "kubecell-router"
	// lastSpans is how long a router that ends tries to hand over the last spans.
	lastSpans = 5 * time.Second
)

// openTracing begins to hand spans to a collector, if there is to be one. The function that it returns hands over the last.
// Requests get spans by the generic server's filter, with those for control planes in them: see [upstream.ControlPlane.Send].
func (h *handler) openTracing(ctx context.Context, file, identity string, logger *slog.Logger) (closeTracing func(), err error) {
	if file == "" {
		return func() {}, nil
	}
	wanted, err := genericoptions.ReadTracingConfiguration(file)
	if err == nil {
		err = tracingapi.ValidateTracingConfiguration(wanted, feature.DefaultFeatureGate, nil).ToAggregate()
	}
	if err != nil {
		return nil, fmt.Errorf("tracing configuration %s: %w", file, err)
	}
	if !feature.DefaultFeatureGate.Enabled(features.APIServerTracing) {
		return nil, fmt.Errorf("tracing configuration %s: the feature %s is turned off", file, features.APIServerTracing)
	}
	spans, err := tracing.NewProvider(ctx, wanted, nil, []resource.Option{
		resource.WithAttributes(semconv.ServiceName(serviceName), semconv.ServiceInstanceID(identity)),
	})
	if err != nil {
		return nil, fmt.Errorf("tracing configuration %s: %w", file, err)
	}
	h.tracer = spans
	return func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastSpans)
		defer cancel()
		if err := spans.Shutdown(last); err != nil {
			logger.Warn("the last spans were not handed over", "err", err)
		}
	}, nil
}
