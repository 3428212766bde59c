package failover

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// silentAfter is for how long a router must not have shown that it lives to be taken for dead: three of its Lease's
// renewals.
const silentAfter = 45 * time.Second

// witnesses says what each router knows.
func (f *Finding) witnesses(facts *Facts) {
	for _, w := range facts.Witnesses {
		r := v1alpha1.FailoverRouter{Name: w.Name, Epoch: w.Epoch, Answered: w.Err == nil}
		if w.Err != nil {
			r.Message = w.Err.Error()
			f.Routers = append(f.Routers, r)
			continue
		}
		r.SeesCell, r.Complete, r.Started = w.View.Reachable, w.Ledger.Complete, startOf(&w)
		r.LastAnswer = timeOf(w.View.LastAnswer)
		r.IncompleteSince = timeOf(w.Ledger.IncompleteSince)
		if r.LastAnswer != nil && (f.LastAnswer == nil || f.LastAnswer.Before(r.LastAnswer)) {
			f.LastAnswer = r.LastAnswer
		}
		f.Routers = append(f.Routers, r)
	}
	slices.SortFunc(f.Routers, func(a, b v1alpha1.FailoverRouter) int { return strings.Compare(a.Name, b.Name) })
}

func timeOf(t *time.Time) *metav1.Time {
	if t == nil {
		return nil
	}
	out := metav1.NewTime(*t)
	return &out
}

// survivors says what each cell takes over.
func (f *Finding) survivors(facts *Facts, j *join) {
	for _, s := range facts.Survivors {
		out := v1alpha1.FailoverSurvivor{Cell: s.Cell, Takes: j.takes[s.Cell], Reachable: s.Err == nil}
		if cell := facts.Cells[s.Cell]; cell != nil && cell.Status.Counts != nil {
			out.Workloads = cell.Status.Counts.Workloads + out.Takes
		}
		if s.Err != nil {
			f.Warnings = append(f.Warnings, fmt.Sprintf("cell %s does not answer: copies in it are promoted once it does, and are not counted here (%v)", s.Cell, s.Err))
		}
		f.Survivors = append(f.Survivors, out)
	}
	missing := j.missing()
	f.Unknown = facts.unknown(f.Workloads-j.made(), missing) + facts.Unnamed
	if missing > 0 {
		f.Warnings = append(f.Warnings, fmt.Sprintf("the backup counted %d copies at %s, and %d fewer are there: somebody has deleted them, or a cell was restored to an earlier state; nobody can name their objects",
			facts.Envelopes, stamp(facts.Mark.Time), missing))
	}
}

// problems says what keeps the run from beginning, and what the report cannot know.
func (f *Finding) problems(facts *Facts) {
	s := &facts.Ring.Status
	for _, w := range facts.Witnesses {
		switch {
		case w.Err != nil:
			f.Warnings = append(f.Warnings, fmt.Sprintf("router %s could not be asked: what it acknowledged last and no backup has is not in the list (%v)", w.Name, w.Err))
		case !w.Ledger.Complete:
			f.Warnings = append(f.Warnings, fmt.Sprintf("router %s had to forget writes from %s on: the list may be short", w.Name, stamp(*w.Ledger.IncompleteSince)))
		}
		if w.Err == nil {
			f.Warnings = append(f.Warnings, facts.tooYoung(&w)...)
		}
		if age := facts.silence(&w); w.Epoch < s.Epoch || age > silentAfter {
			f.Blockers = append(f.Blockers, fmt.Sprintf("router %s acknowledges epoch %d of %d and was last seen %s ago", w.Name, w.Epoch, s.Epoch, age.Round(time.Second)))
		}
	}
	if len(facts.Witnesses) == 0 {
		f.Warnings = append(f.Warnings, "no router is registered: nobody can say what was acknowledged last")
	}
	switch {
	case facts.uncounted():
		f.Warnings = append(f.Warnings, "no backup has ever said how far it has come with this cell, nor has one counted its objects: how many have no copy cannot be known")
	case facts.Mark == nil:
		b := facts.backup()
		f.Warnings = append(f.Warnings, fmt.Sprintf("no backup has ever said how far it has come with this cell: at %s it counted %d objects, of which %d had a change in no copy yet",
			stamp(b.Time.Time), b.Objects, b.Pending))
	}
	if facts.Left && f.Unknown > 0 {
		f.Warnings = append(f.Warnings, fmt.Sprintf("cells have left the ring since the backup of cell %s was complete last, and about %d of its objects may have no copy any more: wait for the backup, if it can go on",
			facts.Cell, f.Unknown))
	}
	if facts.Unnamed > 0 {
		f.Warnings = append(f.Warnings, fmt.Sprintf("the backup has no copies that could be promoted of %d objects, beside those that it names", facts.Unnamed))
	}
	if b := facts.backup(); b != nil && b.Unproven > 0 {
		f.Warnings = append(f.Warnings, fmt.Sprintf("the backup has not rehearsed %d copies yet: whether their cells would take them is not known", b.Unproven))
	}
	if facts.TakenOver > 0 {
		f.Warnings = append(f.Warnings, fmt.Sprintf("cell %s took over %d objects of failed-over cells, and the backup has not said since that they have copies: those that have none are not in the list",
			facts.Cell, facts.TakenOver))
	}
	if s.Phase != v1alpha1.RingStable {
		f.Warnings = append(f.Warnings, fmt.Sprintf("rebalance %s is in flight: it stands still meanwhile, and goes on afterwards", s.Rebalance))
	}
	slices.Sort(f.Blockers)
	slices.Sort(f.Warnings)
}

func stamp(t time.Time) string { return t.UTC().Format("15:04:05") }

// Agreement counts the routers that could be asked, and those of them that the cell does not answer.
func Agreement(r *v1alpha1.FailoverReport) (agree, asked int) {
	for _, w := range r.Routers {
		if !w.Answered {
			continue
		}
		asked++
		if !w.SeesCell {
			agree++
		}
	}
	return agree, asked
}
