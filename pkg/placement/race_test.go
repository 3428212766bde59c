//go:build race

package placement

// thorough is false under the race detector, which makes hashring twenty times slower: tests of
// pure functions then look at a tenth of their cases.
const thorough = false
