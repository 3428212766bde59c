package router

import (
	"net/netip"
	"strings"
)

// validHost puts the brackets around the host of a base URL that it needs where it is an IPv6 address: what a pod is given
// as its address has none, and an exported Deployment can only put it before a port.
func validHost(base string) string {
	scheme, rest, found := strings.Cut(base, "://")
	authority, _, _ := strings.Cut(rest, "/")
	colon := strings.LastIndex(authority, ":")
	if !found || colon < 0 {
		return base
	}
	address, err := netip.ParseAddr(authority[:colon])
	if err != nil || !address.Is6() {
		return base
	}
	return scheme + "://[" + authority[:colon] + "]" + rest[colon:]
}
