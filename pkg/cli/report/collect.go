package report

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"

	"github.com/kubecell/kubectl-cell/pkg/apis/kubecell/v1alpha1"
	"github.com/kubecell/kubectl-cell/pkg/cli/backup"
	"github.com/kubecell/kubectl-cell/pkg/cli/command"
	"github.com/kubecell/kubectl-cell/pkg/cli/doctor"
	"github.com/kubecell/kubectl-cell/pkg/cli/launch"
	"github.com/kubecell/kubectl-cell/pkg/cli/router"
	"github.com/kubecell/kubectl-cell/pkg/daemon"
	"github.com/kubecell/kubectl-cell/pkg/home"
	"github.com/kubecell/kubectl-cell/pkg/sandbox"
	"github.com/kubecell/kubectl-cell/pkg/version"
)

const (
	// logBytes is how much of the end of each log is taken.
	logBytes = 1 << 20
	// answerWithin is how long a server may take for all that is asked of it.
	answerWithin = 15 * time.Second
)

// collect reads everything. It changes nothing, and a part that fails costs the others nothing.
func collect(ctx context.Context, env *command.Env) *collection {
	c := &collection{files: map[string][]byte{}}
	c.json("version.json", version.Get())
	checks, _ := doctor.Examine(ctx, env)
	c.json("doctor.json", checks)
	c.kubeconfig(env)
	c.federation(ctx, env)
	for _, program := range []launch.Program{router.Program(env), backup.Program(env)} {
		c.daemon(ctx, program)
	}
	c.sandboxes(env)
	return c
}

func (c *collection) json(path string, value any) {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		c.lacks(path, err)
		return
	}
	c.add(path, append(data, '\n'))
}

// kubeconfig is which servers and contexts there are; of users only their names.
func (c *collection) kubeconfig(env *command.Env) {
	raw, err := env.Flags.ToRawKubeConfigLoader().RawConfig()
	if err != nil {
		c.lacks("kubeconfig", err)
		return
	}
	raw = *raw.DeepCopy() // the clients are made from the original
	for _, user := range raw.AuthInfos {
		*user = clientcmdapi.AuthInfo{}
	}
	for _, cluster := range raw.Clusters {
		cluster.CertificateAuthorityData = nil
	}
	data, err := clientcmd.Write(raw)
	if err != nil {
		c.lacks("kubeconfig", err)
		return
	}
	c.add("kubeconfig.yaml", data)
}

// federation is what the router control plane says. Secrets are not asked for.
func (c *collection) federation(ctx context.Context, env *command.Env) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	fed, err := env.Connect()
	if err != nil {
		c.lacks("federation", err)
		return
	}
	// One that does not answer is found out once.
	rings, err := fed.Cell.Rings().List(ctx, metav1.ListOptions{})
	if err != nil {
		c.lacks("rings", err)
		return
	}
	c.yaml("federation/rings.yaml", rings)
	c.asked("federation/cells.yaml", func() (any, error) { return fed.Cell.Cells().List(ctx, metav1.ListOptions{}) })
	c.asked("federation/rebalances.yaml", func() (any, error) { return fed.Cell.Rebalances().List(ctx, metav1.ListOptions{}) })
	c.asked("federation/failovers.yaml", func() (any, error) { return fed.Cell.Failovers().List(ctx, metav1.ListOptions{}) })
	c.asked("federation/leases.yaml", func() (any, error) {
		return fed.Kube.CoordinationV1().Leases(v1alpha1.Namespace).List(ctx, metav1.ListOptions{})
	})
	c.asked("federation/events.yaml", func() (any, error) {
		return fed.Kube.CoreV1().Events(v1alpha1.Namespace).List(ctx, metav1.ListOptions{})
	})
	// Those of runs and cells, which are cluster-scoped, are in the namespace for such; what else is there is not ours.
	ours := fields.OneTermEqualSelector("involvedObject.apiVersion", v1alpha1.GroupVersion().String()).String()
	c.asked("federation/events-default.yaml", func() (any, error) {
		return fed.Kube.CoreV1().Events(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{FieldSelector: ours})
	})
}

func (c *collection) asked(path string, ask func() (any, error)) {
	answer, err := ask()
	if err != nil {
		c.lacks(path, err)
		return
	}
	c.yaml(path, answer)
}

func (c *collection) yaml(path string, value any) {
	data, err := yaml.Marshal(value)
	if err != nil {
		c.lacks(path, err)
		return
	}
	c.add(path, data)
}

// daemon is what one daemon of this machine says and has written. Where it never ran there is only its status.
func (c *collection) daemon(ctx context.Context, program launch.Program) {
	at := "daemons/" + program.Name + "/"
	status, err := program.Look(ctx)
	if err != nil {
		c.lacks(at+"status.json", err)
		return
	}
	c.json(at+"status.json", status)
	c.file(at+"flags.json", filepath.Join(status.StateDir, launch.FlagsFile))
	log := status.Log
	if log == "" {
		log = filepath.Join(status.StateDir, launch.LogName)
	}
	c.file(at+"log", log)
	c.file(at+"log"+daemon.PreviousLog, log+daemon.PreviousLog)
	if status.AdminURL == "" {
		return
	}
	for name, path := range map[string]string{"metrics.txt": "/metrics", "readyz.txt": "/readyz?verbose", "goroutines.txt": "/debug/pprof/goroutine?debug=1"} {
		data, err := launch.AskAt(status.AdminURL)(ctx, path)
		if err != nil {
			c.lacks(at+name, err)
			continue
		}
		c.add(at+name, data)
	}
}

// sandboxes are their parts and logs.
func (c *collection) sandboxes(env *command.Env) {
	dir, err := home.State(env.Getenv)
	if err != nil {
		c.lacks("sandboxes", err)
		return
	}
	manager := &sandbox.Manager{StateDir: dir, Getenv: env.Getenv, Clock: env.Clock}
	list, err := manager.List()
	if err != nil {
		c.lacks("sandboxes", err)
		return
	}
	for _, s := range list {
		at := "sandboxes/" + s.Name + "/"
		c.json(at+"status.json", s)
		for _, part := range append([]sandbox.Part{s.RCP, s.Router, s.Backup}, s.Cells...) {
			c.file(at+part.Name+".log", part.Log)
		}
	}
}

// file takes the end of a file, from the beginning of a line. One that is not there is nothing that is missing.
func (c *collection) file(path, from string) {
	data, err := tail(from)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		c.lacks(path, err)
		return
	}
	c.add(path, data)
}

func tail(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no ordinary file", path)
	}
	from := max(0, info.Size()-logBytes)
	data := make([]byte, info.Size()-from)
	n, err := file.ReadAt(data, from)
	if n < len(data) && err != nil {
		return nil, err
	}
	if from == 0 {
		return data, nil
	}
	return whole(data), nil
}

// orphan is a line that may belong to a secret whose beginning is not there: indented, or nothing but base64.
var orphan = regexp.MustCompile(`^(?:[ \t].*|[A-Za-z0-9+/=_-]*)\r?$`)

// whole returns what remains of the end of a file without the rest of a secret that begins before it, and would not be
// recognised: the first line, what goes on with it, and all up to an end of PEM that has no beginning.
func whole(data []byte) []byte {
	i := bytes.IndexByte(data, '\n')
	if i < 0 {
		return nil
	}
	data = data[i+1:]
	begin, end := bytes.Index(data, []byte("-----BEGIN ")), bytes.Index(data, []byte("-----END "))
	if end >= 0 && (begin < 0 || end < begin) {
		_, data, _ = bytes.Cut(data[end:], []byte("\n"))
	}
	for len(data) > 0 {
		line, rest, _ := bytes.Cut(data, []byte("\n"))
		if !orphan.Match(line) {
			break
		}
		data = rest
	}
	return data
}
