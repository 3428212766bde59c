package wire_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/kubecell/kubectl-cell/pkg/router/wire"
)

func BenchmarkAppendVersioned(b *testing.B) {
	for name, f := range formatsOf("Deployment") {
		data := encode(b, f, objects(full())["Deployment"])
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			var dst []byte
			for b.Loop() {
				var err error
				if dst, err = f.AppendVersioned(dst[:0], data, func(m wire.Meta) string { return m.ResourceVersion }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkListReader reads and stamps 1,000 objects, beside encoding/json, which only reads them.
func BenchmarkListReader(b *testing.B) {
	for name, f := range formatsOf("typed") {
		data := encode(b, f, configMaps(1000, 500))
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			var dst []byte
			for b.Loop() {
				reader := wire.NewListReader(f, bytes.NewReader(data))
				for {
					item, err := reader.Next()
					if err != nil {
						break
					}
					if dst, err = item.AppendVersioned(dst[:0], item.Meta.ResourceVersion); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
	data := encode(b, wire.JSON, configMaps(1000, 500))
	b.Run("encoding/json", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			var list struct{ Items []json.RawMessage }
			if err := json.Unmarshal(data, &list); err != nil {
				b.Fatal(err)
			}
		}
	})
}
