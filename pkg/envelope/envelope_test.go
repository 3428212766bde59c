package envelope_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/envelope"
)

const deployment = `{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"checkout","namespace":"payments",` +
	`"uid":"5d7bd3b0","resourceVersion":"12345","finalizers":["x.example/y"],` +
	`"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"root","uid":"owner-1"}],` +
	`"managedFields":[{"manager":"kubectl"}]},"spec":{"replicas":3,"Metadata":{"name":"another"}},"status":{"größe":9007199254740993}}` + "\n"

func source() envelope.Source {
	return envelope.Source{
		Resource: "deployments", Unit: "payments/checkout", Cell: "cell-3", BackupCell: "cell-1", Epoch: 42,
		Written: time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.FixedZone("", 3600)),
	}
}

func sealer(t testing.TB) *envelope.Sealer {
	t.Helper()
	s, err := envelope.NewSealer()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func seal(t testing.TB, object string) *corev1.Secret {
	t.Helper()
	secret, err := sealer(t).Seal(source(), []byte(object))
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// configMap has incompressible data of so many bytes.
func configMap(bytes int) string {
	data := make([]byte, bytes)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(data) // it always fills the slice
	return `{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"blob","namespace":"payments","uid":"u","resourceVersion":"1"},` +
		`"binaryData":{"blob":"` + base64.StdEncoding.EncodeToString(data) + `"}}`
}

func TestRoundTrip(t *testing.T) {
	secret := seal(t, deployment)
	opened, err := envelope.Open(secret)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(deployment))
	want := &envelope.Envelope{
		Object: []byte(deployment),
		Header: envelope.Header{
			Group: "apps", Version: "v1", Resource: "deployments", Kind: "Deployment", Namespace: "payments", Name: "checkout",
			UID: "5d7bd3b0", ResourceVersion: "12345", Owners: []types.UID{"owner-1"}, Epoch: 42,
			Written: time.Date(2026, 1, 2, 2, 4, 5, 678901234, time.UTC), Hash: hex.EncodeToString(sum[:]),
			Unit: "payments/checkout", SourceCell: "cell-3", BackupCell: "cell-1",
		},
	}
	if diff := cmp.Diff(want, opened); diff != "" {
		t.Errorf("opened (-want +got):\n%s", diff)
	}
	if got := opened.String(); got != "deployments.apps payments/checkout" {
		t.Errorf("String = %q", got)
	}
	if secret.Namespace != v1alpha1.Namespace || secret.Type != v1alpha1.EnvelopeType ||
		secret.Labels[v1alpha1.LabelBackupCell] != "cell-1" || secret.Labels[v1alpha1.LabelSourceCell] != "cell-3" {
		t.Errorf("the secret is %+v, type %s", secret.ObjectMeta, secret.Type)
	}
}

// TestHeaderNeedsMetadataAlone reads a header as a list by metadata gives it.
func TestHeaderNeedsMetadataAlone(t *testing.T) {
	secret := seal(t, deployment)
	secret.Annotations[v1alpha1.AnnotationPromoted] = "new-uid"
	meta := &metav1.PartialObjectMetadata{ObjectMeta: secret.ObjectMeta}
	h, err := envelope.HeaderOf(meta)
	if err != nil {
		t.Fatal(err)
	}
	if !h.Describes("5d7bd3b0", "12345") || h.Describes("5d7bd3b0", "12346") || h.Describes("other", "12345") {
		t.Errorf("%+v describes another object than was sealed", h)
	}
	if h.Promoted != "new-uid" || h.Unit != "payments/checkout" || h.SourceCell != "cell-3" {
		t.Errorf("header = %+v", h)
	}
}

// TestClusterScoped has neither namespace nor group.
func TestClusterScoped(t *testing.T) {
	secret := seal(t, `{"kind":"Thing","apiVersion":"v1","metadata":{"name":"a","uid":"u","resourceVersion":"1"}}`)
	opened, err := envelope.Open(secret)
	if err != nil {
		t.Fatal(err)
	}
	if opened.Namespace != "" || opened.Owners != nil || opened.String() != "deployments a" {
		t.Errorf("opened %s, namespace %q, owners %v", opened, opened.Namespace, opened.Owners)
	}
}

func TestEqualInputGivesEqualBytes(t *testing.T) {
	for _, object := range []string{deployment, configMap(300 << 10)} {
		first, err := json.Marshal(seal(t, object))
		if err != nil {
			t.Fatal(err)
		}
		second, err := json.Marshal(seal(t, object))
		if err != nil {
			t.Fatal(err)
		}
		if string(first) != string(second) {
			t.Errorf("two envelopes of one object differ")
		}
	}
}

// TestNames are part of the contract: a promotion looks an envelope up by its name.
func TestNames(t *testing.T) {
	const want = "envelope-987ea91f85a0be9011d593f0742ed4f756381e56"
	if got := envelope.Name("apps", "deployments", "payments", "checkout"); got != want {
		t.Errorf("Name = %s; want %s", got, want)
	}
	seen := map[string]string{}
	for _, of := range [][4]string{
		{"apps", "deployments", "a", "b"}, {"", "deployments", "a", "b"}, {"apps", "deployments", "", "b"}, {"apps", "deployments", "b", "a"},
		{"apps", "statefulsets", "a", "b"}, {"apps", "deployments", "a", "bb"}, {"", "appsdeployments", "a", "b"},
	} {
		name := envelope.Name(of[0], of[1], of[2], of[3])
		if other, there := seen[name]; there {
			t.Errorf("%v has the name of %s", of, other)
		}
		seen[name] = fmt.Sprint(of)
	}
}

func TestSize(t *testing.T) {
	if _, err := envelope.Open(seal(t, configMap(900<<10))); err != nil {
		t.Errorf("900 KiB: %v", err)
	}
	for name, object := range map[string]string{
		"does not fit in a secret": configMap(1200 << 10),
		"would fill the memory": `{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a","uid":"u","resourceVersion":"1"},"data":{"a":"` +
			strings.Repeat("a", 33<<20) + `"}}`,
	} {
		_, err := sealer(t).Seal(source(), []byte(object))
		if tooLarge := (*envelope.TooLargeError)(nil); !errors.As(err, &tooLarge) || tooLarge.Size <= tooLarge.Limit {
			t.Errorf("%s: %v; want a TooLargeError", name, err)
		}
	}
}

func TestWhatNoServerServedIsNotSealed(t *testing.T) {
	for name, object := range map[string]string{
		"no JSON":       `{`,
		"no uid":        `{"kind":"A","apiVersion":"v1","metadata":{"name":"a","resourceVersion":"1"}}`,
		"no version":    `{"kind":"A","apiVersion":"v1","metadata":{"name":"a","uid":"u"}}`,
		"no kind":       `{"apiVersion":"v1","metadata":{"name":"a","uid":"u","resourceVersion":"1"}}`,
		"no apiVersion": `{"kind":"A","metadata":{"name":"a","uid":"u","resourceVersion":"1"}}`,
		"odd group":     `{"kind":"A","apiVersion":"a/b/c","metadata":{"name":"a","uid":"u","resourceVersion":"1"}}`,
	} {
		if _, err := sealer(t).Seal(source(), []byte(object)); err == nil {
			t.Errorf("%s: sealed", name)
		}
	}
	for name, change := range map[string]func(*envelope.Source){
		"no resource": func(s *envelope.Source) { s.Resource = "" }, "no unit": func(s *envelope.Source) { s.Unit = "" },
		"no cell": func(s *envelope.Source) { s.Cell = "" }, "no backup cell": func(s *envelope.Source) { s.BackupCell = "" },
	} {
		s := source()
		change(&s)
		if _, err := sealer(t).Seal(s, []byte(deployment)); err == nil {
			t.Errorf("%s: sealed", name)
		}
	}
}
