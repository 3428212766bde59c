package simulate

import (
	"math"
	"strconv"
	"strings"

	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/plan"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

// parseCount reads a number of workloads: digits with an optional decimal part and one of the
// suffixes k, M and G for thousands, millions and thousands of millions.
func parseCount(s string) (int, error) {
	factors := map[byte]float64{'k': 1e3, 'K': 1e3, 'M': 1e6, 'm': 1e6, 'G': 1e9}
	number, factor := s, 1.0
	if s != "" {
		if f, ok := factors[s[len(s)-1]]; ok {
			number, factor = s[:len(s)-1], f
		}
	}
	value, err := strconv.ParseFloat(number, 64)
	value *= factor
	switch {
	case err != nil || strings.Trim(number, "0123456789.") != "":
		return 0, exit.Flagf("workloads", printers.Clip(s), "be a number").WithHint("--workloads 250000, 250k or 10M")
	case value < 1 || value > plan.MaxWorkloads:
		return 0, exit.Flagf("workloads", printers.Clip(s), "be between 1 and %d", plan.MaxWorkloads).WithHint("--workloads 10M")
	case value != math.Trunc(value):
		return 0, exit.Flagf("workloads", printers.Clip(s), "be a whole number").WithHint("--workloads 10M")
	}
	return int(value), nil
}

// parseWeights reads CELL=WEIGHT pairs. Whether the weights are in range is for the ring to say.
func parseWeights(pairs []string) ([]placement.Member, error) {
	var out []placement.Member
	for _, pair := range pairs {
		cell, number, _ := strings.Cut(pair, "=")
		weight, err := strconv.Atoi(number)
		if err != nil || cell == "" {
			return nil, exit.Flagf("weight", printers.Clip(pair), "be CELL=WEIGHT").WithHint("--weight cell-5=120")
		}
		for _, other := range out {
			if other.Cell == cell {
				return nil, exit.Flagf("weight", printers.Clip(strings.Join(pairs, ",")), "name each cell once").WithHint("--weight %s=%d", printers.Clip(cell), weight)
			}
		}
		out = append(out, placement.Member{Cell: cell, Weight: weight})
	}
	return out, nil
}

// parseKills reads sets of cells that die together: one set for each flag, cells divided by
// commas or by "+".
func parseKills(sets []string) ([][]string, error) {
	var out [][]string
	for _, set := range sets {
		var cells []string
		seen := map[string]bool{}
		for cell := range strings.SplitSeq(strings.ReplaceAll(set, "+", ","), ",") {
			cell = strings.TrimSpace(cell)
			if cell == "" {
				return nil, exit.Flagf("kill", printers.Clip(set), "name a cell, or several with commas between them").WithHint("--kill cell-3,cell-1")
			}
			if !seen[cell] {
				cells = append(cells, cell)
			}
			seen[cell] = true
		}
		out = append(out, cells)
	}
	return out, nil
}
