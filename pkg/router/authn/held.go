package authn

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/utils/lru"
)

const (
	// HeldFor is how long a token is accepted after the RCP accepted it last, while the RCP cannot be asked.
	HeldFor = time.Hour
	// heldTokens is how many tokens are held; those used least recently go first. With a user of 1 KiB
	// they take 8 MiB.
	heldTokens = 8192
	// heldPatience is how long the RCP may take to answer about a token that is held.
	heldPatience = 2 * time.Second
)

// held remembers what the RCP said of tokens, for the time in which it cannot be asked.
type held struct {
	review      authenticator.Token
	unreachable func() error
	now         func() time.Time
	// tokens holds heldToken by the SHA-256 of the token: the tokens themselves are not kept.
	tokens *lru.Cache
}

type heldToken struct {
	response *authenticator.Response
	until    time.Time
}

func newHeld(review authenticator.Token, unreachable func() error, now func() time.Time) *held {
	return &held{review: review, unreachable: unreachable, now: now, tokens: lru.New(heldTokens)}
}

// AuthenticateToken fails with *UnavailableError where the RCP cannot be asked about a token that is not held.
func (h *held) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	key := sha256.Sum256([]byte(token))
	known := h.known(key)
	if err := h.unreachable(); err != nil {
		return instead(known, &UnavailableError{err})
	}
	if known != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, heldPatience)
		defer cancel()
	}
	response, ok, err := h.review.AuthenticateToken(ctx, token)
	var unavailable *UnavailableError
	switch {
	case errors.As(err, &unavailable):
		return instead(known, err)
	case err != nil || !ok:
		h.tokens.Remove(key)
		return nil, false, err
	}
	h.hold(key, token, response)
	return response, true, nil
}

func instead(known *authenticator.Response, err error) (*authenticator.Response, bool, error) {
	if known == nil {
		return nil, false, err
	}
	return known, true, nil
}

// known is what is held of a token, or nil.
func (h *held) known(key [sha256.Size]byte) *authenticator.Response {
	found, ok := h.tokens.Get(key)
	if !ok {
		return nil
	}
	token, ok := found.(heldToken)
	if !ok || h.now().After(token.until) {
		h.tokens.Remove(key)
		return nil
	}
	return token.response
}

func (h *held) hold(key [sha256.Size]byte, token string, response *authenticator.Response) {
	until := h.now().Add(HeldFor)
	if expires, ok := expiry(token); ok && expires.Before(until) {
		until = expires
	}
	h.tokens.Add(key, heldToken{response: response, until: until})
}

// expiry reads the claim exp of a JWT, and is false for a token that is none or has no such claim. The
// signature is not checked: the RCP has accepted the token.
func expiry(token string) (time.Time, bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}, false
	}
	var claims struct {
		Expires float64 `json:"exp"`
	}
	if json.Unmarshal(payload, &claims) != nil || claims.Expires <= 0 {
		return time.Time{}, false
	}
	return time.Unix(int64(claims.Expires), 0), true
}
