// Package layout owns the names of the files below a control plane's directory.
//
// The names are a contract: the sandbox reads the lock, the kubeconfigs and the CA. Everything is
// private to the user who runs the control plane: directories 0700, keys and kubeconfigs 0600. Only a
// directory that existed before keeps its mode.
package layout

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/kubecell/kubectl-cell/cmd/cell-controlplane/internal/fault"
)

// Dir is the absolute path of a control plane's directory.
type Dir string

// Open makes the directories that are missing and proves that they can be written to.
func Open(path string) (Dir, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("resolving directory %q: %w", path, err)
	}
	d := Dir(abs)
	for _, p := range []string{d.PKI(), d.kubeconfigs(), d.Etcd()} {
		if err := os.MkdirAll(p, 0o700); err != nil {
			return "", unusable(abs, err)
		}
		// The directory itself may be one that the user made for more than this; what is in it is ours.
		if err := os.Chmod(p, 0o700); err != nil {
			return "", unusable(abs, err)
		}
	}
	probe, err := os.CreateTemp(abs, ".probe-")
	if err != nil {
		return "", unusable(abs, err)
	}
	if err := errors.Join(probe.Close(), os.Remove(probe.Name())); err != nil {
		return "", unusable(abs, err)
	}
	return d, nil
}

func unusable(dir string, err error) error {
	return fault.New(fmt.Errorf("directory %s cannot be used: %w", dir, err),
		"choose a directory that you own and can write to with --dir")
}

func (d Dir) join(elem ...string) string {
	return filepath.Join(append([]string{string(d)}, elem...)...)
}

func (d Dir) kubeconfigs() string { return d.join("kubeconfig") }

// Lock is held by the process that runs the control plane.
func (d Dir) Lock() string { return d.join("lock") }

// Ports remembers the port of the last run.
func (d Dir) Ports() string { return d.join("ports.json") }

// Etcd is etcd's data directory.
func (d Dir) Etcd() string { return d.join("etcd") }

// EtcdSocket is where etcd listens, unless that path is too long for a socket.
func (d Dir) EtcdSocket() string { return d.join("etcd", "client.sock") }

// EtcdMember exists once etcd has run.
func (d Dir) EtcdMember() string { return d.join("etcd", "member") }

// Authentication is the apiserver's structured authentication configuration.
func (d Dir) Authentication() string { return d.join("authentication.yaml") }

// AuditPolicy is the apiserver's audit policy.
func (d Dir) AuditPolicy() string { return d.join("audit-policy.yaml") }

// PKI holds certificates and keys.
func (d Dir) PKI() string { return d.join("pki") }

// Cert is the certificate with this name, such as "ca" or "apiserver".
func (d Dir) Cert(name string) string { return d.join("pki", name+".crt") }

// Key is the private key with this name.
func (d Dir) Key(name string) string { return d.join("pki", name+".key") }

// PublicKey is the public half of a key that signs tokens.
func (d Dir) PublicKey(name string) string { return d.join("pki", name+".pub") }

// Kubeconfig is the kubeconfig with this name, such as "admin".
func (d Dir) Kubeconfig(name string) string { return d.join("kubeconfig", name+".conf") }

// WriteFile replaces a file as a whole: after a crash it holds the old or the new content. The content
// is on disk when it returns, since a key that vanishes with the page cache would lock its owner out.
func WriteFile(path string, data []byte, mode os.FileMode) error {
	dir, base := filepath.Split(path)
	tmp, err := os.CreateTemp(dir, "."+strings.TrimPrefix(base, ".")+"-")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // fails when all went well
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Chmod(mode)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if closeErr := tmp.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
