package mirror

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	clientmeta "k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/workqueue"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/fence"
	"github.com/kubecell/kubectl-cell/pkg/replication"
)

const (
	// workers write envelopes into one cell at once.
	workers = 8
	// requestTimeout is for one request: a cell that hangs must not hold workers for long.
	requestTimeout = 10 * time.Second
)

// cell is one control plane: it has primaries of its own, if it is in the ring, and envelopes of others. Its workers
// write envelopes into it; one that hangs holds up nobody else's.
type cell struct {
	m       *Mirror
	name    string
	version string // of the access
	config  *rest.Config
	// raw asks for objects as JSON, long watches their streams.
	raw, long *rest.RESTClient
	meta      clientmeta.Interface
	// longMeta is for watches.
	longMeta clientmeta.Interface
	secrets  typedcorev1.SecretInterface
	envelope clientmeta.ResourceInterface
	pace     *pace
	silence  silence
	queue    workqueue.TypedRateLimitingInterface[*item]
	// failing is set while attempts fail, so that an outage is two lines in the log.
	failing  atomic.Bool
	rehearse *rehearsals
	stop     context.CancelFunc
	running  sync.WaitGroup

	// What follows is guarded by the mirror's lock.

	streams map[streamKey]*stream
	// discovered is set once all resources are known, so that no stream is missing. discovering is set while somebody asks.
	discovered, discovering bool
	// index has the envelopes in this cell by name, once indexed is set. It is changed by put and drop alone; sources counts them
	// by the cells of their objects.
	index   map[string]*entry
	sources map[string]int64
	indexed bool
	// heard is the version up to which its envelopes were told.
	heard int64
	// busy are envelopes that a worker writes or deletes; their value is the newest event that came meanwhile, nil for none.
	busy map[string]*entry
	// unsure are envelopes that were written or deleted, and of which nobody knows what has become of that: there may be one
	// that is not in the index.
	unsure map[string]struct{}
	byUID  map[types.UID]*holder
	// behind are the records that were not stored since the newest state was adopted; settled is the epoch of the last one
	// for which all were.
	behind  map[*record]struct{}
	settled int64
	// published is what was published of the cell before, nil until it is read. It counts once inherited is set.
	published *Mark
	inherited bool
	// carried is how many objects of the cell count as refused for having been counted, and not named, in published.
	carried int64
	// unsaved are those that published named as having no envelope, until that is found out again, or that they have one.
	unsaved []Unprotected
	lags    map[string]*samples // by backup cell
}

func (c *cell) isBusy(it *item) bool {
	_, busy := c.busy[it.name]
	return busy
}

func (c *cell) isUnsure(it *item) bool {
	_, unsure := c.unsure[it.name]
	return unsure
}

// holder is a record and its object.
type holder struct {
	item   *item
	record *record
}

type streamKey struct{ group, resource string }

func (m *Mirror) connect(name string, access replication.Access) (*cell, error) {
	c := &cell{
		m: m, name: name, version: access.Version, pace: newPace(m.config.Now), queue: newQueue(),
		streams: map[streamKey]*stream{}, index: map[string]*entry{}, busy: map[string]*entry{}, unsure: map[string]struct{}{},
		byUID: map[types.UID]*holder{}, behind: map[*record]struct{}{}, lags: map[string]*samples{},
	}
	long := fence.AsMover(access.Config)
	long.QPS, long.Burst = -1, -1
	long.WarningHandler = rest.NoWarnings{}
	short := rest.CopyConfig(long)
	short.Timeout = requestTimeout
	c.config = short
	longClient, err := rest.HTTPClientFor(long)
	if err != nil {
		return nil, fmt.Errorf("build HTTP client: %w", err)
	}
	shortClient, err := rest.HTTPClientFor(short)
	if err != nil {
		return nil, fmt.Errorf("build HTTP client: %w", err)
	}
	if c.raw, err = asJSON(short, shortClient); err != nil {
		return nil, err
	}
	if c.long, err = asJSON(long, longClient); err != nil {
		return nil, err
	}
	if c.meta, err = clientmeta.NewForConfigAndClient(clientmeta.ConfigFor(short), shortClient); err != nil {
		return nil, fmt.Errorf("build metadata client: %w", err)
	}
	if c.longMeta, err = clientmeta.NewForConfigAndClient(clientmeta.ConfigFor(long), longClient); err != nil {
		return nil, fmt.Errorf("build metadata client: %w", err)
	}
	compact := rest.CopyConfig(short)
	compact.ContentType, compact.AcceptContentTypes = runtime.ContentTypeProtobuf, runtime.ContentTypeProtobuf
	kube, err := kubernetes.NewForConfigAndClient(compact, shortClient)
	if err != nil {
		return nil, fmt.Errorf("build client: %w", err)
	}
	c.secrets = kube.CoreV1().Secrets(v1alpha1.Namespace)
	c.envelope = c.meta.Resource(envelopes()).Namespace(v1alpha1.Namespace)
	c.rehearse = newRehearsals(c)
	return c, nil
}

// asJSON is a client for objects as their cell serves them.
func asJSON(config *rest.Config, client *http.Client) (*rest.RESTClient, error) {
	config = rest.CopyConfig(config)
	config.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	config.ContentType, config.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	out, err := rest.UnversionedRESTClientForConfigAndClient(config, client)
	if err != nil {
		return nil, fmt.Errorf("build client: %w", err)
	}
	return out, nil
}

// begin starts what works in the cell. It ends with ctx, and with end.
func (c *cell) begin(ctx context.Context) {
	ctx, c.stop = context.WithCancel(ctx)
	for range workers {
		c.running.Go(func() { c.work(ctx) })
	}
	c.running.Go(func() { c.followIndex(ctx) })
	c.running.Go(func() { c.rehearse.run(ctx) })
	c.running.Go(func() {
		<-ctx.Done()
		c.queue.ShutDown()
	})
}

// owner is the object that another one of the cell hangs from, nil where it has none or it is not known.
func (c *cell) owner(of *record) (identity, *record) {
	var found *holder
	for i := range of.owners {
		h := c.byUID[of.owners[i].UID]
		if h == nil || h.record.gone {
			continue
		}
		if found == nil || controls(&of.owners[i]) {
			found = h
		}
	}
	if found == nil {
		return identity{}, nil
	}
	return found.item.id, found.record
}

func controls(owner *metav1.OwnerReference) bool { return owner.Controller != nil && *owner.Controller }

// allListed says whether everything that the cell has is known.
func (c *cell) allListed() bool { return c.discovered && c.listed() }

// listed says whether everything is known of the resources that the cell has named.
func (c *cell) listed() bool {
	for _, s := range c.streams {
		if !s.listed {
			return false
		}
	}
	return true
}

// known says whether there is anything to report of the cell: since it was connected it has said all that it was asked, if not
// perhaps which resources it has.
func (c *cell) known() bool {
	return c.indexed && (c.discovered || len(c.streams) > 0) && c.listed()
}

// complete notes the epoch where all envelopes that the newest state wants are stored.
func (c *cell) complete() {
	if len(c.behind) == 0 && c.m.state != nil && c.settled < c.m.snapshot().Epoch && c.allListed() {
		c.settled = c.m.snapshot().Epoch
	}
}

// envelopesOf is the selector of all envelopes.
const envelopesOf = v1alpha1.LabelBackupCell

func envelopes() schema.GroupVersionResource {
	return corev1.SchemeGroupVersion.WithResource("secrets")
}
