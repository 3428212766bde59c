package failover

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/lease"
)

const (
	// openPage is how many copies with their data one request asks for. Each may take a mebibyte.
	openPage = 100
	// openByOne is up to how many copies are read one by one, openAtOnce at the same time.
	openByOne  = 200
	openAtOnce = 16
)

// opened remembers copies that were read to their end, so that a report which is made again reads what has changed.
type opened struct {
	mu sync.Mutex
	// good are the versions of the Secrets, by UID; guarded by mu.
	good map[types.UID]string
}

func (o *opened) isGood(c *Copy) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return c.Version != "" && o.good[c.UID] == c.Version
}

func (o *opened) note(c *Copy) {
	if c.Corrupt != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.good == nil {
		o.good = map[types.UID]string{}
	}
	o.good[c.UID] = c.Version
}

// open reads the copies whose data was not read yet, and says of each whether it holds what its header says: a header that
// is whole protects nobody.
func (o *opened) open(ctx context.Context, config *rest.Config, source string, copies []Copy) error {
	var left []*Copy
	byName := map[string]*Copy{}
	for i := range copies {
		if c := &copies[i]; c.Corrupt == nil && !o.isGood(c) {
			left = append(left, c)
			byName[c.Secret] = c
		}
	}
	if len(left) == 0 {
		return nil
	}
	config = within(config, listTimeout)
	config.ContentType, config.AcceptContentTypes = runtime.ContentTypeProtobuf, runtime.ContentTypeProtobuf
	secrets, err := secretsIn(config)
	if err != nil {
		return err
	}
	if len(left) <= openByOne {
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(openAtOnce)
		for _, c := range left {
			group.Go(func() error {
				secret, err := secrets.Get(ctx, c.Secret, metav1.GetOptions{})
				if apierrors.IsNotFound(err) {
					return nil // it was dropped since the list
				}
				if err != nil {
					return fmt.Errorf("read envelope %s: %w", c.Secret, err)
				}
				o.take(c, secret)
				return nil
			})
		}
		return group.Wait()
	}
	options := metav1.ListOptions{LabelSelector: v1alpha1.LabelSourceCell + "=" + source, Limit: openPage}
	for {
		page, err := secrets.List(ctx, options)
		if err != nil {
			return fmt.Errorf("read envelopes: %w", err)
		}
		for i := range page.Items {
			if c := byName[page.Items[i].Name]; c != nil {
				o.take(c, &page.Items[i])
			}
		}
		if options.Continue = page.Continue; options.Continue == "" {
			return nil
		}
	}
}

// take makes a copy what its Secret says, which may be newer than the list.
func (o *opened) take(c *Copy, secret *corev1.Secret) {
	*c = copyOf(secret)
	if _, err := envelope.Open(secret); c.Corrupt == nil && err != nil {
		c.Corrupt = err
	}
	o.note(c)
}

// secretsIn are those of a cell that copies are among.
func secretsIn(config *rest.Config) (typedcorev1.SecretInterface, error) {
	config = lease.Guarded(config)
	config.QPS, config.Burst = -1, -1
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("build client: %w", err)
	}
	return kube.CoreV1().Secrets(v1alpha1.Namespace), nil
}

// copyOf is a copy by the metadata of its Secret.
func copyOf(secret metav1.Object) Copy {
	header, err := envelope.HeaderOf(secret)
	return Copy{Secret: secret.GetName(), UID: secret.GetUID(), Version: secret.GetResourceVersion(), Header: header, Corrupt: err}
}
