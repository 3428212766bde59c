package overview

import (
	"cmp"
	"fmt"
	"strconv"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/printers"
)

// Table is the cells as people see them.
func Table(cells []Cell, now time.Time, layout printers.Layout) printers.Table {
	table := layout.Table("CELL", "STATE", "WEIGHT", "WORKLOADS", "SHARE", "EXPECTED", "BACKUP-LAG", "APISERVER", "AGE")
	if layout.Wide {
		table.Header = append(table.Header, "VERSION", "SERVER", "PROBLEM")
	}
	for _, c := range cells {
		row := []string{
			c.Name, string(c.State), c.weight(), optional(c.Workloads, printers.Count), optional(c.Share, printers.Percent),
			printers.Percent(c.Expected), optional(c.BackupLagSeconds, func(s float64) string { return fmt.Sprintf("%.1fs", s) }),
			c.latency(), age(c.Created, now),
		}
		if layout.Wide {
			row = append(row, cmp.Or(c.Version, "-"), cmp.Or(c.Server, "-"), cmp.Or(c.Problem, "-"))
		}
		table.Rows = append(table.Rows, row)
	}
	return table
}

// weight shows a change that is wanted but not accepted yet.
func (c Cell) weight() string {
	if c.Weight == c.WantedWeight {
		return strconv.Itoa(int(c.Weight))
	}
	return fmt.Sprintf("%d→%d", c.Weight, c.WantedWeight)
}

func (c Cell) latency() string {
	switch {
	case c.LatencySeconds != nil:
		latency := time.Duration(*c.LatencySeconds * float64(time.Second))
		return fmt.Sprintf("%dms", max(1, latency.Milliseconds()))
	case c.Object == nil:
		return "-"
	}
	return "no answer"
}

func optional[T any](value *T, format func(T) string) string {
	if value == nil {
		return "-"
	}
	return format(*value)
}

func age(created, now time.Time) string {
	if created.IsZero() {
		return "-"
	}
	return printers.Age(now.Sub(created))
}
