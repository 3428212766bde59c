package backup

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/backup/mirror"
)

// Published is what the config map of a cell says under [v1alpha1.MarksKey]. Routers read it by ledger.ParseMark, which
// knows nothing of the epoch.
type Published struct {
	Cell         string `json:"cell"`
	ControlPlane string `json:"controlPlane"`
	// Time is when all of this was so.
	Time time.Time `json:"time"`
	// Epoch of the newest ring for which every object of the cell had its envelopes.
	Epoch int64 `json:"epoch,omitempty"`
	// Resources are the versions, in the cell, up to which every event is in its envelope, or its object in the list of
	// unprotected ones beside.
	Resources map[string]string `json:"resources"`
	// Unnamed is how many objects there are beside those of that list that have no envelope which could be promoted.
	Unnamed int64 `json:"unnamed,omitempty"`
	// Pending is, for resources of which something may have happened that is in no envelope yet, since when; see
	// [mirror.Mark]. Of the others everything was stored at Time. It is nil where the daemon was too old to say so.
	Pending map[string]time.Time `json:"pending"`
	// Envelopes are those of the cell's objects, in all cells of the ring.
	Envelopes int64 `json:"envelopes,omitempty"`
}

// ReadMarks reads the config map of a cell.
func ReadMarks(published *corev1.ConfigMap) (Published, []mirror.Unprotected, error) {
	var p Published
	if err := json.Unmarshal([]byte(published.Data[v1alpha1.MarksKey]), &p); err != nil {
		return p, nil, fmt.Errorf("decode %s: %w", published.Name, err)
	}
	var unprotected []mirror.Unprotected
	if text := published.Data[v1alpha1.UnprotectedKey]; text != "" {
		if err := json.Unmarshal([]byte(text), &unprotected); err != nil {
			return p, nil, fmt.Errorf("decode the unprotected objects of %s: %w", published.Name, err)
		}
	}
	return p, unprotected, nil
}

// publisher writes marks into the RCP, each cell's in a config map of its own.
type publisher struct {
	configMaps typedcorev1.ConfigMapInterface
}

// published reads what was published of a cell last; nothing where nothing was, or nobody can make sense of it.
func (p *publisher) published(ctx context.Context, cell string) (mirror.Mark, error) {
	found, err := p.configMaps.Get(ctx, v1alpha1.MarksPrefix+cell, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return mirror.Mark{}, nil
	}
	if err != nil {
		return mirror.Mark{}, fmt.Errorf("read config map %s: %w", v1alpha1.MarksPrefix+cell, err)
	}
	said, unprotected, err := ReadMarks(found)
	if err != nil {
		return mirror.Mark{}, nil //nolint:nilerr // it is replaced
	}
	return mirror.Mark{Cell: said.Cell, ControlPlane: said.ControlPlane, Unprotected: unprotected, Unnamed: said.Unnamed}, nil
}

// publish replaces what an earlier daemon has said. The marks and the list of what they pass are one write.
func (p *publisher) publish(ctx context.Context, mark mirror.Mark) error {
	data, err := encode(mark)
	if err != nil {
		return err
	}
	name := v1alpha1.MarksPrefix + mark.Cell
	found, err := p.configMaps.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = p.configMaps.Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: v1alpha1.Namespace, Name: name,
				Labels: map[string]string{v1alpha1.LabelComponent: v1alpha1.ComponentMarks},
			},
			Data: data,
		}, metav1.CreateOptions{FieldManager: v1alpha1.FieldManager})
		if err != nil {
			return fmt.Errorf("create config map %s: %w", name, err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("read config map %s: %w", name, err)
	}
	if maps.Equal(found.Data, data) {
		return nil
	}
	found.Data = data
	if found.Labels == nil {
		found.Labels = map[string]string{}
	}
	found.Labels[v1alpha1.LabelComponent] = v1alpha1.ComponentMarks
	if _, err := p.configMaps.Update(ctx, found, metav1.UpdateOptions{FieldManager: v1alpha1.FieldManager}); err != nil {
		return fmt.Errorf("write config map %s: %w", name, err)
	}
	return nil
}

func encode(mark mirror.Mark) (map[string]string, error) {
	published := Published{
		Cell: mark.Cell, ControlPlane: mark.ControlPlane, Time: mark.Time.UTC(), Epoch: mark.Epoch, Resources: map[string]string{},
		Unnamed: mark.Unnamed, Pending: map[string]time.Time{}, Envelopes: mark.Envelopes,
	}
	for resource, since := range mark.Pending {
		published.Pending[resource.String()] = since
	}
	for resource, version := range mark.Resources {
		published.Resources[resource.String()] = strconv.FormatInt(version, 10)
	}
	text, err := json.Marshal(published)
	if err != nil {
		return nil, fmt.Errorf("encode marks: %w", err)
	}
	data := map[string]string{v1alpha1.MarksKey: string(text)}
	if len(mark.Unprotected) > 0 {
		if text, err = json.Marshal(mark.Unprotected); err != nil {
			return nil, fmt.Errorf("encode unprotected objects: %w", err)
		}
		data[v1alpha1.UnprotectedKey] = string(text)
	}
	return data, nil
}

// prune deletes the marks of cells that are none any more.
func (p *publisher) prune(ctx context.Context, cells map[string]bool) error {
	list, err := p.configMaps.List(ctx, metav1.ListOptions{LabelSelector: v1alpha1.LabelComponent + "=" + v1alpha1.ComponentMarks})
	if err != nil {
		return fmt.Errorf("list marks: %w", err)
	}
	for i := range list.Items {
		found := &list.Items[i]
		marks, _, err := ReadMarks(found)
		if err != nil || cells[marks.Cell] {
			continue
		}
		err = p.configMaps.Delete(ctx, found.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &found.UID}})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return fmt.Errorf("delete config map %s: %w", found.Name, err)
		}
	}
	return nil
}
