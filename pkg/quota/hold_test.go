package quota_test

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/kubecell/kubectl-cell/pkg/quota"
)

// TestWhatIsGrantedIsHeld lets cell a have room of a CPU among three, for a write that is still to be sent again, and
// then divides the CPU anew.
func TestWhatIsGrantedIsHeld(t *testing.T) {
	const name = corev1.ResourceRequestsCPU
	hard := corev1.ResourceList{name: resource.MustParse("1")}
	for _, test := range []struct {
		what, granted string
		after         time.Duration
		used          []string
		need          *quota.Need
		want          []string
	}{
		{"it stays", "500m", time.Second, []string{"0", "0", "0"}, nil, []string{"667m", "167m", "166m"}},
		{"all of it", "1", time.Second, []string{"0", "0", "0"}, nil, []string{"1", "0", "0"}},
		{"beside use", "500m", time.Second, []string{"0", "0", "166m"}, nil, []string{"612m", "111m", "277m"}},
		{"it is used", "1", time.Second, []string{"600m", "0", "0"}, nil, []string{"1", "0", "0"}},
		{"it never came", "1", quota.HoldFor, []string{"0", "0", "0"}, nil, []string{"334m", "333m", "333m"}},
		{"it is needed elsewhere", "1", time.Second, []string{"0", "0", "0"}, &quota.Need{Cell: "b", Requested: corev1.ResourceList{name: resource.MustParse("700m")}}, []string{"100m", "800m", "100m"}},
		{"there is room for both", "400m", time.Second, []string{"0", "0", "0"}, &quota.Need{Cell: "b", Requested: corev1.ResourceList{name: resource.MustParse("600m")}}, []string{"400m", "600m", "0"}},
	} {
		t.Run(test.what, func(t *testing.T) {
			record := quota.Plan("uid", hard, nil, seen(nil, name, "0", "0", "0"), nil, now()).Record
			need := &quota.Need{Cell: "a", Requested: corev1.ResourceList{name: resource.MustParse(test.granted)}}
			for range 2 {
				record = quota.Plan("uid", hard, record, seen(record, name, "0", "0", "0"), need, now()).Record
			}
			for range 3 {
				next := quota.Plan("uid", hard, record, seen(record, name, test.used...), test.need, now().Add(test.after))
				record = next.Record
				if len(next.Lacking) > 0 {
					t.Errorf("%v is lacking", next.Lacking)
				}
			}
			if got := limits(record, name); !slices.Equal(got, test.want) {
				t.Errorf("limits are %v, want %v", got, test.want)
			}
			parsed, err := quota.Parse(record.String())
			if err != nil || !parsed.Equal(record) {
				t.Errorf("%s is read as %s (%v)", record, parsed, err)
			}
		})
	}
}

// TestNothingIsHeldOfWhatIsLacking, nor for what moves, which counts beyond the whole.
func TestNothingIsHeldOfWhatIsLacking(t *testing.T) {
	hard := corev1.ResourceList{limited: amount(3), corev1.ResourceRequestsCPU: resource.MustParse("3")}
	record := quota.Plan("uid", hard, nil, seen(nil, limited, "0", "0"), nil, now()).Record
	for _, need := range []*quota.Need{
		{Cell: "b", Requested: corev1.ResourceList{limited: amount(4), corev1.ResourceRequestsCPU: resource.MustParse("2")}},
		{Cell: "b", Requested: pods(3), Moving: true},
	} {
		next := quota.Plan("uid", hard, record, seen(record, limited, "0", "0"), need, now()).Record
		if part := next.Of("b"); len(part.Held) > 0 || !part.HeldUntil.IsZero() {
			t.Errorf("for %+v is held %v until %s", need, part.Held, part.HeldUntil)
		}
	}
}
