// Package version encodes the resource versions that a router shows. They are decimal digits, as
// apimachinery's CompareResourceVersion wants them, and come in two forms:
//
//	object   [placement epoch] raw slot       1 to 26 digits
//	vector   1 raw[0] raw[1] … raw[n]         27 digits or more
//
// An object's version is its raw version in the cell's etcd (13 digits), followed by the cell's slot
// (3 digits) and led by the epoch in which the object last moved, where it ever did. So it grows with
// each write and across a move, and a version from one cell never equals one from another.
//
// A vector is the position of a list or a stream in all cells: their raw versions in fields of 13
// digits, indexed by slot, 0 for the RCP. A field of zeros is a cell that was not asked, one of nines a
// cell that has left the stream. In one stream a vector only grows: by the digits of a field, or by a
// field that a joining cell adds.
//
// The package is pure. It does not promise that a cell knows a version that parses; the cell judges.
package version

import (
	"errors"
	"fmt"
	"strconv"
)

const (
	// RCP is the slot of the router control plane.
	RCP = 0
	// MaxSlot is the highest slot of a cell.
	MaxSlot = 999
	// MaxRaw is the highest version of a cell that has an encoding: at 10,000 writes a second it is
	// reached after 31 years.
	MaxRaw = 9_999_999_999_999
	// MaxEpoch is the highest placement epoch that has an encoding.
	MaxEpoch = 999_999_999

	rawDigits  = 13
	slotDigits = 3
	// vectorMark begins a vector, so that it has no leading zero.
	vectorMark = '1'
	// minFields makes the shortest vector longer than the longest object version.
	minFields = 2
)

// ErrMalformed is returned for a version that no router made. The caller answers 400, whatever else it
// might be taken for.
var ErrMalformed = errors.New("resource version is not well formed")

// Object is the version of one object.
type Object struct {
	// Epoch is the ring's epoch when the object last moved, 0 for one that never did.
	Epoch int64
	// Raw is the object's version in its cell, 1 to MaxRaw.
	Raw int64
	// Slot is that of its cell.
	Slot int
}

// Valid says whether the version has an encoding.
func (o Object) Valid() bool {
	return o.Raw > 0 && o.Raw <= MaxRaw && o.Slot >= 0 && o.Slot <= MaxSlot && o.Epoch >= 0 && o.Epoch <= MaxEpoch
}

// String returns the digits of a valid version.
func (o Object) String() string { return string(o.Append(nil)) }

// Append appends the digits of a valid version to dst.
func (o Object) Append(dst []byte) []byte {
	if o.Epoch > 0 {
		dst = strconv.AppendInt(dst, o.Epoch, 10)
		dst = appendPadded(dst, o.Raw, rawDigits)
	} else {
		dst = strconv.AppendInt(dst, o.Raw, 10)
	}
	return appendPadded(dst, int64(o.Slot), slotDigits)
}

// Vector is a position in each cell, indexed by slot; 0 where there is none. The nil Vector knows no
// position at all.
type Vector []int64

// Raw returns the position in the cell of a slot, 0 where there is none.
func (v Vector) Raw(slot int) int64 {
	if slot < 0 || slot >= len(v) {
		return 0
	}
	return v[slot]
}

// Set puts a position into the vector, which grows as needed. slot and raw must be valid ones.
func (v *Vector) Set(slot int, raw int64) {
	for len(*v) <= slot {
		*v = append(*v, 0)
	}
	(*v)[slot] = raw
}

// Clone returns a copy that shares nothing.
func (v Vector) Clone() Vector { return append(Vector(nil), v...) }

// String returns the digits.
func (v Vector) String() string { return string(v.Append(nil)) }

// Append appends the digits to dst.
func (v Vector) Append(dst []byte) []byte {
	dst = append(dst, vectorMark)
	for slot := range max(len(v), minFields) {
		dst = appendPadded(dst, v.Raw(slot), rawDigits)
	}
	return dst
}

// Version is what a client sent: at most one of Object and Vector is set. Neither is for the versions
// that every Kubernetes API understands, "" (the newest) and "0" (any).
type Version struct {
	Object *Object
	Vector Vector
	// Any is true for "0".
	Any bool
}

// Unset says whether the client gave no version, "".
func (v Version) Unset() bool { return v.Object == nil && v.Vector == nil && !v.Any }

// Parse reads a version that a client sent. The error is [ErrMalformed].
func Parse(s string) (Version, error) {
	switch s {
	case "":
		return Version{}, nil
	case "0":
		return Version{Any: true}, nil
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return Version{}, fmt.Errorf("%w: %.40q", ErrMalformed, s)
		}
	}
	vector, isVector := parseVector(s)
	if isVector {
		return Version{Vector: vector}, nil
	}
	object, ok := parseObject(s)
	if !ok {
		return Version{}, fmt.Errorf("%w: %.40q", ErrMalformed, s)
	}
	return Version{Object: &object}, nil
}

// ParseRaw reads a version that a control plane sent.
func ParseRaw(s string) (int64, error) {
	raw, err := strconv.ParseInt(s, 10, 64)
	if err != nil || raw < 1 || raw > MaxRaw || s[0] < '1' || s[0] > '9' {
		return 0, fmt.Errorf("%w: %.40q", ErrMalformed, s)
	}
	return raw, nil
}

func parseVector(s string) (Vector, bool) {
	fields := (len(s) - 1) / rawDigits
	if s[0] != vectorMark || (len(s)-1)%rawDigits != 0 || fields < minFields || fields > MaxSlot+1 {
		return nil, false
	}
	v := make(Vector, fields)
	for i := range v {
		v[i] = digits(s[1+i*rawDigits : 1+(i+1)*rawDigits])
	}
	return v, true
}

func parseObject(s string) (Object, bool) {
	if s[0] == '0' || len(s) <= slotDigits || len(s) >= 1+minFields*rawDigits {
		return Object{}, false
	}
	head := s[:len(s)-slotDigits]
	o := Object{Slot: int(digits(s[len(s)-slotDigits:]))}
	if len(head) > rawDigits {
		epoch := head[:len(head)-rawDigits]
		o.Epoch, head = digits(epoch), head[len(epoch):]
	}
	o.Raw = digits(head)
	return o, o.Valid()
}

// digits is the value of up to 18 decimal digits.
func digits(s string) int64 {
	var n int64
	for i := range len(s) {
		n = n*10 + int64(s[i]-'0')
	}
	return n
}

func appendPadded(dst []byte, n int64, width int) []byte {
	start := len(dst)
	for range width {
		dst = append(dst, '0')
	}
	for i := start + width - 1; n > 0 && i >= start; i-- {
		dst[i] = byte('0' + n%10)
		n /= 10
	}
	return dst
}
