package wire_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

func TestWithoutColumns(t *testing.T) {
	for _, tc := range []struct{ name, table, want string }{
		{"some", `{"kind":"Table","columnDefinitions":[{"name":"Name"}],"rows":[{"cells":["columnDefinitions"]}]}`,
			`{"kind":"Table","columnDefinitions":null,"rows":[{"cells":["columnDefinitions"]}]}`},
		{"null", `{"kind":"Table","columnDefinitions":null,"rows":[]}`, ""},
		{"none", `{"kind":"Table","rows":[]}`, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := wire.JSON.WithoutColumns([]byte(tc.table))
			if err != nil || string(got) != tc.want {
				t.Errorf("%s becomes %s, %v; want %s", tc.table, got, err, tc.want)
			}
		})
	}
	if _, err := wire.JSON.WithoutColumns([]byte(`{"kind":"Table","columnDefinitions":[`)); err == nil {
		t.Error("a Table that breaks off is none")
	}
}

func TestAStatusIsAnObjectOfItsOwn(t *testing.T) {
	want := metav1.Status{Status: metav1.StatusFailure, Reason: metav1.StatusReasonExpired, Code: 410, Message: "too old"}
	for _, format := range []wire.Format{wire.JSON, wire.Protobuf} {
		data, err := format.AppendStatus([]byte("x"), want)
		if err != nil {
			t.Fatal(err)
		}
		apiVersion, kind, err := format.ReadKind(data[1:])
		if err != nil || apiVersion != "v1" || kind != "Status" {
			t.Errorf("it is a %s %s: %v", apiVersion, kind, err)
		}
		if format == wire.JSON {
			var got metav1.Status
			if err := json.Unmarshal(data[1:], &got); err != nil {
				t.Fatal(err)
			}
			got.TypeMeta = metav1.TypeMeta{}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		}
	}
}
