package federation

import (
	"context"
	"fmt"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
)

// needed are the rights of a cell's credentials: routers act in the name of users, and whoever moves
// and copies workloads reads and writes every kind, the admission policy and the roles of the fence among
// them. To bind and to escalate is what it takes to give the mover rights over kinds that nobody knows
// beforehand; the mover's work is done by impersonation as well. All but the first may be granted by "*".
func needed() []authorizationv1.ResourceAttributes {
	out := []authorizationv1.ResourceAttributes{
		{Verb: "impersonate", Resource: "users"},
		{Verb: "impersonate", Resource: "groups"},
		{Verb: "impersonate", Resource: "serviceaccounts"},
		{Verb: "impersonate", Group: "authentication.k8s.io", Resource: "userextras"},
		{Verb: "impersonate", Group: "authentication.k8s.io", Resource: "uids"},
		{Verb: "bind", Group: "rbac.authorization.k8s.io", Resource: "clusterroles"},
		{Verb: "escalate", Group: "rbac.authorization.k8s.io", Resource: "clusterroles"},
	}
	for _, verb := range []string{"get", "list", "watch", "create", "update", "patch", "delete"} {
		out = append(out, authorizationv1.ResourceAttributes{Verb: verb, Group: "*", Resource: "*"})
	}
	return out
}

func (i *inspection) checkRights(ctx context.Context) error {
	var missing []string
	for _, attributes := range needed() {
		review := &authorizationv1.SelfSubjectAccessReview{
			Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &attributes},
		}
		review, err := i.connection.kube.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("cell %s: ask for rights: %w", i.cell.Name, err)
		}
		if !review.Status.Allowed {
			missing = append(missing, attributes.Verb+" "+attributes.Resource)
		}
	}
	if len(missing) > 0 {
		return exit.Refusedf("cell %s: the credentials may not %s", i.cell.Name, strings.Join(missing, ", ")).
			WithHint("kubectl --kubeconfig ADMIN-OF-THE-CELL create clusterrolebinding kubecell --clusterrole=cluster-admin --user=USER")
	}
	i.passed("rights", "%d/%d", len(needed()), len(needed()))
	return nil
}

// checkDefinitions counts the CRDs of the RCP that the cell has. Missing ones are no error: they are
// copied when the cell is added.
func (c *connection) checkDefinitions(ctx context.Context, i *inspection) error {
	wanted, err := definitions(ctx, c.config)
	if err != nil {
		return err
	}
	have, err := definitions(ctx, i.config)
	if err != nil {
		return fmt.Errorf("cell %s: %w", i.cell.Name, err)
	}
	matching := wanted.Intersection(have).Len()
	if matching < wanted.Len() {
		i.warn("CRDs match", "%d/%d, the rest will be copied", matching, wanted.Len())
		return nil
	}
	i.passed("CRDs match", "%d/%d", matching, wanted.Len())
	return nil
}

// definitions are the names of the CRDs, without those of this project, which cells never see.
func definitions(ctx context.Context, config *rest.Config) (sets.Set[string], error) {
	client, err := metadata.NewForConfig(metadata.ConfigFor(withTimeout(config)))
	if err != nil {
		return nil, fmt.Errorf("build metadata client: %w", err)
	}
	out := sets.New[string]()
	err = eachPage(ctx, client, crdResource(), "", metav1.ListOptions{}, func(page []metav1.PartialObjectMetadata) error {
		for _, crd := range page {
			if !strings.HasSuffix(crd.Name, "."+v1alpha1.GroupName) {
				out.Insert(crd.Name)
			}
		}
		return nil
	})
	return out, err
}
