package authn

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/authenticator"

	"github.com/kubecell/kubectl-cell/pkg/router/authn/authntest"
)

// TestAnIssuersTokens judges tokens of a real issuer, and goes on when its file changes.
func TestAnIssuersTokens(t *testing.T) {
	issuer, stranger := authntest.NewIssuer(t), authntest.NewIssuer(t)
	file := filepath.Join(t.TempDir(), "authentication.yaml")
	write := func(data []byte) {
		t.Helper()
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(issuer.Configuration("router", "one:"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// Answers are not cached, so that each question meets the file as it is.
	i, err := followIssuers(ctx, file, 10*time.Millisecond, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	claims := func(change map[string]any) map[string]any {
		all := map[string]any{"aud": "router", "sub": "alice", "groups": []string{"devs"}, "exp": time.Now().Add(time.Hour).Unix()}
		for name, value := range change {
			all[name] = value
		}
		return all
	}
	good := issuer.Token(t, claims(nil))
	awaitName(t, i, good, "one:alice")
	response, _, _ := i.AuthenticateToken(ctx, good)
	if got := response.User.GetGroups(); len(got) != 1 || got[0] != "one:devs" {
		t.Errorf("groups = %v; want one:devs", got)
	}
	for why, bad := range map[string]string{
		"expired":              issuer.Token(t, claims(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()})),
		"for another audience": issuer.Token(t, claims(map[string]any{"aud": "other"})),
		"of another issuer":    stranger.Token(t, claims(nil)),
		"signed by another":    stranger.Token(t, claims(map[string]any{"iss": issuer.URL})),
		"no JWT":               "opaque",
	} {
		if response, ok, _ := i.AuthenticateToken(ctx, bad); ok {
			t.Errorf("a token %s: accepted as %s", why, response.User.GetName())
		}
	}
	write([]byte("nonsense"))
	write(issuer.Configuration("router", "two:"))
	awaitName(t, i, good, "two:alice")
}

// awaitName waits until the token is accepted as that of a user: keys are fetched in the background.
func awaitName(t *testing.T, token authenticator.Token, value, want string) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		response, ok, _ := token.AuthenticateToken(ctx, value)
		return ok && response.User.GetName() == want, nil
	})
	if err != nil {
		t.Fatalf("the token is not accepted as %s: %v", want, err)
	}
}

func TestMistakesInAnAuthenticationConfigurationAreNamed(t *testing.T) {
	const head = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n"
	const issuer = head + "jwt:\n- issuer: {url: \"https://issuer.test\", audiences: [router]}\n"
	tests := map[string]struct{ file, want string }{
		"no configuration":   {"", "Object 'Kind' is missing"},
		"another kind":       {strings.Replace(head, "Authentication", "Authorization", 1), "AuthorizationConfiguration"},
		"unknown field":      {head + "jtw: []\n", `unknown field "jtw"`},
		"no username":        {issuer, "jwt[0].claimMappings.username"},
		"plain HTTP":         {strings.Replace(issuer, "https:", "http:", 1), "URL scheme must be https"},
		"bad expression":     {issuer + "  claimMappings: {username: {expression: \"claims.\"}}\n", "compilation failed"},
		"anonymous":          {head + "anonymous: {enabled: true}\n", "anonymous.enabled"},
		"an egress selector": {strings.Replace(issuer, "url:", "egressSelectorType: cluster, url:", 1), "egressSelectorType"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "authentication.yaml")
			if err := os.WriteFile(file, []byte(test.file), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := newToken(t.Context(), Config{File: file, Now: time.Now, Logger: slog.Default()}, CacheTTL)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), file) {
				t.Errorf("%v; want an error about %s that says %q", err, file, test.want)
			}
		})
	}
}
