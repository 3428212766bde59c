package placement

import "fmt"

// KeyRule says which string of an object is hashed. Objects with the same key form one unit and
// are always in the same cell, whatever their kinds.
type KeyRule uint8

// The key rules. The zero value is the default.
const (
	// NamespacedName hashes "<namespace>/<name>".
	NamespacedName KeyRule = iota
	// Name hashes the name alone: objects of one name stay together across namespaces.
	Name
	// Namespace hashes the namespace alone: a whole namespace is in one cell.
	Namespace
)

// String is the rule's name in Ring.spec.
func (r KeyRule) String() string {
	switch r {
	case NamespacedName:
		return "NamespacedName"
	case Name:
		return "Name"
	case Namespace:
		return "Namespace"
	}
	return fmt.Sprintf("KeyRule(%d)", uint8(r))
}

// ParseKeyRule reads the name of a rule; the empty string is the default, NamespacedName.
// The error says which names are allowed.
func ParseKeyRule(s string) (KeyRule, error) {
	switch s {
	case "", "NamespacedName":
		return NamespacedName, nil
	case "Name":
		return Name, nil
	case "Namespace":
		return Namespace, nil
	}
	return 0, fmt.Errorf("key rule %q is unknown; it must be NamespacedName, Name or Namespace", s)
}

// MarshalText writes the rule's name.
func (r KeyRule) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads the rule's name as ParseKeyRule does.
func (r *KeyRule) UnmarshalText(text []byte) error {
	parsed, err := ParseKeyRule(string(text))
	if err == nil {
		*r = parsed
	}
	return err
}

// Key is the string that is hashed for an object. A cluster-scoped object (namespace "") is
// hashed by its name under every rule: under Namespace, the Namespace object "payments" has
// therefore the same key as the objects in it.
func (r KeyRule) Key(namespace, name string) string {
	head, tail := r.parts(namespace, name)
	if head == "" {
		return tail
	}
	return head + "/" + tail
}

// parts splits the key at its "/" so that the lookup can hash it without joining it. An empty
// head means that the tail is the whole key.
func (r KeyRule) parts(namespace, name string) (head, tail string) {
	switch {
	case namespace == "" || r == Name:
		return "", name
	case r == Namespace:
		return "", namespace
	}
	return namespace, name
}
