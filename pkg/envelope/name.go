package envelope

import (
	"crypto/sha256"
	"encoding/hex"
)

const (
	namePrefix = "envelope-"
	nameDigits = 40
)

// Name is the name of an object's envelope. resource is the plural, group and namespace may be empty.
func Name(group, resource, namespace, name string) string {
	// None of them can contain a slash.
	sum := sha256.Sum256([]byte(group + "/" + resource + "/" + namespace + "/" + name))
	return namePrefix + hex.EncodeToString(sum[:])[:nameDigits]
}

// Hash is the SHA-256 of an object's JSON, in hex.
func Hash(object []byte) string {
	sum := sha256.Sum256(object)
	return hex.EncodeToString(sum[:])
}
