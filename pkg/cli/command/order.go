package command

import (
	"context"
	"strings"
	"unicode/utf8"

	"github.com/spf13/pflag"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

// longestReason is how many characters the API takes.
const longestReason = 1024

// Reason is the flag --reason of commands whose records stay.
type Reason struct{ text string }

// AddFlag adds it.
func (r *Reason) AddFlag(flags *pflag.FlagSet) {
	flags.StringVar(&r.text, "reason", "", "Why, for whoever reads the history later")
}

// Check is an error where the text is more than the API takes.
func (r *Reason) Check() error {
	r.text = strings.TrimSpace(r.text)
	if n := utf8.RuneCountInString(r.text); n > longestReason {
		return exit.Flagf("reason", printers.Clip(r.text), "have at most %d characters, not %d", longestReason, n).WithHint("name a ticket: --reason INC-1234")
	}
	return nil
}

// Given says whether there is one.
func (r *Reason) Given() bool { return r.text != "" }

// Order is what a record says of who ordered it: the user whom the RCP takes this command for, and why. An RCP that does
// not say whom it takes it for leaves that out.
func (r *Reason) Order(ctx context.Context, fed *Federation, changes ...string) *v1alpha1.Order {
	order := &v1alpha1.Order{Reason: r.text, Changes: changes}
	kube, err := kubernetes.NewForConfig(fed.Config)
	if err != nil {
		return order
	}
	review, err := kube.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err == nil {
		order.By = review.Status.UserInfo.Username
	}
	return order
}
