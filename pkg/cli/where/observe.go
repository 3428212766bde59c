package where

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

const (
	// patience is for one request to one cell: a cell that takes longer is reported, not waited for.
	patience = 10 * time.Second
	// parallel is how many requests one cell gets at once.
	parallel = 16
	// singly is up to how many objects of a resource are read one by one; for more, one list of the
	// resource's metadata is less work for everyone.
	singly = 8
	// pageSize is how many objects' metadata one list request asks for.
	pageSize = 500
)

// Found is an object as a cell has it.
type Found struct {
	Cell string `json:"cell"`
	// Resource is "<plural>.<group>".
	Resource string `json:"resource"`
	// Status is the label of a migration, empty at rest.
	Status v1alpha1.RebalanceStatus `json:"status,omitempty"`
}

// question asks one control plane for the objects of one resource.
type question struct {
	cell     string
	config   *rest.Config
	resource schema.GroupVersionResource
	// answers are indices of the answers whose objects are wanted.
	answers []int
}

// observation is what the cells said. It is safe for concurrent use while it is being filled.
type observation struct {
	mu sync.Mutex // guards all of it
	// found is by index of the answer.
	found map[int][]Found
	// failed says which cells did not answer and why, one reason a cell.
	failed map[string]error
}

// observe puts the questions to the cells, to all cells at once. A cell that fails is not asked on.
func observe(ctx context.Context, questions []question, answers []Answer) *observation {
	o := &observation{found: map[int][]Found{}, failed: map[string]error{}}
	byCell := map[string][]question{}
	for _, q := range questions {
		byCell[q.cell] = append(byCell[q.cell], q)
	}
	var cells sync.WaitGroup
	for cell, questions := range byCell {
		cells.Go(func() {
			if err := o.askCell(ctx, questions, answers); err != nil {
				o.mu.Lock()
				defer o.mu.Unlock()
				o.failed[cell] = err
			}
		})
	}
	cells.Wait()
	return o
}

func (o *observation) askCell(ctx context.Context, questions []question, answers []Answer) error {
	config := metadata.ConfigFor(questions[0].config)
	config.QPS, config.Burst, config.Timeout = -1, -1, patience
	client, err := metadata.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("build metadata client: %w", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, q := range questions {
		if len(q.answers) > singly {
			group.Go(func() error { return o.list(ctx, client, q, answers) })
			continue
		}
		for _, i := range q.answers {
			group.Go(func() error { return o.get(ctx, client, q, i, answers[i].target) })
		}
	}
	return group.Wait()
}

func (o *observation) get(ctx context.Context, client metadata.Interface, q question, answer int, t target) error {
	object, err := client.Resource(q.resource).Namespace(t.namespace).Get(ctx, t.name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("get %s %s: %w", q.resource.GroupResource(), t, err)
	}
	o.add(answer, q, object)
	return nil
}

// list reads the metadata of all objects of the resource, in one namespace where that is enough.
func (o *observation) list(ctx context.Context, client metadata.Interface, q question, answers []Answer) error {
	wanted := map[[2]string][]int{}
	namespace := answers[q.answers[0]].target.namespace
	for _, i := range q.answers {
		t := answers[i].target
		wanted[[2]string{t.namespace, t.name}] = append(wanted[[2]string{t.namespace, t.name}], i)
		if t.namespace != namespace {
			namespace = metav1.NamespaceAll
		}
	}
	options := metav1.ListOptions{Limit: pageSize}
	for {
		page, err := client.Resource(q.resource).Namespace(namespace).List(ctx, options)
		if apierrors.IsNotFound(err) {
			return nil // the cell does not serve the resource
		}
		if err != nil {
			return fmt.Errorf("list %s: %w", q.resource.GroupResource(), err)
		}
		for i := range page.Items {
			object := &page.Items[i]
			for _, answer := range wanted[[2]string{object.Namespace, object.Name}] {
				o.add(answer, q, object)
			}
		}
		if options.Continue = page.Continue; options.Continue == "" {
			return nil
		}
	}
}

func (o *observation) add(answer int, q question, object *metav1.PartialObjectMetadata) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.found[answer] = append(o.found[answer], Found{
		Cell: q.cell, Resource: q.resource.GroupResource().String(),
		Status: v1alpha1.RebalanceStatus(object.Labels[v1alpha1.LabelRebalanceStatus]),
	})
}
