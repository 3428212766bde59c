package cells_test

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cells"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

var planes = sandboxtest.NewPool(1)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m, planes)) }

// through is a client of the control plane behind the given endpoints.
func through(t *testing.T, config *rest.Config, endpoints ...string) kubernetes.Interface {
	t.Helper()
	cell := &v1alpha1.Cell{ObjectMeta: metav1.ObjectMeta{Name: "cell-1"}, Spec: v1alpha1.CellSpec{Endpoints: endpoints}}
	config, err := cells.Config(cell, sandboxtest.Kubeconfig(t, config))
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// roundTrip makes an object, reads it and deletes it.
func roundTrip(t *testing.T, client kubernetes.Interface, name string) {
	t.Helper()
	maps := client.CoreV1().ConfigMaps(metav1.NamespaceDefault)
	if _, err := maps.Create(t.Context(), named(name), metav1.CreateOptions{}); err != nil {
		t.Fatalf("create: %v", err)
	}
	if got, err := maps.Get(t.Context(), name, metav1.GetOptions{}); err != nil || got.Name != name {
		t.Errorf("get: %v, %v", got, err)
	}
	if err := maps.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Errorf("delete: %v", err)
	}
}

func named(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func TestTheNextEndpointServesWhereOneRefuses(t *testing.T) {
	config := planes.Configs(t)[0]
	first, second := sandboxtest.NewGate(t, config.Host), sandboxtest.NewGate(t, config.Host)
	first.Vanish()
	client := through(t, config, first.URL(), second.URL())
	roundTrip(t, client, "second")
	first.Pass()
	roundTrip(t, client, "still-second")
	if first.Accepted() != 0 {
		t.Error("the first endpoint was asked while the second served")
	}
	second.Vanish()
	readDefault(t, client)
	roundTrip(t, client, "first")
	first.Vanish()
	if _, err := client.CoreV1().Namespaces().Get(t.Context(), metav1.NamespaceDefault, metav1.GetOptions{}); err == nil {
		t.Error("there is an answer though no endpoint is left")
	}
}

func readDefault(t *testing.T, client kubernetes.Interface) {
	t.Helper()
	if _, err := client.CoreV1().Namespaces().Get(t.Context(), metav1.NamespaceDefault, metav1.GetOptions{}); err != nil {
		t.Fatal(err)
	}
}

// TestASilentEndpointIsGivenUp has an endpoint hang before and after a request got through to it.
func TestASilentEndpointIsGivenUp(t *testing.T) {
	config := planes.Configs(t)[0]
	t.Run("before anything was sent", func(t *testing.T) {
		t.Parallel()
		first := sandboxtest.NewGate(t, config.Host)
		first.Hang()
		roundTrip(t, through(t, config, first.URL(), config.Host), "unsent")
	})
	t.Run("a read is sent again", func(t *testing.T) {
		t.Parallel()
		readDefault(t, hanging(t, config))
	})
	t.Run("a write is not", func(t *testing.T) {
		t.Parallel()
		client := hanging(t, config)
		_, err := client.CoreV1().ConfigMaps(metav1.NamespaceDefault).Create(t.Context(), named("sent"), metav1.CreateOptions{})
		var silent *cells.NoAnswerError
		var timeout net.Error
		if !errors.As(err, &silent) || !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("got %v; want a NoAnswerError that is a timeout", err)
		}
		roundTrip(t, client, "after-sent")
	})
	t.Run("a request with less time", func(t *testing.T) {
		t.Parallel()
		client := hanging(t, config)
		short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if _, err := client.CoreV1().Namespaces().Get(short, metav1.NamespaceDefault, metav1.GetOptions{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v; want that the time is over", err)
		}
		roundTrip(t, client, "after-short")
	})
}

// hanging is a client with a connection to an endpoint that hangs, and with another endpoint that serves.
func hanging(t *testing.T, config *rest.Config) kubernetes.Interface {
	t.Helper()
	first := sandboxtest.NewGate(t, config.Host)
	client := through(t, config, first.URL(), config.Host)
	readDefault(t, client)
	first.Hang()
	return client
}

// TestASlowRequestIsNotASilentEndpoint has a webhook hold writes up for longer than a silent endpoint is waited for.
func TestASlowRequestIsNotASilentEndpoint(t *testing.T) {
	config := planes.Configs(t)[0]
	second, silent := sandboxtest.NewGate(t, config.Host), sandboxtest.NewGate(t, config.Host)
	silent.Hang()
	client := through(t, config, config.Host, second.URL())
	slow := map[string]string{"slow": "true"}
	_, err := client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(t.Context(), &admissionv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "slow"},
		Webhooks: []admissionv1.ValidatingWebhook{{
			Name: "slow.example.com", AdmissionReviewVersions: []string{"v1"}, SideEffects: ptr.To(admissionv1.SideEffectClassNone),
			ClientConfig:  admissionv1.WebhookClientConfig{URL: ptr.To(silent.URL())},
			FailurePolicy: ptr.To(admissionv1.Ignore), TimeoutSeconds: ptr.To[int32](4),
			ObjectSelector: &metav1.LabelSelector{MatchLabels: slow},
			Rules: []admissionv1.RuleWithOperations{{
				Operations: []admissionv1.OperationType{admissionv1.Create},
				Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
			}},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	held := named("held")
	held.Labels = slow
	err = wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		began := time.Now()
		_, err := client.CoreV1().ConfigMaps(metav1.NamespaceDefault).Create(ctx, held, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return time.Since(began) > 4*time.Second, err
	})
	if err != nil {
		t.Errorf("a write that takes its time: %v", err)
	}
	if second.Accepted() != 0 {
		t.Error("a request that takes its time was sent to the next endpoint")
	}
}
