package validate

import (
	"fmt"
	"time"

	"github.com/kubecell/kubectl-cell/test/robustness/history"
)

// Silent says what drivers wrote after others had taken over from them: what was sent after they went on, and before they
// held the Lease anew.
func Silent(suspensions []history.Suspension) []string {
	var out []string
	for _, s := range suspensions {
		for _, w := range s.Writes {
			if w.Sent > s.Resumed && (s.Held == 0 || w.Sent < s.Held) {
				out = append(out, fmt.Sprintf("%s: %s, sent %s after it went on", s.Driver, w.What, time.Duration(w.Sent-s.Resumed)))
			}
		}
	}
	return out
}
