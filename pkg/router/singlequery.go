package router

import (
	"fmt"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/router/version"
)

// neverMatches is a version that no object has: etcd's first revision is its own.
const neverMatches = "1"

// precondition translates a version that a client names as a condition of a write, for the cell in which
// the object is. One that is another cell's, a list's or no router's at all becomes a version that no
// object has, so that the apiserver answers with its own conflict. What is no number passes as it is, and
// the apiserver refuses it.
func precondition(slot int) func(string) (string, error) {
	return func(s string) (string, error) {
		v, err := version.Parse(s)
		switch {
		case s == "0", err != nil && !isNumber(s):
			return s, nil
		case err == nil && v.Object != nil && v.Object.Slot == slot:
			return rawDigits(v.Object.Raw), nil
		}
		return neverMatches, nil
	}
}

// singleQuery translates the version in the query of a read of one object: it shall be no older than that.
// The position of another cell says nothing about this one, so that the newest is read.
func singleQuery(query string, slot int) (string, error) {
	// A row of a Table alone does not say whose it is, nor whether that has moved.
	if wantsNoObjects(query) {
		values, _ := url.ParseQuery(query)
		values.Set("includeObject", string(metav1.IncludeMetadata))
		query = values.Encode()
	}
	if !strings.Contains(query, "resourceVersion=") {
		return query, nil
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return query, nil //nolint:nilerr // the apiserver says what is wrong with it
	}
	given := values.Get("resourceVersion")
	if given == "" || given == "0" {
		return query, nil
	}
	v, err := version.Parse(given)
	if err != nil {
		// The apiserver's words, but not the 500 that it gives with them.
		return "", apierrors.NewBadRequest(fmt.Sprintf("resourceVersion: Invalid value: %.60q: %v", given, err))
	}
	raw := standing(v.Vector, slot)
	if v.Object != nil && v.Object.Slot == slot {
		raw = v.Object.Raw
	}
	values.Del("resourceVersion")
	if raw > 0 {
		values.Set("resourceVersion", rawDigits(raw))
	}
	return values.Encode(), nil
}

// wantsNoObjects says whether a query is for the rows of a Table without their objects.
func wantsNoObjects(query string) bool {
	if !strings.Contains(query, "includeObject=") {
		return false
	}
	values, err := url.ParseQuery(query)
	return err == nil && values.Get("includeObject") == string(metav1.IncludeNone)
}

func isNumber(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
