package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubecell/kubectl-cell/pkg/exit"
)

// ExitCode is one way in which a command can end.
type ExitCode struct {
	Code exit.Code
	When string
}

// ExitCodes are those of the command with the given path, without the program's name, such as
// "completion install"; the empty path gives those that all commands have. They are in the order of
// the codes. false means that nobody has said how the command ends.
func ExitCodes(path string) ([]ExitCode, bool) {
	codes := map[exit.Code]string{
		exit.OK:       "done, or nothing to do",
		exit.Failure:  "an error",
		exit.Usage:    "the command line is wrong; nothing was done",
		exit.Detached: "ended by Ctrl-C or SIGTERM",
	}
	own, known := ownExitCodes()[path]
	for code, when := range own {
		codes[code] = when
	}
	var out []ExitCode
	for code, when := range codes {
		out = append(out, ExitCode{Code: code, When: when})
	}
	slices.SortFunc(out, func(a, b ExitCode) int { return int(a.Code) - int(b.Code) })
	return out, known || path == ""
}

type codes = map[exit.Code]string

// ownExitCodes says, for each command that does something, how it ends beyond what all commands have
// in common.
func ownExitCodes() map[string]codes {
	const refused = "refused by a check; nothing was changed"
	const unconfirmed = "needs a confirmation and there is no terminal; nothing was changed"
	const nothingRuns = "no rebalance runs; nothing was changed"
	change := codes{exit.Refused: refused}
	all := map[string]codes{
		"where": {
			exit.Findings: "with --live: reality differs from the map",
			exit.Partial:  "lines of the file are no names, or a cell could not be asked; the rest is answered",
		},
		"get cells":     {},
		"get workloads": {exit.Partial: "a cell could not be asked; the rest is listed"},
		"status":        {exit.Findings: "with --exit-status: something needs attention"},
		"diff": {
			exit.OK:      "the wanted ring is as the current one",
			exit.Failure: "there are differences",
			exit.Usage:   "an error, or the command line is wrong",
			exit.Partial: "a cell could not be counted; the numbers are without it",
		},
		"simulate": {},
		"init": {
			exit.Refused: refused,
			exit.Partial: "a founder is stored, and its fence is not in force or what the federation has could not be copied to it; run the command again",
		},
		"add": {
			exit.Refused: refused,
			exit.Partial: "the cell is stored but not in the ring; run the command again",
		},
		"drain": change, "undrain": change, "weight": change,
		"rebalance": {
			exit.OK:                "all that had to move has moved, or nothing had to",
			exit.Failure:           "an error, or the run was aborted",
			exit.Refused:           "refused by a check; nothing was changed",
			exit.TimedOut:          "--timeout has passed; the run was left and may go on",
			exit.Partial:           "too many units failed, and the run has paused itself; the rest is as it was",
			exit.NeedsConfirmation: unconfirmed,
			exit.Detached:          "left by Ctrl-C, a signal or a key; units in flight have finished, and the run may go on",
		},
		"rebalance pause":  {exit.Refused: nothingRuns},
		"rebalance resume": {exit.Refused: nothingRuns},
		"rebalance step":   {exit.Refused: nothingRuns},
		"rebalance abort": {
			exit.Refused:           "no rebalance runs, or it is past recall; nothing was changed",
			exit.NeedsConfirmation: unconfirmed,
		},
		"rebalance status": {exit.Failure: "an error; with -w, also a run that did not succeed"},
		"failover":         failoverCodes(), "failback": failbackCodes(unconfirmed),
		"history": {}, "verify": verifyCodes(),
		"remove": {
			exit.Refused:           refused,
			exit.Partial:           "the cell is deleted and its stored credentials may be left, or one that was failed over is not given up as a whole yet; then the same command goes on",
			exit.NeedsConfirmation: unconfirmed,
		},
		"router forget": {exit.Refused: "the router is alive, or answers; nothing was changed"},
		"backup verify": {exit.Findings: "something is wrong with the backup; it is named"},
		"explain":       {}, "version": {exit.Failure: "an error, or no server answered; the client's version is printed all the same"},
		"options": {},
		"top": {
			exit.OK:       "printed once, or left by a key, Ctrl-C or SIGTERM",
			exit.Detached: "ended by Ctrl-C or SIGTERM before there was a screen",
		},
		"events":          {exit.Partial: "a cell could not be asked; the events of the others are shown"},
		"doctor":          {exit.Findings: "something is wrong; warnings alone are no reason"},
		"report":          {exit.Partial: "something could not be had; the file is written without it, and says so"},
		"completion bash": {}, "completion zsh": {}, "completion fish": {}, "completion powershell": {},
		"completion install": {exit.Refused: "there is a file of that name that is not from kubectl-cell, or the system is Windows"},
	}
	maps.Copy(all, sandboxCodes(refused))
	maps.Copy(all, daemonCodes())
	return all
}

func sandboxCodes(refused string) map[string]codes {
	notASandbox := codes{exit.Refused: "that is no cell of a sandbox of this machine; nothing was changed"}
	return map[string]codes{
		"sandbox up":   {exit.Refused: refused, exit.Partial: "it runs, and a cell is stored and not in use as a whole; run the command again"},
		"sandbox down": {exit.Refused: refused}, "sandbox ls": {},
		"sandbox cell add":    {exit.Refused: refused, exit.Partial: "the federation could not take the cell in as a whole; it was taken back"},
		"sandbox cell remove": {exit.Refused: refused, exit.Partial: "the cell is deleted, and its stored credentials may be left; run the command again"},
		"sandbox chaos kill":  notASandbox, "sandbox chaos pause": notASandbox, "sandbox chaos partition": notASandbox,
		"sandbox chaos restart": notASandbox, "sandbox chaos resume": notASandbox,
	}
}

// daemonCodes are those of the commands for the router and the backup daemon.
func daemonCodes() map[string]codes {
	const early = "ended by Ctrl-C or SIGTERM before it was ready"
	const unready = "an error, or it was not ready in time; nothing is left running"
	start := codes{exit.OK: "it is ready, or was running already", exit.Failure: unready}
	restart := codes{
		exit.OK: "it is ready again", exit.Failure: unready,
		exit.Refused: "a service manager started it and would start it again, or has it in its care; nothing was changed",
	}
	daemonStatus := codes{exit.Findings: "with --exit-status: it is not Up"}
	return map[string]codes{
		"router run": {
			exit.OK:       "ended by Ctrl-C or SIGTERM, after the requests in flight",
			exit.Refused:  "another router uses the state directory",
			exit.Detached: early,
		},
		"backup run": {
			exit.OK:       "ended by Ctrl-C or SIGTERM, after giving the lease up",
			exit.Refused:  "another backup daemon uses the state directory",
			exit.Detached: early,
		},
		"router start": start, "router stop": {}, "router restart": restart, "router status": daemonStatus, "router logs": {},
		"router export systemd": {}, "router export deployment": {}, "backup export systemd": {}, "backup export deployment": {},
		"backup start": start, "backup stop": {}, "backup restart": restart, "backup status": daemonStatus, "backup logs": {},
	}
}

func failoverCodes() codes {
	return codes{
		exit.Refused:  "refused by a safety gate, which says what would be lost and which flags agree to that; nothing was changed",
		exit.Partial:  "the cell is failed over, and copies that could not be brought back were left as they are",
		exit.Detached: "left by Ctrl-C or a signal; the run goes on as soon as somebody drives it, which a backup daemon does",
	}
}

func failbackCodes(unconfirmed string) codes {
	return codes{
		exit.Refused:           "refused by a check; nothing was changed",
		exit.Partial:           "it makes way for a failover, or something comes back that is deleted; the same command goes on with it",
		exit.NeedsConfirmation: unconfirmed,
		exit.Detached:          "left by Ctrl-C or a signal; the same command goes on with it",
	}
}

// PathOf is the path of cmd without the program's name.
func PathOf(cmd *cobra.Command) string {
	return strings.TrimPrefix(strings.TrimPrefix(cmd.CommandPath(), cmd.Root().CommandPath()), " ")
}

// exitCodeText is what the help of cmd says about exit codes. A command that only holds others ends as they all do.
func exitCodeText(cmd *cobra.Command) string {
	var b strings.Builder
	b.WriteString("\nExit codes:\n")
	all, _ := ExitCodes(PathOf(cmd))
	for _, e := range all {
		fmt.Fprintf(&b, "  %-3d %s\n", e.Code, e.When)
	}
	return b.String()
}

func verifyCodes() codes {
	return codes{
		exit.OK:       "nothing was found, or all that was found was mended",
		exit.Findings: "something was found; with --repair, something that a person has to see to",
		exit.Refused:  "with --repair: a rebalance or failover runs; nothing was changed",
		exit.Partial:  "with --repair: something could not be mended; without findings: a cell could not be checked, or envelopes not be compared",
		exit.Detached: "ended by Ctrl-C or SIGTERM; --repair goes on when it is run again",
	}
}
