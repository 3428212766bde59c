package router_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/router"
	"github.com/kubecell/kubectl-cell/pkg/router/authn/authntest"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// allow lets a subject read and write config maps in a namespace, and waits until every cell knows.
func (b *bed) allow(t *testing.T, ns string, subject rbacv1.Subject) {
	t.Helper()
	admin := kube(t, b.router).RbacV1()
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "maps"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get", "list", "create"}},
	}}
	if _, err := admin.Roles(ns).Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "maps"}, Subjects: []rbacv1.Subject{subject},
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "maps"},
	}
	if _, err := admin.RoleBindings(ns).Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// awaitAllowed waits until every apiserver has learned of a binding through its own watch.
func awaitAllowed(t *testing.T, as *rest.Config, ns string) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), pollInterval, pollTimeout, true, func(ctx context.Context) (bool, error) {
		_, last = kube(t, as).CoreV1().ConfigMaps(ns).List(ctx, metav1.ListOptions{})
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("may list config maps and cannot: %v", last)
	}
}

func whoAmI(t *testing.T, as *rest.Config) authenticationv1.UserInfo {
	t.Helper()
	review, err := kube(t, as).AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return review.Status.UserInfo
}

func canI(t *testing.T, as *rest.Config, ns, verb, resource string) bool {
	t.Helper()
	review, err := kube(t, as).AuthorizationV1().SelfSubjectAccessReviews().Create(t.Context(), &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: ns, Verb: verb, Resource: resource}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return review.Status.Allowed
}

// TestIdentityIsToldAsItIs asks what kubectl auth whoami and can-i ask.
func TestIdentityIsToldAsItIs(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "whoami")
	b.allow(t, ns, rbacv1.Subject{Kind: "Group", APIGroup: rbacv1.GroupName, Name: "readers"})
	if got := whoAmI(t, b.router); !slices.Contains(got.Groups, "system:masters") {
		t.Errorf("the administrator is %v; want a member of system:masters", got)
	}
	reader := rest.CopyConfig(b.router)
	reader.Impersonate = rest.ImpersonationConfig{
		UserName: "alice", UID: "uid-1", Groups: []string{"readers"}, Extra: map[string][]string{"example.org/team": {"a", "b"}},
	}
	got := whoAmI(t, reader)
	if got.Username != "alice" || got.UID != "uid-1" || !slices.Contains(got.Groups, "readers") ||
		!slices.Contains(got.Groups, "system:authenticated") || !slices.Equal(got.Extra["example.org/team"], []string{"a", "b"}) {
		t.Errorf("whoami as alice: %v", got)
	}
	awaitAllowed(t, reader, ns)
	for _, test := range []struct {
		as             *rest.Config
		verb, resource string
		want           bool
	}{
		{reader, "list", "configmaps", true}, {reader, "delete", "configmaps", false}, {reader, "list", "secrets", false},
		{b.router, "delete", "secrets", true},
	} {
		if got := canI(t, test.as, ns, test.verb, test.resource); got != test.want {
			t.Errorf("can-i %s %s as %q: %v; want %v", test.verb, test.resource, test.as.Impersonate.UserName, got, test.want)
		}
	}
	rules, err := kube(t, reader).AuthorizationV1().SelfSubjectRulesReviews().Create(t.Context(),
		&authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: ns}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(rules.Status.ResourceRules, func(r authorizationv1.ResourceRule) bool {
		return slices.Contains(r.Resources, "configmaps") && slices.Contains(r.Verbs, "list")
	}) {
		t.Errorf("can-i --list does not have the role's rule: %v", rules.Status.ResourceRules)
	}
}

// TestARevokedTokenIsRefused though the router, and the RCP behind it, remember for a while that it was good.
func TestARevokedTokenIsRefused(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "revoked")
	accounts := kube(t, b.router).CoreV1().ServiceAccounts(ns)
	if _, err := accounts.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "robot"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	robot := anonymous(b.router)
	robot.BearerToken = b.token(t, ns, "robot")
	if who := whoAmI(t, robot); who.Username != "system:serviceaccount:"+ns+":robot" {
		t.Fatalf("the robot is %s", who.Username)
	}
	if err := accounts.Delete(t.Context(), "robot", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	const patience = time.Minute // of which 20 s is what is promised
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), pollInterval, patience, true, func(ctx context.Context) (bool, error) {
		_, last = kube(t, robot).AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
		return last != nil, nil
	})
	if err != nil || !apierrors.IsUnauthorized(last) {
		t.Errorf("a token of an account that is gone: %v, %v; want unauthorized", last, err)
	}
}

// TestImpersonationMayBeConstrained to one user and to what is done in his name.
func TestImpersonationMayBeConstrained(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "constrained")
	b.allow(t, ns, rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "bob"})
	admin := kube(t, b.router)
	if _, err := admin.CoreV1().ServiceAccounts(ns).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "robot"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	meta := metav1.ObjectMeta{Name: "as-bob"}
	robots := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: ns, Name: "robot"}}
	whom := &rbacv1.ClusterRole{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{
		{Verbs: []string{"impersonate:user-info"}, APIGroups: []string{authenticationv1.GroupName}, Resources: []string{"users"}, ResourceNames: []string{"bob"}},
	}}
	what := &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{
		{Verbs: []string{"impersonate-on:user-info:list"}, APIGroups: []string{""}, Resources: []string{"configmaps"}},
	}}
	_, noWhom := admin.RbacV1().ClusterRoles().Create(t.Context(), whom, metav1.CreateOptions{})
	_, noWhat := admin.RbacV1().Roles(ns).Create(t.Context(), what, metav1.CreateOptions{})
	_, unbound := admin.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{ObjectMeta: meta, Subjects: robots,
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: meta.Name}}, metav1.CreateOptions{})
	_, unboundHere := admin.RbacV1().RoleBindings(ns).Create(t.Context(), &rbacv1.RoleBinding{ObjectMeta: meta, Subjects: robots,
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name}}, metav1.CreateOptions{})
	if err := errors.Join(noWhom, noWhat, unbound, unboundHere); err != nil {
		t.Fatal(err)
	}
	token := b.token(t, ns, "robot")
	as := func(server *rest.Config, user string) *rest.Config {
		config := anonymous(server)
		config.BearerToken, config.Impersonate.UserName = token, user
		return config
	}
	awaitAllowed(t, as(b.rcp, "bob"), ns) // an apiserver has learned of it
	awaitAllowed(t, as(b.router, "bob"), ns)
	if _, err := kube(t, as(b.router, "bob")).CoreV1().ConfigMaps(ns).Get(t.Context(), "x", getOptions()); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "cannot impersonate-on:user-info:get") {
		t.Errorf("what bob may do, and the robot not in his name: %v; want forbidden", err)
	}
	if _, err := kube(t, as(b.router, "eve")).CoreV1().ConfigMaps(ns).List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "cannot impersonate:user-info") {
		t.Errorf("as somebody else: %v; want forbidden", err)
	}
}

func TestIdentityByOIDC(t *testing.T) {
	b := newBed(t)
	ns := b.namespace(t, "oidc")
	b.allow(t, ns, rbacv1.Subject{Kind: "Group", APIGroup: rbacv1.GroupName, Name: "oidc:devs"})
	issuer := authntest.NewIssuer(t)
	file := filepath.Join(t.TempDir(), "authentication.yaml")
	if err := os.WriteFile(file, issuer.Configuration("router", "oidc:"), 0o600); err != nil {
		t.Fatal(err)
	}
	config, _ := startRouter(t, b.rcp, t.TempDir(), func(c *router.Config) { c.AuthenticationConfig = file })
	dev := anonymous(config)
	dev.BearerToken = issuer.Token(t, map[string]any{
		"aud": "router", "sub": "alice", "groups": []string{"devs"}, "exp": time.Now().Add(time.Hour).Unix(),
	})
	awaitAllowed(t, dev, ns)
	made, err := kube(t, dev).CoreV1().ConfigMaps(ns).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "hers"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if holders := b.holders(t, ns, made.Name); len(holders) != 1 {
		t.Errorf("the object is in %v; want one cell", holders)
	}
	if got := whoAmI(t, dev); got.Username != "oidc:alice" || !slices.Contains(got.Groups, "oidc:devs") {
		t.Errorf("whoami: %v", got)
	}
	if err := kube(t, dev).CoreV1().ConfigMaps(ns).Delete(t.Context(), made.Name, metav1.DeleteOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a right that she has not: %v; want forbidden", err)
	}
}

func TestIdentityWithoutTheRCP(t *testing.T) {
	t.Parallel() // it waits most of the time
	b := newBedBeside(t)
	ns := b.namespace(t, "noreview")
	b.allow(t, ns, rbacv1.Subject{Kind: "ServiceAccount", Namespace: ns, Name: "robot"})
	admin := kube(t, b.router).CoreV1()
	if _, err := admin.ServiceAccounts(ns).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "robot"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	way := sandboxtest.NewGate(t, b.rcp.Host)
	rcp := rest.CopyConfig(b.rcp)
	rcp.Host = way.URL()
	config, _ := startRouter(t, rcp, t.TempDir())
	config = impatient(config)

	robot, unknown := anonymous(config), anonymous(config)
	robot.BearerToken = b.token(t, ns, "robot")
	unknown.BearerToken = b.token(t, ns, "robot")
	awaitAllowed(t, robot, ns)
	way.Vanish()

	if _, err := kube(t, robot).CoreV1().ConfigMaps(ns).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "later"}}, metav1.CreateOptions{}); err != nil {
		t.Errorf("a token that was accepted before: %v", err)
	}
	_, err := kube(t, unknown).CoreV1().ConfigMaps(ns).List(t.Context(), metav1.ListOptions{})
	if !apierrors.IsServiceUnavailable(err) || !strings.Contains(err.Error(), "router control plane") {
		t.Errorf("a token that nobody has reviewed: %v; want 503 that names the router control plane", err)
	}
	pretender := rest.CopyConfig(config)
	pretender.Impersonate = rest.ImpersonationConfig{UserName: "alice"}
	_, err = kube(t, pretender).CoreV1().ConfigMaps(ns).List(t.Context(), metav1.ListOptions{})
	if !apierrors.IsServiceUnavailable(err) || !strings.Contains(err.Error(), "router control plane") {
		t.Errorf("an impersonation that nobody has allowed: %v; want 503 that names the router control plane", err)
	}
	if _, err := kube(t, anonymous(config)).CoreV1().ConfigMaps(ns).List(t.Context(), metav1.ListOptions{}); !apierrors.IsUnauthorized(err) {
		t.Errorf("no credentials: %v; want unauthorized", err)
	}
	if _, err := kube(t, config).CoreV1().ConfigMaps(ns).Get(t.Context(), "later", getOptions()); err != nil {
		t.Errorf("a client certificate: %v", err)
	}
}

// TestObjectsAreMadeWhileTheirKeysMoveWithoutTheRCP: the cell that they are made in judges the user.
func TestObjectsAreMadeWhileTheirKeysMoveWithoutTheRCP(t *testing.T) {
	b := newMovingBed(t)
	ns := b.namespace(t, "movingwithout")
	way := sandboxtest.NewGate(t, b.rcp.Host)
	rcp := rest.CopyConfig(b.rcp)
	rcp.Host = way.URL()
	config, _ := startRouter(t, rcp, t.TempDir())
	maps := kube(t, impatient(config)).CoreV1().ConfigMaps(ns)
	until(t, "the router takes writes", func(ctx context.Context) bool {
		_, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "before"}}, metav1.CreateOptions{})
		return err == nil
	})
	way.Vanish()
	for name, make := range map[string]func(name string) error{
		"created": func(name string) error {
			_, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
			return err
		},
		"applied": func(name string) error {
			_, err := maps.Apply(t.Context(), applycorev1.ConfigMap(name, ns), metav1.ApplyOptions{FieldManager: "test"})
			return err
		},
	} {
		if err := make(name); err != nil {
			t.Errorf("%s while the RCP is away: %v", name, err)
		}
		if holders := b.holders(t, ns, name); len(holders) != 1 {
			t.Errorf("%s is in %v; want one cell", name, holders)
		}
	}
}
