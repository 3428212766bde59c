package failover

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
)

// AcceptAll is the loss that is accepted where nobody can tell how much it is.
const AcceptAll = math.MaxInt64

// Confirmation is what an administrator has to repeat to agree: a runbook that is out of date names another epoch.
func Confirmation(cell string, epoch int64) string { return fmt.Sprintf("%s@epoch%d", cell, epoch) }

// Gate says why a run must not begin, nil for that it may. It is what `failover` refuses and what a driver refuses again:
// much may have happened in between.
func Gate(facts *Facts, found *v1alpha1.FailoverReport, spec *v1alpha1.FailoverSpec) error {
	if err := member(facts.Ring, spec.Cell); err != nil {
		return err
	}
	why, flags := objections(facts, found, spec)
	if len(why) == 0 {
		return nil
	}
	refused := exit.Refusedf("%s", strings.Join(why, "; "))
	if i := slices.IndexFunc(facts.Witnesses, func(w Witness) bool { return facts.serves(&w) }); i >= 0 {
		return refused.WithHint("kubectl cell router stop   # on the machine of router %s, unless it finds its control plane again; then the same command", facts.Witnesses[i].Name)
	}
	if i := slices.IndexFunc(facts.Witnesses, func(w Witness) bool { return w.Instead != "" && facts.awaits(&w, spec) }); i >= 0 {
		return refused.WithHint("kubectl cell failover %s %s   # or, once it is known dead, as another one has its address: kubectl cell router forget %s",
			spec.Cell, strings.Join(flags, " "), facts.Witnesses[i].Name)
	}
	if len(flags) > 0 {
		return refused.WithHint("kubectl cell failover %s %s", spec.Cell, strings.Join(flags, " "))
	}
	return refused.WithHint("kubectl cell status")
}

// member refuses cells that cannot leave the ring.
func member(ring *v1alpha1.Ring, cell string) error {
	all := cellsOf(&ring.Status)
	switch {
	case !slices.Contains(all, cell):
		return exit.Refusedf("cell %s is not in the ring, which has %s: there is nothing to fail over", cell, strings.Join(all, ", ")).
			WithHint("kubectl cell get cells")
	case alone(ring.Status.Current, cell), alone(ring.Status.Target, cell):
		return exit.Refusedf("cell %s is the last one of the ring: nobody could take its workloads over", cell).
			WithHint("kubectl cell sandbox chaos restart %s   # or bring it back otherwise", cell)
	}
	return nil
}

// alone says whether nobody is left of a layout without the cell.
func alone(l *v1alpha1.RingLayout, cell string) bool {
	return l != nil && len(leave(slices.Clone(l.Members), cell)) == 0
}

// objections are what speaks against a run, and the flags that override it. A drill changes nothing, and is refused for
// nothing that it is there to find out.
func objections(facts *Facts, found *v1alpha1.FailoverReport, spec *v1alpha1.FailoverSpec) (why, flags []string) {
	if spec.Drill {
		return nil, nil
	}
	if seen := seenBy(facts, found); seen != "" && !spec.Force {
		why = append(why, fmt.Sprintf("cell %s answers %s", spec.Cell, seen))
		flags = append(flags, "--force")
	}
	for i := range facts.Witnesses {
		w := &facts.Witnesses[i]
		switch {
		case facts.serves(w):
			why = append(why, fmt.Sprintf("router %s is cut off from the router control plane, and answers at %s: it may go on writing to cell %s, and has to be ended", w.Name, w.AdminURL, spec.Cell))
		case facts.awaits(w, spec):
			instead := ""
			if w.Instead != "" {
				instead = fmt.Sprintf(" (%v)", w.Err)
			}
			why = append(why, fmt.Sprintf("router %s is silent and would be waited for%s", w.Name, instead))
			flags = append(flags, "--ignore-router="+w.Name)
		}
	}
	switch loss := Loss(found); {
	case facts.uncounted() && spec.AcceptLoss < AcceptAll:
		why = append(why, fmt.Sprintf("nobody knows how many objects of cell %s have no copy: no backup of it was ever complete, or has counted them", spec.Cell))
		flags = append(flags, "--accept-loss=all")
	case loss > spec.AcceptLoss:
		nameless := ""
		if found.Unknown > 0 {
			nameless = fmt.Sprintf(" (of %d there is a number, and no name)", found.Unknown)
		}
		why = append(why, fmt.Sprintf("%d objects would be lost or lack a write%s, and %d are accepted", loss, nameless, spec.AcceptLoss))
		flags = append(flags, fmt.Sprintf("--accept-loss=%d", loss))
	}
	if epoch := facts.Ring.Status.Epoch; spec.ConfirmEpoch != epoch {
		said := "nobody has confirmed it"
		if spec.ConfirmEpoch != 0 {
			said = fmt.Sprintf("it was confirmed for epoch %d, and the ring is in epoch %d", spec.ConfirmEpoch, epoch)
		}
		why = append(why, said)
		flags = append(flags, "--confirm="+Confirmation(spec.Cell, epoch))
	}
	return why, flags
}

// awaits says whether a router is silent that nobody has said is to be ignored.
func (f *Facts) awaits(w *Witness, spec *v1alpha1.FailoverSpec) bool {
	return f.silence(w) > silentAfter && !slices.Contains(spec.IgnoreRouters, w.Name)
}

// seenBy names somebody whom the cell answers, "" for nobody.
func seenBy(facts *Facts, found *v1alpha1.FailoverReport) string {
	for _, r := range found.Routers {
		if r.SeesCell {
			return "router " + r.Name
		}
	}
	if facts.Answers {
		return "this command"
	}
	return ""
}
