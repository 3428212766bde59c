package router

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/router/merge"
	"github.com/kubecell/kubectl-cell/pkg/router/stream"
	"github.com/kubecell/kubectl-cell/pkg/router/version"
)

// What the apiserver says of lists that cannot be given any more.
const (
	tooOld         = "The resourceVersion for the provided list is too old."
	tooOldContinue = "The provided continue parameter is too old " +
		"to display a consistent list result. You can start a new list without " +
		"the continue parameter, or use the continue token in this response to " +
		"retrieve the remainder of the results. Continuing with the provided " +
		"token results in an inconsistent list - objects that were created, " +
		"modified, or deleted between the time the first chunk was returned " +
		"and now may show up in the list."
)

// listQuery is what a client asks of a list, and what that means for each source.
type listQuery struct {
	values url.Values
	// limit is the number of items of a page, 0 for all at once.
	limit int64
	// token is where the list goes on, nil for a new one.
	token *merge.Token
	asked version.Version
	// bare is true where rows of a Table are wanted without objects. They are asked for with them, since a row does not
	// say whose it is.
	bare bool
	// page is how many items a source is asked for at once.
	page int64
}

// newListQuery reads a client's query for so many sources. What makes no sense is left for the sources to refuse,
// where they can.
func newListQuery(values url.Values, sources int) (*listQuery, error) {
	q := &listQuery{values: values}
	if limit, err := strconv.ParseInt(values.Get("limit"), 10, 64); err == nil && limit > 0 {
		q.limit = limit
		// Somewhat more than each one's share, since shares differ and some of the objects do not count.
		if q.page = limit; sources > 1 {
			q.page = limit*3/2/int64(sources) + 10
		}
	}
	if values.Get("includeObject") == string(metav1.IncludeNone) {
		values.Set("includeObject", string(metav1.IncludeMetadata))
		q.bare = true
	}
	given := values.Get("resourceVersion")
	if encoded := values.Get("continue"); encoded != "" {
		token, err := merge.ParseToken(encoded)
		if err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		if given != "" && given != "0" {
			return nil, apierrors.NewBadRequest("specifying resource version is not allowed when using continue")
		}
		q.token = &token
		return q, nil
	}
	var err error
	if q.asked, err = version.Parse(given); err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("invalid resource version: resourceVersion: Invalid value: %.60q: %v", given, err))
	}
	return q, nil
}

// exact says whether the list has to be as it was at the version that is asked for.
func (q *listQuery) exact() bool {
	switch metav1.ResourceVersionMatch(q.values.Get("resourceVersionMatch")) {
	case metav1.ResourceVersionMatchExact:
		return true
	case "":
		return q.limit > 0
	}
	return false
}

// first is what the source of a slot is asked for its first page; none where there is nothing of it in the list.
func (q *listQuery) first(slot int) (url.Values, error) {
	values := maps.Clone(q.values)
	if q.page > 0 {
		values.Set("limit", strconv.FormatInt(q.page, 10))
	}
	if q.token != nil {
		token, ok := q.token.For(slot)
		if !ok {
			return nil, nil
		}
		values.Set("continue", token)
		return values, nil
	}
	raw := standing(q.asked.Vector, slot)
	if o := q.asked.Object; o != nil && o.Slot == slot {
		raw = o.Raw
	}
	switch {
	case q.asked.Unset(), q.asked.Any:
	case raw > 0:
		values.Set("resourceVersion", strconv.FormatInt(raw, 10))
	case q.exact():
		return nil, apierrors.NewResourceExpired(tooOld)
	default:
		// The version says nothing of this source: the newest is never too old.
		values.Del("resourceVersion")
		if slices.Contains([]string{"", string(metav1.ResourceVersionMatchNotOlderThan)}, values.Get("resourceVersionMatch")) {
			values.Del("resourceVersionMatch")
		}
	}
	return values, nil
}

// standing is where a position stands in the source of a slot, 0 where it says nothing of it: where the source was not
// asked, or had left the stream. It may be back by now, with other versions.
func standing(position version.Vector, slot int) int64 {
	raw := position.Raw(slot)
	if raw == stream.Left {
		return 0
	}
	return raw
}

// following is what a source is asked for a further page.
func (q *listQuery) following(token string) url.Values {
	values := maps.Clone(q.values)
	values.Del("resourceVersion")
	values.Del("resourceVersionMatch")
	values.Set("continue", token)
	if q.page > 0 {
		values.Set("limit", strconv.FormatInt(q.page, 10))
	}
	return values
}

// expired is the answer where a source has forgotten what the list needs. Where the list had begun, the client gets a
// token to go on with as things are now.
func (q *listQuery) expired(epoch int64) error {
	if q.token == nil {
		return apierrors.NewResourceExpired(tooOld)
	}
	refusal := apierrors.NewResourceExpired(tooOldContinue)
	refusal.ErrStatus.Continue = merge.Token{After: q.token.After, Epoch: epoch, Inconsistent: true}.String()
	return refusal
}
