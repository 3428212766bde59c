package add

// kubeconfigs is the flag --kubeconfig, which is one of all commands, and another one here. Given twice, as by who has a
// shell begin each command with it, the first one is meant for all commands.
type kubeconfigs struct {
	file  *string
	outer func(file string) error
	given bool
}

func (k *kubeconfigs) String() string { return *k.file }

// Type is what the help text calls a value.
func (k *kubeconfigs) Type() string { return "string" }

// Set takes one of them.
func (k *kubeconfigs) Set(file string) error {
	if k.given {
		if err := k.outer(*k.file); err != nil {
			return err
		}
	}
	*k.file, k.given = file, true
	return nil
}
