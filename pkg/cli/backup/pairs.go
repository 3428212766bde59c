package backup

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/kubecell/kubectl-cell/pkg/cli/launch"
)

// backupsIn reads how the backups stand in the metrics of a daemon that works. What belongs to nobody knows which
// cell is a pair without one.
func backupsIn(metrics string) []launch.Backup {
	type pair struct{ source, cell string }
	found := map[pair]*launch.Backup{}
	// NAME{LABEL="VALUE",…} NUMBER; names of cells need no escapes.
	line := regexp.MustCompile(`^kubecell_backup_(\w+)\{([^}]*)\} (\S+)$`)
	label := regexp.MustCompile(`(\w+)="([^"]*)"`)
	for text := range strings.Lines(metrics) {
		parts := line.FindStringSubmatch(strings.TrimSpace(text))
		if parts == nil {
			continue
		}
		value, err := strconv.ParseFloat(parts[3], 64)
		if err != nil {
			continue
		}
		labels := map[string]string{}
		for _, l := range label.FindAllStringSubmatch(parts[2], -1) {
			labels[l[1]] = l[2]
		}
		of := pair{labels["source"], labels["backup"]}
		at := found[of]
		if at == nil {
			at = &launch.Backup{Source: of.source, Cell: of.cell, Unread: true}
		}
		switch parts[1] {
		case "pair_envelopes":
			at.Envelopes, at.Unread = int64(value), false
			found[of] = at
		case "lag_quantile_seconds":
			if labels["quantile"] == "0.5" {
				at.LagP50 = value
			} else {
				at.LagP99 = value
			}
			found[of] = at
		case "pair_pending":
			at.Pending = int64(value)
			found[of] = at
		case "pair_unprotected":
			at.Unprotected = int64(value)
			found[of] = at
		}
	}
	out := make([]launch.Backup, 0, len(found))
	for _, b := range found {
		if b.Cell != "" || b.Pending > 0 || b.Unprotected > 0 {
			out = append(out, *b)
		}
	}
	slices.SortFunc(out, func(a, b launch.Backup) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Cell, b.Cell))
	})
	return out
}
