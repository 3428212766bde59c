package replication

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/quota"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// quotas is the resource whose objects are divided.
var quotas = corev1.SchemeGroupVersion.WithResource("resourcequotas")

// IsQuota says whether an object is a ResourceQuota.
func IsQuota(o Object) bool { return o.Resource.GroupResource() == quotas.GroupResource() }

// Shares say what of a quota is divided, among which cells, and by which weights. The zero value divides nothing.
//
// A limit on objects that are Replicated is not divided, since every cell has them all, nor is one on objects that
// are Global, since no cell has any. While a rebalance runs the cells of both rings have parts.
type Shares struct {
	current, target []placement.Member
	classes         *placement.Classes
}

// SharesOf are the shares by the rings and classes of a snapshot.
func SharesOf(snap *routing.Snapshot) Shares {
	return Shares{
		current: snap.Table.Current().Members(), target: snap.Table.Target().Members(),
		classes: snap.Classes,
	}
}

// Equal says whether the cells of both have the same weights.
func (s Shares) Equal(other Shares) bool {
	return slices.Equal(s.current, other.current) && slices.Equal(s.target, other.target)
}

// weight of a cell: that which it is going to have, or where it leaves the ring none.
func (s Shares) weight(cell string) int {
	for _, m := range s.target {
		if m.Cell == cell {
			return m.Weight
		}
	}
	return 0
}

// divides says whether what a limit counts is spread over the cells.
func (s Shares) divides(name corev1.ResourceName) bool {
	if s.classes == nil || len(s.current) == 0 {
		return false
	}
	of, _ := quota.Counted(name)
	class, _ := s.classes.Of(of.Group, of.Resource, "")
	return class != placement.Replicated && class != placement.Global
}

// divided are the limits of a quota that are.
func (s Shares) divided(source *unstructured.Unstructured) corev1.ResourceList {
	out := corev1.ResourceList{}
	if source.GetAnnotations()[v1alpha1.AnnotationQuota] == v1alpha1.QuotaWhole {
		return out
	}
	for name, amount := range resourceList(source, "spec", "hard") {
		if s.divides(name) {
			out[name] = amount
		}
	}
	return out
}

// resourceList reads one out of a quota. What is no quantity is left out; an apiserver has accepted none.
func resourceList(obj *unstructured.Unstructured, fields ...string) corev1.ResourceList {
	found, _, _ := unstructured.NestedMap(obj.Object, fields...)
	out := corev1.ResourceList{}
	for name, value := range found {
		if amount, err := resource.ParseQuantity(fmt.Sprint(value)); err == nil {
			out[corev1.ResourceName(name)] = amount
		}
	}
	return out
}

// setAmounts writes amounts over those of a list in a quota, and leaves the others.
func setAmounts(obj *unstructured.Unstructured, amounts corev1.ResourceList, fields ...string) {
	list, _, _ := unstructured.NestedMap(obj.Object, fields...)
	if list == nil {
		list = map[string]any{}
	}
	for name, amount := range amounts {
		list[string(name)] = amount.String()
	}
	// The fields above it are objects, or absent.
	_ = unstructured.SetNestedMap(obj.Object, list, fields...)
}

// recordLabel is on the config map of a quota's record.
const recordLabel = "quota"

// recordKey of the record in its config map.
const recordKey = "parts"

// stored is a record as it was read.
type stored struct {
	// config is the config map; nil where there is none.
	config *unstructured.Unstructured
	// record is nil where there is none, or one that nobody can read.
	record *quota.Record
}

// recordOf is where the record of a quota is, in the RCP.
func recordOf(o Object) Object {
	sum := sha256.Sum256([]byte(o.Namespace + "/" + o.Name))
	return Object{
		Resource:  schema.GroupVersionResource{Version: "v1", Resource: "configmaps"},
		Namespace: v1alpha1.Namespace, Name: "quota-" + hex.EncodeToString(sum[:12]),
	}
}

func readRecord(ctx context.Context, rcp dynamic.Interface, o Object) (stored, error) {
	config, err := find(ctx, rcp, recordOf(o))
	if err != nil || config == nil {
		return stored{}, err
	}
	text, _, _ := unstructured.NestedString(config.Object, "data", recordKey)
	record, err := quota.Parse(text)
	if err != nil {
		return stored{config: config}, nil //nolint:nilerr // it is made anew
	}
	return stored{config, record}, nil
}

// writeRecord puts a record in the place of the one that was read. Where that is not the newest any more the
// error is a conflict.
func writeRecord(ctx context.Context, rcp dynamic.Interface, o Object, read stored, record *quota.Record) error {
	at := recordOf(o)
	config := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{
			"namespace": at.Namespace, "name": at.Name,
			"labels": map[string]any{v1alpha1.LabelComponent: recordLabel},
		},
		"data": map[string]any{"quota": o.Namespace + "/" + o.Name, recordKey: record.String()},
	}}
	var err error
	if read.config == nil {
		_, err = at.in(rcp).Create(ctx, config, metav1.CreateOptions{FieldManager: v1alpha1.FieldManager})
		if apierrors.IsAlreadyExists(err) {
			return apierrors.NewConflict(at.Resource.GroupResource(), at.Name, err)
		}
	} else {
		config.SetResourceVersion(read.config.GetResourceVersion())
		_, err = at.in(rcp).Update(ctx, config, metav1.UpdateOptions{FieldManager: v1alpha1.FieldManager})
		if apierrors.IsNotFound(err) {
			return apierrors.NewConflict(at.Resource.GroupResource(), at.Name, err)
		}
	}
	if err != nil {
		return &sourceError{fmt.Errorf("write the record of %s: %w", o, err)}
	}
	return nil
}

// dropRecord deletes the record of a quota that is gone.
func dropRecord(ctx context.Context, rcp dynamic.Interface, o Object, read stored) error {
	if read.config == nil {
		return nil
	}
	if err := remove(ctx, rcp, recordOf(o), read.config); err != nil && !apierrors.IsConflict(err) {
		return &sourceError{err}
	}
	return nil
}

// errNewer says that a copy is of a newer generation than the record that was read: read it again.
var errNewer = errors.New("its part has changed meanwhile")

// generationOf is that of a copy of the source of that UID, 0 where it is none.
func generationOf(copied *unstructured.Unstructured, source *unstructured.Unstructured) int64 {
	if copied == nil || copyOf(copied) != string(source.GetUID()) {
		return 0
	}
	generation, err := strconv.ParseInt(copied.GetAnnotations()[v1alpha1.AnnotationQuotaPart], 10, 64)
	if err != nil {
		return 0
	}
	return generation
}

// withPart is what a cell gets of a quota: all of it, but of what is divided its part. The source is left as it is.
func withPart(source *unstructured.Unstructured, divided corev1.ResourceList, part quota.Part) *unstructured.Unstructured {
	if len(divided) == 0 {
		return source
	}
	limits := corev1.ResourceList{}
	for name, whole := range divided {
		limit, ok := part.Limit[name]
		if !ok {
			limit = *resource.NewQuantity(0, whole.Format)
		}
		limits[name] = limit
	}
	out := source.DeepCopy()
	setAmounts(out, limits, "spec", "hard")
	annotations := out.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[v1alpha1.AnnotationQuotaPart] = strconv.FormatInt(part.Generation, 10)
	out.SetAnnotations(annotations)
	return out
}

// asDivided is the source with the limits that its copy has of what is divided: whether these are its part is
// judged where quotas are settled.
func (s Shares) asDivided(source, copied *unstructured.Unstructured) *unstructured.Unstructured {
	divided := s.divided(source)
	if len(divided) == 0 || copied == nil {
		return source
	}
	if generationOf(copied, source) == 0 {
		return withPart(source, divided, quota.Part{Generation: -1}) // as no copy is
	}
	limits := resourceList(copied, "spec", "hard")
	for name := range limits {
		if _, ok := divided[name]; !ok {
			delete(limits, name)
		}
	}
	return withPart(source, divided, quota.Part{Limit: limits, Generation: generationOf(copied, source)})
}

// quotaOf is the quota that a config map is the record of.
func quotaOf(config *unstructured.Unstructured) (Object, bool) {
	text, _, _ := unstructured.NestedString(config.Object, "data", "quota")
	namespace, name, ok := strings.Cut(text, "/")
	return Object{Resource: quotas, Namespace: namespace, Name: name}, ok
}
