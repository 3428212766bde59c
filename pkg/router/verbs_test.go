package router_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/kubecell/kubectl-cell/pkg/placement"
)

// verbKind is a resource to which every verb is sent.
type verbKind struct {
	class placement.Class
	// at is the path of its collection; $NS stands for the namespace.
	at string
	// apiVersion, kind and rest are those of an object, rest what it has besides its metadata.
	apiVersion, kind, rest string
	// change is the rest once it has changed.
	change string
}

// verbKinds has resources of every class, those with a status and a scale among them, and cluster-scoped ones.
func verbKinds() map[string]verbKind {
	const (
		template = `"template":{"metadata":{"labels":{"app":"x"}},"spec":{"containers":[{"name":"c","image":"registry.example/c:1"}]}}`
		workload = `"spec":{"replicas":%d,"selector":{"matchLabels":{"app":"x"}},` + template + `}`
	)
	return map[string]verbKind{
		"configmaps":  {placement.Sharded, "/api/v1/namespaces/$NS/configmaps", "v1", "ConfigMap", `"data":{"k":"1"}`, `"data":{"k":"2"}`},
		"deployments": {placement.Sharded, "/apis/apps/v1/namespaces/$NS/deployments", "apps/v1", "Deployment", fmt.Sprintf(workload, 1), fmt.Sprintf(workload, 2)},
		"federatedobjects": {placement.Dependent, "/apis/core.kubeadmiral.io/v1/namespaces/$NS/federatedobjects", "core.kubeadmiral.io/v1", "FederatedObject",
			`"spec":{"replicas":1}`, `"spec":{"replicas":2}`},
		"replicasets": {placement.Local, "/apis/apps/v1/namespaces/$NS/replicasets", "apps/v1", "ReplicaSet", fmt.Sprintf(workload, 1), fmt.Sprintf(workload, 2)},
		"events": {placement.Local, "/api/v1/namespaces/$NS/events", "v1", "Event", `"involvedObject":{"namespace":"$NS"},"reason":"One"`,
			`"involvedObject":{"namespace":"$NS"},"reason":"Two"`},
		"roles": {placement.Replicated, "/apis/rbac.authorization.k8s.io/v1/namespaces/$NS/roles", "rbac.authorization.k8s.io/v1", "Role",
			`"rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}]`, `"rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["list"]}]`},
		"priorityclasses": {placement.Replicated, "/apis/scheduling.k8s.io/v1/priorityclasses", "scheduling.k8s.io/v1", "PriorityClass",
			`"value":7`, `"value":7,"description":"changed"`},
		"leases": {placement.Global, "/apis/coordination.k8s.io/v1/namespaces/$NS/leases", "coordination.k8s.io/v1", "Lease",
			`"spec":{"holderIdentity":"a"}`, `"spec":{"holderIdentity":"b"}`},
	}
}

// dependents is the definition of the resource of class Dependent.
const dependents = `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition",
	"metadata":{"name":"federatedobjects.core.kubeadmiral.io","annotations":{"api-approved.kubernetes.io":"unapproved, for a test"}},
	"spec":{"group":"core.kubeadmiral.io","scope":"Namespaced","names":{"plural":"federatedobjects","singular":"federatedobject","kind":"FederatedObject","listKind":"FederatedObjectList"},
	"versions":[{"name":"v1","served":true,"storage":true,
	"subresources":{"status":{},"scale":{"specReplicasPath":".spec.replicas","statusReplicasPath":".status.replicas"}},
	"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true,"properties":{
	"spec":{"type":"object","properties":{"replicas":{"type":"integer"}}},"status":{"type":"object","properties":{"replicas":{"type":"integer"}}}}}}}]}}`

// verbRequest is a request of the script; at is below the collection. $OBJECT and $CHANGED stand for what an object has
// besides its metadata, $VERSION and $UID for those of the object that was answered last, $PREFIX for that of names.
type verbRequest struct{ what, method, at, contentType, accept, body string }

// verbScript asks for everything that can be asked of a resource, and for some of what cannot.
func verbScript() []verbRequest {
	const (
		plain, merge, strategic = "application/json", "application/merge-patch+json", "application/strategic-merge-patch+json"
		jsonPatch, apply        = "application/json-patch+json", "application/apply-patch+yaml"
		table                   = "application/json;as=Table;g=meta.k8s.io;v="
		partial                 = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v="
		partials                = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v="
		selected                = "?labelSelector=of%3D$PREFIXx"
	)
	object := func(metadata, rest string) string {
		if metadata != "" {
			metadata = "," + metadata
		}
		return `{"apiVersion":"$API","kind":"$KIND","metadata":{"labels":{"of":"$PREFIXx"}` + metadata + `},` + rest + `}`
	}
	named := func(name, rest string) string { return object(`"name":"$PREFIX`+name+`"`, rest) }
	at := func(version, name, rest string) string {
		return object(`"name":"$PREFIX`+name+`","resourceVersion":"`+version+`"`, rest)
	}
	return []verbRequest{
		{"create", http.MethodPost, "", plain, "", named("a", "$OBJECT")},
		{"create what is there", http.MethodPost, "", plain, "", named("a", "$OBJECT")},
		{"create without a name", http.MethodPost, "", plain, "", object("", "$OBJECT")},
		{"create with a name that is none", http.MethodPost, "", plain, "", named("a_b", "$OBJECT")},
		{"create in another namespace", http.MethodPost, "", plain, "", object(`"name":"$PREFIXc","namespace":"kube-system"`, "$OBJECT")},
		{"create in a dry run", http.MethodPost, "?dryRun=All", plain, "", named("b", "$OBJECT")},
		{"get what was created in a dry run", http.MethodGet, "/$PREFIXb", "", "", ""},
		{"create with a version", http.MethodPost, "", plain, "", at("5", "b", "$OBJECT")},
		{"create with fields that are unknown", http.MethodPost, "?dryRun=All&fieldValidation=Warn", plain, "", named("b", `"unknown":1,$OBJECT`)},
		{"create with unknown fields, strictly", http.MethodPost, "?fieldValidation=Strict", plain, "", named("b", `"unknown":1,$OBJECT`)},
		{"create of another kind", http.MethodPost, "", plain, "", `{"apiVersion":"v1","kind":"Node","metadata":{"name":"$PREFIXd"}}`},
		{"create from YAML", http.MethodPost, "", "application/yaml", "application/yaml", named("y", "$OBJECT")},
		{"create with a drawn name", http.MethodPost, "", plain, "", object(`"generateName":"$PREFIXdrawn-"`, "$OBJECT")},
		{"create with a finalizer", http.MethodPost, "", plain, "", object(`"name":"$PREFIXheld","finalizers":["example.com/hold"]`, "$OBJECT")},

		{"get", http.MethodGet, "/$PREFIXa", "", "", ""},
		{"get as YAML", http.MethodGet, "/$PREFIXa", "", "application/yaml", ""},
		{"get as protobuf or JSON", http.MethodGet, "/$PREFIXmissing", "", "application/vnd.kubernetes.protobuf,application/json", ""},
		{"get as CBOR or JSON", http.MethodGet, "/$PREFIXa", "", "application/cbor;q=0.1,application/json", ""},
		{"get as a table", http.MethodGet, "/$PREFIXa", "", table + "v1", ""},
		{"get as an old table", http.MethodGet, "/$PREFIXa", "", table + "v1beta1", ""},
		{"get metadata", http.MethodGet, "/$PREFIXa", "", partial + "v1", ""},
		{"get old metadata", http.MethodGet, "/$PREFIXa", "", partial + "v1beta1", ""},
		{"get in a form that is none", http.MethodGet, "/$PREFIXa", "", "text/plain", ""},
		{"get what is missing", http.MethodGet, "/$PREFIXmissing", "", "", ""},
		{"get what is missing as YAML", http.MethodGet, "/$PREFIXmissing", "", "application/yaml", ""},
		{"create what is there from YAML", http.MethodPost, "", "application/yaml", "application/yaml", named("a", "$OBJECT")},
		{"get a subresource that is none", http.MethodGet, "/$PREFIXa/nonsense", "", "", ""},
		{"head", http.MethodHead, "/$PREFIXa", "", "", ""},

		{"list", http.MethodGet, selected, "", "", ""},
		{"list as YAML", http.MethodGet, selected, "", "application/yaml", ""},
		{"list as a table", http.MethodGet, selected, "", table + "v1", ""},
		{"list metadata", http.MethodGet, selected, "", partials + "v1", ""},
		{"list old metadata", http.MethodGet, selected, "", partials + "v1beta1", ""},
		{"list a page", http.MethodGet, selected + "&limit=1", "", "", ""},
		{"list by field", http.MethodGet, selected + "&fieldSelector=metadata.name%3D$PREFIXa", "", "", ""},
		{"list by a field that is none", http.MethodGet, "?fieldSelector=spec.nonsense%3Da", "", "", ""},
		{"list by a label that is none", http.MethodGet, "?labelSelector=%3D%3D", "", "", ""},
		{"list by a label that is none as YAML", http.MethodGet, "?labelSelector=%3D%3D", "", "application/yaml", ""},
		{"head of a list", http.MethodHead, selected, "", "", ""},
		{"head of what is missing", http.MethodHead, "/$PREFIXmissing", "", "", ""},
		{"list with a limit that is none", http.MethodGet, "?limit=x", "", "", ""},

		{"update", http.MethodPut, "/$PREFIXa", plain, "", at("$VERSION", "a", "$CHANGED")},
		{"update in an old version", http.MethodPut, "/$PREFIXa", plain, "", at("1", "a", "$OBJECT")},
		{"update without a version", http.MethodPut, "/$PREFIXa", plain, "", named("a", "$OBJECT")},
		{"update in a dry run", http.MethodPut, "/$PREFIXa?dryRun=All", plain, "", named("a", "$CHANGED")},
		{"update under another name", http.MethodPut, "/$PREFIXa", plain, "", named("b", "$OBJECT")},
		{"update of another UID", http.MethodPut, "/$PREFIXa", plain, "", object(`"name":"$PREFIXa","uid":"nonsense"`, "$OBJECT")},
		{"update in another namespace", http.MethodPut, "/$PREFIXa", plain, "", object(`"name":"$PREFIXa","namespace":"kube-system"`, "$OBJECT")},
		{"update what is missing", http.MethodPut, "/$PREFIXnew", plain, "", named("new", "$OBJECT")},
		{"update what is missing in a version", http.MethodPut, "/$PREFIXnewer", plain, "", at("7", "newer", "$OBJECT")},

		{"JSON patch", http.MethodPatch, "/$PREFIXa", jsonPatch, "", `[{"op":"add","path":"/metadata/labels/json","value":"1"}]`},
		{"JSON patch whose test fails", http.MethodPatch, "/$PREFIXa", jsonPatch, "", `[{"op":"test","path":"/metadata/labels/json","value":"2"}]`},
		{"JSON patch of nothing", http.MethodPatch, "/$PREFIXa", jsonPatch, "", `[{"op":"remove","path":"/metadata/labels/none"}]`},
		{"JSON patch that is none", http.MethodPatch, "/$PREFIXa", jsonPatch, "", `{"op":1}`},
		{"merge patch", http.MethodPatch, "/$PREFIXa", merge, "", `{"metadata":{"labels":{"merge":"1"}}}`},
		{"merge patch of an old version", http.MethodPatch, "/$PREFIXa", merge, "", `{"metadata":{"resourceVersion":"1","labels":{"merge":"2"}}}`},
		{"merge patch in a dry run", http.MethodPatch, "/$PREFIXa?dryRun=All", merge, "", `{"metadata":{"labels":{"merge":"3"}}}`},
		{"merge patch of what is missing", http.MethodPatch, "/$PREFIXmissing", merge, "", `{"metadata":{"labels":{"merge":"1"}}}`},
		{"strategic patch", http.MethodPatch, "/$PREFIXa", strategic, "", `{"metadata":{"labels":{"strategic":"1"}}}`},
		{"patch of a form that is none", http.MethodPatch, "/$PREFIXa", plain, "", `{}`},
		{"apply", http.MethodPatch, "/$PREFIXa?fieldManager=one", apply, "", object("", "$OBJECT")},
		{"apply against another manager", http.MethodPatch, "/$PREFIXa?fieldManager=two", apply, "", object("", "$CHANGED")},
		{"apply by force", http.MethodPatch, "/$PREFIXa?fieldManager=two&force=true", apply, "", object("", "$CHANGED")},
		{"apply without a manager", http.MethodPatch, "/$PREFIXa", apply, "", object("", "$OBJECT")},
		{"apply what is missing", http.MethodPatch, "/$PREFIXapplied?fieldManager=one", apply, "", object("", "$OBJECT")},
		{"apply in a dry run", http.MethodPatch, "/$PREFIXapplied?fieldManager=one&dryRun=All", apply, "", object("", "$CHANGED")},

		{"get status", http.MethodGet, "/$PREFIXa/status", "", "", ""},
		{"patch status", http.MethodPatch, "/$PREFIXa/status", merge, "", `{"status":{"replicas":3}}`},
		{"update status in an old version", http.MethodPut, "/$PREFIXa/status", plain, "", at("1", "a", "$OBJECT")},
		{"apply status", http.MethodPatch, "/$PREFIXa/status?fieldManager=three", apply, "", `{"apiVersion":"$API","kind":"$KIND","status":{"replicas":4}}`},
		{"get scale", http.MethodGet, "/$PREFIXa/scale", "", "", ""},
		{"patch scale", http.MethodPatch, "/$PREFIXa/scale", merge, "", `{"spec":{"replicas":5}}`},
		{"update scale", http.MethodPut, "/$PREFIXa/scale", plain, "", `{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"$PREFIXa"},"spec":{"replicas":6}}`},
		{"update scale in an old version", http.MethodPut, "/$PREFIXa/scale", plain, "",
			`{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"$PREFIXa","resourceVersion":"1"},"spec":{"replicas":7}}`},
		{"get after all that", http.MethodGet, "/$PREFIXa", "", "", ""},

		{"delete of another UID", http.MethodDelete, "/$PREFIXa", plain, "", `{"apiVersion":"v1","kind":"DeleteOptions","preconditions":{"uid":"nonsense"}}`},
		{"delete of another version", http.MethodDelete, "/$PREFIXa", plain, "", `{"apiVersion":"v1","kind":"DeleteOptions","preconditions":{"resourceVersion":"1"}}`},
		{"delete in a dry run", http.MethodDelete, "/$PREFIXa?dryRun=All", "", "", ""},
		{"delete with a policy that is none", http.MethodDelete, "/$PREFIXa?propagationPolicy=Nonsense", "", "", ""},
		{"delete of a version", http.MethodDelete, "/$PREFIXa", plain, "", `{"apiVersion":"v1","kind":"DeleteOptions","preconditions":{"uid":"$UID","resourceVersion":"$VERSION"}}`},
		{"delete what is missing", http.MethodDelete, "/$PREFIXa", "", "", ""},
		{"delete what a finalizer holds", http.MethodDelete, "/$PREFIXheld", "", "", ""},
		{"get what a finalizer holds", http.MethodGet, "/$PREFIXheld", "", "", ""},
		{"delete it again", http.MethodDelete, "/$PREFIXheld", "", "", ""},
		{"let it go", http.MethodPatch, "/$PREFIXheld", merge, "", `{"metadata":{"finalizers":null}}`},
		{"get what was let go", http.MethodGet, "/$PREFIXheld", "", "", ""},
		{"delete a collection in a dry run", http.MethodDelete, selected + "&dryRun=All", "", "", ""},
		{"delete a collection", http.MethodDelete, selected, "", "", ""},
		{"list what is left", http.MethodGet, selected, "", "", ""},
		{"delete a collection of nothing", http.MethodDelete, selected, "", "", ""},
	}
}

// verbSide is one of the two that are asked: a router, or an apiserver.
type verbSide struct {
	config *rest.Config
	ns     string
	// prefix begins the names of objects: those without a namespace need names of their own. It and the namespace are as long
	// as those of the other side, for answers in protobuf.
	prefix       string
	version, uid string
}

// verbAnswer is what can be compared of an answer.
type verbAnswer struct {
	Code        int
	ContentType string
	Warnings    []string
	Body        any
}

// send sends a request of the script, for a resource, and returns the answer without what cannot be the same.
func (s *verbSide) send(t *testing.T, kind verbKind, request verbRequest) verbAnswer {
	t.Helper()
	fill := strings.NewReplacer("$OBJECT", kind.rest, "$CHANGED", kind.change, "$API", kind.apiVersion, "$KIND", kind.kind)
	names := strings.NewReplacer("$NS", s.ns, "$PREFIX", s.prefix, "$VERSION", s.version, "$UID", s.uid)
	client, err := rest.HTTPClientFor(s.config)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), request.method, s.config.Host+names.Replace(kind.at+request.at),
		strings.NewReader(names.Replace(fill.Replace(request.body))))
	if err != nil {
		t.Fatal(err)
	}
	if request.contentType != "" {
		r.Header.Set("Content-Type", request.contentType)
	}
	if request.accept != "" {
		r.Header.Set("Accept", request.accept)
	}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatalf("%s: %v", request.what, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatalf("%s: the answer breaks off: %v", request.what, err)
	}
	out := verbAnswer{Code: answer.StatusCode, ContentType: answer.Header.Get("Content-Type"), Warnings: answer.Header.Values("Warning")}
	var body any
	unmarshal := json.Unmarshal
	if out.ContentType == "application/yaml" {
		unmarshal = func(text []byte, into any) error { return yaml.Unmarshal(text, into) }
	}
	if unmarshal(text, &body) != nil {
		out.Body = s.same(string(text))
		return out
	}
	if metadata, ok := field(body, "metadata").(map[string]any); ok && field(body, "kind") == kind.kind {
		s.version, _ = metadata["resourceVersion"].(string)
		s.uid, _ = metadata["uid"].(string)
	}
	out.Body = s.sameValue(body)
	return out
}

func field(value any, name string) any {
	object, _ := value.(map[string]any)
	return object[name]
}

var (
	uids  = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
	drawn = regexp.MustCompile(`drawn-[0-9a-z]{5}\b`)
	age   = regexp.MustCompile(`^[0-9]+m?s$`)
	// recorded and goTypes are parts of messages that differ between any two objects, or any two programs.
	recorded = regexp.MustCompile(`ResourceVersion in record \([0-9]+\)`)
	goTypes  = regexp.MustCompile(`Go value of type \S+`)
)

// same is a text of an answer without what differs between any two objects.
func (s *verbSide) same(text string) string {
	text = strings.NewReplacer(s.ns, "$NS", s.prefix, "$PREFIX").Replace(text)
	text = age.ReplaceAllString(text, "*")
	text = drawn.ReplaceAllString(uids.ReplaceAllString(text, "$$UID"), "drawn-*")
	return goTypes.ReplaceAllString(recorded.ReplaceAllString(text, "ResourceVersion in record"), "Go value")
}

// sameValue is a value of an answer without that.
func (s *verbSide) sameValue(value any) any {
	switch value := value.(type) {
	case string:
		return s.same(value)
	case []any:
		for i := range value {
			value[i] = s.sameValue(value[i])
		}
		if len(value) > 0 && field(value[0], "reason") != nil { // causes come in any order
			slices.SortFunc(value, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		}
		return value
	case map[string]any:
		// An apiserver counts no items that are selected, and writes an empty token for custom resources.
		delete(value, "remainingItemCount")
		if value["continue"] == "" {
			delete(value, "continue")
		}
		for key := range maps.Keys(value) {
			switch key {
			case "resourceVersion", "creationTimestamp", "deletionTimestamp", "time", "continue":
				if value[key] != nil {
					value[key] = "*"
				}
			default:
				value[key] = s.sameValue(value[key])
			}
		}
		return value
	}
	return value
}

// namespaceIn makes a namespace in one cell, without the router's knowing, until the test ends.
func (b *bed) namespaceIn(t *testing.T, cell, name string) string {
	t.Helper()
	namespaces := kube(t, b.cells[cell]).CoreV1().Namespaces()
	if _, err := namespaces.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if err := namespaces.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
		err := wait.PollUntilContextTimeout(ctx, pollInterval, pollTimeout, true, func(ctx context.Context) (bool, error) {
			_, err := namespaces.Get(ctx, name, getOptions())
			return apierrors.IsNotFound(err), nil
		})
		if err != nil {
			t.Errorf("namespace %s of %s does not go: %v", name, cell, err)
		}
	})
	return name
}

// TestEveryVerbInEveryClass sends the same requests to the router and to a cell directly: objects of every class answer to
// every verb, in every form, as those of one apiserver do, in the same words.
func TestEveryVerbInEveryClass(t *testing.T) {
	b := newBed(t)
	through := &verbSide{config: b.router, ns: b.namespace(t, "verbs-router"), prefix: "router-"}
	direct := &verbSide{config: b.cells["cell-1"], ns: b.namespaceIn(t, "cell-1", "verbs-direct"), prefix: "direct-"}
	if code, text := b.send(t, http.MethodPost, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", "application/json", dependents); code != http.StatusCreated {
		t.Fatalf("%d %s", code, text)
	}
	t.Cleanup(func() {
		definitions := dyn(t, b.router).Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
		if err := definitions.Delete(context.WithoutCancel(t.Context()), "federatedobjects.core.kubeadmiral.io", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	classes := map[placement.Class]bool{}
	for name, kind := range verbKinds() {
		classes[kind.class] = true
		t.Run(name, func(t *testing.T) {
			group, _, _ := strings.Cut(kind.apiVersion, "/")
			if got, _ := b.snapshot(t).Classes.Of(strings.TrimPrefix(group, "v1"), name, through.ns); got != kind.class {
				t.Fatalf("its class is %s; want %s", got, kind.class)
			}
			for _, request := range verbScript() {
				want, got := direct.send(t, kind, request), through.send(t, kind, request)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s (-cell +router):\n%s", request.what, diff)
				}
			}
		})
	}
	if len(classes) != 5 {
		t.Errorf("of five classes these were tried: %v", classes)
	}
}
