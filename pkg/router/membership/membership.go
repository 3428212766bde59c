// Package membership registers a router at the RCP and knows which others there are.
//
// Each router has a Lease in kubecell-system, labelled kubecell.io/component=router, that it renews and
// that says which epoch it serves. A router that stops deletes its Lease; one that dies leaves it behind,
// and after [Lifetime] without a renewal no other router takes it for one that shows anything. A Rebalance waits for
// it as long as the Lease stands, and for nobody without: the [Holder] is told of that.
//
// Triggers: time, and any change of those Leases.
// Reads: the Leases of routers.
// Writes: its own Lease.
// Why it may run twice: every router has its own Lease, named after the identity in its state directory.
// After a crash: the next start takes the same Lease up again.
//
// Not promised: anything while the RCP is down. A router serves all the same.
package membership

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

const (
	// renewal is how often a router renews its Lease.
	renewal = 3 * time.Second
	// retryDelay is how long to wait after a renewal that failed.
	retryDelay = 250 * time.Millisecond
	// Lifetime is how long a router that does not renew its Lease still counts as alive.
	Lifetime = 30 * time.Second
	// freshness is for how long a renewal proves that the RCP could be reached. It is shorter than what a
	// router waits for the RCP before it starts without.
	freshness = 8 * time.Second

	component = "router"
	// identityFile keeps a router's name in its state directory.
	identityFile = "identity"
	randomBytes  = 4
	maxName      = 50
)

// Config is what a Membership needs.
type Config struct {
	// Kube is a client of the RCP.
	Kube kubernetes.Interface
	// Identity names the Lease; see [Identity].
	Identity string
	// Holder is told what becomes of the Lease.
	Holder Holder
	Logger *slog.Logger
}

// Holder goes by the Lease: as long as it stands, nobody changes the Ring without waiting for this router. It is called
// by one goroutine at a time.
type Holder interface {
	// Stands is called once the Lease is known to stand, and after an error again.
	Stands(ctx context.Context) error
	// Gone is called once there is known to be none.
	Gone()
	// Release is called before the Lease is given up. After an error it is kept.
	Release() error
}

// standing is what is known of a Lease.
type standing int

const (
	unknown standing = iota
	stands
	gone
)

// Membership is one router's place among the routers.
type Membership struct {
	config  Config
	leases  cache.SharedIndexInformer
	running sync.WaitGroup
	// acknowledged has a token when there is something that the Lease does not say yet.
	acknowledged chan struct{}
	// lease is this router's own as it was written last, nil where that is not known. One goroutine at a time
	// renews.
	lease *coordinationv1.Lease
	// told is what the Holder knows. It belongs to who renews, as lease does.
	told standing

	mu sync.Mutex
	// The rest is guarded by mu.
	epoch, window int64                // what is acknowledged
	adminURL      string               // where it tells of itself, empty for nowhere
	renewed       time.Time            // last success
	others        map[string]time.Time // when each was last seen to be alive
	since         time.Time            // since when this router may be the only one
}

// New returns a Membership that does nothing before [Membership.Start].
func New(config Config) (*Membership, error) {
	factory := informers.NewSharedInformerFactoryWithOptions(config.Kube, 0, informers.WithNamespace(v1alpha1.Namespace),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = v1alpha1.LabelComponent + "=" + component }))
	m := &Membership{config: config, leases: factory.Coordination().V1().Leases().Informer(), others: map[string]time.Time{}, acknowledged: make(chan struct{}, 1)}
	_, err := m.leases.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    m.seen,
		UpdateFunc: func(_, lease any) { m.seen(lease) },
		DeleteFunc: m.gone,
	})
	if err != nil {
		return nil, fmt.Errorf("watch the routers' leases: %w", err)
	}
	return m, nil
}

// Start registers the router, and returns when that is done or the RCP does not answer in time. Then it
// goes on to renew until ctx ends, gives the Lease up, and lets [Membership.Wait] return.
func (m *Membership) Start(ctx context.Context, timeout time.Duration) {
	m.running.Go(func() { m.leases.RunWithContext(ctx) })
	deadline, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	// The others first: one that is gone before this router registers has shown nothing that came after.
	if cache.WaitForCacheSync(deadline.Done(), m.leases.HasSynced) {
		m.tryRenew(deadline)
		m.AloneSince()
	}
	m.running.Go(func() { m.run(ctx) })
}

// Wait returns when everything that Start began has ended.
func (m *Membership) Wait() { m.running.Wait() }

func (m *Membership) run(ctx context.Context) {
	ticker := time.NewTicker(renewal)
	defer ticker.Stop()
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			m.giveUp()
			return
		case <-ticker.C:
		case <-retry.C:
		case <-m.acknowledged:
		}
		if !m.tryRenew(ctx) {
			// What was acknowledged is waited for.
			retry.Reset(retryDelay)
		}
		m.AloneSince()
	}
}

func (m *Membership) tryRenew(ctx context.Context) bool {
	err := m.renew(ctx)
	if err != nil && ctx.Err() == nil {
		m.config.Logger.Warn("cannot renew the router's lease", "lease", m.config.Identity, "err", err)
	}
	return err == nil
}

// AloneSince says since when this has certainly been the only router, and false while it may not be.
func (m *Membership) AloneSince() (time.Time, bool) {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.leases.HasSynced() || now.Sub(m.renewed) > freshness {
		// Another one may have started since, without this one hearing of it.
		m.since = time.Time{}
		return m.since, false
	}
	for name, seen := range m.others {
		if now.Sub(seen) <= Lifetime {
			m.since = time.Time{}
			return m.since, false
		}
		delete(m.others, name)
	}
	if m.since.IsZero() {
		m.since = now
	}
	return m.since, true
}

func (m *Membership) seen(object any) {
	lease, ok := object.(*coordinationv1.Lease)
	if !ok || lease.Name == m.config.Identity {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.others[lease.Name] = time.Now()
}

// gone notes a router that stopped: whatever it showed, it showed before now.
func (m *Membership) gone(object any) {
	if tombstone, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = tombstone.Obj
	}
	lease, ok := object.(*coordinationv1.Lease)
	if !ok {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.others, lease.Name)
	m.since = time.Time{}
}

// Acknowledge tells a Rebalance through the Lease, as soon as can be, that no write is in flight that began in
// an earlier epoch or window of the Ring.
func (m *Membership) Acknowledge(epoch, window int64) {
	m.mu.Lock()
	m.epoch, m.window = epoch, window
	m.mu.Unlock()
	select {
	case m.acknowledged <- struct{}{}:
	default:
	}
}

// Identity is the name of the Lease.
func (m *Membership) Identity() string { return m.config.Identity }

// Reachable tells the others through the Lease where this router tells of itself. It is called before Start.
func (m *Membership) Reachable(adminURL string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.adminURL = adminURL
}

func (m *Membership) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, renewal)
	defer cancel()
	leases := m.config.Kube.CoordinationV1().Leases(v1alpha1.Namespace)
	asked := time.Now()
	lease, err := m.known(ctx)
	if err != nil {
		return err
	}
	m.fill(lease, asked)
	if lease.ResourceVersion == "" {
		m.tellGone()
		lease, err = leases.Create(ctx, lease, metav1.CreateOptions{FieldManager: v1alpha1.FieldManager})
	} else {
		lease, err = leases.Update(ctx, lease, metav1.UpdateOptions{FieldManager: v1alpha1.FieldManager})
	}
	if err != nil {
		m.lease = nil // somebody else wrote it, or nobody knows whether this was written
		return err
	}
	m.lease = lease
	m.mu.Lock()
	m.renewed = asked
	m.mu.Unlock()
	return m.tellStands(ctx)
}

func (m *Membership) tellStands(ctx context.Context) error {
	if m.told == stands {
		return nil
	}
	if err := m.config.Holder.Stands(ctx); err != nil {
		return err
	}
	m.told = stands
	return nil
}

func (m *Membership) tellGone() {
	if m.told != gone {
		m.config.Holder.Gone()
		m.told = gone
	}
}

// known is this router's Lease as it is, or a new one without a resource version.
func (m *Membership) known(ctx context.Context) (*coordinationv1.Lease, error) {
	if m.lease != nil {
		return m.lease.DeepCopy(), nil
	}
	lease, err := m.config.Kube.CoordinationV1().Leases(v1alpha1.Namespace).Get(ctx, m.config.Identity, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: m.config.Identity, Namespace: v1alpha1.Namespace}}, nil
	}
	if err != nil {
		return nil, err
	}
	// Also where it cannot be renewed, as while the RCP has no room to store anything.
	return lease, m.tellStands(ctx)
}

func (m *Membership) fill(lease *coordinationv1.Lease, now time.Time) {
	if lease.Labels == nil {
		lease.Labels = map[string]string{}
	}
	if lease.Annotations == nil {
		lease.Annotations = map[string]string{}
	}
	m.mu.Lock()
	epoch, window, adminURL := m.epoch, m.window, m.adminURL
	m.mu.Unlock()
	delete(lease.Annotations, v1alpha1.AnnotationAdminURL)
	if adminURL != "" {
		lease.Annotations[v1alpha1.AnnotationAdminURL] = adminURL
	}
	lease.Labels[v1alpha1.LabelComponent] = component
	lease.Annotations[v1alpha1.AnnotationEpoch] = strconv.FormatInt(epoch, 10)
	lease.Annotations[v1alpha1.AnnotationWindow] = strconv.FormatInt(window, 10)
	seconds := int32(Lifetime / time.Second)
	lease.Spec.HolderIdentity, lease.Spec.LeaseDurationSeconds = &m.config.Identity, &seconds
	lease.Spec.RenewTime = &metav1.MicroTime{Time: now}
}

// giveUp deletes the Lease, so that nobody waits for a router that is gone. Where the RCP does not answer the Lease
// stands, and the next start may go by what was saved.
func (m *Membership) giveUp() {
	if err := m.release(); err != nil {
		m.config.Logger.Warn("cannot give up the router's lease", "lease", m.config.Identity, "err", err)
	}
}

func (m *Membership) release() error {
	ctx, cancel := context.WithTimeout(context.Background(), renewal)
	defer cancel()
	for {
		err := m.releaseOnce(ctx)
		// A renewal that this router has given up waiting for may be written until now.
		if !apierrors.IsConflict(err) || ctx.Err() != nil {
			return err
		}
	}
}

// releaseOnce deletes the Lease only as it was read: what arrives late must not delete what the next start has renewed.
func (m *Membership) releaseOnce(ctx context.Context) error {
	leases := m.config.Kube.CoordinationV1().Leases(v1alpha1.Namespace)
	lease, err := leases.Get(ctx, m.config.Identity, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return m.config.Holder.Release()
	}
	if err != nil {
		return err
	}
	if err := m.config.Holder.Release(); err != nil {
		return err
	}
	err = leases.Delete(ctx, m.config.Identity, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &lease.UID, ResourceVersion: &lease.ResourceVersion}})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// Identity returns the name of the router whose state is in dir: its host's name and something random,
// made at the first start and kept.
func Identity(dir string) (string, error) {
	path := filepath.Join(dir, identityFile)
	kept, err := os.ReadFile(path)
	if err == nil && len(strings.TrimSpace(string(kept))) > 0 {
		return strings.TrimSpace(string(kept)), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the router's identity: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		host = component
	}
	random := make([]byte, randomBytes)
	_, _ = rand.Read(random) // it never fails
	name := label(host) + "-" + hex.EncodeToString(random)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("keep the router's identity: %w", err)
	}
	if err := os.WriteFile(path, []byte(name+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keep the router's identity: %w", err)
	}
	return name, nil
}

// label makes a host's name the beginning of a DNS label.
func label(host string) string {
	host = regexp.MustCompile(`[^a-z0-9-]+`).ReplaceAllString(strings.ToLower(host), "-")
	if len(host) > maxName {
		host = host[:maxName]
	}
	return "router-" + strings.Trim(host, "-")
}
