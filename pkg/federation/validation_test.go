package federation_test

import (
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
)

// A Ring or Cell that is edited by hand into nonsense is refused by the apiserver, and the refusal
// says what is allowed.
func TestNonsenseIsRefusedWithWhatIsAllowed(t *testing.T) {
	b := newBed(t)
	b.init(t, 0)
	if err := b.cell.Rings().Delete(t.Context(), v1alpha1.RingName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	client, err := dynamic.NewForConfig(b.rcp)
	if err != nil {
		t.Fatal(err)
	}
	const label = "a cell is named by a DNS label: at most 63 of a-z, 0-9 and '-'"
	ring := func(spec string) string { return "kind: Ring\nmetadata: {name: default}\nspec: " + spec }
	member := func(fields string) string { return ring("{pointsPerWeight: 100, members: [{" + fields + "}]}") }
	rule := func(fields string) string {
		return ring("{pointsPerWeight: 100, members: [], resources: [{" + fields + "}]}")
	}
	for name, test := range map[string]struct{ object, words string }{
		"second ring":      {"kind: Ring\nmetadata: {name: other}\nspec: {members: [], pointsPerWeight: 100}", "there is one Ring and it is named default"},
		"weight 0":         {member("cell: a, weight: 0"), "weight must be 1 to 1000"},
		"weight -1":        {member("cell: a, weight: -1"), "weight must be 1 to 1000"},
		"weight 1001":      {member("cell: a, weight: 1001"), "weight must be 1 to 1000"},
		"weight overflow":  {member("cell: a, weight: 99999999999"), "format int32"},
		"weight in words":  {member("cell: a, weight: heavy"), "integer"},
		"cell in capitals": {member("cell: Cell-A, weight: 1"), label},
		"cell with a dot":  {member("cell: a.b, weight: 1"), label},
		"cell dash first":  {member("cell: -a, weight: 1"), label},
		"cell empty":       {member("cell: '', weight: 1"), "at least 1 chars"},
		"cell too long":    {member("cell: " + strings.Repeat("a", 64) + ", weight: 1"), "63"},
		"cell twice":       {ring("{pointsPerWeight: 100, members: [{cell: a, weight: 1}, {cell: a, weight: 2}]}"), "Duplicate value"},
		"points 0":         {ring("{pointsPerWeight: 0, members: []}"), "pointsPerWeight must be 1 to 1000"},
		"points 1001":      {ring("{pointsPerWeight: 1001, members: []}"), "pointsPerWeight must be 1 to 1000"},
		"too many points": {
			ring("{pointsPerWeight: 1000, members: [{cell: a, weight: 1000}, {cell: b, weight: 1000}, {cell: c, weight: 1000}, {cell: d, weight: 1000}, {cell: e, weight: 1}]}"),
			"4000000 points at the most",
		},
		"key of a global":   {rule("group: apps, resource: deployments, class: Global, key: Name"), "key is allowed for class Sharded only"},
		"unknown class":     {rule("group: apps, resource: deployments, class: Scattered"), `supported values: "Sharded"`},
		"unknown key":       {rule("group: apps, resource: deployments, class: Sharded, key: Colour"), `supported values: "NamespacedName"`},
		"resource kind":     {rule("group: apps, resource: Deployment, class: Sharded"), "lower-case plural name without subresource"},
		"subresource":       {rule("group: apps, resource: deployments/scale, class: Sharded"), "lower-case plural name without subresource"},
		"rule twice":        {ring("{pointsPerWeight: 100, members: [], resources: [{group: apps, resource: x, class: Local}, {group: apps, resource: x, class: Global}]}"), "Duplicate value"},
		"retention past":    {ring("{pointsPerWeight: 100, members: [], retention: -1h}"), "retention must be a duration of 0s to 720h"},
		"retention eternal": {ring("{pointsPerWeight: 100, members: [], retention: 721h}"), "retention must be a duration of 0s to 720h"},
		"retention in days": {ring("{pointsPerWeight: 100, members: [], retention: 1 day}"), "retention"},
		"protection empty":  {ring("{pointsPerWeight: 100, members: [], protection: [{policy: Strict}]}"), "a rule names namespaces, a selector, or both"},
		"protection policy": {ring("{pointsPerWeight: 100, members: [], protection: [{namespaces: [a], policy: Maybe}]}"), `supported values: "Degrade", "Strict"`},
		"cell object name":  {"kind: Cell\nmetadata: {name: a.b}\nspec: {kubeconfigSecretRef: {name: x}}", label},
		"cell endpoint":     {"kind: Cell\nmetadata: {name: a}\nspec: {kubeconfigSecretRef: {name: x}, endpoints: ['http://a']}", "begins with https://"},
		"cell endpoints":    {"kind: Cell\nmetadata: {name: a}\nspec: {kubeconfigSecretRef: {name: x}, endpoints: ['https://a', 'https://a']}", "Duplicate value"},
		"cell secret":       {"kind: Cell\nmetadata: {name: a}\nspec: {kubeconfigSecretRef: {name: ''}}", "at least 1 chars"},
	} {
		t.Run(name, func(t *testing.T) {
			u := &unstructured.Unstructured{}
			if err := yaml.Unmarshal([]byte(test.object), &u.Object); err != nil {
				t.Fatal(err)
			}
			u.SetAPIVersion(v1alpha1.GroupVersion().String())
			resource := v1alpha1.GroupVersion().WithResource(strings.ToLower(u.GetKind()) + "s")
			_, err := client.Resource(resource).Create(t.Context(), u, metav1.CreateOptions{})
			if !apierrors.IsInvalid(err) {
				t.Fatalf("create: %v; want it refused as invalid", err)
			}
			if !strings.Contains(err.Error(), test.words) {
				t.Errorf("refused with %q\n  which lacks %q", err, test.words)
			}
		})
	}
}
