package printers

import (
	"fmt"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"
)

// Count writes a number with a comma between thousands: 10,000,000.
func Count(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	out := make([]byte, 0, len(digits)*4/3+1)
	for i := range len(digits) {
		if i > 0 && (len(digits)-i)%3 == 0 {
			out = append(out, ',')
		}
		out = append(out, digits[i])
	}
	return sign + string(out)
}

// Percent writes a part of 1 with one decimal: 0.168 is 16.8%.
func Percent(share float64) string { return fmt.Sprintf("%.1f%%", share*100) }

// Age writes how long ago something was, as kubectl does: 41s, 5m2s, 3d. What is in the future, because clocks disagree, is
// no older than 0s.
func Age(d time.Duration) string { return duration.HumanDuration(max(d, 0)) }

// Took writes how long something took, to the second. Its end may have been noted by another clock than its beginning, or by
// one that was put back meanwhile: it took no less than 0s.
func Took(begin, end time.Time) string { return max(end.Sub(begin), 0).Round(time.Second).String() }
