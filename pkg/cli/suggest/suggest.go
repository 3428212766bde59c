// Package suggest finds what somebody who mistyped a word may have meant. It is pure.
package suggest

import (
	"slices"
	"strings"
)

// maxDistance is how many letters may be wrong; cobra uses the same for commands.
const maxDistance = 2

// Closest returns the candidate that is most like word: at most two letters inserted, left out or
// replaced, or word continued. It returns "" where none is like it.
func Closest(word string, candidates []string) string {
	best, bestDistance := "", maxDistance+1
	for _, candidate := range candidates {
		d := distance(strings.ToLower(word), strings.ToLower(candidate))
		// In a word of one or two letters, every letter could be wrong.
		if d < bestDistance && d < max(len(word), 2) {
			best, bestDistance = candidate, d
		}
	}
	if best != "" || word == "" {
		return best
	}
	if i := slices.IndexFunc(candidates, func(c string) bool { return strings.HasPrefix(c, word) }); i >= 0 {
		return candidates[i]
	}
	return ""
}

// distance is the number of bytes to insert, leave out or replace to get from a to b, after
// Wagner and Fischer, The String-to-String Correction Problem (1974).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
