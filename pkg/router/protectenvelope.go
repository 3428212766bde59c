package router

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
)

// envelopeTries bounds how often an envelope is written again because somebody else was quicker.
const envelopeTries = 8

const envelopesPath = "/api/v1/namespaces/" + v1alpha1.Namespace + "/secrets"

func (p *protected) envelopeName() string {
	return envelope.Name(p.info.APIGroup, p.info.Resource, p.info.Namespace, p.name)
}

// envelope reads the one in a cell, nil where there is none.
func (p *protected) envelope(ctx context.Context, home string) (*corev1.Secret, error) {
	plane, err := p.state.ControlPlane(home)
	if err != nil {
		return nil, fmt.Errorf("its backup cell %s cannot be used: %w", home, err)
	}
	body, err := askAsMover(ctx, plane, http.MethodGet, envelopesPath+"/"+p.envelopeName(), nil)
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // absence is an answer
	}
	if err != nil {
		return nil, fmt.Errorf("read its envelope in cell %s: %w", home, err)
	}
	secret := &corev1.Secret{}
	if err := json.Unmarshal(body, secret); err != nil {
		return nil, fmt.Errorf("read its envelope in cell %s: %w", home, err)
	}
	return secret, nil
}

// put stores an object in a cell, unless a newer state of it is there. A writer that is late never puts an older state
// over a newer one: it writes for the version of the envelope that it has seen.
func (p *protected) put(ctx context.Context, home string, body []byte) error {
	secret, err := p.h.sealer.Seal(envelope.Source{
		Resource: p.info.Resource, Unit: p.rule.Key(p.info.Namespace, p.name), Cell: p.source.Name(), BackupCell: home,
		Epoch: p.state.Snapshot.Epoch, Written: time.Now(),
	}, body)
	if err != nil {
		return err
	}
	h, err := envelope.HeaderOf(secret)
	if err != nil {
		return err
	}
	for range envelopeTries {
		there, err := p.envelope(ctx, home)
		if err != nil {
			return err
		}
		if there != nil {
			newer, err := p.newer(there, &h)
			if newer || err != nil {
				return err
			}
			secret.UID, secret.ResourceVersion = there.UID, there.ResourceVersion
		} else {
			secret.UID, secret.ResourceVersion = "", ""
		}
		if err = p.write(ctx, home, secret, there != nil); err == nil {
			return nil
		}
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) && !apierrors.IsNotFound(err) {
			return fmt.Errorf("write its envelope in cell %s: %w", home, err)
		}
	}
	return fmt.Errorf("its envelope in cell %s was changed %d times", home, envelopeTries)
}

// newer says whether an envelope has the object as it is to be stored, or a newer state of it. The error says that it
// must not be touched.
func (p *protected) newer(there *corev1.Secret, h *envelope.Header) (bool, error) {
	found, err := envelope.HeaderOf(there)
	if err != nil {
		return false, nil //nolint:nilerr // it is none, and is replaced
	}
	if found.Promoted != "" || p.state.Snapshot.Unavailable[found.SourceCell] || p.state.Snapshot.Promoting[found.SourceCell] {
		return false, fmt.Errorf("the envelope from cell %s, which was failed over, is still to be promoted", found.SourceCell)
	}
	return found.SourceCell == h.SourceCell && found.Unit == h.Unit && rawOf(found.ResourceVersion) >= rawOf(h.ResourceVersion), nil
}

func rawOf(version string) int64 {
	n, err := strconv.ParseInt(version, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func (p *protected) write(ctx context.Context, home string, secret *corev1.Secret, replace bool) error {
	plane, err := p.state.ControlPlane(home)
	if err != nil {
		return err
	}
	body, err := json.Marshal(secret)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	method, path := http.MethodPost, envelopesPath
	if replace {
		method, path = http.MethodPut, path+"/"+secret.Name
	}
	_, err = askAsMover(ctx, plane, method, path, body)
	return err
}

// drop deletes the envelope of an object that is gone, as it was seen before.
func (p *protected) drop(ctx context.Context, home string, seen *corev1.Secret) error {
	if _, err := p.newer(seen, &envelope.Header{}); err != nil {
		return err
	}
	plane, err := p.state.ControlPlane(home)
	if err != nil {
		return err
	}
	body, err := json.Marshal(metav1.DeleteOptions{
		TypeMeta:      metav1.TypeMeta{APIVersion: "v1", Kind: "DeleteOptions"},
		Preconditions: &metav1.Preconditions{UID: &seen.UID, ResourceVersion: &seen.ResourceVersion},
	})
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	_, err = askAsMover(ctx, plane, http.MethodDelete, envelopesPath+"/"+seen.Name, body)
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("delete its envelope in cell %s: %w", home, err)
	}
	return nil
}
