package quota_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/kubecell/kubectl-cell/pkg/quota"
)

// seen are cells a, b, c … of equal weights that have counted what is given, by the newest record.
func seen(record *quota.Record, name corev1.ResourceName, used ...string) []quota.Cell {
	var out []quota.Cell
	for i, text := range used {
		c := quota.Cell{Name: string(rune('a' + i)), Weight: 100, Reached: text != "?"}
		if c.Reached && record != nil {
			c.Generation, c.Enforced = record.Of(c.Name).Generation, record.Of(c.Name).Limit
			c.Used = corev1.ResourceList{name: resource.MustParse(text)}
		}
		out = append(out, c)
	}
	return out
}

// now is when everything happens that does not say otherwise.
func now() time.Time { return time.Unix(1_800_000_000, 0) }

func limits(record *quota.Record, name corev1.ResourceName) []string {
	var out []string
	for i := range len(record.Cells) {
		amount := record.Of(string(rune('a' + i))).Limit[name]
		out = append(out, amount.String())
	}
	return out
}

func TestPlan(t *testing.T) {
	for _, test := range []struct {
		what        string
		name, whole string
		used        []string // "?" is a cell that does not answer
		needs       string   // what the last cell needs
		want        []string
		lacking     bool
	}{
		{"first by weight", "pods", "9", []string{"0", "0", "0"}, "", []string{"3", "3", "3"}, false},
		{"what cannot be divided goes to the first", "pods", "1", []string{"0", "0", "0"}, "", []string{"1", "0", "0"}, false},
		{"nothing", "pods", "0", []string{"0", "0"}, "", []string{"0", "0"}, false},
		{"use in one cell", "pods", "9", []string{"3", "0", "0"}, "", []string{"5", "2", "2"}, false},
		{"all is left alone while each has half its share", "pods", "9", []string{"1", "1", "0"}, "", []string{"3", "3", "3"}, false},
		{"the last one goes where it is needed", "pods", "3", []string{"1", "1", "0"}, "1", []string{"1", "1", "1"}, false},
		{"everything into one cell", "pods", "9", []string{"0", "0", "3"}, "6", []string{"0", "0", "9"}, false},
		{"more than is left", "pods", "3", []string{"1", "1", "0"}, "2", []string{"1", "1", "1"}, true},
		{"a silent cell keeps its part", "pods", "9", []string{"?", "0", "3"}, "3", []string{"3", "0", "6"}, false},
		{"a silent cell's part is nobody's", "pods", "9", []string{"?", "0", "3"}, "4", []string{"3", "2", "4"}, true},
		{"processor time in thousandths", "requests.cpu", "1", []string{"0", "0", "0"}, "500m", []string{"167m", "167m", "666m"}, false},
		{"bytes keep their form", "requests.memory", "3Gi", []string{"0", "0", "0"}, "3Gi", []string{"0", "0", "3Gi"}, false},
		{"large", "requests.storage", "4Ei", []string{"0", "0"}, "", []string{"2Ei", "2Ei"}, false},
	} {
		t.Run(test.what, func(t *testing.T) {
			name := corev1.ResourceName(test.name)
			hard := corev1.ResourceList{name: resource.MustParse(test.whole)}
			even := make([]string, len(test.used))
			for i := range even {
				even[i] = "0"
			}
			record := quota.Plan("uid", hard, nil, seen(nil, name, even...), nil, now()).Record
			var need *quota.Need
			if test.needs != "" {
				need = &quota.Need{Cell: string(rune('a' + len(test.used) - 1)), Requested: corev1.ResourceList{name: resource.MustParse(test.needs)}}
			}
			var next quota.Next
			for range 3 {
				next = quota.Plan("uid", hard, record, seen(record, name, test.used...), need, now())
				record = next.Record
			}
			if got := limits(record, name); !slices.Equal(got, test.want) {
				t.Errorf("limits are %v, want %v", got, test.want)
			}
			if lacking := len(next.Lacking) > 0; lacking != test.lacking {
				t.Errorf("lacking is %v, want %v", next.Lacking, test.lacking)
			}
			if next.Waits {
				t.Error("something waits still")
			}
		})
	}
}

// TestAWriteThatIsRefusedMovesNothing of the other limits, and holds nothing.
func TestAWriteThatIsRefusedMovesNothing(t *testing.T) {
	amounts := func(count, cpu string) corev1.ResourceList {
		return corev1.ResourceList{"pods": resource.MustParse(count), "requests.cpu": resource.MustParse(cpu)}
	}
	hard := amounts("1", "1")
	count := func(record *quota.Record) []quota.Cell {
		cells := []quota.Cell{{Name: "a", Used: amounts("1", "500m")}, {Name: "b", Used: amounts("0", "0")}, {Name: "c", Used: amounts("0", "0")}}
		for i := range cells {
			c := &cells[i]
			c.Weight, c.Reached = 100, true
			if record != nil {
				c.Generation, c.Enforced = record.Of(c.Name).Generation, record.Of(c.Name).Limit
			}
		}
		return cells
	}
	var record *quota.Record
	for range 3 {
		record = quota.Plan("uid", hard, record, count(record), nil, now()).Record
	}
	next := quota.Plan("uid", hard, record, count(record), &quota.Need{Cell: "b", Requested: amounts("1", "500m")}, now())
	if !slices.Equal(next.Lacking, []corev1.ResourceName{"pods"}) {
		t.Errorf("lacking is %v; want pods", next.Lacking)
	}
	if !next.Record.Equal(record) {
		t.Errorf("the record was %+v, and is to be %+v", record, next.Record)
	}
}

// TestALoweredWhole is divided by use: nothing more is admitted anywhere until enough is gone.
func TestALoweredWhole(t *testing.T) {
	record := quota.Plan("uid", pods(9), nil, seen(nil, limited, "0", "0", "0"), nil, now()).Record
	for range 3 {
		record = quota.Plan("uid", pods(4), record, seen(record, limited, "3", "3", "0"), nil, now()).Record
	}
	if got, want := limits(record, limited), []string{"2", "2", "0"}; !slices.Equal(got, want) {
		t.Errorf("limits are %v, want %v", got, want)
	}
	for range 3 {
		record = quota.Plan("uid", pods(4), record, seen(record, limited, "0", "1", "0"), nil, now()).Record
	}
	if got, want := limits(record, limited), []string{"1", "2", "1"}; !slices.Equal(got, want) {
		t.Errorf("after deletions limits are %v, want %v", got, want)
	}
}

// TestWhatIsHiddenCountsForNobody lets a cell have room for what it makes for itself.
func TestWhatIsHiddenCountsForNobody(t *testing.T) {
	cells := seen(nil, limited, "0", "0")
	cells[1].Hidden = pods(1)
	record := quota.Plan("uid", pods(2), nil, cells, nil, now()).Record
	cells = seen(record, limited, "1", "1")
	cells[1].Hidden = pods(1)
	for range 3 {
		record = quota.Plan("uid", pods(2), record, cells, &quota.Need{Cell: "b", Requested: pods(1)}, now()).Record
		cells[0].Generation, cells[0].Enforced = record.Of("a").Generation, record.Of("a").Limit
		cells[1].Generation, cells[1].Enforced = record.Of("b").Generation, record.Of("b").Limit
	}
	if got, want := limits(record, limited), []string{"1", "2"}; !slices.Equal(got, want) {
		t.Errorf("limits are %v, want %v", got, want)
	}
	used := quota.Used(pods(2), cells)[limited]
	if used.Value() != 1 {
		t.Errorf("used is %s, want 1", used.String())
	}
}

// TestWhatMovesGetsRoom beyond the whole: it counts in both cells, and for one.
func TestWhatMovesGetsRoom(t *testing.T) {
	record := quota.Plan("uid", pods(2), nil, seen(nil, limited, "0", "0"), nil, now()).Record
	need := &quota.Need{Cell: "b", Requested: pods(1), Moving: true}
	for range 3 {
		record = quota.Plan("uid", pods(2), record, seen(record, limited, "2", "0"), need, now()).Record
	}
	if got, want := limits(record, limited), []string{"2", "1"}; !slices.Equal(got, want) {
		t.Errorf("limits are %v, want %v", got, want)
	}
}

// TestGenerationsGrow also for a cell that left and comes back.
func TestGenerationsGrow(t *testing.T) {
	record := quota.Plan("uid", pods(4), nil, seen(nil, limited, "0", "0"), nil, now()).Record
	before := record.Of("b").Generation
	without := quota.Plan("uid", pods(4), record, seen(record, limited, "0"), nil, now()).Record
	if g := without.Of("b").Generation; g < before {
		t.Errorf("outside the ring the generation is %d, before it was %d", g, before)
	}
	again := quota.Plan("uid", pods(4), without, seen(without, limited, "0", "0"), nil, now()).Record
	if g := again.Of("b").Generation; g <= before {
		t.Errorf("the generation is %d again, before it was %d", g, before)
	}
}

func TestParts(t *testing.T) {
	for _, test := range []struct {
		amount  int64
		weights []int64
		want    []int64
	}{
		{9, []int64{100, 100, 100}, []int64{3, 3, 3}},
		{10, []int64{100, 100, 100}, []int64{4, 3, 3}},
		{10, []int64{100, 100, 250}, []int64{2, 2, 6}},
		{100, []int64{100, 300}, []int64{25, 75}},
		{7, []int64{0, 0}, []int64{0, 0}},
		{7, []int64{0, 1}, []int64{0, 7}},
		{math.MaxInt64, []int64{math.MaxInt64, math.MaxInt64}, []int64{math.MaxInt64/2 + 1, math.MaxInt64 / 2}},
	} {
		if got := quota.Parts(test.amount, test.weights); !slices.Equal(got, test.want) {
			t.Errorf("%d by %v: %v, want %v", test.amount, test.weights, got, test.want)
		}
	}
}

// TestPartsAddUp to the whole, none further than one from its exact part.
func TestPartsAddUp(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		weights := make([]int64, 1+random.IntN(12))
		total := 0.0
		for i := range weights {
			weights[i] = 1 + random.Int64N(1000)
			total += float64(weights[i])
		}
		amount := random.Int64N(1 << (1 + random.IntN(50)))
		sum := int64(0)
		for i, part := range quota.Parts(amount, weights) {
			sum += part
			exact := float64(amount) * float64(weights[i]) / total
			if off := float64(part) - exact; off >= 1+1e-9*exact || off <= -1-1e-9*exact {
				t.Fatalf("%d by %v: part %d is %d, exact is %f", amount, weights, i, part, exact)
			}
		}
		if sum != amount {
			t.Fatalf("%d by %v: the parts add up to %d", amount, weights, sum)
		}
	}
}

func TestParseRefusal(t *testing.T) {
	for _, message := range []string{
		`configmaps "x" is forbidden: exceeded quota: small, requested: configmaps=1,count/configmaps=1, used: configmaps=2,count/configmaps=2, limited: configmaps=2,count/configmaps=2`,
		`{"message":"pods \"x\" is forbidden: exceeded quota: a.b-c, requested: requests.cpu=500m, used: requests.cpu=1, limited: requests.cpu=1","reason":"Forbidden"}`,
		"\x1a\x10pods is forbidden: exceeded quota: q, requested: requests.nvidia.com/gpu=1, used: requests.nvidia.com/gpu=0, limited: requests.nvidia.com/gpu=0\"\x09Forbidden",
	} {
		refusal, ok := quota.ParseRefusal([]byte(message))
		if !ok || len(refusal.Requested) == 0 || len(refusal.Limited) != len(refusal.Requested) {
			t.Errorf("%q: %v, %v", message, refusal, ok)
		}
	}
	for _, message := range []string{"", "exceeded quota: ", "exceeded quota: q, requested: a, used: a=1, limited: a=1", "pods is forbidden"} {
		if refusal, ok := quota.ParseRefusal([]byte(message)); ok {
			t.Errorf("%q is taken for %v", message, refusal)
		}
	}
	said := "exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"
	if refusal, _ := quota.ParseRefusal([]byte(said)); refusal.String() != said {
		t.Errorf("%q is said as %q", said, refusal)
	}
}

func TestCounted(t *testing.T) {
	for name, want := range map[corev1.ResourceName]string{
		"pods": "pods true", "configmaps": "configmaps true", "count/deployments.apps": "deployments.apps true",
		"services.nodeports": "services false", "requests.cpu": "pods false", "requests.storage": "persistentvolumeclaims false",
		"gold.storageclass.storage.k8s.io/requests.storage":                "persistentvolumeclaims false",
		"gold.volumeattributesclass.storage.k8s.io/persistentvolumeclaims": "persistentvolumeclaims false",
		"requests.nvidia.com/gpu":                                          "pods false", "count/widgets.example.com": "widgets.example.com true",
		"gpu.deviceclass.resource.k8s.io/devices": "resourceclaims.resource.k8s.io false",
	} {
		of, number := quota.Counted(name)
		got := of.String() + " false"
		if number {
			got = of.String() + " true"
		}
		if got != want {
			t.Errorf("%s counts %s, want %s", name, got, want)
		}
	}
}

// TestARecordThatIsOlderThanTheCopies: the RCP was restored, or somebody deleted the record. No copy takes what is older
// than itself.
func TestARecordThatIsOlderThanTheCopies(t *testing.T) {
	hard := corev1.ResourceList{"pods": resource.MustParse("9")}
	old := quota.Plan("uid", hard, nil, seen(nil, "pods", "0", "0", "0"), nil, now()).Record
	for what, record := range map[string]*quota.Record{"restored": old, "lost": nil} {
		cells := seen(old, "pods", "0", "0", "0")
		cells[0].Generation, cells[1].Generation = 57, 56
		next := quota.Plan("uid", hard, record, cells, nil, now()).Record
		for _, c := range cells {
			if got := next.Of(c.Name).Generation; got < c.Generation || got > next.Last {
				t.Errorf("%s: cell %s has generation %d and gets %d of %d", what, c.Name, c.Generation, got, next.Last)
			}
		}
		if next.Of("a").Generation <= 57 || next.Of("b").Generation <= 57 {
			t.Errorf("%s: %+v; want generations that no copy has", what, next.Cells)
		}
		settled := seen(next, "pods", "0", "0", "0")
		if again := quota.Plan("uid", hard, next, settled, nil, now()).Record; again.Last != next.Last {
			t.Errorf("%s: it is divided again: %d after %d", what, again.Last, next.Last)
		}
	}
}

// TestWhatMovesHasRoomWhereMoreIsUsedThanThereIs: somebody has lowered the quota, and nothing new may be made.
func TestWhatMovesHasRoomWhereMoreIsUsedThanThereIs(t *testing.T) {
	hard := corev1.ResourceList{"pods": resource.MustParse("3")}
	record := quota.Plan("uid", hard, nil, seen(nil, "pods", "0", "0"), nil, now()).Record
	for range 5 { // until the limits are below the use
		record = quota.Plan("uid", hard, record, seen(record, "pods", "4", "2"), nil, now()).Record
	}
	need := &quota.Need{Cell: "b", Requested: corev1.ResourceList{"pods": resource.MustParse("1")}}
	if next := quota.Plan("uid", hard, record, seen(record, "pods", "4", "2"), need, now()); len(next.Lacking) == 0 {
		t.Errorf("what is new has room: %v", limits(next.Record, "pods"))
	}
	need.Moving = true
	next := quota.Plan("uid", hard, record, seen(record, "pods", "4", "2"), need, now())
	if got := limits(next.Record, "pods"); len(next.Lacking) > 0 || got[1] != "3" || got[0] > "4" {
		t.Errorf("what moves: %v, lacking %v; want 3 in b and no room in a", got, next.Lacking)
	}
}
