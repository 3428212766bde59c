package router

import (
	"fmt"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const (
	// tokenCacheTTL bounds for how long a token that was revoked is still accepted.
	tokenCacheTTL = 10 * time.Second
	// tokenReviewTimeout bounds one TokenReview.
	tokenReviewTimeout = 10 * time.Second
	// accessCacheTTL bounds for how long a right to impersonate that was taken away still holds.
	accessCacheTTL = 10 * time.Second
)

// delegated returns who authenticates clients (their certificate, or the RCP by TokenReview) and who
// allows impersonation (the RCP by SubjectAccessReview). Anonymous clients are refused.
func delegated(rcp *rest.Config, ca dynamiccertificates.CAContentProvider) (authenticator.Request, authorizer.Authorizer, error) {
	// Throttled on this side, a flood of garbage tokens would lock the good ones out; the RCP protects
	// itself, by priority and fairness.
	rcp = rest.CopyConfig(rcp)
	rcp.QPS, rcp.Burst = -1, -1
	kube, err := kubernetes.NewForConfig(rcp)
	if err != nil {
		return nil, nil, fmt.Errorf("build client of the RCP: %w", err)
	}
	authn, _, err := authenticatorfactory.DelegatingAuthenticatorConfig{
		TokenAccessReviewClient:            kube.AuthenticationV1(),
		TokenAccessReviewTimeout:           tokenReviewTimeout,
		WebhookRetryBackoff:                genericoptions.DefaultAuthWebhookRetryBackoff(),
		CacheTTL:                           tokenCacheTTL,
		ClientCertificateCAContentProvider: ca,
	}.New()
	if err != nil {
		return nil, nil, fmt.Errorf("set up authentication: %w", err)
	}
	authz, err := authorizerfactory.DelegatingAuthorizerConfig{
		SubjectAccessReviewClient: kube.AuthorizationV1(),
		AllowCacheTTL:             accessCacheTTL,
		DenyCacheTTL:              accessCacheTTL,
		WebhookRetryBackoff:       genericoptions.DefaultAuthWebhookRetryBackoff(),
	}.New()
	if err != nil {
		return nil, nil, fmt.Errorf("set up authorisation: %w", err)
	}
	return newCertificates(authn, ca.CurrentCABundleContent), authz, nil
}
