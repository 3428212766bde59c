package version

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/resourceversion"
)

func TestObjectVersionsReadBack(t *testing.T) {
	for _, tc := range []struct {
		object Object
		want   string
	}{
		{Object{Raw: 1}, "1000"},
		{Object{Raw: 1, Slot: 999}, "1999"},
		{Object{Raw: 4711, Slot: 3}, "4711003"},
		{Object{Raw: MaxRaw, Slot: 12}, "9999999999999012"},
		{Object{Epoch: 7, Raw: 4711, Slot: 3}, "70000000004711003"},
		{Object{Epoch: MaxEpoch, Raw: MaxRaw, Slot: MaxSlot}, "9999999999999999999999999"},
	} {
		got := tc.object.String()
		if got != tc.want {
			t.Errorf("%+v is %s, want %s", tc.object, got, tc.want)
		}
		back, err := Parse(got)
		if err != nil || back.Object == nil || *back.Object != tc.object {
			t.Errorf("Parse(%s) = %+v, %v; want %+v", got, back.Object, err, tc.object)
		}
	}
}

func TestVectorsReadBack(t *testing.T) {
	for _, tc := range []struct {
		vector Vector
		want   string
	}{
		{nil, "1" + strings.Repeat("0", 26)},
		{Vector{5}, "1" + "0000000000005" + strings.Repeat("0", 13)},
		{Vector{0, 12, MaxRaw}, "1" + "0000000000000" + "0000000000012" + "9999999999999"},
	} {
		got := tc.vector.String()
		if got != tc.want {
			t.Errorf("%v is %s, want %s", tc.vector, got, tc.want)
		}
		back, err := Parse(got)
		if err != nil || back.Vector == nil {
			t.Fatalf("Parse(%s) = %v, %v", got, back, err)
		}
		for slot := range 4 {
			if back.Vector.Raw(slot) != tc.vector.Raw(slot) {
				t.Errorf("Parse(%s) has %d in slot %d, want %d", got, back.Vector.Raw(slot), slot, tc.vector.Raw(slot))
			}
		}
	}
}

func TestWhatNoRouterMade(t *testing.T) {
	for _, s := range []string{
		"x", "-1", "+5", " 1000", "1000 ", "1.5", "0x10", "00", "01000", "5", "999", // no raw version
		"1²000", strings.Repeat("9", 26), "2" + strings.Repeat("0", 26), "1" + strings.Repeat("0", 27),
		"1" + strings.Repeat("0", 13*(MaxSlot+2)), "0000000000000000000",
		"70000000000000003",                         // raw version 0
		"1" + strings.Repeat("0", 12) + "0" + "003", // the same with a leading epoch
	} {
		if got, err := Parse(s); !errors.Is(err, ErrMalformed) {
			t.Errorf("Parse(%q) = %+v, %v; want ErrMalformed", s, got, err)
		}
	}
	for _, s := range []string{"", "0", "-3", "+3", "03", "x", "10000000000000", "99999999999999999999"} {
		if got, err := ParseRaw(s); !errors.Is(err, ErrMalformed) {
			t.Errorf("ParseRaw(%q) = %d, %v; want ErrMalformed", s, got, err)
		}
	}
}

func TestWhatEveryAPIUnderstands(t *testing.T) {
	if got, err := Parse(""); err != nil || !got.Unset() {
		t.Errorf(`Parse("") = %+v, %v`, got, err)
	}
	if got, err := Parse("0"); err != nil || !got.Any || got.Unset() {
		t.Errorf(`Parse("0") = %+v, %v`, got, err)
	}
}

func compare(t *testing.T, a, b string) int {
	t.Helper()
	n, err := resourceversion.CompareResourceVersion(a, b)
	if err != nil {
		t.Fatalf("compare %s with %s: %v", a, b, err)
	}
	return n
}

// Each step is a write, or a move to a cell whose versions are lower.
func TestAnObjectsVersionsGrow(t *testing.T) {
	steps := []Object{
		{Raw: 1, Slot: 900}, {Raw: 2, Slot: 900}, {Raw: 1_000_000, Slot: 900},
		{Epoch: 2, Raw: 5, Slot: 1}, {Epoch: 2, Raw: 10, Slot: 1},
		{Epoch: 3, Raw: 4, Slot: 900}, {Epoch: 10, Raw: 4, Slot: 2}, {Epoch: 11, Raw: 3, Slot: 1},
	}
	for i := 1; i < len(steps); i++ {
		if compare(t, steps[i-1].String(), steps[i].String()) >= 0 {
			t.Errorf("%+v is not below %+v", steps[i-1], steps[i])
		}
	}
}

func TestAStreamsVectorsGrow(t *testing.T) {
	v := Vector{10, 20, 30}
	last := v.String()
	for _, step := range []struct {
		slot int
		raw  int64
	}{{2, 31}, {0, 11}, {1, 1000}, {3, 1}, {7, 2}, {4, 9}} {
		v.Set(step.slot, step.raw)
		if now := v.String(); compare(t, last, now) >= 0 {
			t.Errorf("after slot %d became %d: %s is not above %s", step.slot, step.raw, now, last)
		} else {
			last = now
		}
	}
	// An object of a list is never newer than the list.
	if compare(t, Object{Epoch: MaxEpoch, Raw: MaxRaw, Slot: MaxSlot}.String(), Vector{}.String()) >= 0 {
		t.Error("a vector is below an object's version")
	}
}

func TestACloneIsApart(t *testing.T) {
	v := Vector{1, 2}
	c := v.Clone()
	c.Set(1, 9)
	if diff := cmp.Diff(Vector{1, 2}, v); diff != "" {
		t.Error(diff)
	}
}

// FuzzParse: whatever parses is what was parsed, digit by digit.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "0", "1000", "70000000004711003", Vector{1, 2, 3}.String(), "x", "01"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := Parse(s)
		switch {
		case err != nil:
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("Parse(%q): %v", s, err)
			}
		case v.Object != nil:
			if v.Vector != nil || v.Object.String() != s {
				t.Errorf("Parse(%q) = %+v, which is %s", s, v, v.Object)
			}
		case v.Vector != nil:
			if v.Vector.String() != s {
				t.Errorf("Parse(%q) = %v, which is %s", s, v.Vector, v.Vector)
			}
		case s != "" && s != "0":
			t.Errorf("Parse(%q) gave nothing", s)
		}
	})
}
