package explain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kubecell/kubectl-cell/pkg/printers"
	"github.com/kubecell/kubectl-cell/pkg/verify"
)

// concept is one word of the vocabulary.
type concept struct {
	name    string
	aliases []string
	// summary fits on one line beside the name.
	summary string
	text    string
	// see are names of other concepts.
	see []string
}

// concepts are all of them, in an order in which they can be read.
func concepts() []concept {
	return slices.Concat(placementConcepts(), movementConcepts(), protectionConcepts())
}

// placementConcepts say where objects live.
func placementConcepts() []concept {
	return []concept{
		{
			"cell", []string{"cells"}, "one independent control plane", `
A cell is one small, independent control plane: its own etcd, apiservers and federation controllers.
Each workload lives in exactly one cell. A cell that is down makes its own keys fail and no others.
The Cell object, in the RCP, says how to reach it.`,
			[]string{"ring", "router"},
		},
		{
			"router", nil, "makes all cells look like one Kubernetes API", `
The router is a proxy that computes the cell of each request from the ring and forwards it there.
Lists and watches over all cells are merged. It has no state of its own: run as many as you like.
With the router control plane down, routers keep serving with the ring that they have.`,
			[]string{"rcp", "ring", "visibility"},
		},
		{
			"rcp", []string{"router control plane"}, "the router control plane: holds Ring and Cell", `
The RCP is the control plane that stores Ring, Cell, Rebalance and Failover, and every object that
is not sharded. Only changes of the ring need it; serving does not.`,
			[]string{"ring", "class"},
		},
		{
			"ring", []string{"rings"}, "the consistent-hash ring: cells with weights", `
The ring is a circle of hashes. Each cell holds weight × pointsPerWeight points on it, computed
from its own name alone; a key belongs to the cell of the first point after the key's hash. A cell
that joins or leaves therefore moves its own share and nothing else. Ring.spec is what you want,
Ring.status.current is where data lives. Changing the spec moves nothing: "diff" previews it and
"rebalance" carries it out.`,
			[]string{"key", "epoch", "case", "backup"},
		},
		{
			"epoch", nil, "number of the ring's configuration", `
The epoch, Ring.status.epoch, grows by one at each change that routers must see. A router that has
acknowledged an epoch acts on it; "status" shows which epoch each router has.`,
			[]string{"ring", "router"},
		},
		{
			"key", []string{"keys", "hash"}, "the string that is hashed for an object", `
The key decides the cell. By default it is "<namespace>/<name>", so objects of one name in one
namespace are together, whatever their kind. Ring.spec.resources may choose another rule for a
resource: Name (together across namespaces) or Namespace (a whole namespace in one cell).`,
			[]string{"unit", "ring", "class"},
		},
		{
			"unit", []string{"units", "workload"}, "all sharded objects with one key, and their dependents", `
The unit is what a rebalance moves: the Deployment, the Service, the ConfigMap and every other
sharded object that has the same key, with the objects that controllers derived from them.`,
			[]string{"key", "migration", "window"},
		},
		{
			"class", []string{"classes", "resource class"}, "says where the objects of a resource live", `
  Sharded     in the cell that the key hashes to: deployments, jobs, configmaps, services …
  Dependent   with the controller owner, and moved with it: objects derived from a workload
  Local       in the cell that made them, never moved: events, pods, replicasets, endpointslices
  Replicated  source in the RCP, a copy in every cell: namespaces, CRDs, RBAC, quotas
  Global      in the RCP only: everything else, and all of kube-system and kubecell-system
Ring.spec.resources changes the class of a resource.`,
			[]string{"key", "rcp", "visibility"},
		},
		{
			"visibility", nil, "an object is shown only from the cell that the map names", `
Through the router an object is visible only in the cell that the ring names as its owner. Copies
that controllers make in every cell, leftovers and tombstones never show twice.`,
			[]string{"router", "tombstone"},
		},
	}
}

// movementConcepts say how objects move.
func movementConcepts() []concept {
	return []concept{
		{
			"rebalance", nil, "moves units until the data is where the wanted ring says", `
A rebalance accepts the wanted ring as target and moves every unit whose old and new cell differ,
some at a time. It can be paused, stepped, aborted and resumed; units that do not move see nothing.`,
			[]string{"case", "migration", "window", "phase"},
		},
		{
			"case", []string{"cases"}, "what a rebalance does with a key", `
  1  out→in          from a cell that leaves to one that joins
  2  normal→in       from a cell that stays to one that joins
  3  out→normal      from a cell that leaves to one that stays
  4  stays           old and new cell are the same: untouched
  5  normal→normal   between cells that stay, because a weight changed
Whatever the case: old = new means untouched, anything else moves.`,
			[]string{"ring", "rebalance"},
		},
		{
			"migration", []string{"rebalance-status", "migrating", "migrated", "incoming"}, "the states of one object on its way", `
In the old cell the label kubecell.io/rebalance-status goes from nothing to "migrating" (reads stay
here, writes are answered 429 and retried) to "migrated" (a tombstone; the object lives in the new
cell). In the new cell the copy is "incoming" until it counts. The state is on the object itself, so
whatever is killed, the same command goes on.`,
			[]string{"tombstone", "fence", "unit"},
		},
		{
			"tombstone", []string{"tombstones"}, "what a moved object leaves in its old cell", `
A tombstone is the old copy, labelled "migrated". It is never shown and never acted on, and it is
deleted after the grace period, 12 hours by default.`,
			[]string{"migration", "visibility"},
		},
		{
			"window", nil, "how many units may be migrating at once", `
The window bounds how many units refuse writes at one time, each for less than a second. It shrinks
by itself when a cell's apiserver slows down.`,
			[]string{"rebalance", "unit"},
		},
		{
			"fence", nil, "refuses writes to objects in migration", `
The fence is an admission policy in each cell. It refuses update, patch and delete of an object that
is in migration, for everyone but the driver: also for controllers and people who go to the cell
directly. It is installed when a cell is added.`,
			[]string{"migration", "driver"},
		},
		{
			"driver", nil, "the process that carries out a rebalance or failover", `
The driver holds the Lease of a Rebalance or Failover. It may be your terminal; when that goes away,
the backup daemon takes the run over.`,
			[]string{"rebalance", "failover"},
		},
		{
			"phase", []string{"phases"}, "where the ring stands between two stable states", `
  Stable       every key has one cell
  Preparing    a target is accepted; waiting until every router knows it
  Rebalancing  keys move from the current to the target ring
  Settling     all keys have moved; backups for the target are being completed`,
			[]string{"ring", "epoch", "rebalance"},
		},
	}
}

// protectionConcepts say how objects are kept when cells die, and how what went wrong is found.
func protectionConcepts() []concept {
	return []concept{
		{
			"backup", []string{"backup cell"}, "the cell that holds the copy of a workload", `
The backup cell of a key is the next other cell clockwise on the ring. When the owner dies and
leaves the ring, the key maps to exactly that cell.`,
			[]string{"envelope", "failover", "ring"},
		},
		{
			"envelope", []string{"envelopes"}, "the inert copy of an object in its backup cell", `
An envelope is a Secret in kubecell-system that holds the compressed object. It is inert: a live
copy would be acted on by the backup cell's own controllers.`,
			[]string{"backup", "failover"},
		},
		{
			"failover", []string{"failback"}, "makes a dead cell's workloads live in their backup cells", `
A failover takes a dead cell out of the ring and turns the envelopes in the backup cells into
objects again. What would be lost is listed by name before anyone confirms. A failback brings the
cell back by an ordinary rebalance.`,
			[]string{"backup", "envelope", "epoch"},
		},
		{
			"verify", []string{"fsck", "misplaced", "duplicate", "orphaned", "stale", "stuck", "unprotected"}, "finds what is not where the ring says", classes(),
			[]string{"visibility", "migration", "envelope"},
		},
	}
}

// classes are those of the findings of verify.
func classes() string {
	var b strings.Builder
	b.WriteString("\nverify reads all cells and compares what they have with the ring, with each other and with the\nenvelopes:\n")
	for _, class := range verify.Classes() {
		e := class.Explain()
		b.WriteString("\n" + hanging("", fmt.Sprintf("%s: %s.", class, e.Meaning)))
		b.WriteString(hanging("  ", "for example: "+e.Example))
		b.WriteString(hanging("  ", "--repair: "+e.Repair))
		b.WriteString(hanging("  ", "by hand: "+e.Otherwise))
	}
	return b.String()
}

// hanging breaks a paragraph into lines that fit on a terminal, all but the first one further in.
func hanging(indent, text string) string {
	return indent + printers.Fold(text, 94, indent+"  ") + "\n"
}
