package quota

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Used is what all cells that answered use together of the given limits, but for what is hidden.
func Used(of corev1.ResourceList, cells []Cell) corev1.ResourceList {
	out := corev1.ResourceList{}
	for name, whole := range of {
		sum := resource.Quantity{Format: whole.Format}
		for _, c := range cells {
			used := c.Used[name].DeepCopy()
			// What a cell makes for itself may not be there yet.
			if used.Sub(c.Hidden[name]); used.Sign() > 0 {
				sum.Add(used)
			}
		}
		out[name] = sum
	}
	return out
}
