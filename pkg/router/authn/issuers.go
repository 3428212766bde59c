package authn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/install"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	authenticationcel "k8s.io/apiserver/pkg/authentication/cel"
	"k8s.io/apiserver/pkg/authentication/token/union"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/apiserver/plugin/pkg/authenticator/token/oidc"
)

const (
	// followEvery is how often the file is read.
	followEvery = 10 * time.Second
	// readyPatience is how long the issuers of a changed file may take to give their keys; until then, and
	// where they don't, the ones before go on.
	readyPatience = time.Minute
	readyInterval = 100 * time.Millisecond
)

// issuers authenticates by the JWTs of the issuers in a file. It changes when the file does.
type issuers struct {
	current atomic.Pointer[issuerSet]
}

func (i *issuers) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	return i.current.Load().token.AuthenticateToken(ctx, token)
}

// issuerSet is what one version of the file says.
type issuerSet struct {
	token  authenticator.Token
	checks []func() error
	// stop ends the fetching of keys.
	stop context.CancelFunc
}

// ready is nil when the keys of all issuers are known.
func (s *issuerSet) ready() error {
	errs := make([]error, len(s.checks))
	for i, check := range s.checks {
		errs[i] = check()
	}
	return errors.Join(errs...)
}

// followIssuers reads the file, and follows it until ctx ends. A later version with mistakes, or with an issuer
// that does not answer, is logged, and the one before goes on.
func followIssuers(ctx context.Context, file string, every time.Duration, logger *slog.Logger) (*issuers, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	first, err := newIssuerSet(ctx, data)
	if err != nil {
		return nil, err
	}
	i := &issuers{}
	i.current.Store(first)
	if every == 0 {
		every = followEvery
	}
	go i.follow(ctx, file, data, every, logger)
	return i, nil
}

func (i *issuers) follow(ctx context.Context, file string, last []byte, every time.Duration, logger *slog.Logger) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		data, err := os.ReadFile(file)
		if err != nil {
			logger.Error("cannot read the authentication configuration; the last one stays", "file", file, "err", err)
			continue
		}
		if bytes.Equal(data, last) {
			continue
		}
		if err := i.replace(ctx, data); err != nil {
			logger.Error("cannot use the authentication configuration; the last one stays", "file", file, "err", err)
			if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
				continue // an issuer that does not answer may do so the next time
			}
		} else {
			logger.Info("the authentication configuration has changed", "file", file)
		}
		last = data
	}
}

func (i *issuers) replace(ctx context.Context, data []byte) error {
	next, err := newIssuerSet(ctx, data)
	if err != nil {
		return err
	}
	err = wait.PollUntilContextTimeout(ctx, readyInterval, readyPatience, true, func(context.Context) (bool, error) {
		return next.ready() == nil, nil
	})
	if err != nil {
		next.stop()
		return errors.Join(err, next.ready())
	}
	old := i.current.Swap(next)
	// Requests that began with it may still need its keys.
	time.AfterFunc(readyPatience, old.stop)
	return nil
}

func newIssuerSet(ctx context.Context, data []byte) (_ *issuerSet, err error) {
	config, err := parse(data)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer func() {
		if err != nil {
			stop()
		}
	}()
	set := &issuerSet{stop: stop}
	var tokens []authenticator.Token
	for _, jwt := range config.JWT {
		options := oidc.Options{JWTAuthenticator: jwt, SupportedSigningAlgs: oidc.AllValidSigningAlgorithms()}
		if pem := jwt.Issuer.CertificateAuthority; pem != "" {
			ca, err := dynamiccertificates.NewStaticCAContent("issuer", []byte(pem))
			if err != nil {
				return nil, fmt.Errorf("issuer %s: %w", jwt.Issuer.URL, err)
			}
			options.CAContentProvider = ca
		}
		token, err := oidc.New(ctx, options)
		if err != nil {
			return nil, fmt.Errorf("issuer %s: %w", jwt.Issuer.URL, err)
		}
		tokens = append(tokens, token)
		set.checks = append(set.checks, token.HealthCheck)
	}
	set.token = union.NewFailOnError(tokens...)
	return set, nil
}

// parse reads and checks a file as an apiserver does.
func parse(data []byte) (*apiserver.AuthenticationConfiguration, error) {
	scheme := runtime.NewScheme()
	install.Install(scheme)
	codecs := serializer.NewCodecFactory(scheme, serializer.EnableStrict)
	object, err := runtime.Decode(codecs.UniversalDecoder(), data)
	if err != nil {
		return nil, err
	}
	config, ok := object.(*apiserver.AuthenticationConfiguration)
	if !ok {
		return nil, fmt.Errorf("it holds a %T; want an AuthenticationConfiguration of apiserver.config.k8s.io", object)
	}
	if config.Anonymous != nil && config.Anonymous.Enabled {
		return nil, errors.New("anonymous.enabled: Forbidden: a router serves nobody whom it does not know")
	}
	for i, jwt := range config.JWT {
		if jwt.Issuer.EgressSelectorType != "" {
			return nil, fmt.Errorf("jwt[%d].issuer.egressSelectorType: Forbidden: a router has no egress selector", i)
		}
	}
	if err := validation.ValidateAuthenticationConfiguration(authenticationcel.NewDefaultCompiler(), config, nil).ToAggregate(); err != nil {
		return nil, err
	}
	return config, nil
}
