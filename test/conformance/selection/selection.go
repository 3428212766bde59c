// Package selection reads the two files in which people say what the comparison covers: the specs that
// run, and the excuses for those that may fail through a router. Both are plain text with one entry a line.
package selection

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strings"
)

const (
	// groupMark begins the heading of a group of specs.
	groupMark = "# "
	// shortMark precedes a spec that belongs to the short selection too.
	shortMark = "* "
	// serialMark stands in the names of specs that have to be alone on a control plane.
	serialMark = "[Serial]"
	// slowMark stands in the names of specs that take minutes, in which they wait more than they ask.
	slowMark = "[Slow]"
	// reasonMark separates the name of an excused spec from the reason.
	reasonMark = " | "
)

// Spec is one spec to run.
type Spec struct {
	// Name is the full text of the spec, as `--list-tests` of the test binary prints it.
	Name string
	// Group is the heading below which the spec stands.
	Group string
	// Short says that the short selection has it too.
	Short bool
}

// Specs reads a list of specs: headings after "# ", below them one name a line, "* " before the names of
// the short selection. Empty lines count for nothing. A name without a heading or listed twice is an error.
func Specs(r io.Reader) ([]Spec, error) {
	var specs []Spec
	group, seen := "", map[string]bool{}
	err := lines(r, func(line string) error {
		if heading, ok := strings.CutPrefix(line, groupMark); ok {
			group = heading
			return nil
		}
		name, short := strings.CutPrefix(line, shortMark)
		if group == "" {
			return fmt.Errorf("spec %q stands before the first heading", name)
		}
		if seen[name] {
			return fmt.Errorf("spec %q is listed twice", name)
		}
		seen[name] = true
		specs = append(specs, Spec{Name: name, Group: group, Short: short})
		return nil
	})
	return specs, err
}

// Selected are those of the specs whose names match, and that are in the short selection if short is set.
func Selected(specs []Spec, short bool, focus *regexp.Regexp) []Spec {
	var selected []Spec
	for _, spec := range specs {
		if (spec.Short || !short) && focus.MatchString(spec.Name) {
			selected = append(selected, spec)
		}
	}
	return selected
}

// Shard is one part of specs that are spread over several processes against one control plane. Shards 0 to
// of-1 may run at the same time; shard number of holds the specs that have to be alone, and the one after it
// those that take minutes, which nearly always wait and so leave even these alone.
func Shard(specs []Spec, shard, of int) []Spec {
	var part []Spec
	company := 0
	for _, spec := range specs {
		var at int
		switch {
		case strings.Contains(spec.Name, serialMark):
			at = of
		case strings.Contains(spec.Name, slowMark):
			at = of + 1
		default:
			at = company % of
			company++
		}
		if at == shard {
			part = append(part, spec)
		}
	}
	return part
}

// Exceptions reads the excuses, "name | reason" a line, as reasons by the names of specs. Lines that begin
// with "# " are remarks. An excuse without a reason or for a spec that does not run is an error.
func Exceptions(r io.Reader, specs []Spec) (map[string]string, error) {
	known := map[string]bool{}
	for _, spec := range specs {
		known[spec.Name] = true
	}
	reasons := map[string]string{}
	err := lines(r, func(line string) error {
		if strings.HasPrefix(line, groupMark) {
			return nil
		}
		name, reason, _ := strings.Cut(line, reasonMark)
		if name, reason = strings.TrimSpace(name), strings.TrimSpace(reason); reason == "" {
			return fmt.Errorf("exception for %q gives no reason", name)
		}
		if !known[name] {
			return fmt.Errorf("exception for %q, which is not in the list of specs", name)
		}
		reasons[name] = reason
		return nil
	})
	return reasons, err
}

// lines calls do for each line that is not empty, and names the line of an error.
func lines(r io.Reader, do func(string) error) error {
	scanner := bufio.NewScanner(r)
	for number := 1; scanner.Scan(); number++ {
		line := strings.TrimSpace(scanner.Text())
		if line == "" {
			continue
		}
		if err := do(line); err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
	}
	return scanner.Err()
}
