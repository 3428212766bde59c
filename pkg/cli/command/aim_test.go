package command

import (
	"testing"

	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericclioptions"
)

// Lines to be typed next have the connection flags that were given, and those alone.
func TestAim(t *testing.T) {
	for _, test := range []struct {
		args         []string
		want, within string
	}{
		{nil, "kubectl cell", ""},
		{[]string{"--context", "prod"}, "kubectl cell --context prod", ""},
		{[]string{"--kubeconfig=", "--context=it's"}, `kubectl cell --context 'it'\''s' --kubeconfig ''`, ""},
		{[]string{"--insecure-skip-tls-verify", "--disable-compression=false"}, "kubectl cell --disable-compression=false --insecure-skip-tls-verify", ""},
		{[]string{"--as-group=a,b", "--as-group=c", "--as=me"}, "kubectl cell --as me --as-group a,b --as-group c", ""},
		{[]string{"--token=hunter2", "--request-timeout=5s"}, "kubectl cell --request-timeout 5s --token TOKEN", ""},
		{[]string{"-n", "payments", "--v=6"}, "kubectl cell", " -n payments"},
	} {
		flags, config := pflag.NewFlagSet("", pflag.ContinueOnError), genericclioptions.NewConfigFlags(true)
		config.AddFlags(flags)
		flags.Int("v", 0, "")
		if err := flags.Parse(test.args); err != nil {
			t.Fatal(err)
		}
		env := &Env{Program: "kubectl cell", Flags: config}
		env.Aim(flags)
		env.Aim(flags) // again is no more
		if env.Program != test.want || env.Within() != test.within {
			t.Errorf("%q: %s, and%q; want %s, and%q", test.args, env.Program, env.Within(), test.want, test.within)
		}
		if env.Plugin() != "kubectl cell" {
			t.Errorf("%q: the plugin is %s", test.args, env.Plugin())
		}
	}
}
