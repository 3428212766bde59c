package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// What needs nothing but an API, against one control plane. No test may disturb the others.
func TestAPI(t *testing.T) {
	t.Parallel()
	p := start(t, tempDir(t))
	for name, test := range map[string]func(*testing.T, *plane){
		"version":                  versionIsThatOfKubernetes,
		"second run is refused":    secondRunIsRefused,
		"loopback only":            listensOnLoopbackOnly,
		"files are private":        filesArePrivate,
		"anonymous":                anonymousSeesHealthOnly,
		"client without rights":    rbacIsOn,
		"service account token":    serviceAccountTokenWorks,
		"admission policy":         admissionPolicyWorks,
		"namespace life":           namespaceIsFurnishedAndEmptied,
		"garbage collection":       dependentsAreCollected,
		"resource quota":           quotaIsCountedAndEnforced,
		"cluster role aggregation": rolesAreAggregated,
		"volume claims":            volumeClaimsCanBeDeleted,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, p)
		})
	}
}

func versionIsThatOfKubernetes(t *testing.T, p *plane) {
	got, err := p.client().Discovery().ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	if got.GitVersion != "v1.36.3" || got.Major != "1" || got.Minor != "36" {
		t.Errorf("version: got %s (%s.%s), want v1.36.3 (1.36)", got.GitVersion, got.Major, got.Minor)
	}
}

// Two runs on one directory: the second one is refused and the first one does not notice.
func secondRunIsRefused(t *testing.T, p *plane) {
	second := launch(t, p.dir)
	if code := second.awaitEnd(); code != 4 {
		t.Errorf("exit code: got %d, want 4", code)
	}
	want := fmt.Sprintf("error: this control plane is already running: pid %d since ", p.pid())
	if got := second.stderr.String(); !strings.HasPrefix(got, want) || !strings.Contains(got, "hint: ") {
		t.Errorf("standard error: got %q, want it to begin with %q and give a hint", got, want)
	}
	var status int
	p.client().Discovery().RESTClient().Get().AbsPath("/readyz").Do(t.Context()).StatusCode(&status)
	if status != http.StatusOK {
		t.Errorf("readiness of the first one: got %d", status)
	}
}

func anonymousSeesHealthOnly(t *testing.T, p *plane) {
	client := kubernetes.NewForConfigOrDie(rest.AnonymousClientConfig(p.config()))
	for path, want := range map[string]int{
		"/readyz": http.StatusOK, "/livez": http.StatusOK, "/version": http.StatusUnauthorized,
		"/api/v1/namespaces": http.StatusUnauthorized, "/api/v1/namespaces/default/configmaps": http.StatusUnauthorized,
	} {
		var got int
		client.Discovery().RESTClient().Get().AbsPath(path).Do(t.Context()).StatusCode(&got)
		if got != want {
			t.Errorf("GET %s: got %d, want %d", path, got, want)
		}
	}
}

func rbacIsOn(t *testing.T, p *plane) {
	client := p.clientAs("nobody")
	_, err := client.CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{})
	if !apierrors.IsForbidden(err) {
		t.Errorf("listing without rights: got %v, want forbidden", err)
	}
	who, err := client.AuthenticationV1().SelfSubjectReviews().
		Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := who.Status.UserInfo.Username; got != "nobody" {
		t.Errorf("user: got %q, want that of the certificate", got)
	}
}

// A Secret of the old type gets a token, and the token opens the API for its account.
func serviceAccountTokenWorks(t *testing.T, p *plane) {
	admin := p.client()
	secrets := admin.CoreV1().Secrets("default")
	_, err := secrets.Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "token", Annotations: map[string]string{corev1.ServiceAccountNameKey: "default"}},
		Type:       corev1.SecretTypeServiceAccountToken,
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	config := rest.AnonymousClientConfig(p.config())
	eventually(t, "token in the secret", func(ctx context.Context) error {
		secret, err := secrets.Get(ctx, "token", metav1.GetOptions{})
		if err != nil {
			return err
		}
		config.BearerToken = string(secret.Data[corev1.ServiceAccountTokenKey])
		if config.BearerToken == "" {
			return errors.New("there is none yet")
		}
		return nil
	})
	_, err = kubernetes.NewForConfigOrDie(config).CoreV1().Secrets("default").List(t.Context(), metav1.ListOptions{})
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "system:serviceaccount:default:default") {
		t.Errorf("listing with the token: got %v, want it forbidden to the account", err)
	}
}
