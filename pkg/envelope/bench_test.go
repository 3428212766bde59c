package envelope_test

import (
	"testing"

	"github.com/kubecell/kubectl-cell/pkg/envelope"
)

func BenchmarkSeal(b *testing.B) {
	for name, object := range map[string]string{"deployment": deployment, "900KiB": configMap(900 << 10)} {
		b.Run(name, func(b *testing.B) {
			s := sealer(b)
			size := 0
			for b.Loop() {
				secret, err := s.Seal(source(), []byte(object))
				if err != nil {
					b.Fatal(err)
				}
				size = len(secret.Data[envelope.DataKey])
			}
			b.ReportMetric(float64(size)/float64(len(object)), "left")
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	for name, object := range map[string]string{"deployment": deployment, "900KiB": configMap(900 << 10)} {
		b.Run(name, func(b *testing.B) {
			secret := seal(b, object)
			for b.Loop() {
				if _, err := envelope.Open(secret); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
