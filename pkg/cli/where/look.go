package where

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/cli/kinds"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// look asks the cells about the answers: all cells with live, else only the two cells of each key
// that a rebalance moves, for the label that decides. The warnings name what could not be found out.
func look(ctx context.Context, env *command.Env, server *command.Federation, snapshot *routing.Snapshot, answers []Answer, live bool) ([]string, error) {
	if !live && !slices.ContainsFunc(answers, func(a Answer) bool { return a.moves() }) {
		return nil, nil
	}
	access, err := federation.Cells(ctx, server.Config)
	if err != nil {
		return nil, err
	}
	planes, broken := map[string]*rest.Config{}, map[string]error{}
	for name, a := range access {
		if a.Err != nil {
			broken[name] = a.Err
			continue
		}
		planes[name] = a.Config
	}
	if live {
		planes[rcpName] = server.Config
	}
	questions, err := ask(env, server, snapshot, answers, planes, live)
	if err != nil {
		return nil, err
	}
	o := observe(ctx, questions, answers)
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("look into the cells: %w", err)
	}
	maps.Copy(o.failed, broken)
	asked := func(a Answer) []string {
		var out []string
		for cell := range planes {
			if o.failed[cell] == nil && concerns(a, cell, true) {
				out = append(out, cell)
			}
		}
		return out
	}
	for i := range answers {
		a := &answers[i]
		a.resolve(snapshot, o, o.found[i])
		if live {
			a.judge(o.found[i], asked(*a))
		}
	}
	var warnings []string
	for _, cell := range slices.Sorted(maps.Keys(o.failed)) {
		if live || slices.ContainsFunc(answers, func(a Answer) bool { return concerns(a, cell, false) }) {
			warnings = append(warnings, fmt.Sprintf("%s could not be asked: %v", cell, withoutURL(o.failed[cell])))
		}
	}
	return warnings, nil
}

// withoutURL takes the URL out of the error of a request: the cell is named already.
func withoutURL(err error) error {
	var request *url.Error
	if errors.As(err, &request) {
		return request.Err
	}
	return err
}

// concerns says whether the control plane may hold the object or decide about it.
func concerns(a Answer, plane string, live bool) bool {
	if !live {
		return a.moves() && (plane == a.OldCell || plane == a.NewCell)
	}
	switch a.Class {
	case placement.Global:
		return plane == rcpName
	case placement.Replicated:
		return true
	}
	return plane != rcpName
}

// ask makes the questions: for each control plane and resource, the answers that it concerns.
func ask(env *command.Env, server *command.Federation, snapshot *routing.Snapshot, answers []Answer, planes map[string]*rest.Config, live bool) ([]question, error) {
	byResource, err := resourcesOf(env, server, snapshot, answers)
	if err != nil {
		return nil, err
	}
	var out []question
	for resource, indices := range byResource {
		for plane, config := range planes {
			q := question{cell: plane, config: config, resource: resource}
			for _, i := range indices {
				if concerns(answers[i], plane, live) {
					q.answers = append(q.answers, i)
				}
			}
			if len(q.answers) > 0 {
				out = append(out, q)
			}
		}
	}
	return out, nil
}

// resourcesOf says which resources' objects each answer may be about: the one of its kind or, for a
// name without kind, all Sharded ones with the default key.
func resourcesOf(env *command.Env, server *command.Federation, snapshot *routing.Snapshot, answers []Answer) (map[schema.GroupVersionResource][]int, error) {
	out := map[schema.GroupVersionResource][]int{}
	byKind := map[kinds.Kind]schema.GroupVersionResource{}
	var sharded []federation.Resource
	for i, a := range answers {
		if a.target.kind == nil {
			if sharded == nil {
				var err error
				if sharded, err = federation.ShardedResources(server.Config, snapshot.Classes); err != nil {
					return nil, err
				}
			}
			for _, r := range sharded {
				if r.Key == a.keyRule {
					out[r.GroupVersionResource] = append(out[r.GroupVersionResource], i)
				}
			}
			continue
		}
		gvr, known := byKind[*a.target.kind]
		if !known {
			mapper, err := env.Flags.ToRESTMapper()
			if err == nil {
				gvr, err = mapper.ResourceFor(a.target.kind.WithVersion(""))
			}
			if err != nil {
				return nil, fmt.Errorf("find resource %s: %w", a.target.kind.GroupResource, err)
			}
			byKind[*a.target.kind] = gvr
		}
		out[gvr] = append(out[gvr], i)
	}
	return out, nil
}
