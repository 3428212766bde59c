package launch

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/home"
	"github.com/kubecell/kubectl-cell/pkg/printers"
)

const (
	// varLib is where systemd makes the directories that StateDirectory= names; see unitsHome.
	varLib = "/var/lib/"
	// defaultUser of a unit.
	defaultUser = "kubectl-cell"
	// runbooks are where a unit and a manifest point people to.
	runbooks = "https://github.com/kubecell/kubectl-cell/blob/main/docs/runbooks/"
)

type unitOptions struct {
	program    Program
	runner     Runner
	flags      *pflag.FlagSet
	user       string
	executable string
}

func newExportSystemd(p Program) *cobra.Command {
	o := &unitOptions{program: p}
	cmd := &cobra.Command{
		Use:   "systemd " + p.Required,
		Short: "Print a systemd unit that runs the " + p.Noun,
		Long: "Print a systemd unit that runs the " + p.Noun + " with the flags of `" + p.Name + " run`, as a user without\n" +
			"rights. systemd learns when it is ready and when it ends, starts it again when it crashes, and reload\n" +
			"opens its log anew. Paths are made absolute. Its state is below /var/lib unless --state-dir says otherwise.\n\n" +
			"The user must exist and be able to read the files that the flags name, and to run the program: one below a\n" +
			"home that others may not enter is warned of.",
		Example: p.example("Install it", "export systemd "+p.Required) + " \\\n    | sudo tee /etc/systemd/system/" + p.Unit() + ".service\n" +
			"  sudo useradd --system --no-create-home " + defaultUser + "\n" +
			"  sudo systemctl daemon-reload && sudo systemctl enable --now " + p.Unit(),
		Args: cobra.NoArgs,
		RunE: command.RunE(o),
	}
	flags := cmd.Flags()
	o.flags, o.runner = flags, p.Flags(flags)
	flags.Lookup("state-dir").Usage = "Directory for the state of the " + p.Noun + "; where empty, " + unitsHome + "/" + p.Name
	flags.StringVar(&o.user, "user", defaultUser, "User that the "+p.Noun+" runs as")
	flags.StringVar(&o.executable, "executable", "", "Path of kubectl-cell on that machine; this program's own where empty")
	return cmd
}

// Complete checks the flags.
func (o *unitOptions) Complete([]string) error {
	if o.flags.Lookup("state-dir").Value.String() == "" {
		if err := o.flags.Set("state-dir", unitsHome+"/"+o.program.Name); err != nil {
			return err
		}
	}
	if o.executable == "" {
		own, err := home.Program(o.program.Env.Getenv)
		if err != nil {
			return err
		}
		o.executable = own
	}
	if !filepath.IsAbs(o.executable) {
		return exit.Flagf("executable", printers.Clip(o.executable), "be an absolute path").WithHint("--executable /usr/local/bin/kubectl-cell")
	}
	if o.user == "" || strings.ContainsAny(o.user, " \t\n%$:") {
		return exit.Flagf("user", printers.Clip(o.user), "be the name of a user").WithHint("--user %s", defaultUser)
	}
	return o.runner.Complete(nil)
}

// Run prints the unit.
func (o *unitOptions) Run(context.Context) error {
	chosen, err := o.program.given(o.flags)
	if err != nil {
		return err
	}
	words := []string{word(o.executable) + " " + o.program.Name + " run"}
	for _, argument := range chosen.arguments() {
		words = append(words, word(argument))
	}
	_, err = fmt.Fprintf(o.program.Env.Out, unit, o.program.Name, o.program.Noun, runbooks+o.program.Name+".md",
		strings.Join(words, " \\\n    "), o.user, o.places(chosen), o.program.Env.Program)
	if dir := barred(o.executable, o.user); err == nil && dir != "" {
		o.program.Env.Warn("the user %s may not enter %s, and so not run %s: install the program elsewhere, such as in /usr/local/bin, and name it with --executable",
			o.user, dir, o.executable)
	}
	return err
}

// places allows writing to where the daemon writes, and nowhere else.
func (o *unitOptions) places(chosen settings) string {
	var b strings.Builder
	dir := chosen["state-dir"]
	if below, ok := strings.CutPrefix(dir, varLib); ok && !strings.ContainsAny(below, " %") {
		fmt.Fprintf(&b, "StateDirectory=%s\nStateDirectoryMode=0700\n", below)
	} else {
		fmt.Fprintf(&b, "ReadWritePaths=%s\n", word(dir))
	}
	for _, name := range []string{"log-file", "audit-log-path"} {
		if path := chosen[name]; filepath.IsAbs(path) && !strings.HasPrefix(path, dir+"/") {
			// The folder: a file that is put aside and made anew needs it.
			fmt.Fprintf(&b, "ReadWritePaths=%s\n", word(filepath.Dir(path)))
		}
	}
	return b.String()
}

// word is text as one word of a command line in a unit: see "COMMAND LINES" in systemd.service(5).
func word(text string) string {
	text = strings.NewReplacer(`%`, `%%`, `$`, `$$`, `\`, `\\`, `"`, `\"`).Replace(text)
	if strings.ContainsAny(text, " \t;'\"") {
		return `"` + text + `"`
	}
	return text
}

// unit is filled with the name, the noun, the runbook, the command line, the user, where it may write, and the
// program. The times to start and stop are beyond those that the daemons give themselves.
const unit = `# Printed by "%[7]s %[1]s export systemd"; print it again rather than editing it.
[Unit]
Description=kubectl-cell %[2]s
Documentation=%[3]s
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
ExecStart=%[4]s
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=2s
TimeoutStartSec=90s
TimeoutStopSec=100s
LimitNOFILE=65536

User=%[5]s
UMask=0077
%[6]sProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
NoNewPrivileges=yes
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
AmbientCapabilities=CAP_NET_BIND_SERVICE
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
`
