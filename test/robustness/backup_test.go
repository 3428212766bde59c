package robustness

import (
	"net"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/backup"
	"github.com/kubecell/kubectl-cell/pkg/daemon"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/lease"
	"github.com/kubecell/kubectl-cell/pkg/rebalance"
	"github.com/kubecell/kubectl-cell/pkg/sandbox"
	"github.com/kubecell/kubectl-cell/test/robustness/history"
	"github.com/kubecell/kubectl-cell/test/robustness/validate"
)

// backupSpec is the backup daemon of the sandbox.
func (b *bed) backupSpec() daemon.Spec {
	dir := b.box.Dir("backup")
	return daemon.Spec{
		Name: "backup",
		Command: []string{
			b.binary, "backup", "run", "--rcp-kubeconfig", filepath.Join(dir, "rcp.kubeconfig"), "--state-dir", dir,
			"--listen", net.JoinHostPort(sandbox.Loopback, "0"),
		},
		LockPath: filepath.Join(dir, "lock"), LogPath: filepath.Join(b.box.Dir("logs"), "backup.log"), DieWithParent: true,
	}
}

// withoutBackup ends the daemon of the sandbox, which would take over runs whose driver was killed, and drive past the
// steps at which something is to break. Without its Lease nobody waits for envelopes.
func (b *bed) withoutBackup() {
	b.t.Helper()
	_, err := daemon.Stop(b.t.Context(), b.backupSpec().LockPath, stopPatience)
	b.must(err)
	b.must(b.kube.CoordinationV1().Leases(v1alpha1.Namespace).Delete(b.t.Context(), backup.LeaseName, metav1.DeleteOptions{}))
}

// keeper is the backup daemon that takes part in a run.
type keeper struct {
	spec daemon.Spec
	away bool // it was ended, so that a driver that can be told to wait comes in again
}

// backUp has the daemon at work, where one takes part.
func (p *proof) backUp() {
	p.t.Helper()
	if p.keeper != nil && p.keeper.away {
		p.start(p.keeper.spec)
		p.keeper.away = false
	}
}

// handOver lets the daemon, where one takes part, go on with a run whose driver is gone, for a moment. Then it ends, and
// the next driver comes in.
func (p *proof) handOver(run string) {
	p.t.Helper()
	if p.keeper == nil || p.keeper.away {
		return
	}
	p.await("the backup daemon to take "+run+" over", func() bool {
		holder, err := rebalance.Holder(p.t.Context(), p.kube, (&lease.Clock{}).Now)
		return err == nil && holder != "" && !strings.HasPrefix(holder, childPrefix) || p.phase(run).Final()
	})
	sleep(p.t.Context(), pauseFor)
	p.t.Logf("%s the backup daemon has driven for %s", p.clock(), pauseFor)
	p.takenOver++
	p.end(p.keeper.spec.LockPath, syscall.SIGTERM)
	p.keeper.away = true
}

// judgeBackup wants the envelope of every object in its next cell clockwise, and no other.
func (p *proof) judgeBackup() {
	p.t.Helper()
	if p.keeper == nil {
		return
	}
	if p.takenOver == 0 && slices.Contains(p.faults, killDriver) {
		p.t.Error("the backup daemon never took a run over")
	}
	p.judgeCopies()
}

// judgeCopies waits for the backup daemon to have done its work.
func (p *proof) judgeCopies() {
	p.t.Helper()
	owner, backup := p.owners()
	var problems []string
	_ = p.poll(func() bool { // what is wrong in the end is reported
		problems = validate.Protected(p.readCells(), p.readEnvelopes(), owner, backup)
		return len(problems) == 0
	})
	p.report("envelopes that are not right", problems)
}

// recopied waits until the backup says that every object of the ring has its copy.
func (p *proof) recopied() {
	p.t.Helper()
	p.await("the copies of all objects", func() bool {
		ring := p.ring()
		list, err := p.kube.CoreV1().ConfigMaps(v1alpha1.Namespace).List(p.ctx,
			metav1.ListOptions{LabelSelector: v1alpha1.LabelComponent + "=" + v1alpha1.ComponentMarks})
		p.must(err)
		complete := map[string]bool{}
		for i := range list.Items {
			published, _, err := backup.ReadMarks(&list.Items[i])
			complete[published.Cell] = err == nil && published.Epoch >= ring.Status.Epoch
		}
		for _, m := range ring.Status.Current.Members {
			if !complete[m.Cell] {
				return false
			}
		}
		return true
	})
}

// readEnvelopes are those of the proof's objects, in all cells.
func (p *proof) readEnvelopes() []history.Envelope {
	p.t.Helper()
	var out []history.Envelope
	for _, cell := range p.allCells() {
		list, err := cell.client.Resource(secrets).Namespace(v1alpha1.Namespace).
			List(p.ctx, metav1.ListOptions{LabelSelector: v1alpha1.LabelBackupCell})
		p.must(err)
		for i := range list.Items {
			if e, ours := p.openEnvelope(cell.name, &list.Items[i]); ours {
				out = append(out, e)
			}
		}
	}
	return out
}

// openEnvelope is false for the envelope of an object that is not of the proof.
func (p *proof) openEnvelope(cell string, raw *unstructured.Unstructured) (history.Envelope, bool) {
	p.t.Helper()
	secret := &corev1.Secret{}
	p.must(runtime.DefaultUnstructuredConverter.FromUnstructured(raw.Object, secret))
	opened, err := envelope.Open(secret)
	if err != nil {
		return history.Envelope{Cell: cell, Key: secret.Name, Problem: err.Error()}, true
	}
	object := &unstructured.Unstructured{}
	p.must(object.UnmarshalJSON(opened.Object))
	if opened.Namespace != namespace || object.GetAnnotations()[born] == "" {
		return history.Envelope{}, false
	}
	key := keyOf(opened.GroupVersionResource(), opened.Name)
	return history.Envelope{
		Cell: cell, Key: key, Source: opened.SourceCell, Backup: opened.BackupCell, State: stateOf(key, object),
	}, true
}
