package conformance_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
	"github.com/onsi/gomega"
	"k8s.io/component-base/logs"
	commontest "k8s.io/kubernetes/test/e2e/common"
	"k8s.io/kubernetes/test/e2e/framework"
	"k8s.io/kubernetes/test/e2e/framework/config"
	"k8s.io/kubernetes/test/e2e/framework/testfiles"
	e2etestingmanifests "k8s.io/kubernetes/test/e2e/testing-manifests"
	testfixtures "k8s.io/kubernetes/test/fixtures"

	// The specs.
	_ "k8s.io/kubernetes/test/e2e/apimachinery"
	_ "k8s.io/kubernetes/test/e2e/apps"
	_ "k8s.io/kubernetes/test/e2e/auth"
	_ "k8s.io/kubernetes/test/e2e/dra"
	_ "k8s.io/kubernetes/test/e2e/instrumentation"
	_ "k8s.io/kubernetes/test/e2e/kubectl"
	_ "k8s.io/kubernetes/test/e2e/network"
	_ "k8s.io/kubernetes/test/e2e/node"
	_ "k8s.io/kubernetes/test/e2e/scheduling"
	_ "k8s.io/kubernetes/test/e2e/storage"

	// What the framework expects to be there.
	_ "k8s.io/component-base/logs/testinit"
	_ "k8s.io/kubernetes/test/e2e/feature"
	_ "k8s.io/kubernetes/test/e2e/framework/debug/init"
	_ "k8s.io/kubernetes/test/e2e/framework/metrics/init"
	_ "k8s.io/kubernetes/test/e2e/framework/node/init"
	_ "k8s.io/kubernetes/test/utils/format"

	"github.com/kubecell/kubectl-cell/test/conformance/result"
	"github.com/kubecell/kubectl-cell/test/conformance/selection"
)

// suiteName precedes the full text of each spec where ginkgo looks for what to focus on.
const suiteName = "conformance"

// exitLeft is the exit code that asks to be run again for the specs that have no result yet.
const exitLeft = 3

// patience is how long a step whose time is over may take to notice.
const patience = 10 * time.Second

// options are the flags of this binary beside those of ginkgo and of the framework.
type options struct {
	specs   string
	results string
	focus   string
	short   bool
	shard   int
	shards  int
	limit   time.Duration
}

func TestMain(m *testing.M) {
	config.CopyFlags(config.Flags, flag.CommandLine)
	framework.RegisterCommonFlags(flag.CommandLine)
	framework.RegisterClusterFlags(flag.CommandLine)
	var o options
	flag.StringVar(&o.specs, "specs", "specs.txt", "File with the specs to run")
	flag.StringVar(&o.results, "results", "", "File to which results are appended")
	flag.StringVar(&o.focus, "focus", "", "Run only specs of the file whose names match this regular expression")
	flag.BoolVar(&o.short, "selection-short", false, "Run only the short selection")
	flag.IntVar(&o.shards, "shards", 1, "Number of processes over which specs that tolerate company are spread")
	flag.IntVar(&o.shard, "shard", 0, "Which of the shards to run, from 0; their number: those to be alone; one more: the slow")
	flag.DurationVar(&o.limit, "limit", 3*time.Minute, "Longest time of one step (set-up, body, each clean-up) of a spec")
	flag.Parse()

	testfiles.AddFileSource(e2etestingmanifests.GetE2ETestingManifestsFS())
	testfiles.AddFileSource(testfixtures.GetTestFixturesFS())
	framework.AfterReadingAllFlags(&framework.TestContext)
	// What upstream's suite finds out by looking at nodes and the Service network.
	commontest.CurrentSuite = commontest.E2E
	framework.TestContext.IPFamily = "ipv4"

	left, err := run(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	if left {
		os.Exit(exitLeft)
	}
}

// run runs those of the selected specs that have no result yet, and says whether some are left for another
// run, since one had to be interrupted. That specs fail is no error.
func run(o options) (left bool, err error) {
	focus, err := o.selected()
	if err != nil || focus == "" {
		return false, err
	}
	logs.InitLogs()
	defer logs.FlushLogs()
	gomega.RegisterFailHandler(framework.Fail)

	suite, reporter := framework.CreateGinkgoConfig()
	suite.FocusStrings = []string{focus}
	// Upstream leaves out all specs of features that a cluster may lack, unless it is told otherwise. The list tells.
	suite.SkipStrings = nil
	// The same order for every control plane: what one spec leaves behind meets the same next one.
	suite.RandomizeAllSpecs = false
	suite.RandomSeed = 1

	ginkgo.ReportAfterEach(func(report ginkgo.SpecReport) {
		if report.NumAttempts == 0 {
			return // not selected
		}
		left = left || report.State == types.SpecStateInterrupted
		err = errors.Join(err, result.Append(o.results, resultOf(report)))
	})
	ginkgo.RunSpecs(verdict{}, suiteName, suite, reporter, ginkgo.AroundNode(o.bounded))
	return left, err
}

// bounded gives each step of a spec a deadline, so that one which waits for what never comes does not take
// the five minutes that upstream allows. A spec that does not look at its context cannot be ended within
// this process without disturbing the next ones: for it, the run is interrupted as Ctrl-C would do it.
func (o options) bounded(ctx context.Context, body func(context.Context)) {
	ctx, cancel := context.WithTimeout(ctx, o.limit)
	defer cancel()
	interrupt := time.AfterFunc(o.limit+patience, func() {
		if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
			panic(err)
		}
	})
	defer interrupt.Stop()
	body(ctx)
}

// selected is a regular expression that matches, after the name of the suite, exactly the selected specs
// without a result; it is empty when there are none.
func (o options) selected() (string, error) {
	file, err := os.Open(o.specs)
	if err != nil {
		return "", fmt.Errorf("open list of specs: %w", err)
	}
	defer file.Close()
	specs, err := selection.Specs(file)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", o.specs, err)
	}
	focus, err := regexp.Compile(o.focus)
	if err != nil {
		return "", fmt.Errorf("read -focus: %w", err)
	}
	known, err := result.Read(o.results)
	if err != nil {
		return "", err
	}
	var names []string
	for _, spec := range selection.Shard(selection.Selected(specs, o.short, focus), o.shard, o.shards) {
		if _, ok := known[spec.Name]; !ok {
			names = append(names, regexp.QuoteMeta(spec.Name))
		}
	}
	if len(names) == 0 {
		return "", nil
	}
	return "^" + suiteName + " (?:" + strings.Join(names, "|") + ")$", nil
}

func resultOf(report ginkgo.SpecReport) result.Result {
	r := result.Result{Spec: report.FullText(), State: report.State.String(), Seconds: report.RunTime.Seconds()}
	if report.State != types.SpecStatePassed {
		r.Message = report.Failure.Message
		if report.Failure.ForwardedPanic != "" {
			r.Message += "\n" + report.Failure.ForwardedPanic
		}
	}
	return r
}

// verdict takes ginkgo's verdict over all specs and does nothing with it: one of them failing is a result.
type verdict struct{}

func (verdict) Fail() {}
