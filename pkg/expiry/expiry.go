// Package expiry says when the certificates end that daemons and people go by: those by which control planes know them,
// their CAs, and those by which a router is known. It renews none.
//
// What cannot be read has no end here: whoever uses it says what is wrong with it. Nor have tokens.
//
// Start reading at [OfConfig], then [NewCollector].
package expiry

import (
	"os"
	"slices"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/cert"

	"github.com/kubecell/kubectl-cell/pkg/cells"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// Kind says what a certificate is for.
type Kind string

// Kinds of certificates.
const (
	// Client is what a control plane knows its client by.
	Client Kind = "client"
	// Serving is what clients know a server by.
	Serving Kind = "serving"
	// CA has signed one of the others.
	CA Kind = "ca"
)

// What a credential is of that is of no cell.
const (
	// RCP is the router control plane.
	RCP = "@rcp"
	// Router is the router itself.
	Router = "@router"
	// Clients are those of a router.
	Clients = "@clients"
)

// Certificate is one that somebody goes by, or a file of several.
type Certificate struct {
	// Credential is the name of a cell, or one of the words above.
	Credential string
	Kind       Kind
	// Ends is when the first of several ends. Of CAs those that have ended do not count beside others: while one is
	// replaced, both are there.
	Ends time.Time
}

// OfConfig are the client certificate in a client configuration and the CA of its server, as far as there are any.
func OfConfig(credential string, config *rest.Config, now time.Time) []Certificate {
	return append(of(credential, Client, content(config.CertData, config.CertFile), now),
		of(credential, CA, content(config.CAData, config.CAFile), now)...)
}

// OfFile is the certificate in a file, if there is one.
func OfFile(credential string, kind Kind, path string, now time.Time) []Certificate {
	return of(credential, kind, content(nil, path), now)
}

// OfCells are those in the kubeconfigs of cells.
func OfCells(all []routing.SavedCell, now time.Time) []Certificate {
	var out []Certificate
	for _, saved := range all {
		if config, err := cells.Credentials(&saved.Cell, saved.Kubeconfig); err == nil {
			out = append(out, OfConfig(saved.Cell.Name, config, now)...)
		}
	}
	return out
}

// content is what client-go uses of the two.
func content(data []byte, path string) []byte {
	if len(data) > 0 || path == "" {
		return data
	}
	read, err := os.ReadFile(path)
	if err != nil {
		return nil // see the package
	}
	return read
}

func of(credential string, kind Kind, pem []byte, now time.Time) []Certificate {
	parsed, err := cert.ParseCertsPEM(pem)
	if err != nil {
		return nil
	}
	var ends []time.Time
	for _, one := range parsed {
		ends = append(ends, one.NotAfter)
	}
	slices.SortFunc(ends, time.Time.Compare)
	for kind == CA && len(ends) > 1 && !now.Before(ends[0]) {
		ends = ends[1:]
	}
	return []Certificate{{Credential: credential, Kind: kind, Ends: ends[0]}}
}
