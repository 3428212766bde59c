// Package authn finds out who a client of the router is.
//
//	client certificate ─▶ its subject
//	bearer token ─▶ cache (10 s) ─▶ JWT of a configured issuer ─▶ TokenReview by the RCP ─▶ what the RCP said before
//
// It promises that a token which the RCP accepted goes on being accepted while the RCP cannot be asked, for
// [HeldFor] and never beyond the expiry that the token itself names; and that a token which the RCP refuses is
// refused after [CacheTTL] as long as the RCP can be asked, which remembers for as long itself that a token was good. A failure to ask is told apart from a refusal:
// see [Failure].
//
// It does not say what a client may do: the control plane that serves the request does. Anonymous
// clients are refused.
package authn

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/group"
	"k8s.io/apiserver/pkg/authentication/request/bearertoken"
	"k8s.io/apiserver/pkg/authentication/request/union"
	"k8s.io/apiserver/pkg/authentication/request/websocket"
	"k8s.io/apiserver/pkg/authentication/request/x509"
	"k8s.io/apiserver/pkg/authentication/token/cache"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
)

// CacheTTL is how long the answer about a token stands, accepted or refused: it bounds for how long a
// token that was revoked is still accepted.
const CacheTTL = 10 * time.Second

// Config is what authentication needs.
type Config struct {
	// Reviews is a client of the RCP that does not throttle itself.
	Reviews authenticationclient.TokenReviewInterface
	// ClientCA is the bundle of clients' certificates.
	ClientCA dynamiccertificates.CAContentProvider
	// File is an AuthenticationConfiguration of apiserver.config.k8s.io, "" for none. It is followed.
	File string
	// FollowEvery is how often the file is read; 0 means every 10 seconds.
	FollowEvery time.Duration
	// Unreachable says why the RCP is known not to answer, so that no request has to find out; nil while
	// it may answer.
	Unreachable func() error
	Now         func() time.Time
	Logger      *slog.Logger
}

// New returns who authenticates clients. An error is about the file and says what is wrong in it. The
// file is followed, and the keys of its issuers are fetched, until ctx ends.
func New(ctx context.Context, config Config) (authenticator.Request, error) {
	token, err := newToken(ctx, config, CacheTTL)
	if err != nil {
		return nil, err
	}
	return group.NewAuthenticatedGroupAdder(union.New(
		x509.NewDynamic(config.ClientCA.VerifyOptions, x509.CommonNameUserConversion),
		bearertoken.New(token), websocket.NewProtocolAuthenticator(token),
	)), nil
}

// newToken authenticates by tokens, whose answers stand for ttl.
func newToken(ctx context.Context, config Config, ttl time.Duration) (authenticator.Token, error) {
	tokens := []authenticator.Token{}
	if config.File != "" {
		issuers, err := followIssuers(ctx, config.File, config.FollowEvery, config.Logger)
		if err != nil {
			return nil, fmt.Errorf("authentication configuration %s: %w", config.File, err)
		}
		tokens = append(tokens, issuers)
	}
	tokens = append(tokens, newHeld(reviewer{config.Reviews}, config.Unreachable, config.Now))
	// Errors are not kept: the next request asks again.
	return noting{cache.New(firstOf(tokens), false, ttl, ttl)}, nil
}

// firstOf asks one after the other until one accepts the token. Where none does, the last one's answer
// counts: it is the RCP, which alone can say that it was not asked.
type firstOf []authenticator.Token

func (f firstOf) AuthenticateToken(ctx context.Context, token string) (response *authenticator.Response, ok bool, err error) {
	for _, one := range f {
		if response, ok, err = one.AuthenticateToken(ctx, token); ok && err == nil {
			return response, true, nil
		}
	}
	return nil, false, err
}
