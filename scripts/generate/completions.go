package main

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/kubecell/kubectl-cell/pkg/cli"
	"github.com/kubecell/kubectl-cell/pkg/cli/completion"
	"github.com/kubecell/kubectl-cell/pkg/exit"
)

// completionFiles are what the command completion prints and installs, for packages that ship it.
func completionFiles() (map[string]file, error) {
	files := map[string]file{"completions/kubectl_complete-cell": {[]byte(completion.Script(newEnv(io.Discard))), 0o755}}
	for shell, suffix := range map[string]string{"bash": "bash", "zsh": "zsh", "fish": "fish", "powershell": "ps1"} {
		var out bytes.Buffer
		if code := cli.Run(context.Background(), newEnv(&out), []string{"kubectl-cell", "completion", shell}); code != exit.OK {
			return nil, fmt.Errorf("write completion for %s: exit code %d", shell, code)
		}
		files["completions/kubectl-cell."+suffix] = file{out.Bytes(), 0o644}
	}
	return files, nil
}
