package router

import (
	"path/filepath"
	"time"

	"github.com/kubecell/kubectl-cell/pkg/expiry"
	"github.com/kubecell/kubectl-cell/pkg/router/feed"
)

// expiring tells when the certificates end that a router goes by. It is made before the router listens, which chooses a
// serving certificate where none is given.
func expiring(config Config, state func() *feed.State) expiry.Collector {
	own := config.Serving.ServerCert
	serving := own.CertKey.CertFile
	if serving == "" && own.CertDirectory != "" {
		serving = filepath.Join(own.CertDirectory, own.PairName+".crt")
	}
	return expiry.NewCollector(time.Now, func(now time.Time) []expiry.Certificate {
		out := expiry.OfConfig(expiry.RCP, config.RCP, now)
		out = append(out, expiry.OfFile(expiry.Router, expiry.Serving, serving, now)...)
		out = append(out, expiry.OfFile(expiry.Clients, expiry.CA, config.ClientCAFile, now)...)
		if newest := state(); newest != nil {
			out = append(out, expiry.OfCells(newest.Saved(), now)...)
		}
		return out
	})
}
