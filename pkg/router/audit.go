package router

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"k8s.io/apiserver/pkg/apis/audit"
	auditing "k8s.io/apiserver/pkg/audit"
	genericfilters "k8s.io/apiserver/pkg/endpoints/filters"
	genericserver "k8s.io/apiserver/pkg/server"
	genericoptions "k8s.io/apiserver/pkg/server/options"
)

const (
	// cellAnnotation of an event names the control planes that were asked: cells, or @rcp, with commas.
	cellAnnotation = "kubecell.io/cell"
	// rawAnnotation of an event is the path as the client wrote it, of a request to /cells/NAME.
	rawAnnotation = "kubecell.io/raw-path"
)

// auditLog is where requests are written down, and by which policy. A nil auditLog writes nothing.
type auditLog struct {
	backend auditing.Backend
	policy  auditing.PolicyRuleEvaluator
}

// newAuditLog makes of the options what an apiserver would; nil where they ask for none.
func newAuditLog(options *genericoptions.AuditOptions) (*auditLog, error) {
	if options == nil || options.LogOptions.Path == "" {
		return nil, nil
	}
	var config genericserver.Config
	if err := options.ApplyTo(&config); err != nil {
		return nil, fmt.Errorf("set up the audit log: %w", err)
	}
	if config.AuditBackend == nil {
		return nil, nil
	}
	return &auditLog{backend: config.AuditBackend, policy: config.AuditPolicyRuleEvaluator}, nil
}

// run begins to write. What it returns waits until everything is written; it must be called last of all.
func (a *auditLog) run() (closeLog func(), err error) {
	if a == nil {
		return func() {}, nil
	}
	stop := make(chan struct{})
	if err := a.backend.Run(stop); err != nil {
		return nil, fmt.Errorf("start the audit log: %w", err)
	}
	return func() {
		close(stop)
		a.backend.Shutdown()
	}, nil
}

// withID gives every request its audit ID, the client's own where it has one, and lets control planes know it:
// their audit logs can be joined with this one's by it.
func (a *auditLog) withID(next http.Handler) http.Handler {
	if a == nil {
		return next
	}
	return genericfilters.WithAuditInit(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id, ok := auditing.AuditIDFrom(r.Context()); ok {
			r.Header.Set(audit.HeaderAuditID, string(id))
		}
		next.ServeHTTP(w, r)
	}))
}

// withEvents writes down what next serves, who asked, and what was answered.
func (h *handler) withEvents(next http.Handler) http.Handler {
	if h.audit == nil {
		return next
	}
	return genericfilters.WithAudit(h.withBodies(next), h.audit.backend, h.audit.policy, streaming())
}

// withRefusals writes down who was not let in.
func (h *handler) withRefusals(refuse http.Handler) http.Handler {
	if h.audit == nil {
		return refuse
	}
	return genericfilters.WithFailedAuthenticationAudit(refuse, h.audit.backend, h.audit.policy)
}

// annotate says in the event which control planes serve the request.
func (h *handler) annotate(ctx context.Context, sources ...string) {
	if h.audit != nil {
		auditing.AddAuditAnnotation(ctx, cellAnnotation, strings.Join(sources, ","))
	}
}
