package router

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/munnerz/goautoneg"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// errNoCBOR refuses a client that accepts nothing else.
var errNoCBOR = errors.New("only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf")

// withoutCBOR keeps CBOR out: neither versions nor names can be read in it. It is taken off what the
// client accepts, and refused as the encoding of a body.
func withoutCBOR(r *http.Request) (*http.Request, error) {
	if strings.Contains(r.Header.Get("Content-Type"), "cbor") {
		return r, &apierrors.StatusError{ErrStatus: metav1.Status{
			Status: metav1.StatusFailure, Code: http.StatusUnsupportedMediaType, Reason: metav1.StatusReasonUnsupportedMediaType,
			Message: "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf",
		}}
	}
	accept := strings.Join(r.Header["Accept"], ",")
	if !strings.Contains(accept, "cbor") {
		return r, nil
	}
	var kept []string
	for clause := range strings.SplitSeq(accept, ",") {
		if media, _, _ := strings.Cut(clause, ";"); !strings.Contains(media, "cbor") {
			kept = append(kept, strings.TrimSpace(clause))
		}
	}
	if len(kept) == 0 {
		return r, notAcceptable(errNoCBOR)
	}
	out := r.WithContext(r.Context())
	out.Header = maps.Clone(r.Header)
	out.Header["Accept"] = []string{strings.Join(kept, ",")}
	return out, nil
}

// singleAccept is what to ask a cell for where the answer will be rewritten: YAML is made here, of JSON.
// asYAML is true where an answer in JSON is to be converted.
func singleAccept(accept string) (upstream string, asYAML bool) {
	if !strings.Contains(accept, "yaml") {
		return accept, false
	}
	var forms []string
	decided := false
	for _, clause := range goautoneg.ParseAccept(accept) {
		media := clause.Type + "/" + clause.SubType
		switch {
		case media == runtime.ContentTypeYAML:
			media = runtime.ContentTypeJSON
			asYAML = asYAML || !decided
			decided = true
		case media == runtime.ContentTypeJSON, clause.SubType == "*":
			decided = true
		}
		for _, key := range slices.Sorted(maps.Keys(clause.Params)) {
			if key != "q" {
				media += ";" + key + "=" + clause.Params[key]
			}
		}
		forms = append(forms, media)
	}
	return strings.Join(forms, ","), asYAML
}
