package v1alpha1

// Order says who has ordered a run, and why, for people who read the records later. It is what the command says of
// itself: what a control plane knows of it is in its audit log.
type Order struct {
	// By is the user as the router control plane knows them.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	By string `json:"by,omitempty"`

	// Reason in the words of whoever ordered it.
	// +kubebuilder:validation:MaxLength=1024
	// +optional
	Reason string `json:"reason,omitempty"`

	// Changes of the ring that were ordered, such as "+cell-6", "-cell-2" and "cell-3 100→120".
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=1024
	// +kubebuilder:validation:items:MaxLength=256
	// +optional
	Changes []string `json:"changes,omitempty"`
}
