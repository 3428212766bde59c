package router

import (
	"strconv"

	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/kubecell/kubectl-cell/pkg/router/merge"
	"github.com/kubecell/kubectl-cell/pkg/router/route"
	"github.com/kubecell/kubectl-cell/pkg/router/wire"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// judge says what an object in a source is to a list or watch: what a migration has left there, or not finished, is
// hidden. While a key moves its object may have been in both cells when they were read, each at its own moment, or in
// neither: then its tombstone stands for it, and its copy is it.
func judge(info *request.RequestInfo, object wire.Meta, source string, snap *routing.Snapshot) merge.Verdict {
	if !mayHave(info, object, source, snap) {
		return merge.Verdict{}
	}
	from, moves := route.Moves(info.APIGroup, info.Resource, namespaceOf(info, object), object.Name, snap)
	moved := seenOf(object)
	switch {
	case moved == left && moves && (from == "" || from == source):
		return merge.Verdict{Kind: merge.Moved}
	case moved == arriving && moves && from != source:
		return merge.Verdict{Kind: merge.Arriving}
	case moved != shown:
		return merge.Verdict{}
	case !moves:
		return merge.Verdict{Kind: merge.Shown}
	}
	return merge.Verdict{Kind: merge.Contends, Rank: rank(object, from == source)}
}

// mayHave says whether the source can have an object that the router shows.
func mayHave(info *request.RequestInfo, object wire.Meta, source string, snap *routing.Snapshot) bool {
	return route.Visible(info.APIGroup, info.Resource, namespaceOf(info, object), object.Name, source, snap)
}

// namespaceOf is that of an object in a list or watch; a Table may leave it out.
func namespaceOf(info *request.RequestInfo, object wire.Meta) string {
	if object.Namespace == "" {
		return info.Namespace
	}
	return object.Namespace
}

// rank orders the objects of one key: the one that moved last counts, and of two that never moved the one in the cell
// that the key moves from.
func rank(object wire.Meta, there bool) int64 {
	epoch, err := strconv.ParseInt(object.PlacementEpoch, 10, 32)
	if err != nil {
		epoch = 0
	}
	if there {
		return 2*epoch + 1
	}
	return 2 * epoch
}
