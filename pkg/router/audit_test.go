package router_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	genericoptions "k8s.io/apiserver/pkg/server/options"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/router"
)

const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: RequestResponse
  omitManagedFields: true
  resources: [{group: "", resources: [secrets]}]
- level: None
  resources: [{group: "", resources: [services]}]
- level: Metadata
`

// auditedRouter runs a router that writes its audit log to a file.
func (b *bed) auditedRouter(t *testing.T, mode string) (config *rest.Config, log string) {
	t.Helper()
	folder := t.TempDir()
	options := genericoptions.NewAuditOptions()
	options.PolicyFile = filepath.Join(folder, "policy.yaml")
	options.LogOptions.Path = filepath.Join(folder, "audit.log")
	options.LogOptions.BatchOptions.Mode = mode
	if err := os.WriteFile(options.PolicyFile, []byte(auditPolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	config, _ = startRouter(t, b.rcp, t.TempDir(), func(c *router.Config) { c.Audit = options })
	return config, options.LogOptions.Path
}

// awaitEvent waits for the event of a request that has been answered, and fails if there are several.
func awaitEvent(t *testing.T, log string, matches func(auditv1.Event) bool) auditv1.Event {
	t.Helper()
	var found []auditv1.Event
	err := wait.PollUntilContextTimeout(t.Context(), pollInterval, pollTimeout, true, func(context.Context) (bool, error) {
		found = nil
		data, err := os.ReadFile(log)
		if err != nil {
			return false, err
		}
		for line := range bytes.Lines(data) {
			var event auditv1.Event
			if err := json.Unmarshal(line, &event); err != nil {
				return false, nil // a line that is being written
			}
			if event.Stage == "ResponseComplete" && matches(event) {
				found = append(found, event)
			}
		}
		return len(found) > 0, nil
	})
	if err != nil || len(found) != 1 {
		data, _ := os.ReadFile(log)
		t.Fatalf("%d such events (%v); want one in\n%s", len(found), err, data)
	}
	return found[0]
}

func TestAuditTellsWhoDidWhatWhere(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "audit")
	config, log := b.auditedRouter(t, genericoptions.ModeBlocking)
	as := rest.CopyConfig(config)
	as.Impersonate = rest.ImpersonationConfig{UserName: "alice", Groups: []string{"system:masters"}}
	made, err := kube(t, as).CoreV1().ConfigMaps(ns).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "drawn-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	event := awaitEvent(t, log, func(e auditv1.Event) bool { return e.Verb == "create" && e.ObjectRef.Resource == "configmaps" })
	cell, _ := b.cellOf(t, ns, made.Name)
	if who := event.ImpersonatedUser; event.User.Username == "" || event.User.Username == "alice" || who == nil || who.Username != "alice" {
		t.Errorf("user %v, impersonated %v", event.User, who)
	}
	if ref := event.ObjectRef; ref.Name != made.Name || ref.Namespace != ns || event.ResponseStatus.Code != 201 || event.RequestObject != nil {
		t.Errorf("object %v, status %v, body %v; want %s, 201 and no body", ref, event.ResponseStatus, event.RequestObject, made.Name)
	}
	if got := event.Annotations["kubecell.io/cell"]; got != cell || event.RequestReceivedTimestamp.IsZero() || event.StageTimestamp.IsZero() {
		t.Errorf("cell %q; want %s; times %v, %v", got, cell, event.RequestReceivedTimestamp, event.StageTimestamp)
	}

	maps := kube(t, config).CoreV1().ConfigMaps(ns)
	if _, err := maps.Get(t.Context(), "missing", getOptions()); err == nil {
		t.Fatal("found what does not exist")
	}
	event = awaitEvent(t, log, func(e auditv1.Event) bool {
		return e.Verb == "get" && e.ObjectRef != nil && e.ObjectRef.Name == "missing"
	})
	if s := event.ResponseStatus; s.Code != 404 || s.Reason != metav1.StatusReasonNotFound || !strings.Contains(s.Message, "missing") {
		t.Errorf("status %v; want the reason that the client got", s)
	}
	if _, err := maps.List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	event = awaitEvent(t, log, func(e auditv1.Event) bool { return e.Verb == "list" && e.ObjectRef.Namespace == ns })
	if got := event.Annotations["kubecell.io/cell"]; got != "cell-1,cell-2,cell-3" {
		t.Errorf("cells of a list: %q", got)
	}
	b.wantRefusalAudited(t, config, log)
	wantIDTold(t, config, "/api/v1/namespaces/"+ns+"/configmaps/"+made.Name+"?of=id", log)
}

// wantIDTold finds in the answer the ID of the event. It is what the cell answered with, which takes it from
// the request: the cell knows the same.
func wantIDTold(t *testing.T, config *rest.Config, path, log string) {
	t.Helper()
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Get(config.Host + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	event := awaitEvent(t, log, func(e auditv1.Event) bool { return strings.HasSuffix(e.RequestURI, "of=id") })
	if got := answer.Header.Values("Audit-Id"); len(got) != 1 || got[0] != string(event.AuditID) {
		t.Errorf("Audit-Id of the answer: %q; of the event: %q", got, event.AuditID)
	}
}

func (b *bed) wantRefusalAudited(t *testing.T, config *rest.Config, log string) {
	t.Helper()
	if code, _ := get(t, anonymous(config), "/api/v1/nodes?of=nobody", ""); code != 401 {
		t.Errorf("without credentials: %d", code)
	}
	if data, err := os.ReadFile(log); err != nil || !strings.Contains(string(data), `"code":401`) || !strings.Contains(string(data), "of=nobody") {
		t.Errorf("the refusal is not written down (%v) in\n%s", err, data)
	}
	if code, _ := get(t, config, "/cells/cell-2/api/v1/nodes?raw", ""); code != 200 {
		t.Errorf("raw: %d", code)
	}
	event := awaitEvent(t, log, func(e auditv1.Event) bool { return strings.Contains(e.RequestURI, "raw") })
	if event.Annotations["kubecell.io/raw-path"] != "/cells/cell-2/api/v1/nodes" || event.Annotations["kubecell.io/cell"] != "cell-2" {
		t.Errorf("annotations of a raw request: %v", event.Annotations)
	}
}

// TestAuditWritesObjectsDown sends objects in both encodings.
func TestAuditWritesObjectsDown(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "auditbody")
	config, log := b.auditedRouter(t, genericoptions.ModeBatch)
	for name, contentType := range map[string]string{"as-json": "application/json", "as-protobuf": "application/vnd.kubernetes.protobuf"} {
		c := rest.CopyConfig(config)
		c.ContentType = contentType
		_, err := kube(t, c).CoreV1().Secrets(ns).Create(t.Context(), &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: map[string]string{"key": "value"},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		event := awaitEvent(t, log, func(e auditv1.Event) bool { return e.Verb == "create" && e.ObjectRef.Name == name })
		var sent, got corev1.Secret
		if event.RequestObject == nil || json.Unmarshal(event.RequestObject.Raw, &sent) != nil || sent.StringData["key"] != "value" {
			t.Errorf("%s: request object %v", name, event.RequestObject)
		}
		if event.ResponseObject == nil || json.Unmarshal(event.ResponseObject.Raw, &got) != nil || string(got.Data["key"]) != "value" || got.UID == "" || len(got.ManagedFields) > 0 {
			t.Errorf("%s: response object %v", name, event.ResponseObject)
		}
		if event.ResponseStatus.Code != 201 {
			t.Errorf("%s: status %v", name, event.ResponseStatus)
		}
	}
	if _, err := kube(t, config).CoreV1().Services(ns).List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(log); err != nil || strings.Contains(string(data), `"resource":"services"`) {
		t.Errorf("written down at level None: %v", err)
	}
}
