// Package router is the Global Cell Router: it makes all cells look like one Kubernetes API.
//
//	request ─▶ filters of the generic server ─▶ route.Decide ─┬▶ Forward ─▶ upstream (cell or RCP)
//	           (authentication, impersonation)      ▲         ├▶ Place ──── naming ─▶ Decide again
//	                                                │         ├▶ Move ───── ask both cells ─▶ Forward
//	                                   feed.State ──┘         ├▶ Find ───── ask all ─▶ Forward
//	                                   (Ring, Cells)          ├▶ Merge ──── ask all ─▶ merge.Lists
//	                                                          ├▶ Replicate ─▶ RCP, then replication.Push
//	                                                          └▶ Refuse ─── why, as a Status
//
// A router is stateless: any number of replicas may run, and each request is judged by the one
// configuration that was newest when it arrived.
//
// Not promised here: an order between requests of different clients, or that a list over several
// cells shows all of them at the same instant.
//
// Start reading at [Run], then buildChain in handler.go, then package route.
package router

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	genericserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/adminport"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/router/feed"
	"github.com/kubecell/kubectl-cell/pkg/router/ledger"
	"github.com/kubecell/kubectl-cell/pkg/router/membership"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
	"github.com/kubecell/kubectl-cell/pkg/router/upstream"
)

// Config is what a router needs to run.
type Config struct {
	// RCP is the client configuration for the router control plane.
	RCP *rest.Config
	// Serving says where to listen and with which certificate; the files are watched and reloaded.
	Serving *genericoptions.SecureServingOptions
	// ClientCAFile holds the CA bundle of clients' certificates.
	ClientCAFile string
	// AuthenticationConfig is an AuthenticationConfiguration of apiserver.config.k8s.io: issuers of JWTs. It is
	// followed; "" means none.
	AuthenticationConfig string
	// Audit says what is written down and where; nil means nothing.
	Audit  *genericoptions.AuditOptions
	Limits Limits
	// TracingConfig is a TracingConfiguration of apiserver.config.k8s.io: the collector of spans, and how many requests get
	// some; "" means none.
	TracingConfig string
	// StateDir holds the last good configuration.
	StateDir string
	// SlowClient is how long one write to a watching client may take before its watch is dropped; 30 s where zero. A client
	// may take twice as long to read a whole answer that is no stream.
	SlowClient time.Duration
	// MovingPatience is how long the deletion of a collection waits for one object whose move has to end; 10 s where zero.
	MovingPatience time.Duration
	// AdminListen is the host and port of health, metrics and profiles, which need no credentials; "" means none.
	AdminListen string
	// AdminURL is how others reach that port; where it is empty, by the address on which it listens.
	AdminURL string
	// AdminReady is called once with the base URL of these, before Ready; nil where nobody asks.
	AdminReady func(url string)
	// Ready is called once with the base URL, when requests are served.
	Ready  func(url string)
	Logger *slog.Logger
}

const (
	// initialTimeout is how long a starting router waits for the RCP before it uses its file.
	initialTimeout = 10 * time.Second
	// registrationTimeout is how long a starting router waits for being registered. It serves all the same.
	registrationTimeout = 5 * time.Second
	// drainTimeout is how long a stopping router lets requests finish.
	drainTimeout = 20 * time.Second
	// lastWrites is more than what a cell may take for a write, finished or given up.
	lastWrites = 65 * time.Second
)

// Run serves until ctx ends, then lets the requests in flight finish and returns nil.
func Run(ctx context.Context, config Config) error {
	h, err := newHandler(ctx, config)
	if err != nil {
		return err
	}
	kube, err := kubernetes.NewForConfig(config.RCP)
	if err != nil {
		return fmt.Errorf("build client of the RCP: %w", err)
	}
	configuration, registered, err := h.follow(config, kube)
	if err != nil {
		return err
	}
	// The Lease outlives ctx: until the last watch has ended this router shows events in an order of its own. As long as it
	// stands a rebalance waits for this router, which therefore follows the ring as long.
	outliving, end := context.WithCancel(context.WithoutCancel(ctx))
	ctx, stop := context.WithCancel(ctx)
	defer registered.Wait()
	defer configuration.Wait()
	defer end()
	defer stop()

	closeLog, err := h.openAuditLog(config)
	if err != nil {
		return err
	}
	defer closeLog()
	closeTracing, err := h.openTracing(ctx, config.TracingConfig, registered.Identity(), config.Logger)
	if err != nil {
		return err
	}
	defer closeTracing()
	ca, chain, err := h.secure(ctx, config)
	if err != nil {
		return err
	}
	closePort, err := h.openAdminPort(ctx, config, registered)
	if err != nil {
		return err
	}
	defer closePort()
	// First of all, so that nothing that the cells tell from now on can have been shown by a router which is
	// gone already.
	registered.Start(outliving, registrationTimeout)
	starting := context.AfterFunc(ctx, end)
	if err := configuration.Start(outliving); err != nil {
		return err
	}
	starting()
	closeBooks, err := h.keepBooks(ctx, kube, config.Logger)
	if err != nil {
		return err
	}
	defer closeBooks()
	if err := serve(ctx, config, ca, chain); err != nil {
		return err
	}
	finish(configuration, config.Logger)
	return nil
}

// follow returns what the handler goes by: the configuration, and the router's place among the others, which
// acknowledges it. Neither has begun.
func (h *handler) follow(config Config, kube kubernetes.Interface) (*feed.Feed, *membership.Membership, error) {
	var registered *membership.Membership
	configuration, err := feed.New(feed.Config{
		RCP:            config.RCP,
		StateDir:       config.StateDir,
		InitialTimeout: initialTimeout,
		Respond:        h.noAnswer,
		Settled:        func(e feed.Epoch) { registered.Acknowledge(e.Epoch, e.Window) },
		Logger:         config.Logger,
		Now:            time.Now,
	})
	if err != nil {
		return nil, nil, err
	}
	if registered, err = register(config, kube, configuration); err != nil {
		return nil, nil, err
	}
	h.aloneSince = registered.AloneSince
	h.state, h.begin, h.may = configuration.State, configuration.Begin, configuration.May
	h.metrics = newMetrics(configuration.State, h.ledger)
	h.metrics.Register(expiring(config, configuration.State))
	return configuration, registered, nil
}

// secure returns the CA of clients' certificates, which the server that listens and the authenticator share, and the
// chain of handlers.
func (h *handler) secure(ctx context.Context, config Config) (dynamiccertificates.CAContentProvider, http.Handler, error) {
	ca, err := dynamiccertificates.NewDynamicCAContentFromFile("client-ca", config.ClientCAFile)
	if err != nil {
		return nil, nil, fmt.Errorf("read client CA: %w", err)
	}
	user, access, err := h.identity(ctx, config, ca)
	if err != nil {
		return nil, nil, err
	}
	h.authz = access
	return ca, h.buildChain(user, access, health(h.state, h.stopping)), nil
}

// newHandler returns a handler that knows neither cells nor users yet.
func newHandler(stopping context.Context, config Config) (*handler, error) {
	sealer, err := envelope.NewSealer()
	if err != nil {
		return nil, err
	}
	return &handler{
		codecs: codecs(), stopping: stopping, leaving: leave(stopping), slowClient: cmp.Or(config.SlowClient, slowClient), streams: streaming(),
		movingPatience: cmp.Or(config.MovingPatience, movingPatience),
		inFlight:       inFlight{limits: config.Limits}, ledger: ledger.New(ledger.DefaultLimit), sealer: sealer,
	}, nil
}

// serve listens until ctx ends and the requests in flight are finished, or the drain is over.
func serve(ctx context.Context, config Config, clientCA dynamiccertificates.CAContentProvider, chain http.Handler) error {
	serving, err := listen(config, clientCA)
	if err != nil {
		return err
	}
	stopped, _, err := serving.Serve(chain, drainTimeout, ctx.Done())
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	config.Ready("https://" + serving.Listener.Addr().String())
	<-stopped
	return nil
}

// finish waits for the writes that outlast the drain. A router whose Lease is gone has none in flight: that is what a
// rebalance relies on.
func finish(configuration *feed.Feed, logger *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), lastWrites)
	defer cancel()
	if !configuration.Finished(ctx) {
		logger.Error("writes are still in flight, giving up", "after", lastWrites)
	}
}

// openAuditLog begins the audit log, if there is to be one. The function that it returns ends it.
func (h *handler) openAuditLog(config Config) (closeLog func(), err error) {
	if h.audit, err = newAuditLog(config.Audit); err != nil {
		return nil, err
	}
	return h.audit.run()
}

// keepBooks keeps the ledger short until ctx ends. The function that it returns waits for that.
func (h *handler) keepBooks(ctx context.Context, kube kubernetes.Interface, logger *slog.Logger) (wait func(), err error) {
	books, err := newBookkeeper(kube, h.ledger, h.state, logger)
	if err != nil {
		return nil, err
	}
	var running sync.WaitGroup
	ctx, stop := context.WithCancel(ctx)
	running.Go(func() { books.run(ctx) })
	return func() { stop(); running.Wait() }, nil
}

// openAdminPort opens the port for which nobody needs credentials, if there is to be one. It answers from the
// start of the router, which may wait for the RCP, until its last request has ended.
func (h *handler) openAdminPort(ctx context.Context, config Config, registered *membership.Membership) (closePort func(), err error) {
	if config.AdminListen == "" {
		return func() {}, nil
	}
	port, err := adminport.Open(ctx, adminport.Config{
		Address: config.AdminListen, Health: health(h.state, h.stopping), Metrics: h.metrics.Handler(),
		More: h.accounts(registered.Identity(), time.Now()),
	})
	if err != nil {
		return nil, fmt.Errorf("open the admin port: %w", err)
	}
	config.Logger.Info("health, metrics and profiles are served without credentials", "url", port.URL)
	registered.Reachable(cmp.Or(validHost(config.AdminURL), port.URL))
	if config.AdminReady != nil {
		config.AdminReady(port.URL)
	}
	return func() {
		if err := port.Close(); err != nil {
			config.Logger.Warn("the admin port did not close in order", "err", err)
		}
	}, nil
}

// register returns the router's place among the others.
func register(config Config, kube kubernetes.Interface, holder membership.Holder) (*membership.Membership, error) {
	identity, err := membership.Identity(config.StateDir)
	if err != nil {
		return nil, err
	}
	return membership.New(membership.Config{Kube: kube, Identity: identity, Holder: holder, Logger: config.Logger})
}

// listen opens the port before anything else is promised, so that a port in use is an error at once.
func listen(config Config, clientCA dynamiccertificates.CAContentProvider) (*genericserver.SecureServingInfo, error) {
	var info *genericserver.SecureServingInfo
	if errs := config.Serving.Validate(); len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	address := net.JoinHostPort(config.Serving.BindAddress.String(), strconv.Itoa(config.Serving.BindPort))
	listener, _, err := genericoptions.CreateListener(config.Serving.BindNetwork, address, net.ListenConfig{})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	config.Serving.Listener = listener
	if err := config.Serving.MaybeDefaultWithSelfSignedCerts("localhost", nil, []net.IP{net.IPv4(127, 0, 0, 1)}); err != nil {
		return nil, fmt.Errorf("make a serving certificate: %w", err)
	}
	if err := config.Serving.ApplyTo(&info); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	info.ClientCA = clientCA
	return info, nil
}

// noAnswer answers for a control plane that did not.
func (h *handler) noAnswer(w http.ResponseWriter, r *http.Request, source string, err error) {
	if r.Context().Err() != nil {
		// The client went away. One that only stopped sending must not take silence for success.
		h.fail(w, r, apierrors.NewTimeoutError("the client went away before there was an answer", 0))
		return
	}
	answer := route.Unavailable(source, err.Error())
	if !repeatable(r, err) {
		// Clients repeat by themselves whatever comes with a time to retry; a write that may have
		// been done must not be.
		answer.ErrStatus.Details = nil
	}
	h.fail(w, r, answer)
}

// repeatable says whether a request can be sent again without doing anything twice: it only reads, or
// it was never sent.
func repeatable(r *http.Request, err error) bool {
	return r.Method == http.MethodGet || r.Method == http.MethodHead || upstream.NotSent(err)
}

// codecs encode the router's own answers, which are all of kind Status.
func codecs() serializer.CodecFactory {
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	return serializer.NewCodecFactory(scheme)
}
