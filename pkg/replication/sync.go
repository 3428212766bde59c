package replication

import (
	"context"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/placement"
)

// pageSize is how many objects of one resource are held in memory at once, for each side.
const pageSize = 500

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
// resources; name is the cell's, for errors.
func Sync(ctx context.Context, rcp, cell *rest.Config, name string, classes *placement.Classes) (Report, error) {
	resources, err := Resources(rcp, classes)
	if err != nil {
		return Report{}, err
	}
	s := &syncer{classes: classes}
	if s.rcp, err = unthrottled(rcp); err != nil {
		return Report{}, err
	}
	if s.cell, err = unthrottled(cell); err != nil {
		return Report{}, err
	}
	for _, resource := range resources {
		if err := s.resource(ctx, resource); err != nil {
			s.errs = append(s.errs, fmt.Errorf("replicate %s to cell %s: %w", resource.Resource, name, err))
		}
	}
	return s.report, errors.Join(s.errs...)
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
// copied: definitions before anything they define, namespaces before what is in them.
func Resources(rcp *rest.Config, classes *placement.Classes) ([]schema.GroupVersionResource, error) {
	client, err := discovery.NewDiscoveryClientForConfig(rcp)
	if err != nil {
		return nil, fmt.Errorf("build discovery client: %w", err)
	}
	lists, err := client.ServerPreferredResources()
	if err != nil {
		return nil, fmt.Errorf("discover resources: %w", err)
	}
	var first, second, rest []schema.GroupVersionResource
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return nil, fmt.Errorf("discover resources: %w", err)
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
	return append(append(first, second...), rest...), nil
}

type syncer struct {
	rcp, cell dynamic.Interface
	classes   *placement.Classes
	report    Report
	errs      []error
}

// resource compares all copies with all sources. What differs by the lists is left to Push, which
// reads both again: the lists may be old by the time their ends are reached.
func (s *syncer) resource(ctx context.Context, resource schema.GroupVersionResource) error {
	copies := map[Object]*unstructured.Unstructured{}
	err := s.eachObject(ctx, s.cell, resource, func(o Object, obj *unstructured.Unstructured) error {
		copies[o] = obj
		return nil
	})
	if apierrors.IsNotFound(err) {
		// The cell does not serve the resource yet: its definition was copied a moment ago. The
		// first apply fails and says so, if it still does not.
		err = nil
	}
	if err != nil {
		return err
	}
	err = s.eachObject(ctx, s.rcp, resource, func(o Object, source *unstructured.Unstructured) error {
		copied := copies[o]
		delete(copies, o)
		if Excluded(o) || leaving(source) {
			return nil
		}
		s.report.Objects++
		if copied != nil && !leaving(copied) && Same(source, copied) {
			return nil
		}
		if err := Push(ctx, s.rcp, s.cell, o); err != nil {
			s.errs = append(s.errs, err)
			return nil
		}
		s.report.Applied++
		return nil
	})
	if err != nil {
		return err
	}
	for o, copied := range copies {
		if copyOf(copied) == "" || leaving(copied) {
			continue
		}
		if err := Push(ctx, s.rcp, s.cell, o); err != nil {
			s.errs = append(s.errs, err)
			continue
		}
		s.report.Deleted++
	}
	return nil
}

// eachObject calls visit for every Replicated object of the resource, a page at a time. Those in the
// system's own namespaces are Global: they stay in the RCP, and a cell has its own.
func (s *syncer) eachObject(ctx context.Context, client dynamic.Interface, resource schema.GroupVersionResource, visit func(Object, *unstructured.Unstructured) error) error {
	options := metav1.ListOptions{Limit: pageSize}
	for {
		page, err := client.Resource(resource).List(ctx, options)
		if err != nil {
			return fmt.Errorf("list %s: %w", resource.Resource, err)
		}
		for i := range page.Items {
			obj := &page.Items[i]
			if class, _ := s.classes.Of(resource.Group, resource.Resource, obj.GetNamespace()); class != placement.Replicated {
				continue
			}
			o := Object{Resource: resource, Namespace: obj.GetNamespace(), Name: obj.GetName()}
			if err := visit(o, obj); err != nil {
				return err
			}
		}
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return nil
		}
	}
}
