//go:build !race

package placement

// thorough lets the properties look at all their cases; see race_test.go.
const thorough = true
