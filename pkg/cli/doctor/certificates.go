package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/cli/launch"
	"github.com/kubecell/kubectl-cell/pkg/expiry"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

const (
	// soon is how long before its end a certificate is told of.
	soon = 30 * 24 * time.Hour
	// renewal says how each of them is renewed.
	renewal = "https://github.com/kubecell/kubectl-cell/blob/main/docs/operations.md#renew-certificates"
)

// held is a certificate that something here goes by.
type held struct {
	expiry.Certificate
	// of is whose it is, and fix what renews it.
	of, fix string
}

// hold keeps certificates for [examination.expirations].
func (e *examination) hold(certificates []expiry.Certificate, of, fix string) {
	for _, c := range certificates {
		e.held = append(e.held, held{c, of, fix})
	}
}

// holdOf keeps the certificates that a daemon of this machine goes by, but for those of the cells, which are read from
// their source. One that does not say is no fault of theirs.
func (e *examination) holdOf(ctx context.Context, name string, seen launch.Status) {
	if seen.AdminURL == "" {
		return
	}
	page, err := launch.AskAt(seen.AdminURL)(ctx, "/metrics")
	if err != nil {
		return
	}
	of := map[string]string{
		expiry.RCP: "the " + name + " at the router control plane", expiry.Router: "the " + name, expiry.Clients: "the clients of the " + name,
	}
	for _, c := range expiry.Read(page) {
		if whose, ok := of[c.Credential]; ok {
			e.hold([]expiry.Certificate{c}, whose, renewal)
		}
	}
}

// expirations says which of the certificates have ended, and which do so soon.
func (e *examination) expirations() {
	const name = "certificates"
	now, fine := e.env.Clock.Now(), true
	var first *held
	for i, h := range e.held {
		if first == nil || h.Ends.Before(first.Ends) {
			first = &e.held[i]
		}
		left := h.Ends.Sub(now)
		switch on := h.Ends.UTC().Format(time.DateOnly); {
		case left <= 0:
			fine = false
			e.found(Failed, name, fmt.Sprintf("%s ended on %s, %s ago", h, on, printers.Age(-left)), h.fix)
		case left < soon:
			fine = false
			e.found(Warning, name, fmt.Sprintf("%s ends on %s, in %s", h, on, printers.Age(left)), h.fix)
		}
	}
	if fine && first != nil {
		e.ok(name, "%d, the first of which to end is %s, in %s", len(e.held), first, printers.Age(first.Ends.Sub(now)))
	}
}

// String is what people call it.
func (h held) String() string {
	kind := strings.Replace(string(h.Kind)+" certificate", "ca certificate", "CA", 1)
	return fmt.Sprintf("the %s of %s", kind, h.of)
}
