package failover_test

import (
	"encoding/json"
	"net/http"
	"path"
	"slices"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/backup/mirror"
	"github.com/kubecell/kubectl-cell/pkg/failover"
)

// TestAMarkComesWhileFactsAreRead: it passes an object that has no copy by naming it, and the router forgets that. Whoever has
// read the mark before has asked the router before that.
func TestAMarkComesWhileFactsAreRead(t *testing.T) {
	b := newBed(t)
	ours, _ := b.fill(1)
	cm, err := b.maps().get(ours[0])
	b.must(err)
	tooLarge := mirror.Unprotected{
		Resource: "configmaps", Namespace: b.namespace, Name: ours[0], UID: string(cm.UID), Backup: "cell-2", Reason: mirror.TooLarge, Since: time.Now(),
	}
	var once sync.Once
	config := rest.CopyConfig(b.rcp)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			marks, err := next.RoundTrip(r)
			if path.Base(r.URL.Path) == "configmaps" {
				once.Do(func() {
					b.publish("cell-1", b.ring().Status.Epoch, tooLarge)
					b.forgotten("cell-1")
				})
			}
			return marks, err
		})
	})
	for _, when := range []string{"while it comes", "once it has come"} {
		facts, err := failover.Read(t.Context(), config, "cell-1")
		b.must(err)
		found, err := failover.Report(facts)
		b.must(err)
		if want := []string{failover.Key("", "configmaps", b.namespace, ours[0])}; !slices.Equal(found.Lost, want) {
			t.Errorf("%s: lost %v, want %v", when, found.Lost, want)
		}
	}
}

// TestAMarkOfAnotherControlPlane: a cell was removed and another one has its name. What the backup said of the first says
// nothing of the second: how many objects of it have no copy is not known.
func TestAMarkOfAnotherControlPlane(t *testing.T) {
	b := newBed(t)
	refused := mirror.Unprotected{Resource: "configmaps", Namespace: b.namespace, Name: "x", UID: "u", Backup: "cell-2", Reason: mirror.TooLarge, Since: time.Now()}
	const unsaid = "no backup has ever said how far it has come with this cell, nor has one counted its objects: how many have no copy cannot be known"
	for name, test := range map[string]struct {
		of   func(own string) string
		ours bool
	}{
		"this one":              {func(own string) string { return own }, true},
		"one that had its name": {func(string) string { return "another" }, false},
		"nobody says of which":  {func(string) string { return "" }, true},
	} {
		b.publish("cell-1", b.ring().Status.Epoch, refused)
		b.remark("cell-1", func(mark map[string]any) { mark["controlPlane"] = test.of(mark["controlPlane"].(string)) })
		facts, err := failover.Read(t.Context(), b.rcp, "cell-1")
		b.must(err)
		if ours := facts.Mark != nil; ours != test.ours || (len(facts.Unprotected) == 1) != test.ours {
			t.Errorf("%s: mark %+v, unprotected %v", name, facts.Mark, facts.Unprotected)
		}
		found, err := failover.Report(facts)
		b.must(err)
		if slices.Contains(found.Warnings, unsaid) == test.ours {
			t.Errorf("%s: the warnings are %q", name, found.Warnings)
		}
	}
}

// remark changes the mark of a cell.
func (b *bed) remark(cell string, change func(mark map[string]any)) {
	b.t.Helper()
	maps := b.kube.CoreV1().ConfigMaps(v1alpha1.Namespace)
	published, err := maps.Get(b.t.Context(), v1alpha1.MarksPrefix+cell, metav1.GetOptions{})
	b.must(err)
	var mark map[string]any
	b.must(json.Unmarshal([]byte(published.Data[v1alpha1.MarksKey]), &mark))
	change(mark)
	text, err := json.Marshal(mark)
	b.must(err)
	published.Data[v1alpha1.MarksKey] = string(text)
	_, err = maps.Update(b.t.Context(), published, metav1.UpdateOptions{})
	b.must(err)
}
