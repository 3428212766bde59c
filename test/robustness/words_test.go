package robustness

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// words are those that a flag lists, each of them a known one: a mistyped one would be something that is not tried, in a
// test that passes all the same.
func words[T ~string](flag, given string, known []T) ([]T, error) {
	var out []T
	for word := range strings.SplitSeq(given, ",") {
		switch {
		case word == "":
		case !slices.Contains(known, T(word)):
			return nil, fmt.Errorf("-%s has %q; it knows %v", flag, word, known)
		default:
			out = append(out, T(word))
		}
	}
	return out, nil
}

// wantedFaults, wantedStages and wantedExtras are what the flags ask for.
func wantedFaults(t *testing.T) []fault {
	return wanted(t, "faults", *faultNames, append(atSteps(), random, backedUp))
}

func wantedStages(t *testing.T) []string {
	known := slices.Sorted(maps.Keys(stages()))
	out := wanted(t, "stages", *stageNames, known)
	if len(out) == 0 {
		t.Fatalf("-stages names no change of the ring; it knows %v", known)
	}
	return out
}

func wantedExtras(t *testing.T) []string { return wanted(t, "drill-extras", *drillExtras, extras()) }

func wanted[T ~string](t *testing.T, flag, given string, known []T) []T {
	t.Helper()
	out, err := words(flag, given, known)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestMistypedWordsAreRefused(t *testing.T) {
	for given, want := range map[string]struct {
		words int
		err   string
	}{
		"":                  {0, ""},
		"kill":              {1, ""},
		"kill,random,":      {2, ""},
		"kil":               {0, `-faults has "kil"; it knows [kill `},
		"kill, random":      {0, `-faults has " random"; it knows [kill `},
		"kill,router;crash": {0, `-faults has "router;crash"; it knows [kill `},
	} {
		got, err := words("faults", given, append(atSteps(), random, backedUp))
		if said := fmt.Sprint(err); len(got) != want.words || (err == nil) != (want.err == "") || !strings.HasPrefix(said, want.err) && err != nil {
			t.Errorf("%q: %v, %v; want %d words, and %q", given, got, err, want.words, want.err)
		}
	}
	// Each plan draws from these words, and from no others.
	for _, extra := range extras() {
		if none, all := drawn(nil, extra), drawn([]string{extra}, extra); none || !all {
			t.Errorf("%s: drawn without it %v, with it %v", extra, none, all)
		}
	}
}

// drawn says whether one of many seeds has an extra, where these are allowed.
func drawn(allowed []string, extra string) bool {
	for seed := range uint64(100) {
		p := planDrill(seed, 0, allowed)
		if extra == another && p.second || extra == inFlight && p.rebalance {
			return true
		}
	}
	return false
}
