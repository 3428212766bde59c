package router

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/client-go/kubernetes"
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
func delegated(ctx context.Context, config Config) (authenticator.Request, authorizer.Authorizer, error) {
	kube, err := kubernetes.NewForConfig(config.RCP)
	if err != nil {
		return nil, nil, fmt.Errorf("build client of the RCP: %w", err)
	}
	ca, err := dynamiccertificates.NewDynamicCAContentFromFile("client-ca", config.ClientCAFile)
	if err != nil {
		return nil, nil, fmt.Errorf("read client CA: %w", err)
	}
	go ca.Run(ctx, 1)
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
	return authn, authz, nil
}
