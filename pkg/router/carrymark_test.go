package router

import (
	"encoding/json"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/types"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
)

// TestAnUpdateIsOfTheObjectThatWasFound whatever its body has in the place of a UID: one that a cell takes for none would
// have it make the object where that is gone.
func TestAnUpdateIsOfTheObjectThatWasFound(t *testing.T) {
	coder := protobuf.NewSerializer(clientscheme.Scheme, clientscheme.Scheme)
	inProtobuf := func(uid types.UID) string {
		body, err := runtime.Encode(clientscheme.Codecs.EncoderForVersion(coder, corev1.SchemeGroupVersion),
			&corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "x", UID: uid}})
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	for _, test := range []struct {
		media, body string
		want        types.UID
	}{
		{runtime.ContentTypeJSON, `{"metadata":{"name":"x"}}`, "found"},
		{runtime.ContentTypeJSON, `{"metadata":{"name":"x","uid":""}}`, "found"},
		{runtime.ContentTypeJSON, `{"metadata":{"name":"x","uid": null }}`, "found"},
		{runtime.ContentTypeJSON, `{"metadata":{"name":"x","uid":"other","uid":""}}`, "found"},
		{runtime.ContentTypeJSON, `{"metadata":{"name":"x","uid":"other"}}`, "other"},
		{runtime.ContentTypeYAML, "metadata: {name: x}\n", "found"},
		{runtime.ContentTypeYAML, "metadata: {name: x, uid: ''}\n", "found"},
		{runtime.ContentTypeYAML, "metadata: {name: x, uid: null}\n", "found"},
		{runtime.ContentTypeYAML, "metadata: {name: x, uid: other}\n", "other"},
		{runtime.ContentTypeProtobuf, inProtobuf(""), "found"},
		{runtime.ContentTypeProtobuf, inProtobuf("other"), "other"},
	} {
		body, err := target{uid: "found"}.into(test.media, []byte(test.body))
		if err != nil {
			t.Fatal(err)
		}
		var got metav1.PartialObjectMetadata
		if test.media == runtime.ContentTypeProtobuf {
			var service corev1.Service
			_, _, err = coder.Decode(body, nil, &service)
			got.ObjectMeta = service.ObjectMeta
		} else {
			err = json.Unmarshal(body, &got)
		}
		if err != nil || got.UID != test.want || got.Name != "x" {
			t.Errorf("%s %q: a cell gets %s with UID %q, %v; want %s", test.media, test.body, got.Name, got.UID, err, test.want)
		}
	}
	const number = `{"metadata":{"name":"x","uid":7}}`
	if body, err := (target{uid: "found"}).into(runtime.ContentTypeJSON, []byte(number)); err != nil || string(body) != number {
		t.Errorf("%s: a cell gets %s, %v; want it as it is", number, body, err)
	}
}
