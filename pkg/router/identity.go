package router

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	genericfilters "k8s.io/apiserver/pkg/endpoints/filters"
	"k8s.io/apiserver/pkg/endpoints/filters/impersonation"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/router/authn"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
)

const (
	// accessCacheTTL bounds for how long a right to impersonate that was taken away still holds. The generic filter remembers
	// who may be impersonated under constraints, and what may be done in his name, for as long again each.
	accessCacheTTL = 10 * time.Second
	// accessTimeout bounds one SubjectAccessReview, repetitions included.
	accessTimeout = 10 * time.Second
)

// access asks the RCP, by SubjectAccessReview, what a user may do that is the router's to allow: to impersonate,
// and to read the router's metrics.
type access struct {
	reviews authorizer.Authorizer
	// unreachable says why the RCP is known not to answer; nil while it may answer.
	unreachable func() error
}

// identity returns who says who a client is, and who says what it may do of what is the router's to allow.
func (h *handler) identity(ctx context.Context, config Config, ca dynamiccertificates.CAContentProvider) (authenticator.Request, access, error) {
	// Throttled on this side, a flood of garbage tokens would lock the good ones out; the RCP protects
	// itself, by priority and fairness.
	rcp := rest.CopyConfig(config.RCP)
	rcp.QPS, rcp.Burst = -1, -1
	kube, err := kubernetes.NewForConfig(rcp)
	if err != nil {
		return nil, access{}, fmt.Errorf("build client of the RCP: %w", err)
	}
	who, err := authn.New(ctx, authn.Config{
		Reviews: kube.AuthenticationV1().TokenReviews(), ClientCA: ca, File: config.AuthenticationConfig,
		Unreachable: h.rcpDown, Now: time.Now, Logger: config.Logger,
	})
	if err != nil {
		return nil, access{}, err
	}
	may, err := newAccess(kube, h.rcpDown)
	return newCertificates(who, ca.CurrentCABundleContent), may, err
}

// rcpDown says why the RCP is known not to answer; nil while it may answer.
func (h *handler) rcpDown() error {
	state := h.state()
	if state == nil {
		return nil
	}
	rcp, err := state.ControlPlane(route.RCP)
	if err != nil {
		return err
	}
	if down := rcp.Down(); down != nil {
		return down
	}
	return nil
}

func newAccess(kube kubernetes.Interface, unreachable func() error) (access, error) {
	reviews, err := authorizerfactory.DelegatingAuthorizerConfig{
		SubjectAccessReviewClient: kube.AuthorizationV1(),
		AllowCacheTTL:             accessCacheTTL,
		DenyCacheTTL:              accessCacheTTL,
		WebhookRetryBackoff:       &wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 3},
	}.New()
	if err != nil {
		return access{}, fmt.Errorf("set up authorisation: %w", err)
	}
	return access{reviews: reviews, unreachable: unreachable}, nil
}

// Authorize implements [authorizer.Authorizer]. An error says that the RCP could not be asked.
func (a access) Authorize(ctx context.Context, attributes authorizer.Attributes) (authorizer.Decision, string, error) {
	if err := a.unreachable(); err != nil {
		return a.unasked(ctx, err)
	}
	bounded, cancel := context.WithTimeout(ctx, accessTimeout)
	defer cancel()
	decision, reason, err := a.reviews.Authorize(bounded, attributes)
	if err != nil {
		return a.unasked(ctx, err)
	}
	return decision, reason, nil
}

func (a access) unasked(ctx context.Context, err error) (authorizer.Decision, string, error) {
	if t, ok := ctx.Value(trialKey{}).(*trial); ok {
		t.err = err
	}
	return authorizer.DecisionNoOpinion, "", err
}

type trialKey struct{}

// trial is what came of an attempt to impersonate.
type trial struct {
	// as is the user whom the request is made as; nil where that was refused.
	as user.Info
	// err says why the RCP could not be asked.
	err error
}

// withImpersonation makes requests those of the user whom the client wants to be, as an apiserver does: where he may be him for
// what the request does, or for anything. The generic filter answers 403 where the RCP cannot be asked; nobody has
// refused anything then, and the answer is 503. The attempt ends with the filter: what the RCP is asked later is no part of it.
func (h *handler) withImpersonation(next http.Handler, authz authorizer.Authorizer) http.Handler {
	filter := impersonation.WithConstrainedImpersonation(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if t, ok := r.Context().Value(trialKey{}).(*trial); ok {
			t.as, _ = request.UserFrom(r.Context())
		}
	}), authz, h.codecs)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !impersonates(r.Header) {
			next.ServeHTTP(w, r)
			return
		}
		t := &trial{}
		answer := newHeldAnswer()
		filter.ServeHTTP(answer, r.WithContext(context.WithValue(r.Context(), trialKey{}, t)))
		switch {
		case t.as != nil:
			next.ServeHTTP(w, r.WithContext(request.WithUser(r.Context(), t.as)))
		case t.err != nil:
			h.fail(w, r, route.Unavailable(route.RCP, "it has to say who may impersonate whom: "+t.err.Error()))
		default:
			answer.release(w)
		}
	})
}

func impersonates(header http.Header) bool {
	for name := range header {
		if strings.HasPrefix(name, "Impersonate-") {
			return true
		}
	}
	return false
}

// mayRead is nil where the user may read what is at the request's path.
func (h *handler) mayRead(r *http.Request, authz authorizer.Authorizer) error {
	attributes, err := genericfilters.GetAuthorizerAttributes(r.Context())
	if err != nil {
		return err
	}
	decision, reason, err := authz.Authorize(r.Context(), attributes)
	switch {
	case err != nil:
		return route.Unavailable(route.RCP, "it has to say who may read this: "+err.Error())
	case decision != authorizer.DecisionAllow:
		return apierrors.NewForbidden(schema.GroupResource{}, "", fmt.Errorf("user %q cannot %s path %q: %s",
			attributes.GetUser().GetName(), attributes.GetVerb(), attributes.GetPath(), reason))
	}
	return nil
}

// unauthenticated answers those whom the authenticator does not know: 401, or 503 where the RCP could not
// be asked about them.
func (h *handler) unauthenticated() http.Handler {
	unauthorized := genericfilters.Unauthorized(h.codecs)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := authn.Failure(r.Context()); err != nil {
			h.fail(w, r, route.Unavailable(route.RCP, err.Error()))
			return
		}
		unauthorized.ServeHTTP(w, r)
	})
}
