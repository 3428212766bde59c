package command

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"k8s.io/client-go/rest"
)

// AnswerWithin is how long a person waits for the beginning of an answer to a question, unless --request-timeout says
// so. A router that finds its control plane hung needs 7 s to be sure.
const AnswerWithin = 10 * time.Second

// prompt has questions answered soon, or fail. A server that is asked in vain is one to be told of: client-go would ask
// it ten times more where it says "try again later", and wait for one that is silent for as long as the network does.
type prompt struct {
	http.RoundTripper
	// within is [AnswerWithin], or 0 where the user chose a limit for requests.
	within time.Duration
}

// prompted is config with that.
func prompted(config *rest.Config) *rest.Config {
	out := rest.CopyConfig(config)
	within := AnswerWithin
	if config.Timeout > 0 {
		within = 0
	}
	out.Wrap(func(rt http.RoundTripper) http.RoundTripper { return prompt{rt, within} })
	return out
}

// RoundTrip implements [http.RoundTripper].
func (p prompt) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := p.send(r)
	if err == nil && answer.StatusCode == http.StatusServiceUnavailable {
		answer.Header.Del("Retry-After")
	}
	return answer, err
}

func (p prompt) send(r *http.Request) (*http.Response, error) {
	if p.within == 0 || r.Method != http.MethodGet {
		return p.RoundTripper.RoundTrip(r)
	}
	// It ends with the command's own context: an answer that has begun may take its time.
	ctx, cancel := context.WithCancelCause(r.Context())
	silent := time.AfterFunc(p.within, func() { cancel(fmt.Errorf("no answer within %s", p.within)) })
	defer silent.Stop()
	answer, err := p.RoundTripper.RoundTrip(r.WithContext(ctx))
	if cause := context.Cause(ctx); err != nil && cause != nil && r.Context().Err() == nil {
		err = cause
	}
	return answer, err
}
