package backup

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/kubecell/kubectl-cell/pkg/cli/launch"
)

// backupsIn reads how the backups stand in the metrics of a daemon that works.
func backupsIn(metrics string) []launch.Backup {
	type pair struct{ source, cell string }
	found := map[pair]*launch.Backup{}
	pending, unprotected := map[string]int64{}, map[string]int64{}
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
			at = &launch.Backup{Source: of.source, Cell: of.cell}
		}
		switch parts[1] {
		case "pair_envelopes":
			at.Envelopes = int64(value)
			found[of] = at
		case "lag_quantile_seconds":
			if labels["quantile"] == "0.5" {
				at.LagP50 = value
			} else {
				at.LagP99 = value
			}
			found[of] = at
		case "pending":
			pending[of.source] = int64(value)
		case "unprotected":
			unprotected[of.source] = int64(value)
		}
	}
	out := make([]launch.Backup, 0, len(found))
	for _, b := range found {
		b.Pending, b.Unprotected = pending[b.Source], unprotected[b.Source]
		out = append(out, *b)
	}
	slices.SortFunc(out, func(a, b launch.Backup) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Cell, b.Cell))
	})
	return out
}
