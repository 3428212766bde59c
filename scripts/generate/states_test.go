package main

import (
	"os"
	"strings"
	"testing"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/failover"
)

// TestStatesAreInThePicture: docs/architecture.md draws each phase of the ring, each mark of an object that moves and
// each step of a failover.
func TestStatesAreInThePicture(t *testing.T) {
	page, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(page), "\n## States and who changes them\n")
	if !found {
		t.Fatal("there is no section of states")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for machine, states := range map[string][]string{
		"The ring": {
			string(v1alpha1.RingStable), string(v1alpha1.RingPreparing), string(v1alpha1.RingRebalancing), string(v1alpha1.RingSettling),
		},
		"An object that moves": {string(v1alpha1.Migrating), string(v1alpha1.Migrated), string(v1alpha1.Incoming)},
		"A failover": {
			string(failover.StepPreflight), string(failover.StepFence), string(failover.StepFreeze), string(failover.StepRing),
			string(failover.StepPromote), string(failover.StepEnd),
			string(failover.StepCompare), string(failover.StepAdmit), string(failover.StepThaw), string(failover.StepJoin),
		},
	} {
		_, drawn, _ := strings.Cut(section, "**"+machine+"**")
		drawn, _, _ = strings.Cut(drawn, "\n**")
		for _, state := range states {
			if !strings.Contains(drawn, state) {
				t.Errorf("%s: there is no %s", machine, state)
			}
		}
	}
}
