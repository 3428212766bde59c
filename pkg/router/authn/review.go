package authn

import (
	"context"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/util/webhook"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
)

// reviewTimeout bounds one TokenReview, repetitions included.
const reviewTimeout = 10 * time.Second

// UnavailableError says that the RCP could not be asked about a token: nothing is known against the token.
type UnavailableError struct{ Err error }

func (e *UnavailableError) Error() string { return "review token: " + e.Err.Error() }

// Unwrap returns why the RCP could not be asked.
func (e *UnavailableError) Unwrap() error { return e.Err }

// reviewer asks the RCP. Its only error is *UnavailableError: a refusal is none, whatever reason the RCP
// gives for it.
type reviewer struct {
	reviews authenticationclient.TokenReviewInterface
}

func (r reviewer) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}
	var answer *authenticationv1.TokenReview
	backoff := wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 3}
	err := webhook.WithExponentialBackoff(ctx, backoff, func() error {
		var err error
		answer, err = r.reviews.Create(ctx, review, metav1.CreateOptions{})
		return err
	}, webhook.DefaultShouldRetry)
	if err != nil {
		return nil, false, &UnavailableError{err}
	}
	if !answer.Status.Authenticated {
		return nil, false, nil
	}
	who := answer.Status.User
	info := &user.DefaultInfo{Name: who.Username, UID: who.UID, Groups: who.Groups}
	if who.Extra != nil {
		info.Extra = make(map[string][]string, len(who.Extra))
		for key, values := range who.Extra {
			info.Extra[key] = values
		}
	}
	return &authenticator.Response{User: info}, true, nil
}
