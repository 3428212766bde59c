// Package ring reads the Ring for commands, and keeps the last one on disk for when no server
// answers.
//
// The copy is a convenience: a command that cannot write it works all the same. It holds no
// credentials.
package ring

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/federation"
	"github.com/kubecell/kubectl-cell/pkg/home"
	"github.com/kubecell/kubectl-cell/pkg/printers"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// freshFor is for how long an unchanged copy is left as it is: writing it costs a sync of the disk.
const freshFor = time.Minute

// Read returns the Ring that the server of the federation has, and keeps a copy. Its errors are
// for people.
func Read(ctx context.Context, env *command.Env, fed *command.Federation) (*v1alpha1.Ring, error) {
	ring, err := fed.Cell.Rings().Get(ctx, v1alpha1.RingName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, federation.NotInitialised()
	case apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err):
		return nil, exit.Errorf(exit.Failure, "read ring: %w", err).
			WithHint("kubectl auth can-i get rings.kubecell.io ; the cluster role kubecell-viewer allows it")
	case ctx.Err() != nil:
		return nil, fmt.Errorf("read ring: %w", context.Cause(ctx))
	case err != nil:
		return nil, unreachable(env, fed.Config.Host, err)
	}
	if err := keep(env, fed.Config.Host, ring); err != nil {
		klog.FromContext(ctx).V(2).Info("Ring not kept for offline use", "reason", err.Error())
	}
	return ring, nil
}

// noServer is where client-go looks when no kubeconfig names a server.
const noServer = "http://localhost:8080"

func unreachable(env *command.Env, server string, err error) error {
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err // without the URL, which repeats the server
	}
	failure := exit.Errorf(exit.Failure, "read ring from %s: %w", server, err)
	if server == noServer {
		return failure.WithHint("no kubeconfig names a server: choose one with --context, or start a sandbox: %s sandbox up", env.Program)
	}
	return failure.WithHint("%s where NAME --offline uses the ring that was read last", env.Program)
}

// keep writes the copy, unless there is a fresh one of the same version.
func keep(env *command.Env, server string, ring *v1alpha1.Ring) error {
	path, err := copyPath(env, server)
	if err != nil {
		return err
	}
	now := env.Clock.Now()
	old, err := routing.Load(path)
	if err == nil && old.Ring.UID == ring.UID && old.Ring.ResourceVersion == ring.ResourceVersion && fresh(now.Sub(old.SavedAt)) {
		return nil
	}
	return routing.Save(path, &routing.Saved{SavedAt: now, Server: server, Ring: *ring})
}

// fresh says of a copy's age whether it may stay: one of the future is of a clock that was put back, and would stay until then.
func fresh(age time.Duration) bool { return 0 <= age && age < freshFor }

// Describe says for people which ring a saved one is, and when it was read.
func Describe(saved *routing.Saved, now time.Time) string {
	read := "read " + printers.Age(now.Sub(saved.SavedAt)) + " ago"
	if saved.SavedAt.After(now) {
		read = fmt.Sprintf("read on %s, which this machine's clock has yet to reach", saved.SavedAt.UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("ring: epoch %d of %s, %s", saved.Ring.Status.Epoch, saved.Server, read)
}

// ReadSaved returns the last Ring that was read from the server of the chosen context, with its
// time. It makes no request. The error says what to do where there is none.
func ReadSaved(env *command.Env) (*routing.Saved, error) {
	config, err := env.Flags.ToRESTConfig()
	if err != nil {
		return nil, exit.Errorf(exit.Failure, "read kubeconfig: %w", err).
			WithHint("kubectl config get-contexts ; choose one with --context")
	}
	path, err := copyPath(env, config.Host)
	if err != nil {
		return nil, err
	}
	saved, err := routing.Load(path)
	if errors.Is(err, routing.ErrNothingSaved) {
		return nil, exit.Errorf(exit.Failure, "no ring of %s is saved on this machine: %w", config.Host, routing.ErrNothingSaved).
			WithHint("%s version reads and saves it, once the server answers", env.Program)
	}
	if err != nil {
		return nil, err
	}
	return saved, nil
}

// copyPath is rings/<hash>.json below the state directory. The hash is of the server's URL, so that contexts that share a
// server share the copy.
func copyPath(env *command.Env, server string) (string, error) {
	state, err := home.State(env.Getenv)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(server))
	return filepath.Join(state, "rings", hex.EncodeToString(sum[:8])+".json"), nil
}
