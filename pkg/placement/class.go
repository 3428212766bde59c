package placement

import "fmt"

// Class says where the objects of a resource live.
type Class uint8

// The classes. The zero Class is none of them, so that a forgotten one is noticed.
const (
	// Global objects are in the RCP only.
	Global Class = iota + 1
	// Sharded objects are in the cell that their key hashes to.
	Sharded
	// Dependent objects are with their controller owner, and move and are backed up with it.
	Dependent
	// Local objects are in the cell that made them: read by asking all cells, never moved.
	Local
	// Replicated objects have their source in the RCP and a copy in every cell.
	Replicated
)

// String is the class's name in Ring.spec.
func (c Class) String() string {
	switch c {
	case Global:
		return "Global"
	case Sharded:
		return "Sharded"
	case Dependent:
		return "Dependent"
	case Local:
		return "Local"
	case Replicated:
		return "Replicated"
	}
	return fmt.Sprintf("Class(%d)", uint8(c))
}

// ParseClass reads the name of a class. The error says which names are allowed.
func ParseClass(s string) (Class, error) {
	for c := Global; c <= Replicated; c++ {
		if s == c.String() {
			return c, nil
		}
	}
	return 0, fmt.Errorf("class %q is unknown; it must be Sharded, Dependent, Local, Replicated or Global", s)
}

// MarshalText writes the class's name.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads the class's name.
func (c *Class) UnmarshalText(text []byte) error {
	parsed, err := ParseClass(string(text))
	if err == nil {
		*c = parsed
	}
	return err
}
