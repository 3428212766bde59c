package merge_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1beta1"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/storage"

	"github.com/kubecell/kubectl-cell/pkg/router/merge"
	"github.com/kubecell/kubectl-cell/pkg/router/version"
	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

// part is a list of names in JSON, as a cell sends it.
func part(names ...string) merge.Part {
	var items []string
	for _, name := range names {
		namespace, name, _ := strings.Cut(name, "/")
		items = append(items, fmt.Sprintf(`{"metadata":{"namespace":%q,"name":%q,"resourceVersion":"7"}}`, namespace, name))
	}
	return wire.NewListReader(wire.JSON, strings.NewReader(`{"items":[`+strings.Join(items, ",")+`]}`))
}

func everything(int, wire.Meta) bool { return true }

// showing are the rules of a list in which nothing moves.
func showing(visible func(int, wire.Meta) bool) merge.Rules {
	return merge.Rules{Judge: func(part int, o wire.Meta) merge.Verdict {
		if visible(part, o) {
			return merge.Verdict{Kind: merge.Shown}
		}
		return merge.Verdict{}
	}}
}

// keys merges parts and returns the keys in the order in which they come, each with the part that it is from.
func keys(t *testing.T, m *merge.Merger) []string {
	t.Helper()
	for _, err := range m.Begin() {
		if err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for {
		from, key, _, err := m.Next()
		if errors.Is(err, io.EOF) {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%d:%s", from, key))
	}
}

func TestItemsComeInTheOrderOfTheirKeys(t *testing.T) {
	tests := map[string]struct {
		parts      []merge.Part
		namespaced bool
		visible    func(int, wire.Meta) bool
		want       []string
	}{
		"nothing":                      {[]merge.Part{part(), part()}, false, everything, nil},
		"no parts":                     {nil, false, everything, nil},
		"over all namespaces":          {[]merge.Part{part("a-b/x", "a/x"), part("a/a", "b/a")}, false, everything, []string{"0:a-b/x", "1:a/a", "0:a/x", "1:b/a"}},
		"in one namespace":             {[]merge.Part{part("n/b", "n/d"), part("n/a", "n/c")}, true, everything, []string{"1:a", "0:b", "1:c", "0:d"}},
		"without namespace":            {[]merge.Part{part("/b"), part("/a")}, false, everything, []string{"1:a", "0:b"}},
		"one part after the other":     {[]merge.Part{part("n/a", "n/b"), part("n/c")}, true, everything, []string{"0:a", "0:b", "1:c"}},
		"copies that do not count":     {[]merge.Part{part("n/a", "n/b"), part("n/a", "n/b")}, true, func(part int, o wire.Meta) bool { return (o.Name == "b") == (part == 1) }, []string{"0:a", "1:b"}},
		"a part of which nothing does": {[]merge.Part{part("n/a", "n/b"), part("n/a", "n/b")}, true, func(part int, _ wire.Meta) bool { return part == 1 }, []string{"1:a", "1:b"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, keys(t, merge.New(test.parts, test.namespaced, showing(test.visible)))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAMovingItemComesOnce(t *testing.T) {
	// What each part has of an item is told by its name and part.
	judge := func(part int, o wire.Meta) merge.Verdict {
		state, _, _ := strings.Cut(o.Name, "-")
		switch {
		case state == "both": // the second part's has moved
			return merge.Verdict{Kind: merge.Contends, Rank: int64(part)}
		case state == "twins": // the first part's counts
			return merge.Verdict{Kind: merge.Contends, Rank: int64(-part)}
		case part == 0 && (state == "moved" || state == "gone" || state == "late" || state == "coming"):
			return merge.Verdict{Kind: merge.Moved}
		case part == 1 && (state == "coming" || state == "copied" || state == "stray"):
			return merge.Verdict{Kind: merge.Arriving}
		case state == "local":
			return merge.Verdict{Kind: merge.Shown}
		}
		return merge.Verdict{Kind: merge.Contends}
	}
	var fetched []string
	fetch := func(part int, o wire.Meta) (int, wire.Item, bool, error) {
		fetched = append(fetched, fmt.Sprintf("%d:%s", part, o.Name))
		return 1, wire.Item{Meta: o}, o.Name != "gone", nil
	}
	parts := []merge.Part{
		part("n/both", "n/coming", "n/copied", "n/gone", "n/late", "n/local", "n/moved", "n/old", "n/twins"),
		part("n/both", "n/coming", "n/copied", "n/local", "n/moved", "n/new", "n/stray", "n/twins"),
	}
	want := []string{"1:both", "1:coming", "0:copied", "1:late", "0:local", "1:local", "1:moved", "1:new", "0:old", "0:twins"}
	if diff := cmp.Diff(want, keys(t, merge.New(parts, true, merge.Rules{Judge: judge, Fetch: fetch}))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"0:gone", "0:late"}, fetched); diff != "" {
		t.Errorf("fetched (-want +got):\n%s", diff)
	}
}

func TestMoreCountsVisibleItemsOnly(t *testing.T) {
	m := merge.New([]merge.Part{part("n/a", "n/z"), part("n/b")}, true, showing(func(_ int, o wire.Meta) bool { return o.Name != "z" }))
	m.Begin()
	for _, want := range []bool{true, false} {
		if _, _, _, err := m.Next(); err != nil {
			t.Fatal(err)
		}
		if more, err := m.More(); err != nil || more != want {
			t.Errorf("more = %v, %v; want %v", more, err, want)
		}
	}
}

// brokenPart fails behind its first item.
type brokenPart struct {
	merge.Part
	err  error
	read bool
}

func (b *brokenPart) Next() (wire.Item, error) {
	if b.read {
		return wire.Item{}, b.err
	}
	b.read = true
	return b.Part.Next()
}

func TestAPartThatFailsIsNamed(t *testing.T) {
	// What breaks a connection may be an end of something, and is no end of the list.
	for name, broken := range map[string]merge.Part{
		"its error":       &brokenPart{Part: part("n/a"), err: fmt.Errorf("connection: %w", io.EOF)},
		"a list cut off":  wire.NewListReader(wire.JSON, strings.NewReader(`{"items":[{"metadata":{"name":"a"}}`)),
		"items unordered": part("n/b", "n/a"),
	} {
		m := merge.New([]merge.Part{part("n/z"), broken}, true, showing(everything))
		m.Begin()
		if _, _, _, err := m.Next(); err != nil {
			t.Fatal(err)
		}
		var failed *merge.PartError
		if _, _, _, err := m.Next(); !errors.As(err, &failed) || failed.Part != 1 {
			t.Errorf("%s: %v; want an error of part 1", name, err)
		}
	}
}

func TestJSONIsWhole(t *testing.T) {
	typed := wire.ListMeta{Kind: "PodList", APIVersion: "v1"}
	table := wire.ListMeta{Kind: "Table", APIVersion: "meta.k8s.io/v1", ColumnDefinitions: []byte(`[{"name":"Name"}]`)}
	tests := map[string]struct {
		before, after wire.ListMeta
		items         []string
		want          string
	}{
		"nothing":          {typed, typed, nil, `{"kind":"PodList","apiVersion":"v1","items":[],"metadata":{"resourceVersion":"9"}}`},
		"kind known first": {typed, typed, []string{"1", "2"}, `{"kind":"PodList","apiVersion":"v1","items":[1,2],"metadata":{"resourceVersion":"9"}}`},
		"kind known last":  {wire.ListMeta{}, typed, []string{"1"}, `{"items":[1],"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"9"}}`},
		"Table":            {table, table, []string{"{}"}, `{"kind":"Table","apiVersion":"meta.k8s.io/v1","columnDefinitions":[{"name":"Name"}],"rows":[{}],"metadata":{"resourceVersion":"9"}}`},
		"empty Table":      {table, table, nil, `{"kind":"Table","apiVersion":"meta.k8s.io/v1","columnDefinitions":[{"name":"Name"}],"rows":[],"metadata":{"resourceVersion":"9"}}`},
	}
	for name, test := range tests {
		var out strings.Builder
		encoder := merge.NewJSON(&out)
		for _, item := range test.items {
			if err := encoder.Item(test.before, []byte(item)); err != nil {
				t.Fatal(err)
			}
		}
		test.after.ResourceVersion = "9"
		if err := encoder.Finish(test.after); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.want, strings.TrimSpace(out.String())); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if !json.Valid([]byte(out.String())) {
			t.Errorf("%s: not JSON", name)
		}
	}
}

// decodeList opens the envelope of a list in protobuf.
func decodeList(t *testing.T, data []byte, into interface{ Unmarshal([]byte) error }) kruntime.TypeMeta {
	t.Helper()
	var unknown kruntime.Unknown
	if err := unknown.Unmarshal(bytes.TrimPrefix(data, []byte("k8s\x00"))); err != nil {
		t.Fatal(err)
	}
	if err := into.Unmarshal(unknown.Raw); err != nil {
		t.Fatal(err)
	}
	return unknown.TypeMeta
}

func TestProtobufIsWholeWhateverItsSize(t *testing.T) {
	for _, n := range []int{0, 3, 70_000} { // the last of them goes by a file
		list := wire.ListMeta{Kind: "ConfigMapList", APIVersion: "v1"}
		spool := merge.NewSpool(t.TempDir())
		defer spool.Close()
		var out bytes.Buffer
		encoder := merge.NewProtobuf(&out, spool)
		want := corev1.ConfigMapList{ListMeta: metav1.ListMeta{ResourceVersion: "9", Continue: "more"}}
		for i := range n {
			m := corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint(i)}, Data: map[string]string{"k": strings.Repeat("v", 300)}}
			want.Items = append(want.Items, m)
			data, err := m.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			if err := encoder.Item(list, data); err != nil {
				t.Fatal(err)
			}
		}
		if out.Len() > 0 {
			t.Error("something is written before the length is known")
		}
		list.ResourceVersion, list.Continue = "9", "more"
		if err := encoder.Finish(list); err != nil {
			t.Fatal(err)
		}
		var got corev1.ConfigMapList
		if kind := decodeList(t, out.Bytes(), &got); kind.Kind != "ConfigMapList" || kind.APIVersion != "v1" {
			t.Errorf("kind is %v", kind)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d items (-want +got):\n%.2000s", n, diff)
		}
	}
}

// TestTheListWithOtherFieldNumbers is about the one kind of list whose items and metadata have changed places.
func TestTheListWithOtherFieldNumbers(t *testing.T) {
	list := wire.ListMeta{Kind: "PartialObjectMetadataList", APIVersion: "meta.k8s.io/v1beta1", ResourceVersion: "9"}
	item := metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: "x"}}
	var out bytes.Buffer
	spool := merge.NewSpool(t.TempDir())
	encoder := merge.NewProtobuf(&out, spool)
	data, err := item.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := encoder.Item(list, data); err != nil {
		t.Fatal(err)
	}
	if err := encoder.Finish(list); err != nil {
		t.Fatal(err)
	}
	var got v1beta1.PartialObjectMetadataList
	decodeList(t, out.Bytes(), &got)
	if len(got.Items) != 1 || got.Items[0].Name != "x" || got.ResourceVersion != "9" {
		t.Errorf("decoded as %+v", got)
	}
	reader := wire.NewListReader(wire.Protobuf, &out)
	if read, err := reader.Next(); err != nil || read.Meta.Name != "x" {
		t.Errorf("read as %+v, %v", read.Meta, err)
	}
	if _, err := reader.Next(); !errors.Is(err, io.EOF) || reader.List().ResourceVersion != "9" {
		t.Errorf("%v, %+v", err, reader.List())
	}
}

func TestTokensReadBack(t *testing.T) {
	want := merge.Token{At: version.Vector{3, 0, 77}, After: "ns/name", Epoch: 4}
	got, err := merge.ParseToken(want.String())
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	own, ok := got.For(2)
	key, rv, err := storage.DecodeContinue(own, "/registry/configmaps/")
	if !ok || err != nil || key != "/registry/configmaps/ns/name\x00" || rv != 77 {
		t.Errorf("for slot 2: %q at %d, %v", key, rv, err)
	}
	if _, ok := got.For(1); ok {
		t.Error("a control plane that was not asked is asked now")
	}
	want.Inconsistent = true
	own, ok = want.For(1)
	if _, rv, err = storage.DecodeContinue(own, "/registry/configmaps/"); !ok || err != nil || rv != -1 {
		t.Errorf("inconsistent: at %d, %v; want -1", rv, err)
	}
}

func FuzzToken(f *testing.F) {
	f.Add(merge.Token{At: version.Vector{3, 0, 77}, After: "ns/name", Epoch: 4}.String())
	f.Add("garbage")
	f.Fuzz(func(t *testing.T, s string) {
		token, err := merge.ParseToken(s)
		if err != nil {
			if !strings.Contains(err.Error(), "continue key is not valid") && !errors.Is(err, storage.ErrUnrecognizedEncodedVersion) {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		again, err := merge.ParseToken(token.String())
		if diff := cmp.Diff(token, again); err != nil || diff != "" {
			t.Errorf("%v (-first +again):\n%s", err, diff)
		}
		for slot := range 3 {
			if own, ok := token.For(slot); ok {
				if key, _, err := storage.DecodeContinue(own, "/registry/x/"); err == nil && !strings.HasPrefix(key, "/registry/x/") {
					t.Errorf("%q leaves its resource: %q", s, key)
				}
			}
		}
	})
}

// endless makes items on the way, so that the list itself takes no memory.
type endless struct {
	left int
	buf  []byte
}

func (e *endless) Read(p []byte) (int, error) {
	for len(e.buf) < len(p) && e.left > 0 {
		e.left--
		e.buf = fmt.Appendf(e.buf, `,{"metadata":{"namespace":"n","name":"m-%09d","uid":"u","resourceVersion":"7"},"data":%q}`, 900_000_000-e.left, strings.Repeat("v", 1000))
		if e.left == 0 {
			e.buf = append(e.buf, `],"kind":"ConfigMapList"}`...)
		}
	}
	n := copy(p, e.buf)
	e.buf = e.buf[:copy(e.buf, e.buf[n:])]
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// endlessParts are three parts with 100,002 objects together, read ahead as in the router.
func endlessParts(t testing.TB) []merge.Part {
	var parts []merge.Part
	for range 3 {
		list := io.MultiReader(strings.NewReader(`{"metadata":{"resourceVersion":"9"},"items":[{"metadata":{"name":"a"}}`), &endless{left: 33_333})
		ahead := merge.NewAhead(wire.NewListReader(wire.JSON, list))
		t.Cleanup(ahead.Stop)
		parts = append(parts, ahead)
	}
	return parts
}

// BenchmarkMerge passes 100,000 objects of three parts on and reports how much memory is in use at most meanwhile.
func BenchmarkMerge(b *testing.B) {
	for b.Loop() {
		peak, n := pass(b, endlessParts(b))
		b.ReportMetric(float64(peak)/(1<<20), "MiB-peak")
		b.ReportMetric(float64(n), "objects")
	}
}

// TestMemoryStaysFlat passes the same lists and refuses what would hold them.
func TestMemoryStaysFlat(t *testing.T) {
	peak, n := pass(t, endlessParts(t))
	if n != 100_002 || peak > 32<<20 {
		t.Errorf("%d objects of 100 MB took %d MiB of memory; want 100002 and at most 32", n, peak>>20)
	}
}

// pass merges parts to nowhere and returns the most memory in use and the number of items.
func pass(t testing.TB, parts []merge.Part) (peak uint64, n int) {
	t.Helper()
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	m := merge.New(parts, true, showing(everything))
	for _, err := range m.Begin() {
		if err != nil {
			t.Fatal(err)
		}
	}
	encoder := merge.NewJSON(io.Discard)
	for ; ; n++ {
		_, _, item, err := m.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := encoder.Item(wire.ListMeta{}, item.Raw); err != nil {
			t.Fatal(err)
		}
		if n%10_000 == 0 {
			runtime.ReadMemStats(&now)
			peak = max(peak, now.HeapAlloc-min(now.HeapAlloc, before.HeapAlloc))
		}
	}
	return peak, n
}
