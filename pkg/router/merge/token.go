package merge

import (
	"encoding/base64"
	"encoding/json"
	"fmt"

	"k8s.io/apiserver/pkg/storage"

	"github.com/kubecell/kubectl-cell/pkg/router/version"
)

// tokenVersion is that of the token's form. A form that says something else gets another one.
const tokenVersion = "kubecell.io/v1"

// Token is where a list goes on: behind an object, as all control planes were when the list began. It holds positions
// and no rights: what a client may read with it, each control plane decides anew.
type Token struct {
	// At is where each control plane stood, by slot. Of one without a field there is nothing in the list.
	At version.Vector
	// After is the key of the last object that was given out.
	After string
	// Epoch is the ring's, by which it was decided which objects are visible.
	Epoch int64
	// Inconsistent is set where the list goes on as things are now, since how they were is not known any more.
	Inconsistent bool
}

// encodedToken is a Token as clients carry it.
type encodedToken struct {
	Version      string `json:"v"`
	At           string `json:"rv"`
	After        string `json:"start"`
	Epoch        int64  `json:"epoch"`
	Inconsistent bool   `json:"inconsistent,omitempty"`
}

// String encodes the token.
func (t Token) String() string {
	data, err := json.Marshal(encodedToken{Version: tokenVersion, At: t.At.String(), After: t.After, Epoch: t.Epoch, Inconsistent: t.Inconsistent})
	if err != nil {
		panic(err) // strings and numbers always have a JSON
	}
	return base64.RawURLEncoding.EncodeToString(data)
}

// ParseToken reads what a client sends. The error has the words of the apiserver's own; the answer is 400.
func ParseToken(s string) (Token, error) {
	invalid := func(why any) (Token, error) {
		return Token{}, fmt.Errorf("invalid continue token: %w: %v", storage.ErrGenericInvalidKey, why)
	}
	data, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return invalid(err)
	}
	var e encodedToken
	if err := json.Unmarshal(data, &e); err != nil {
		return invalid(err)
	}
	if e.Version != tokenVersion {
		return Token{}, fmt.Errorf("invalid continue token: %w %v", storage.ErrUnrecognizedEncodedVersion, e.Version)
	}
	at, err := version.Parse(e.At)
	if err != nil {
		return invalid(err)
	}
	if at.Vector == nil {
		return Token{}, fmt.Errorf("invalid continue token: %w", storage.ErrInvalidStartRV)
	}
	if e.After == "" {
		return Token{}, fmt.Errorf("invalid continue token: %w", storage.ErrEmptyStartKey)
	}
	return Token{At: at.Vector, After: e.After, Epoch: e.Epoch, Inconsistent: e.Inconsistent}, nil
}

// For returns the continue token for the control plane of a slot, in the form that its apiserver makes itself, and
// false where there is nothing of it in the list.
func (t Token) For(slot int) (string, bool) {
	at := t.At.Raw(slot)
	if t.Inconsistent {
		at = -1 // the apiserver's own word for "as things are now"
	}
	if at == 0 {
		return "", false
	}
	// The prefix is the apiserver's to know: it is added there to what is encoded here.
	token, err := storage.EncodeContinue("/"+t.After+"\x00", "/", at)
	return token, err == nil
}
