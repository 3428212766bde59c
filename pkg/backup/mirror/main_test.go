package mirror_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/backup/mirror"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/replication"
	"github.com/kubecell/kubectl-cell/pkg/routing"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// planes are the cells of all tests, "east", "west" and "north".
var planes = sandboxtest.NewPool(3)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m, planes)) }

const (
	east  = "east"
	west  = "west"
	north = "north"

	pollInterval = 20 * time.Millisecond
	pollTimeout  = time.Minute
)

var raised sync.Once

// gate is a way to a cell that can be closed.
type gate struct {
	closed atomic.Bool
	// hangs has nobody get an answer.
	hangs atomic.Bool
	// post sends what makes an envelope, if set.
	post atomic.Pointer[sender]
	// rehearse sends what rehearses a promotion, if set.
	rehearse atomic.Pointer[sender]

	mu sync.Mutex // guards what follows
	// watches are ended by these.
	watches []context.CancelFunc
}

// cut closes the way, and breaks off the watches on it.
func (g *gate) cut() {
	g.closed.Store(true)
	g.endWatches()
}

// endWatches breaks off the watches on the way.
func (g *gate) endWatches() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, cancel := range g.watches {
		cancel()
	}
	g.watches = nil
}

// pass sends a request over the way.
func (g *gate) pass(r *http.Request, next http.RoundTripper) (*http.Response, error) {
	if g.closed.Load() {
		return nil, errClosed
	}
	if g.hangs.Load() {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	sealing := r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/namespaces/"+v1alpha1.Namespace+"/secrets") && !r.URL.Query().Has("dryRun")
	if post := g.post.Load(); post != nil && sealing {
		return (*post)(r, next)
	}
	if rehearse := g.rehearse.Load(); rehearse != nil && r.Method == http.MethodPost && r.URL.Query().Has("dryRun") {
		return (*rehearse)(r, next)
	}
	if !r.URL.Query().Has("watch") {
		return next.RoundTrip(r)
	}
	ctx, cancel := context.WithCancel(r.Context())
	g.mu.Lock()
	g.watches = append(g.watches, cancel)
	g.mu.Unlock()
	return next.RoundTrip(r.WithContext(ctx))
}

var errClosed = errors.New("the way to the cell is closed")

// bed is the cells, a ring that the test changes, and what the mirror says.
type bed struct {
	t         testing.TB
	namespace string
	configs   map[string]*rest.Config
	dynamic   map[string]dynamic.Interface
	kube      map[string]kubernetes.Interface
	gates     map[string]*gate
	states    chan *replication.State
	resources []v1alpha1.ResourceRule
	// renewed counts how often the access to a cell has changed.
	renewed map[string]int

	mu       sync.Mutex // guards what follows
	ring     *v1alpha1.Ring
	reported *v1alpha1.Ring // what the RCP says, where that is not what the mirror was told
	marks    map[string]mirror.Mark
	reports  map[string]mirror.Report
	remade   []mirror.Remade
	// published is called with each mark.
	published func(mirror.Mark)
	// unreadable is why nobody can read what was published.
	unreadable error
}

func newBed(t testing.TB, resources ...v1alpha1.ResourceRule) *bed {
	t.Helper()
	b := &bed{
		t: t, namespace: strings.NewReplacer("/", "-", "=", "-").Replace(strings.ToLower(t.Name())), configs: map[string]*rest.Config{}, dynamic: map[string]dynamic.Interface{},
		kube: map[string]kubernetes.Interface{}, gates: map[string]*gate{}, states: make(chan *replication.State), renewed: map[string]int{},
		marks: map[string]mirror.Mark{}, reports: map[string]mirror.Report{}, resources: resources,
	}
	for i, config := range planes.Configs(t) {
		config.QPS, config.Burst = -1, -1
		b.configs[[]string{east, west, north}[i]] = config
	}
	for name, config := range b.configs {
		b.gates[name] = &gate{}
		var err error
		if b.kube[name], err = kubernetes.NewForConfig(config); err != nil {
			t.Fatal(err)
		}
		if b.dynamic[name], err = dynamic.NewForConfig(fence.AsMover(config)); err != nil {
			t.Fatal(err)
		}
	}
	raised.Do(func() {
		for name, config := range b.configs {
			b.makeNamespace(name, v1alpha1.Namespace)
			if _, err := fence.Install(t.Context(), config); err != nil {
				t.Fatal(err)
			}
			if err := fence.Await(t.Context(), config); err != nil {
				t.Fatal(err)
			}
		}
	})
	for name := range b.configs {
		b.makeNamespace(name, b.namespace)
	}
	t.Cleanup(b.clear)
	return b
}

func (b *bed) makeNamespace(cell, name string) {
	b.t.Helper()
	_, err := b.kube[cell].CoreV1().Namespaces().Create(b.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		b.t.Fatal(err)
	}
}

// untilInTime repeats what an apiserver has only a minute for.
func untilInTime(do func() error) error {
	for {
		if err := do(); !apierrors.IsTimeout(err) {
			return err
		}
	}
}

// clear leaves the cells as the next test wants them.
func (b *bed) clear() {
	for name := range b.configs {
		for _, k := range []kind{configMaps, secrets, services, deployments} {
			err := untilInTime(func() error {
				return b.in(name, k).DeleteCollection(context.Background(), metav1.DeleteOptions{}, metav1.ListOptions{})
			})
			if err != nil && !apierrors.IsMethodNotSupported(err) {
				b.t.Errorf("clear %s in %s: %v", k.Resource, name, err)
			}
		}
		err := untilInTime(func() error {
			return b.kube[name].CoreV1().Secrets(v1alpha1.Namespace).DeleteCollection(context.Background(), metav1.DeleteOptions{}, metav1.ListOptions{})
		})
		if err != nil {
			b.t.Errorf("clear envelopes in %s: %v", name, err)
		}
	}
}

func layout(resources []v1alpha1.ResourceRule, cells ...string) *v1alpha1.RingLayout {
	if len(cells) == 0 {
		return nil
	}
	l := &v1alpha1.RingLayout{PointsPerWeight: 10, Resources: resources}
	for _, cell := range cells {
		l.Members = append(l.Members, v1alpha1.RingMember{Cell: cell, Weight: 100})
	}
	return l
}

// setRing makes the ring of the next state, in a new epoch.
func (b *bed) setRing(current, target []string, edits ...func(*v1alpha1.RingStatus)) *routing.Snapshot {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	epoch := int64(1)
	if b.ring != nil {
		epoch = b.ring.Status.Epoch + 1
	}
	ring := &v1alpha1.Ring{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.RingName}}
	ring.Status = v1alpha1.RingStatus{
		Epoch: epoch, Phase: v1alpha1.RingStable, Current: layout(b.resources, current...), Target: layout(b.resources, target...),
		Slots: []v1alpha1.RingSlot{{Slot: 1, Cell: east, ControlPlane: "uid-east"}, {Slot: 2, Cell: west, ControlPlane: "uid-west"}},
	}
	if len(target) > 0 {
		ring.Status.Phase = v1alpha1.RingRebalancing
	}
	for _, edit := range edits {
		edit(&ring.Status)
	}
	b.ring = ring
	snapshot, err := routing.FromRing(ring)
	if err != nil {
		b.t.Fatal(err)
	}
	return snapshot
}

// tell gives the mirror the newest ring.
func (b *bed) tell(snapshot *routing.Snapshot) {
	b.t.Helper()
	state := &replication.State{Snapshot: snapshot, Cells: map[string]replication.Access{}}
	for name, config := range b.configs {
		if snapshot.Unavailable[name] {
			continue
		}
		config = rest.CopyConfig(config)
		way := b.gates[name]
		config.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				return way.pass(r, next)
			})
		})
		state.Cells[name] = replication.Access{Config: config, Version: fmt.Sprint(name, b.renewed[name])}
	}
	select {
	case b.states <- state:
	case <-time.After(pollTimeout):
		b.t.Fatal("nobody takes the state")
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// start runs a mirror with the newest ring. It ends with the returned function, or with the test.
func (b *bed) start(snapshot *routing.Snapshot) (stop func()) {
	b.t.Helper()
	said := &sandboxtest.Buffer{} // shown where the test fails
	m, err := mirror.New(mirror.Config{
		Ring: func(context.Context) (*v1alpha1.Ring, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.reported != nil {
				return b.reported, nil
			}
			return b.ring, nil
		},
		Publish: func(_ context.Context, mark mirror.Mark) error {
			b.mu.Lock()
			b.marks[mark.Cell] = mark
			published := b.published
			b.mu.Unlock()
			if published != nil {
				published(mark)
			}
			return nil
		},
		Published: func(_ context.Context, cell string) (mirror.Mark, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.marks[cell], b.unreadable
		},
		Report: func(_ context.Context, report mirror.Report) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.reports[report.Cell] = report
			return nil
		},
		Remade: func(r mirror.Remade) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.remade = append(b.remade, r)
		},
		PublishEvery: 50 * time.Millisecond, ReportEvery: 100 * time.Millisecond,
		RehearseEvery: 10 * time.Millisecond, RefusedAgain: 200 * time.Millisecond,
		Metrics: mirror.NewMetrics(prometheus.NewRegistry()), Logger: slog.New(slog.NewTextHandler(said, nil)), Now: time.Now,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx, b.states) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			b.t.Errorf("the mirror ended: %v", err)
		}
		if b.t.Failed() {
			b.t.Logf("the mirror said:\n%s", said)
		}
	})
	b.t.Cleanup(stop)
	b.tell(snapshot)
	return stop
}

// kind is a resource that tests use.
type kind struct {
	schema.GroupVersionResource
	kind string
}

var (
	configMaps  = kind{corev1.SchemeGroupVersion.WithResource("configmaps"), "ConfigMap"}
	secrets     = kind{corev1.SchemeGroupVersion.WithResource("secrets"), "Secret"}
	services    = kind{corev1.SchemeGroupVersion.WithResource("services"), "Service"}
	deployments = kind{schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, "Deployment"}
)

func (b *bed) in(cell string, k kind) dynamic.ResourceInterface {
	return b.dynamic[cell].Resource(k.GroupVersionResource).Namespace(b.namespace)
}

// make creates an object from YAML.
func (b *bed) make(cell string, k kind, text string) *unstructured.Unstructured {
	b.t.Helper()
	obj := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &obj.Object); err != nil {
		b.t.Fatal(err)
	}
	obj.SetAPIVersion(k.GroupVersion().String())
	obj.SetKind(k.kind)
	made, err := b.in(cell, k).Create(b.t.Context(), obj, metav1.CreateOptions{})
	if err != nil {
		b.t.Fatalf("create %s in %s: %v", obj.GetName(), cell, err)
	}
	return made
}

// edit changes an object.
func (b *bed) edit(cell string, k kind, name string, change func(*unstructured.Unstructured)) *unstructured.Unstructured {
	b.t.Helper()
	obj, err := b.in(cell, k).Get(b.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	change(obj)
	if obj, err = b.in(cell, k).Update(b.t.Context(), obj, metav1.UpdateOptions{}); err != nil {
		b.t.Fatal(err)
	}
	return obj
}

func (b *bed) delete(cell string, k kind, name string) {
	b.t.Helper()
	if err := b.in(cell, k).Delete(b.t.Context(), name, metav1.DeleteOptions{}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) envelopes(cell string) interface {
	Get(ctx context.Context, name string, opts metav1.GetOptions) (*corev1.Secret, error)
	Update(ctx context.Context, secret *corev1.Secret, opts metav1.UpdateOptions) (*corev1.Secret, error)
	Delete(ctx context.Context, name string, opts metav1.DeleteOptions) error
} {
	return b.kube[cell].CoreV1().Secrets(v1alpha1.Namespace)
}

func nameOf(k kind, namespace, name string) string {
	return envelope.Name(k.Group, k.Resource, namespace, name)
}

// sealed is the envelope of an object in a cell, nil where there is none.
func (b *bed) sealed(cell string, k kind, name string) *corev1.Secret {
	b.t.Helper()
	secret, err := b.envelopes(cell).Get(context.WithoutCancel(b.t.Context()), nameOf(k, b.namespace, name), metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		b.t.Fatal(err)
	}
	if err != nil {
		return nil
	}
	return secret
}

func (b *bed) await(what string, condition func() bool) {
	b.t.Helper()
	err := wait.PollUntilContextTimeout(b.t.Context(), pollInterval, pollTimeout, true, func(context.Context) (bool, error) { return condition(), nil })
	if err != nil {
		b.t.Fatalf("wait for %s: %v", what, err)
	}
}

// awaitSealed waits for the envelope of an object as it is.
func (b *bed) awaitSealed(cell, source string, k kind, obj *unstructured.Unstructured) *corev1.Secret {
	b.t.Helper()
	var secret *corev1.Secret
	b.await("the envelope of "+obj.GetName()+" in "+cell, func() bool {
		if secret = b.sealed(cell, k, obj.GetName()); secret == nil {
			return false
		}
		h, err := envelope.HeaderOf(secret)
		return err == nil && h.Describes(obj.GetUID(), obj.GetResourceVersion()) && h.SourceCell == source
	})
	opened, err := envelope.Open(secret)
	if err != nil {
		b.t.Fatal(err)
	}
	got := &unstructured.Unstructured{}
	if err := json.Unmarshal(opened.Object, &got.Object); err != nil {
		b.t.Fatal(err)
	}
	// Numbers are floats in one and integers in the other.
	want, _ := json.Marshal(obj.Object)
	have, _ := json.Marshal(got.Object)
	if !bytes.Equal(want, have) {
		b.t.Errorf("the envelope of %s in %s holds\n%s\nwant\n%s", obj.GetName(), cell, have, want)
	}
	return secret
}

func (b *bed) awaitGone(cell string, k kind, name string) {
	b.t.Helper()
	b.await("the end of the envelope of "+name+" in "+cell, func() bool { return b.sealed(cell, k, name) == nil })
}

// settled waits until the mirror says that everything is stored for the newest ring.
func (b *bed) settled(cells ...string) {
	b.t.Helper()
	b.await("everything to be stored", func() bool { return b.complete(cells...) })
}

func (b *bed) complete(cells ...string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, cell := range cells {
		if b.marks[cell].Epoch != b.ring.Status.Epoch {
			return false
		}
	}
	return true
}

// owned is a name that a cell owns and another one backs up, by the snapshot.
func (b *bed) owned(snapshot *routing.Snapshot, prefix string, fits func(old, oldBackup, now, newBackup string) bool) string {
	b.t.Helper()
	for i := range 10000 {
		name := prefix + "-" + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676%26))
		p, ok := snapshot.Table.LookupKey(b.namespace + "/" + name)
		if ok && fits(p.Old(), p.OldBackup(), p.New(), p.NewBackup()) {
			return name
		}
	}
	b.t.Fatal("no such name")
	return ""
}

// of fits names that one cell owns and that do not move.
func of(cell string) func(old, oldBackup, now, newBackup string) bool {
	return func(old, _, now, _ string) bool { return old == cell && now == cell }
}

// eastIn fits names that the cell east owns and that another one backs up.
func eastIn(home string) func(old, backup, now, newBackup string) bool {
	return func(old, backup, _, _ string) bool { return old == east && backup == home }
}

// sender sends a request in the place of a gate.
type sender = func(*http.Request, http.RoundTripper) (*http.Response, error)

// hold has no request of a gate go on until the returned function is called.
func hold(at *atomic.Pointer[sender]) (free func()) {
	freed := make(chan struct{})
	wait := func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		select {
		case <-freed:
		case <-r.Context().Done():
		}
		return next.RoundTrip(r)
	}
	at.Store(&wait)
	return func() {
		at.Store(nil)
		close(freed)
	}
}
