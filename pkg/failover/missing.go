package failover

import (
	"slices"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/lease"
)

// missing is how many copies fewer there are than the backup had counted when it published its mark, and nothing tells what has
// become of them. Where not all copies can be listed, or should be there, it is 0: then more is counted.
//
// The backup counts its copies down as it deletes them, and names what it cannot make again. So they were deleted by somebody
// else while it could not do that, or are of a cell that was restored to an earlier state; or the backup died between a
// deletion and its next mark.
func (j *join) missing() int64 {
	f := j.f
	if f.Mark == nil || f.silent() || f.Left {
		return 0
	}
	there, uids := int64(0), map[string]bool{}
	for _, s := range f.Survivors {
		there += int64(len(s.Copies))
		for i := range s.Copies {
			uids[string(s.Copies[i].Header.UID)] = true
		}
	}
	return max(0, f.Envelopes-there-j.explained(uids))
}

// explained is how many copies routers tell of that are not there, or that may never have been: of objects that were written, or
// deleted, since the mark, in each cell that a copy may be in.
func (j *join) explained(there map[string]bool) int64 {
	n := int64(0)
	for _, o := range j.objects {
		for uid, w := range o.writes {
			if !there[uid] && w.Verb != "create" {
				n++
			}
		}
	}
	if j.f.Ring.Status.Target != nil {
		n *= 2
	}
	return n
}

// atRest says whether nothing can have become of copies but what the mark tells: the backup has had the time to say so, no
// object is on its way, and the backup still looks after the cell.
func (f *Facts) atRest() bool {
	s := &f.Ring.Status
	return s.Phase == v1alpha1.RingStable && !slices.Contains(s.Unavailable, f.Cell) && f.markAge() > handedSlack
}

// markAge is for how long the mark has been there. It is a sign of life of the backup, and judged as one: by one clock, as those
// of two machines may differ by any time.
func (f *Facts) markAge() time.Duration {
	return lease.Renewal{Renewed: f.Mark.Time, Stored: f.MarkStored}.Silence(f.moment())
}
