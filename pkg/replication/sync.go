package replication

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// Report counts what a [Sync] did.
type Report struct {
	// Objects in the RCP that belong into the cell.
	Objects int
	// Applied of them had no copy, or one that differed.
	Applied int
	// Deleted are copies whose source was gone.
	Deleted int
}

// Sync makes every copy in a cell equal to its source in the RCP. It goes on past an object that
// fails and returns all errors together with the report of what was done.
//
// rcp and cell are client configurations with the rights of an administrator of the replicated
// resources; name is the cell's.
func Sync(ctx context.Context, rcp, cell *rest.Config, name string, snap *routing.Snapshot) (Report, error) {
	resources, err := Resources(rcp, snap.Classes)
	if err != nil {
		return Report{}, err
	}
	c, err := newComparison(rcp, cell, name, snap)
	if err != nil {
		return Report{}, err
	}
	s := &syncer{comparison: *c}
	for _, resource := range resources {
		if err := s.resource(ctx, resource); err != nil {
			s.errs = append(s.errs, fmt.Errorf("replicate %s to cell %s: %w", resource.Resource, name, err))
		}
	}
	return s.report, errors.Join(s.errs...)
}

func newComparison(rcp, cell *rest.Config, name string, snap *routing.Snapshot) (*comparison, error) {
	c := &comparison{classes: snap.Classes, cell: Cell{Name: name, Shares: SharesOf(snap)}}
	var err error
	if c.rcp, err = unthrottled(rcp); err != nil {
		return nil, err
	}
	if c.cell.Client, err = unthrottled(cell); err != nil {
		return nil, err
	}
	return c, nil
}

func unthrottled(config *rest.Config) (dynamic.Interface, error) {
	c := rest.CopyConfig(config)
	c.QPS, c.Burst = -1, -1
	client, err := dynamic.NewForConfig(c)
	if err != nil {
		return nil, fmt.Errorf("build client: %w", err)
	}
	return client, nil
}

// Resources returns the Replicated resources that the RCP serves, in the order in which they must be
// copied: definitions before anything they define, namespaces before what is in them. Those of an aggregated API that does
// not answer are missing.
func Resources(rcp *rest.Config, classes *placement.Classes) ([]schema.GroupVersionResource, error) {
	found, _, err := discover(rcp, classes)
	return found, err
}

// discover returns beside them the groups of which it is not known what they have.
func discover(rcp *rest.Config, classes *placement.Classes) (found []schema.GroupVersionResource, silent map[schema.GroupVersion]error, err error) {
	client, err := discovery.NewDiscoveryClientForConfig(rcp)
	if err != nil {
		return nil, nil, fmt.Errorf("build discovery client: %w", err)
	}
	lists, err := client.ServerPreferredResources()
	if silent, _ = discovery.GroupDiscoveryFailedErrorGroups(err); err != nil && len(silent) == 0 {
		return nil, nil, fmt.Errorf("discover resources: %w", err)
	}
	var first, second, rest []schema.GroupVersionResource
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return nil, nil, fmt.Errorf("discover resources: %w", err)
		}
		for _, r := range list.APIResources {
			if class, _ := classes.Of(gv.Group, r.Name, ""); class != placement.Replicated || strings.Contains(r.Name, "/") {
				continue
			}
			gvr := gv.WithResource(r.Name)
			switch {
			case gv.Group == "apiextensions.k8s.io":
				first = append(first, gvr)
			case gv.Group == "" && r.Name == "namespaces":
				second = append(second, gvr)
			default:
				rest = append(rest, gvr)
			}
		}
	}
	return append(append(first, second...), rest...), silent, nil
}

type syncer struct {
	comparison
	report Report
	errs   []error
}

// resource pushes what differs. Push reads both sides again: the lists may be old by the time their
// ends are reached.
func (s *syncer) resource(ctx context.Context, resource schema.GroupVersionResource) error {
	objects, err := s.compare(ctx, resource, func(o Object, kept bool) {
		if err := Follow(ctx, s.rcp, s.cell, o); err != nil {
			s.errs = append(s.errs, err)
		} else if kept {
			s.report.Applied++
		} else {
			s.report.Deleted++
		}
	})
	s.report.Objects += objects
	return err
}
