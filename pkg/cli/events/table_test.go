package events

import "testing"

// Whoever makes an event calls the kind of its object what they like.
func TestObjectsOfAnyKind(t *testing.T) {
	for object, want := range map[string]string{
		"Deployment/checkout": "deployment/checkout", "部署/checkout": "部署/checkout", "Ärger/checkout": "ärger/checkout", "/checkout": "/checkout",
	} {
		if got := (Event{Object: object}).object(); got != want {
			t.Errorf("%s is shown as %q; want %q", object, got, want)
		}
	}
}
