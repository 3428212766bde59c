package packaging_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/version"
	"sigs.k8s.io/yaml"
)

const root = "../.."

// manifest is a Plugin of krew.googlecontainertools.github.com/v1alpha2.
type manifest struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   metav1.ObjectMeta `json:"metadata"`
	Spec       struct {
		Version          string     `json:"version"`
		Homepage         string     `json:"homepage"`
		ShortDescription string     `json:"shortDescription"`
		Description      string     `json:"description"`
		Caveats          string     `json:"caveats"`
		Platforms        []platform `json:"platforms"`
	} `json:"spec"`
}

type platform struct {
	Selector *metav1.LabelSelector `json:"selector"`
	URI      string                `json:"uri"`
	SHA256   string                `json:"sha256"`
	Bin      string                `json:"bin"`
	// Files is a pointer to tell an absent list, which stands for everything, from an empty one.
	Files *[]fileMove `json:"files"`
}

type fileMove struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// machine is what a selector is matched against.
type machine struct{ os, arch string }

// machines are those that krew runs on.
func machines() []machine {
	var out []machine
	for _, os := range []string{"linux", "darwin", "windows", "freebsd"} {
		for _, arch := range []string{"amd64", "arm64", "arm", "386", "ppc64le", "s390x"} {
			out = append(out, machine{os, arch})
		}
	}
	return out
}

func readManifest(t *testing.T, path string) *manifest {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m := &manifest{}
	if err := yaml.UnmarshalStrict(data, m); err != nil {
		t.Fatal(err)
	}
	return m
}

// check returns how a manifest breaks krew's rules.
func (m *manifest) check(file string) []string {
	var out []string
	wrong := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if m.APIVersion != "krew.googlecontainertools.github.com/v1alpha2" || m.Kind != "Plugin" {
		wrong("is a %s %s", m.APIVersion, m.Kind)
	}
	if m.Metadata.Name+".yaml" != file {
		wrong("is called %q in the file %s", m.Metadata.Name, file)
	}
	if !regexp.MustCompile(`^[\w-]+$`).MatchString(m.Metadata.Name) {
		wrong("the name %q is not of letters, digits, _ and -", m.Metadata.Name)
	}
	if v, err := version.ParseSemantic(m.Spec.Version); err != nil || !strings.HasPrefix(m.Spec.Version, "v") || v.String() == "" {
		wrong("version %q is not v and a semantic version", m.Spec.Version)
	}
	short := m.Spec.ShortDescription
	if short == "" || len(short) > 50 || strings.ContainsAny(short, "\n|[]<>") || strings.HasSuffix(short, ".") {
		wrong("shortDescription %q is not one short line", short)
	}
	if m.Spec.Description == "" || strings.Contains(m.Spec.Description, "Usage:") || !strings.HasPrefix(m.Spec.Homepage, "https://") {
		wrong("description or homepage is not as it should be")
	}
	if caveats := m.Spec.Caveats; caveats != "" && !strings.Contains(caveats, "completion install") {
		wrong("caveats are about something else than the completion: %s", caveats)
	}
	if len(m.Spec.Platforms) == 0 {
		wrong("has no platforms")
	}
	matched := map[machine]int{}
	for i, p := range m.Spec.Platforms {
		for _, problem := range p.check(matched) {
			wrong("platform %d: %s", i, problem)
		}
	}
	for on, times := range matched {
		if times > 1 {
			wrong("%d platforms match %s/%s", times, on.os, on.arch)
		}
	}
	return out
}

func (p platform) check(matched map[machine]int) []string {
	var out []string
	wrong := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(p.SHA256) {
		wrong("sha256 %q", p.SHA256)
	}
	if !strings.HasPrefix(p.URI, "https://") || !strings.HasSuffix(p.URI, ".tar.gz") && !strings.HasSuffix(p.URI, ".zip") {
		wrong("uri %q", p.URI)
	}
	selector, err := metav1.LabelSelectorAsSelector(p.Selector)
	if err != nil || p.Selector == nil {
		return append(out, fmt.Sprintf("selector: %v", err))
	}
	requirements, _ := selector.Requirements()
	for _, r := range requirements {
		if r.Key() != "os" && r.Key() != "arch" {
			wrong("selector asks for %s", r.Key())
		}
	}
	found := 0
	for _, on := range machines() {
		if !selector.Matches(labels.Set{"os": on.os, "arch": on.arch}) {
			continue
		}
		found++
		matched[on]++
		if strings.HasSuffix(p.Bin, ".exe") != (on.os == "windows") {
			wrong("bin %q on %s", p.Bin, on.os)
		}
	}
	if found == 0 {
		wrong("matches no machine")
	}
	if p.Bin == "" || filepath.IsAbs(p.Bin) || strings.Contains(p.Bin, "..") {
		wrong("bin %q", p.Bin)
	}
	return append(out, p.checkFiles()...)
}

func (p platform) checkFiles() []string {
	if p.Files == nil {
		return nil // everything
	}
	license, bin := false, false
	for _, f := range *p.Files {
		if f.From == "" || f.To == "" || strings.Contains(f.From+f.To, "..") {
			return []string{fmt.Sprintf("files: %+v", f)}
		}
		license, bin = license || f.From == "LICENSE", bin || f.From == p.Bin
	}
	if !license || !bin {
		return []string{"files are without the LICENSE or the program"}
	}
	return nil
}

func TestKrewManifest(t *testing.T) {
	m := readManifest(t, filepath.Join(root, "plugins", "cell.yaml"))
	for _, problem := range m.check("cell.yaml") {
		t.Error(problem)
	}
	if len(m.Spec.Platforms) != 6 {
		t.Errorf("%d platforms, want those of .goreleaser.yaml", len(m.Spec.Platforms))
	}
}

// The check itself finds what krew would refuse.
func TestManifestsThatKrewRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(*manifest)
		says  string
	}{
		"other apiVersion":        {func(m *manifest) { m.APIVersion = "krew.googlecontainertools.github.com/v1alpha1" }, "is a "},
		"other kind":              {func(m *manifest) { m.Kind = "Plugins" }, "is a "},
		"version without v":       {func(m *manifest) { m.Spec.Version = "0.1.0" }, "version "},
		"version that is none":    {func(m *manifest) { m.Spec.Version = "v0.1" }, "version "},
		"version with zeros":      {func(m *manifest) { m.Spec.Version = "v0.01.0" }, "version "},
		"other name":              {func(m *manifest) { m.Metadata.Name = "cells" }, "is called "},
		"name that is no word":    {func(m *manifest) { m.Metadata.Name = "ce.ll" }, "is not of letters"},
		"long description":        {func(m *manifest) { m.Spec.ShortDescription = strings.Repeat("long ", 20) }, "shortDescription "},
		"usage in description":    {func(m *manifest) { m.Spec.ShortDescription = "where|get|status" }, "shortDescription "},
		"homepage without TLS":    {func(m *manifest) { m.Spec.Homepage = "http://example.com" }, "description or homepage"},
		"checksum in capitals":    {func(m *manifest) { m.Spec.Platforms[0].SHA256 = strings.Repeat("A", 64) }, "sha256 "},
		"archive without TLS":     {func(m *manifest) { m.Spec.Platforms[0].URI = "http://example.com/kubectl-cell.tar.gz" }, "uri "},
		"archive of another kind": {func(m *manifest) { m.Spec.Platforms[0].URI = "https://example.com/kubectl-cell.tar.xz" }, "uri "},
		"overlap":                 {func(m *manifest) { delete(m.Spec.Platforms[0].Selector.MatchLabels, "arch") }, "platforms match "},
		"matches nothing":         {func(m *manifest) { m.Spec.Platforms[0].Selector.MatchLabels["os"] = "plan9" }, "matches no machine"},
		"selects by other keys":   {func(m *manifest) { m.Spec.Platforms[0].Selector.MatchLabels["zone"] = "a" }, "selector asks for zone"},
		"no .exe":                 {func(m *manifest) { m.Spec.Platforms[5].Bin = "kubectl-cell" }, "bin "},
		"program somewhere else":  {func(m *manifest) { m.Spec.Platforms[0].Bin = "../kubectl-cell" }, "bin "},
		"empty files":             {func(m *manifest) { m.Spec.Platforms[0].Files = &[]fileMove{} }, "without the LICENSE"},
		"no LICENSE":              {func(m *manifest) { m.Spec.Platforms[0].Files = &[]fileMove{{From: "kubectl-cell", To: "."}} }, "without the LICENSE"},
		"no program":              {func(m *manifest) { m.Spec.Platforms[0].Files = &[]fileMove{{From: "LICENSE", To: "."}} }, "or the program"},
		"other caveats":           {func(m *manifest) { m.Spec.Caveats = "Star us!" }, "caveats "},
	} {
		t.Run(name, func(t *testing.T) {
			m := readManifest(t, filepath.Join(root, "plugins", "cell.yaml"))
			test.spoil(m)
			if problems := strings.Join(m.check("cell.yaml"), "; "); !strings.Contains(problems, test.says) {
				t.Errorf("problems are %q, want one that says %q", problems, test.says)
			}
		})
	}
}
