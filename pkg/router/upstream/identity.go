package upstream

import (
	"fmt"
	"net/http"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
)

// outgoingHeader is what of a client's headers a control plane sees: nothing that belongs to the client's
// own connection, and of its identity only what the router found out. A request without a user is an
// error: it must never reach a control plane with the router's own rights.
func outgoingHeader(r *http.Request) (http.Header, error) {
	who, ok := request.UserFrom(r.Context())
	if !ok || who.GetName() == "" {
		return nil, fmt.Errorf("%s %s has no authenticated user", r.Method, r.URL.Path)
	}
	out := make(http.Header, len(r.Header)+6)
	for name, values := range r.Header {
		if !hopByHop(name) && !identity(name) {
			out[name] = values
		}
	}
	for _, values := range r.Header["Connection"] {
		for name := range strings.SplitSeq(values, ",") {
			delete(out, http.CanonicalHeaderKey(strings.TrimSpace(name)))
		}
	}
	// With one of these the transport would send a write twice.
	delete(out, "Idempotency-Key")
	delete(out, "X-Idempotency-Key")
	if _, ok := out["User-Agent"]; !ok {
		// Without a value the transport would put its own there.
		out["User-Agent"] = nil
	}
	impersonate(out, who)
	return out, nil
}

// impersonate adds the user. It comes last: no header of the client may take the name off again.
func impersonate(out http.Header, who user.Info) {
	out[authenticationv1.ImpersonateUserHeader] = []string{who.GetName()}
	if uid := who.GetUID(); uid != "" {
		out[http.CanonicalHeaderKey(authenticationv1.ImpersonateUIDHeader)] = []string{uid}
	}
	if groups := who.GetGroups(); len(groups) > 0 {
		out[authenticationv1.ImpersonateGroupHeader] = groups
	}
	for key, values := range who.GetExtra() {
		name := http.CanonicalHeaderKey(authenticationv1.ImpersonateUserExtraHeaderPrefix + escapeKey(key))
		out[name] = append(out[name], values...)
	}
}

// identity says whether a header is one by which a client could say who it is.
func identity(name string) bool {
	switch name[0] {
	case 'A':
		return name == "Authorization"
	case 'I':
		return strings.HasPrefix(name, "Impersonate-")
	case 'X':
		return strings.HasPrefix(name, "X-Remote-") || strings.HasPrefix(name, "X-Forwarded-")
	case 'F':
		return name == "Forwarded"
	}
	return false
}

// hopByHop says whether a header is about one connection alone (RFC 9110, 7.6.1).
func hopByHop(name string) bool {
	switch name {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// escapeKey writes a key of a user's extra as part of a header's name: whatever is no letter, digit or
// allowed sign (RFC 9110, 5.6.2) as a percent sign and two digits. The percent sign is not allowed itself.
func escapeKey(key string) string {
	const hex = "0123456789abcdef"
	for i := range len(key) {
		if tokenByte(key[i]) {
			continue
		}
		var out strings.Builder
		for j := range len(key) {
			if tokenByte(key[j]) {
				out.WriteByte(key[j])
				continue
			}
			out.Write([]byte{'%', hex[key[j]>>4], hex[key[j]&15]})
		}
		return out.String()
	}
	return key
}

func tokenByte(b byte) bool {
	switch {
	case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9':
		return true
	}
	return strings.IndexByte("!#$&'*+-.^_`|~", b) >= 0
}
