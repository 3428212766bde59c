package migration

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// allocation is what a new cell may be asked to give out itself, because another object of it has it.
type allocation struct {
	addresses, ports bool
}

// adapt takes off what means something in the old cell alone, so that the new one makes its own:
//
//   - of a Job without manualSelector, the selector and labels that hold its UID;
//   - of the token of a service account, the token, and the UID of the account;
//   - of a Service, the cluster IPs and node ports that give says. They are kept where they are free.
//
// Content is compared without these.
func adapt(resource Resource, d *document, give allocation) error {
	switch resource.GroupResource().String() {
	case "jobs.batch":
		return adaptJob(d)
	case "secrets":
		if string(d.fields["type"]) == `"`+string(corev1.SecretTypeServiceAccountToken)+`"` {
			delete(d.fields, "data")
			delete(d.annotations, corev1.ServiceAccountUIDKey)
		}
	case "services":
		return adaptService(d, give)
	}
	return nil
}

func adaptJob(d *document) error {
	uidLabels := []string{"controller-uid", "batch.kubernetes.io/controller-uid"}
	return edit(d.fields, "spec", func(spec map[string]json.RawMessage) error {
		if string(spec["manualSelector"]) == "true" {
			return nil
		}
		for _, label := range uidLabels {
			delete(d.labels, label) // an apiserver copies the template's labels to a Job that has none
		}
		if err := prune(spec, uidLabels, "selector", "matchLabels"); err != nil {
			return err
		}
		return prune(spec, uidLabels, "template", "metadata", "labels")
	})
}

// prune deletes keys from the object at a path.
func prune(parent map[string]json.RawMessage, keys []string, path ...string) error {
	if len(path) == 0 {
		for _, key := range keys {
			delete(parent, key)
		}
		return nil
	}
	return edit(parent, path[0], func(child map[string]json.RawMessage) error { return prune(child, keys, path[1:]...) })
}

func adaptService(d *document, give allocation) error {
	if give == (allocation{}) {
		return nil
	}
	return edit(d.fields, "spec", func(spec map[string]json.RawMessage) error {
		if give.addresses && string(spec["clusterIP"]) != `"None"` {
			delete(spec, "clusterIP")
			delete(spec, "clusterIPs")
		}
		if !give.ports {
			return nil
		}
		delete(spec, "healthCheckNodePort")
		var ports []map[string]json.RawMessage
		if err := json.Unmarshal(spec["ports"], &ports); err != nil {
			return fmt.Errorf("decode spec.ports: %w", err)
		}
		for _, port := range ports {
			delete(port, "nodePort")
		}
		var err error
		spec["ports"], err = encode(ports)
		return err
	})
}

// taken says what of a Service the new cell refused because it has given it to another one, or does not
// give out such.
func taken(resource Resource, err error) allocation {
	var status apierrors.APIStatus
	var out allocation
	if resource.GroupResource().String() != "services" || !apierrors.IsInvalid(err) ||
		!errors.As(err, &status) || status.Status().Details == nil {
		return out
	}
	for _, cause := range status.Status().Details.Causes {
		switch {
		case strings.HasPrefix(cause.Field, "spec.clusterIP"):
			out.addresses = true
		case strings.HasSuffix(cause.Field, "nodePort"), cause.Field == "spec.healthCheckNodePort":
			out.ports = true
		}
	}
	return out
}

func (a allocation) or(b allocation) allocation {
	return allocation{a.addresses || b.addresses, a.ports || b.ports}
}

// edit changes the object below a field, where there is one.
func edit(parent map[string]json.RawMessage, field string, change func(map[string]json.RawMessage) error) error {
	raw, there := parent[field]
	if !there || string(raw) == "null" {
		return nil
	}
	var value map[string]json.RawMessage
	if err := json.Unmarshal(raw, &value); err != nil {
		return fmt.Errorf("decode %s: %w", field, err)
	}
	if err := change(value); err != nil {
		return err
	}
	var err error
	parent[field], err = encode(value)
	return err
}
