package router

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/warning"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
	"github.com/kubecell/kubectl-cell/pkg/placement"
	"github.com/kubecell/kubectl-cell/pkg/router/feed"
	"github.com/kubecell/kubectl-cell/pkg/router/naming"
	"github.com/kubecell/kubectl-cell/pkg/router/upstream"
)

// protectTimeout is how long the copies of one write may take.
const protectTimeout = 5 * time.Second

// protected is a write to an object that may be protected synchronously: it is answered once its envelope is stored.
// The router stores the envelope itself. So no daemon need run, and none is waited for.
type protected struct {
	h      *handler
	state  *feed.State
	info   *request.RequestInfo
	source *upstream.ControlPlane
	// name of the object, empty before the answer to a create.
	name string
	rule placement.KeyRule
	// before is the object as it was seen before the write, nil where nobody looked or there was none.
	before *metav1.PartialObjectMetadata
}

// protection is nil for a request that changes nothing which may be protected. Of objects without a place of their own
// nobody knows the unit by the request alone; these are left to the daemon.
func (h *handler) protection(state *feed.State, info *request.RequestInfo, source *upstream.ControlPlane) *protected {
	class, rule := state.Snapshot.Classes.Of(info.APIGroup, info.Resource, info.Namespace)
	if class != placement.Sharded || !state.Snapshot.Protection.May(info.Namespace) {
		return nil
	}
	return &protected{h: h, state: state, info: info, source: source, name: info.Name, rule: rule}
}

// foresee refuses a write that has to be protected strictly while its backup cell is known to be away. It costs nothing
// while none is.
func (p *protected) foresee(r *http.Request) error {
	name, err := p.named(r)
	if err != nil || name == "" {
		return err
	}
	homes := p.state.Snapshot.Homes(p.source.Name(), p.rule.Key(p.info.Namespace, name))
	away := p.away(homes)
	if away == nil {
		return nil
	}
	object, err := p.object(r, name)
	if err != nil {
		return err
	}
	if p.state.Snapshot.Protection.Of(p.info.Namespace, object.Labels) != v1alpha1.ProtectionStrict {
		return nil
	}
	refusal := apierrors.NewServiceUnavailable(fmt.Sprintf("nothing was written: the object is protected strictly, and %v", away))
	refusal.ErrStatus.Details = &metav1.StatusDetails{RetryAfterSeconds: 1}
	return refusal
}

// named is the name of the object, which a create has in its body alone.
func (p *protected) named(r *http.Request) (string, error) {
	if p.name != "" || r.Body == nil {
		return p.name, nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return "", apierrors.NewBadRequest("read body: " + err.Error())
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	read, err := naming.Read(r.Header.Get("Content-Type"), body)
	if err != nil {
		return "", bodyError(err)
	}
	return read.Name, nil
}

// away says why an envelope could not be stored in one of the cells.
func (p *protected) away(homes []string) error {
	if len(homes) == 0 {
		return errors.New("there is no other cell for its copy")
	}
	for _, home := range homes {
		plane, err := p.state.ControlPlane(home)
		if err != nil {
			return fmt.Errorf("its backup cell %s cannot be used: %w", home, err)
		}
		if down := plane.Down(); down != nil {
			return fmt.Errorf("its backup cell %s does not answer", home)
		}
	}
	return nil
}

// object is the metadata of the object as it is, and of a new one that in the request.
func (p *protected) object(r *http.Request, name string) (*metav1.PartialObjectMetadata, error) {
	ctx, cancel := inTime(r.Context())
	defer cancel()
	body, err := p.get(ctx, name)
	if err != nil {
		return nil, err
	}
	if body != nil {
		object, _ := answeredBy(runtime.ContentTypeJSON, body).metadata()
		p.before = &object
		return &object, nil
	}
	if r.Body == nil || p.info.Verb == "delete" {
		return &metav1.PartialObjectMetadata{}, nil
	}
	if body, err = io.ReadAll(r.Body); err != nil {
		return nil, apierrors.NewBadRequest("read body: " + err.Error())
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	object, _ := answeredBy(r.Header.Get("Content-Type"), body).metadata() // a patch that is no object makes none
	return &object, nil
}

// store stores the envelope of what a write has made, before the client is answered. The error is what the client gets
// in the place of the answer.
func (p *protected) store(r *http.Request, said answered) error {
	if p.name == "" {
		p.name = said.meta.Name
	}
	ctx, cancel := inTime(context.WithoutCancel(r.Context()))
	defer cancel()
	policy, err := p.keep(ctx, said)
	switch {
	case err == nil:
		return nil
	case policy != v1alpha1.ProtectionStrict:
		warning.AddWarning(r.Context(), "", fmt.Sprintf("the write is not protected yet: %v", err))
		return nil
	}
	// As if the answer had not come in time: whether it was made is for the client to find out.
	return apierrors.NewTimeoutError(fmt.Sprintf(
		"the write was made in cell %s, and is not protected: %v; look at the object before you repeat it", p.source.Name(), err), 0)
}

// inTime ends after [protectTimeout], and says so.
func inTime(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, protectTimeout, fmt.Errorf("no answer within %s", protectTimeout))
}

// keep brings the envelopes of the object up to date, and says by which policy.
func (p *protected) keep(ctx context.Context, said answered) (v1alpha1.ProtectionPolicy, error) {
	homes := p.state.Snapshot.Homes(p.source.Name(), p.rule.Key(p.info.Namespace, p.name))
	body := p.objectIn(said)
	if body == nil {
		var err error
		// Where the answer does not say what the object is now. Its policy is known before a backup cell is asked, which may
		// take all the time that there is.
		if body, err = p.get(ctx, p.name); err != nil {
			return p.policyBy(said, nil), err
		}
	}
	if body == nil {
		return p.follow(ctx, homes, said)
	}
	return p.putFor(ctx, homes, body)
}

// putFor stores the object in its backup cells if it is protected, and says by which policy.
func (p *protected) putFor(ctx context.Context, homes []string, body []byte) (v1alpha1.ProtectionPolicy, error) {
	policy := p.policyFor(body)
	if policy == "" {
		return "", nil
	}
	return policy, p.putAll(ctx, homes, body)
}

// follow drops the envelopes of an object that is gone. They are looked at before the object is once more: what is gone
// then was gone with what they hold.
func (p *protected) follow(ctx context.Context, homes []string, said answered) (v1alpha1.ProtectionPolicy, error) {
	before := make([]*corev1.Secret, len(homes))
	var failed error
	for i, home := range homes {
		var err error
		if before[i], err = p.envelope(ctx, home); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	policy := p.policyBy(said, before)
	if failed != nil && ctx.Err() != nil {
		return policy, failed
	}
	body, err := p.get(ctx, p.name)
	switch {
	case err != nil:
		return policy, err
	case body != nil:
		return p.putFor(ctx, homes, body)
	case policy == "":
		return "", nil
	}
	for i, home := range homes {
		if before[i] != nil {
			failed = errors.Join(failed, p.drop(ctx, home, before[i]))
		}
	}
	return policy, failed
}

// policyBy is that of an object which cannot be read: by the labels in the answer to the write, or by those of before if it
// changes none, or by those in an envelope. Where nobody knows them it is the strictest that the object may have.
func (p *protected) policyBy(said answered, envelopes []*corev1.Secret) v1alpha1.ProtectionPolicy {
	if p.info.Subresource == "" || p.info.Subresource == "status" {
		if object, read := said.metadata(); read && object.UID != "" {
			return p.state.Snapshot.Protection.Of(p.info.Namespace, object.Labels)
		}
	}
	if p.before != nil && (p.info.Verb == "delete" || p.info.Subresource != "") {
		return p.state.Snapshot.Protection.Of(p.info.Namespace, p.before.Labels)
	}
	for _, secret := range envelopes {
		if secret == nil {
			continue
		}
		if opened, err := envelope.Open(secret); err == nil {
			return p.policyFor(opened.Object)
		}
	}
	return p.state.Snapshot.Protection.Strictest(p.info.Namespace)
}

func (p *protected) policyFor(body []byte) v1alpha1.ProtectionPolicy {
	var object metav1.PartialObjectMetadata
	if json.Unmarshal(body, &object) != nil {
		return ""
	}
	return p.state.Snapshot.Protection.Of(p.info.Namespace, object.Labels)
}

// objectIn is the object in an answer, nil where there is none, or none that can be sealed as it is.
func (p *protected) objectIn(said answered) []byte {
	if !strings.HasPrefix(said.contentType, runtime.ContentTypeJSON) || p.info.Verb == "delete" ||
		p.info.Subresource != "" && p.info.Subresource != "status" {
		return nil
	}
	var object struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Meta       struct {
			UID               string       `json:"uid"`
			DeletionTimestamp *metav1.Time `json:"deletionTimestamp"`
			Finalizers        []string     `json:"finalizers"`
		} `json:"metadata"`
	}
	group := strings.TrimSuffix(p.info.APIGroup+"/"+p.info.APIVersion, "/")
	if json.Unmarshal(said.body, &object) != nil || strings.TrimPrefix(group, "/") != object.APIVersion ||
		object.Kind == "Status" || object.Meta.UID == "" || object.Meta.DeletionTimestamp != nil && len(object.Meta.Finalizers) == 0 {
		return nil
	}
	return said.body
}

func (p *protected) putAll(ctx context.Context, homes []string, body []byte) error {
	if len(homes) == 0 {
		return errors.New("there is no other cell for its copy")
	}
	for _, home := range homes {
		if err := p.put(ctx, home, body); err != nil {
			return err
		}
	}
	return nil
}

// asMover is a request of the router's own making, as the one who writes envelopes.
func asMover(ctx context.Context, method, path string, body []byte) (*http.Request, error) {
	ctx = request.WithUser(ctx, &user.DefaultInfo{Name: v1alpha1.UserMover, Groups: []string{v1alpha1.GroupMovers}})
	r, err := http.NewRequestWithContext(ctx, method, path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	r.Header.Set("Accept", runtime.ContentTypeJSON)
	if body != nil {
		r.Header.Set("Content-Type", runtime.ContentTypeJSON)
	} else {
		r.Body = http.NoBody
	}
	return r, nil
}

// askAsMover returns the body of an answer, and its error as a client would have it.
func askAsMover(ctx context.Context, plane *upstream.ControlPlane, method, path string, body []byte) ([]byte, error) {
	r, err := asMover(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	answer, err := plane.Do(r)
	if err != nil {
		return nil, overdue(ctx, err)
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", overdue(ctx, err))
	}
	if answer.StatusCode < http.StatusMultipleChoices {
		return said, nil
	}
	var status metav1.Status
	if json.Unmarshal(said, &status) != nil || status.Code == 0 {
		status = metav1.Status{Status: metav1.StatusFailure, Code: int32(answer.StatusCode), Message: answer.Status} //nolint:gosec // three digits
	}
	return nil, apierrors.FromObject(&status)
}

// overdue is err, or the limit of ctx where that is what err came to. Whoever dials gives up a moment before ctx says so.
func overdue(ctx context.Context, err error) error {
	if deadline, limited := ctx.Deadline(); !limited || !errors.Is(err, context.DeadlineExceeded) || time.Until(deadline) > time.Second/10 {
		return err
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// get reads the object from its cell, nil where there is none.
func (p *protected) get(ctx context.Context, name string) ([]byte, error) {
	path := "/apis/" + p.info.APIGroup + "/" + p.info.APIVersion
	if p.info.APIGroup == "" {
		path = "/api/" + p.info.APIVersion
	}
	if p.info.Namespace != "" && p.info.Resource != "namespaces" {
		path += "/namespaces/" + p.info.Namespace
	}
	body, err := askAsMover(ctx, p.source, http.MethodGet, path+"/"+p.info.Resource+"/"+name, nil)
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // absence is an answer
	}
	if err != nil {
		return nil, fmt.Errorf("read it in cell %s: %w", p.source.Name(), err)
	}
	return body, nil
}
