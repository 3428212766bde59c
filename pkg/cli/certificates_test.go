package cli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/util/cert"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/kubecell/kubectl-cell/pkg/cli"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/sandbox/sandboxtest"
)

// TestDoctorTellsOfCertificates that end within 30 days, and of those that have ended: the user's, those of the cells, and
// those that the daemons of this machine go by.
func TestDoctorTellsOfCertificates(t *testing.T) {
	b := newBed(t)
	p := newPerson(t, b)
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.crt")
	if err := os.WriteFile(ca, b.ca, 0o600); err != nil {
		t.Fatal(err)
	}
	environ := map[string]string{"PATH": os.Getenv("PATH")}
	for _, variable := range p.environ {
		name, value, _ := strings.Cut(variable, "=")
		environ[name] = value
	}
	kubeconfig := environ["KUBECONFIG"]
	port, err := sandboxtest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	p.must(t, "router", "start", "--rcp-kubeconfig", kubeconfig, "--client-ca-file", ca, "--bind-address", "127.0.0.1", "--secure-port", port, "--admin-listen", "127.0.0.1:0")
	p.must(t, "backup", "start", "--rcp-kubeconfig", kubeconfig, "--listen", "127.0.0.1:0")
	defer p.must(t, "backup", "stop")
	defer p.must(t, "router", "stop")
	signed, err := cert.ParseCertsPEM(b.configs["rcp"].CertData)
	if err != nil {
		t.Fatal(err)
	}
	const day = 24 * time.Hour
	// The bed's certificates are made at one time, for as long; the one that the router signs for itself is for a year.
	for name, test := range map[string]struct {
		at   time.Time
		code exit.Code
		want []string
	}{
		"all is well": {time.Now(), exit.OK, []string{
			`^✔ certificates   1[0-9], the first of which to end is the serving certificate of the local router, in 36[45]d$`,
		}},
		"one that the router has signed for itself": {time.Now().Add(340 * day), exit.OK, []string{
			`^! certificates   the serving certificate of the local router ends on 20[-0-9]+, in 2[3-6]d\n    fix: https://.*#renew-certificates$`,
		}},
		"those of all control planes": {signed[0].NotAfter.Add(-29 * day), exit.Findings, []string{
			`^✗ certificates   the serving certificate of the local router ended on 20[-0-9]+, [1-9].* ago$`,
			`^! certificates   the client certificate of your kubeconfig ends on 20[-0-9]+, in (28|29)d\n    fix: kubectl config view`,
			`^! certificates   the client certificate of the local router at the router control plane ends on `,
			`^! certificates   the client certificate of the local backup at the router control plane ends on `,
			`^! certificates   the client certificate of cell cell-3 ends on 20[-0-9]+, in (28|29|30)d\n    fix: kubectl cell add cell-3 --kubeconfig FILE `,
		}},
		"after their end": {signed[0].NotAfter.Add(day), exit.Findings, []string{
			`^✗ certificates   the client certificate of your kubeconfig ended on 20[-0-9]+, (24h|1d|47h) ago$`,
			`^✗ certificates   the client certificate of cell cell-1 ended on `,
		}},
		"and after that of the CAs": {signed[0].NotAfter.AddDate(9, 0, 0), exit.Findings, []string{
			`^✗ certificates   the CA of your kubeconfig ended on `, `^✗ certificates   the CA of cell cell-2 ended on `,
			`^✗ certificates   the CA of the clients of the local router ended on `,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			flags := genericclioptions.NewConfigFlags(true)
			*flags.KubeConfig = kubeconfig
			var out, errOut bytes.Buffer
			code := cli.Run(t.Context(), &command.Env{
				IOStreams: genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &errOut},
				Flags:     flags, Clock: clocktesting.NewFakePassiveClock(test.at), Program: "kubectl cell",
				Getenv: func(name string) string { return environ[name] },
			}, []string{"kubectl-cell", "doctor"})
			if code != test.code {
				t.Errorf("exit code %d; want %d", code, test.code)
			}
			for _, want := range test.want {
				if !regexp.MustCompile("(?m)" + want).MatchString(out.String()) {
					t.Errorf("it does not say %s", want)
				}
			}
			if t.Failed() {
				t.Logf("%s%s", &out, &errOut)
			}
		})
	}
}
