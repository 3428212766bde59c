package robustness

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/kubecell/kubectl-cell/pkg/failover"
)

// failOverEnv makes a driver of failovers of this test binary, as driveEnv makes one of rebalances.
const failOverEnv = "ROBUSTNESS_FAILOVER"

func failOverAsChild(name string) int {
	config, err := childConfig()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	asked := asker{lines: bufio.NewReader(os.Stdin), known: map[string]bool{}}
	driver := &failover.Driver{
		RCP: config, Identity: fmt.Sprintf("%s%d", childPrefix, os.Getpid()), LeaseDuration: leaseDuration,
		Step:   func(step failover.StepName) { asked.step(string(step)) },
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
	run, err := driver.Run(context.Background(), name)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(endWord + string(run.Status.Phase))
	return 0
}
