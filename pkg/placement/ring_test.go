package placement

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNewRingRefuses(t *testing.T) {
	t.Parallel()
	many := func(n, weight int) []Member {
		members := equalCells(n)
		for i := range members {
			members[i].Weight = weight
		}
		return members
	}
	ok := Member{Cell: "cell-1", Weight: 1}
	tests := []struct {
		name      string
		members   []Member
		perWeight int
		want      error
		message   string
	}{
		{"no member", nil, 1, ErrEmptyRing, "a ring needs at least one member"},
		{"twice", []Member{ok, {"cell-2", 1}, ok}, 1, &MemberError{Cell: "cell-1", Field: "cell"}, `ring member "cell-1": the cell is a member twice; each cell may be a member once`},
		{"weight 0", []Member{ok, {"cell-2", 0}}, 1, &MemberError{Cell: "cell-2", Field: "weight"}, `ring member "cell-2": the weight is 0; it must be between 1 and 1000`},
		{"weight -1", []Member{{"cell-2", -1}}, 1, &MemberError{Cell: "cell-2", Field: "weight"}, "the weight is -1"},
		{"weight huge", []Member{{"cell-2", math.MaxInt}}, 1, &MemberError{Cell: "cell-2", Field: "weight"}, "between 1 and 1000"},
		{"empty name", []Member{{"", 1}}, 1, &MemberError{Field: "cell"}, "the name is empty; a cell is named by 1 to 63 characters"},
		{"upper case", []Member{{"Cell", 1}}, 1, &MemberError{Cell: "Cell", Field: "cell"}, "the name contains 'C'"},
		{"dot", []Member{{"a.b", 1}}, 1, &MemberError{Cell: "a.b", Field: "cell"}, "the name contains '.'"},
		{"not ASCII", []Member{{"zelle-ö", 1}}, 1, &MemberError{Cell: "zelle-ö", Field: "cell"}, "the name contains 'ö'"},
		{"dash first", []Member{{"-a", 1}}, 1, &MemberError{Cell: "-a", Field: "cell"}, "begins or ends with '-'"},
		{"dash last", []Member{{"a-", 1}}, 1, &MemberError{Cell: "a-", Field: "cell"}, "begins or ends with '-'"},
		{"long", []Member{{strings.Repeat("a", 64), 1}}, 1, &MemberError{Cell: strings.Repeat("a", 64), Field: "cell"}, "the name has 64 characters"},
		{"points 0", []Member{ok}, 0, &LimitError{Field: "pointsPerWeight", Max: 1000}, "ring: pointsPerWeight is 0; it must be between 1 and 1000"},
		{"points huge", []Member{ok}, 1001, &LimitError{Field: "pointsPerWeight", Value: 1001, Max: 1000}, ""},
		{"members", many(257, 1), 1, &LimitError{Field: "members", Value: 257, Max: 256}, ""},
		{"total", many(5, 1000), 801, &LimitError{Field: "points", Value: 4_005_000, Max: 4_000_000}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, err := NewRing(test.members, test.perWeight)
			if err == nil || r != nil {
				t.Fatalf("NewRing = %v, %v, want no ring and an error", r, err)
			}
			if !strings.Contains(err.Error(), test.message) {
				t.Errorf("error %q does not say %q", err, test.message)
			}
			var member, wantMember *MemberError
			var limit, wantLimit *LimitError
			switch {
			case errors.As(test.want, &wantMember):
				if !errors.As(err, &member) || member.Cell != wantMember.Cell || member.Field != wantMember.Field {
					t.Errorf("error %#v, want %#v", err, test.want)
				}
			case errors.As(test.want, &wantLimit):
				if !errors.As(err, &limit) || *limit != *wantLimit {
					t.Errorf("error %#v, want %#v", err, test.want)
				}
			case !errors.Is(err, test.want):
				t.Errorf("error %v, want %v", err, test.want)
			}
		})
	}
}

func TestErrorsStayShort(t *testing.T) {
	t.Parallel()
	err := ValidateCellName(strings.Repeat("x", 1<<20))
	if err == nil || len(err.Error()) > 500 {
		t.Fatalf("ValidateCellName = %.100v…, want an error that fits a terminal", err)
	}
}

func TestNewRingAcceptsLimits(t *testing.T) {
	t.Parallel()
	mustRing(t, []Member{{strings.Repeat("a", 63), 1}}, 1)
	mustRing(t, []Member{{"0", MaxWeight}}, 1)
	mustRing(t, equalCells(MaxMembers), 1)
	r := mustRing(t, equalCells(8), MaxPointsPerWeight)
	if r.Points() != 800_000 || r.PointsPerWeight() != MaxPointsPerWeight {
		t.Fatalf("%d points, %d per weight", r.Points(), r.PointsPerWeight())
	}
}

func TestEmptyRing(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]*Ring{"nil": nil, "zero": {}} {
		if !r.Empty() || r.Members() != nil || r.Points() != 0 || r.PointsPerWeight() != 0 || r.WeightShare("a") != 0 {
			t.Errorf("%s ring is not empty: %+v", name, r)
		}
		if !r.Equal(&Ring{}) || r.Equal(mustRing(t, equalCells(1), 1)) {
			t.Errorf("%s ring is equal to the wrong rings", name)
		}
		if !r.Without("a").Empty() {
			t.Errorf("%s ring without a cell is not empty", name)
		}
	}
}

// TestRingDependsOnMembersOnly: neither their order nor the caller's slice matters.
func TestRingDependsOnMembersOnly(t *testing.T) {
	t.Parallel()
	members := equalCells(5)
	a := mustRing(t, members, 7)
	slices.Reverse(members)
	b := mustRing(t, members, 7)
	members[0] = Member{Cell: "other", Weight: 1}
	b.Members()[0].Weight = 999
	if !a.Equal(b) || !slices.Equal(a.points, b.points) {
		t.Fatal("rings of the same members differ")
	}
	if a.Equal(mustRing(t, equalCells(5), 8)) || a.Equal(mustRing(t, equalCells(4), 7)) {
		t.Fatal("different rings are equal")
	}
	if diff := cmp.Diff(equalCells(5), b.Members()); diff != "" {
		t.Fatal(diff)
	}
}

// pointsOf are the places of one cell.
func pointsOf(r *Ring, cell string) map[Point]hash {
	out := map[Point]hash{}
	for i, p := range r.points {
		if named := r.point(i); named.Cell == cell {
			out[named] = p.hash
		}
	}
	return out
}

// TestPointsDependOnTheirCellOnly: adding, removing and reweighting a cell leaves the points of
// all others where they are; a larger weight keeps the old points and adds some.
func TestPointsDependOnTheirCellOnly(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 0))
	for range 50 {
		members := randomMembers(rng, 1+rng.IntN(8), 20)
		changed := randomChange(rng, members, 20)
		before, after := mustRing(t, members, 3), mustRing(t, changed, 3)
		for _, m := range changed {
			i := slices.IndexFunc(members, func(o Member) bool { return o.Cell == m.Cell })
			if i < 0 {
				continue
			}
			small, large := pointsOf(before, m.Cell), pointsOf(after, m.Cell)
			if members[i].Weight > m.Weight {
				small, large = large, small
			}
			for p, h := range small {
				if large[p] != h {
					t.Fatalf("point %v moved from %x to %x", p, h, large[p])
				}
			}
			if len(large) != 3*max(members[i].Weight, m.Weight) {
				t.Fatalf("%s has %d points, weights %d and %d", m.Cell, len(large), members[i].Weight, m.Weight)
			}
		}
	}
}

func TestWithoutIsTheRingOfTheOthers(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(6, 0))
	for range 50 {
		members := randomMembers(rng, 2+rng.IntN(8), 20)
		left := rng.IntN(len(members))
		got := mustRing(t, members, 3).Without(members[left].Cell)
		want := mustRing(t, slices.Delete(slices.Clone(members), left, left+1), 3)
		if !got.Equal(want) || !slices.Equal(got.points, want.points) {
			t.Fatalf("ring of %v without %s differs", members, members[left].Cell)
		}
	}
	one := mustRing(t, equalCells(1), 3)
	if !one.Without("cell-1").Empty() || one.Without("cell-2") != one {
		t.Fatal("leaving a ring of one cell")
	}
}

// TestSkew holds the figures in the comment of DefaultPointsPerWeight: exact shares, from the
// lengths of the segments, of every size of ring that is typical, and of other names.
func TestSkew(t *testing.T) {
	t.Parallel()
	worst := 0.0
	for cells := 2; cells <= 64; cells++ {
		if cells > 16 && cells != 32 && cells != 64 || cells > 8 && !thorough {
			continue // 64 is the worst of all
		}
		worst = max(worst, skew(mustRing(t, equalCells(cells), DefaultPointsPerWeight)))
	}
	if worst >= 0.0215 {
		t.Errorf("skew %.2f%%, documented 2.1%%", 100*worst)
	}
	for _, name := range []string{"eu-west-%d", "c%02d", "prod-%d-zone-a"} {
		var members []Member
		for i := range 12 {
			members = append(members, Member{Cell: fmt.Sprintf(name, i), Weight: 50 + 25*(i%5)})
		}
		if s := skew(mustRing(t, members, DefaultPointsPerWeight)); s >= 0.03 {
			t.Errorf("%s: skew %.2f%%, want < 3%%", name, 100*s)
		}
	}
}

// skew is the largest deviation of a cell's part of the circle from its weight's share, relative
// to the latter.
func skew(r *Ring) float64 {
	shares := map[string]float64{}
	NewTable(r, nil).arcs(func(p Placement, part float64) { shares[p.Old()] += part })
	worst := 0.0
	for _, m := range r.Members() {
		worst = max(worst, math.Abs(shares[m.Cell]/r.WeightShare(m.Cell)-1))
	}
	return worst
}
