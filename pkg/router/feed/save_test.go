package feed

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kubecell/kubectl-cell/pkg/router/upstream"
	"github.com/kubecell/kubectl-cell/pkg/routing"
)

// TestAnEpochThatIsNotOnDiskIsNotAcknowledged while neither it can be saved nor what is there be removed: a restart without
// the RCP would write by the earlier one.
func TestAnEpochThatIsNotOnDiskIsNotAcknowledged(t *testing.T) {
	path := filepath.Join(t.TempDir(), fileName)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// A folder that is not empty can neither be replaced by a file nor be removed, whoever tries it.
	obstruct := func() {
		must(os.RemoveAll(path))
		must(os.MkdirAll(filepath.Join(path, "x"), 0o700))
	}
	synctest.Test(t, func(t *testing.T) {
		var told settled
		feed := func() *Feed {
			return &Feed{savedPath: path, config: Config{
				Settled: told.add, Logger: slog.New(slog.DiscardHandler), RCP: &rest.Config{Host: "https://127.0.0.1:1"}, Now: time.Now,
			}}
		}
		use := func(f *Feed, epoch int64) {
			t.Helper()
			r := ring()
			r.Status.Epoch = epoch
			s, err := newState(r, nil, nil, f.State(), upstream.ErrorResponder(noAnswer))
			must(err)
			previous := f.publish(s)
			f.save(r, s)
			f.settle(t.Context(), s, previous)
		}
		expect := func(what string, want int64) {
			t.Helper()
			time.Sleep(2 * saveAgain)
			synctest.Wait()
			if got := told.last(); got.Epoch != want {
				t.Errorf("%s: epoch %d is acknowledged; want %d", what, got.Epoch, want)
			}
		}
		onDisk := func(want int64) {
			t.Helper()
			saved, err := routing.Load(path)
			must(err)
			if got := saved.Ring.Status.Epoch; got != want {
				t.Errorf("epoch %d is saved; want %d", got, want)
			}
		}
		f := feed()
		use(f, 1)
		expect("it is saved", 1)
		obstruct()
		use(f, 2)
		expect("it cannot be saved", 1)
		use(f, 3)
		expect("nor can the next", 1)
		must(os.RemoveAll(path))
		expect("it is saved now", 3)
		onDisk(3)

		obstruct()
		f = feed()
		use(f, 4)
		expect("the first of another process cannot be saved", 3)
		must(os.RemoveAll(path))
		expect("it is saved now", 4)
		onDisk(4)
	})
}
