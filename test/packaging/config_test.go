package packaging_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// goreleaser is what is checked of .goreleaser.yaml; goreleaser itself checks the rest (make release-snapshot).
type goreleaser struct {
	Before struct {
		Hooks []string `json:"hooks"`
	} `json:"before"`
	Builds []struct {
		Env     []string `json:"env"`
		GOOS    []string `json:"goos"`
		GOARCH  []string `json:"goarch"`
		Flags   []string `json:"flags"`
		LDFlags []string `json:"ldflags"`
	} `json:"builds"`
	Archives []struct {
		Formats         []string `json:"formats"`
		FormatOverrides []struct {
			GOOS    string   `json:"goos"`
			Formats []string `json:"formats"`
		} `json:"format_overrides"`
		Files []string `json:"files"`
	} `json:"archives"`
	Checksum struct {
		Algorithm string `json:"algorithm"`
	} `json:"checksum"`
	NFPMs []struct {
		Formats  []string `json:"formats"`
		Contents []struct {
			Src      string `json:"src"`
			Dst      string `json:"dst"`
			Packager string `json:"packager"`
			FileInfo struct {
				Mode int `json:"mode"`
			} `json:"file_info"`
		} `json:"contents"`
	} `json:"nfpms"`
	Krews []struct {
		Name             string `json:"name"`
		ShortDescription string `json:"short_description"`
		Description      string `json:"description"`
		Caveats          string `json:"caveats"`
		SkipUpload       bool   `json:"skip_upload"`
	} `json:"krews"`
	SBOMs []struct {
		Artifacts string   `json:"artifacts"`
		Cmd       string   `json:"cmd"`
		Documents []string `json:"documents"`
	} `json:"sboms"`
}

func TestReleaseConfiguration(t *testing.T) {
	c := readConfig(t)
	for _, problem := range c.check() {
		t.Error(problem)
	}
	for _, content := range c.NFPMs[0].Contents {
		if content.Src == manPages {
			continue // made by the hook
		}
		if _, err := os.Stat(filepath.Join(root, content.Src)); err != nil {
			t.Errorf("a package holds what is not there: %v", err)
		}
	}
	// What goreleaser writes for krew says the same as the manifest that is kept here.
	kept, written := readManifest(t, filepath.Join(root, "plugins", "cell.yaml")), c.Krews[0]
	if written.Name != kept.Metadata.Name || written.ShortDescription != kept.Spec.ShortDescription ||
		written.Description != kept.Spec.Description || written.Caveats != kept.Spec.Caveats {
		t.Error("krew in .goreleaser.yaml differs from plugins/cell.yaml")
	}
}

// parseConfig is a configuration that has one of each part.
func parseConfig(t *testing.T, data []byte) *goreleaser {
	t.Helper()
	c := &goreleaser{}
	if err := yaml.Unmarshal(data, c); err != nil {
		t.Fatal(err)
	}
	if len(c.Before.Hooks) != 1 || len(c.Builds) != 1 || len(c.Archives) != 1 || len(c.NFPMs) != 1 || len(c.Krews) != 1 || len(c.SBOMs) != 1 {
		t.Fatalf("hooks, builds, archives, packages, krew and SBOMs: %+v", c)
	}
	return c
}

// check returns what a release would lack, or do that it must not.
func (c *goreleaser) check() []string {
	out := append(c.checkProgram(), c.checkPackages()...)
	wrong := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if !strings.HasSuffix(c.Before.Hooks[0], "go run ./scripts/generate --man man") {
		wrong("what makes the manual pages: %+v", c.Before.Hooks)
	}
	archive := c.Archives[0]
	if !slices.Equal(archive.Formats, []string{"tar.gz"}) || len(archive.FormatOverrides) != 1 ||
		archive.FormatOverrides[0].GOOS != "windows" || !slices.Equal(archive.FormatOverrides[0].Formats, []string{"zip"}) {
		wrong("archives are %v, but %+v", archive.Formats, archive.FormatOverrides)
	}
	if !slices.Contains(archive.Files, "LICENSE") {
		wrong("archives hold %v, and no LICENSE", archive.Files)
	}
	if c.Checksum.Algorithm != "sha256" {
		wrong("checksums are %q; krew wants sha256", c.Checksum.Algorithm)
	}
	// One document for each binary, so its name has all that tells one from another.
	bom := c.SBOMs[0]
	if document := strings.Join(bom.Documents, " "); bom.Artifacts != "binary" || bom.Cmd == "" || len(bom.Documents) != 1 ||
		!strings.Contains(document, "{{ .Os }}") || !strings.Contains(document, "{{ .Arch }}") {
		wrong("SBOMs are of each %q, by %q, called %v", bom.Artifacts, bom.Cmd, bom.Documents)
	}
	if !c.Krews[0].SkipUpload {
		wrong("krew's manifest would be sent away")
	}
	return out
}

// checkProgram returns what is wrong with how the program is built.
func (c *goreleaser) checkProgram() []string {
	var out []string
	wrong := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	build := c.Builds[0]
	if got := strings.Join(append(slices.Clone(build.GOOS), build.GOARCH...), " "); got != "linux darwin windows amd64 arm64" {
		wrong("builds for %s", got)
	}
	if !slices.Contains(build.Flags, "-trimpath") || !slices.Contains(build.Env, "CGO_ENABLED=0") {
		wrong("builds with %v and %v", build.Flags, build.Env)
	}
	flags := strings.Join(build.LDFlags, " ")
	for name, value := range map[string]string{"version": "v{{ .Version }}", "commit": "{{ .FullCommit }}", "date": "{{ .CommitDate }}"} {
		if !strings.Contains(flags+" ", "-X github.com/kubecell/kubectl-cell/pkg/version."+name+"="+value+" ") {
			wrong("the program does not know its %s: %s", name, flags)
		}
	}
	return out
}

// checkPackages returns what packages of systems lack.
func (c *goreleaser) checkPackages() []string {
	var out []string
	packages := c.NFPMs[0]
	if got := strings.Join(packages.Formats, " "); got != "deb rpm" {
		out = append(out, "packages are "+got)
	}
	destinations := ""
	for _, content := range packages.Contents {
		destinations += content.Dst + "\n"
	}
	for _, part := range []string{
		"/bash-completion/", "/fish/", "/zsh/vendor-completions/", "/zsh/site-functions/", "/usr/bin/kubectl_complete-cell",
		"/usr/share/man/man1/", "/copyright\n",
	} {
		if !strings.Contains(destinations, part) {
			out = append(out, "the packages have no "+strings.TrimSpace(part))
		}
	}
	return out
}

// The check itself finds what a release must not be without.
func TestReleasesThatLackSomething(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(root, ".goreleaser.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][2]string{
		"manual pages":        {"--man man", "--check"},
		"a system":            {"goos: [linux, darwin, windows]", "goos: [linux, darwin]"},
		"a pure program":      {"CGO_ENABLED=0", "CGO_ENABLED=1"},
		"version":             {"version.version=v{{ .Version }}", "version.version={{ .Version }}"},
		"commit":              {"{{ .FullCommit }}", "{{ .ShortCommit }}"},
		"date":                {"version.date=", "version.day="},
		"zip on Windows":      {"formats: [zip]", "formats: [tar.gz]"},
		"license":             {"files: [LICENSE, ", "files: ["},
		"license in packages": {"/usr/share/doc/kubectl-cell/copyright", "/usr/share/doc/kubectl-cell/license.txt"},
		"rpm":                 {"formats: [deb, rpm]", "formats: [deb]"},
		"sha256":              {"algorithm: sha256", "algorithm: sha1"},
		"SBOMs of binaries":   {"artifacts: binary", "artifacts: archive"},
		"an SBOM for each":    {"_{{ .Os }}_{{ .Arch }}.cdx.json", ".cdx.json"},
		"staying here":        {"skip_upload: true", "skip_upload: false"},
	} {
		t.Run(name, func(t *testing.T) {
			spoilt := strings.ReplaceAll(string(data), change[0], change[1])
			if spoilt == string(data) {
				t.Fatalf(".goreleaser.yaml does not have %q", change[0])
			}
			if problems := parseConfig(t, []byte(spoilt)).check(); len(problems) != 1 {
				t.Errorf("problems are %q, want one", problems)
			}
		})
	}
}

// k9sPlugins is the form of $XDG_CONFIG_HOME/k9s/plugins.yaml.
type k9sPlugins struct {
	Plugins map[string]struct {
		ShortCut    string   `json:"shortCut"`
		Description string   `json:"description"`
		Scopes      []string `json:"scopes"`
		Command     string   `json:"command"`
		Background  bool     `json:"background"`
		Args        []string `json:"args"`
	} `json:"plugins"`
}

func TestK9sPlugin(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(root, "plugins", "k9s.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var k k9sPlugins
	if err := yaml.UnmarshalStrict(data, &k); err != nil {
		t.Fatal(err)
	}
	shortcuts := map[string]string{}
	for name, p := range k.Plugins {
		if other := shortcuts[p.ShortCut]; other != "" || p.ShortCut == "" {
			t.Errorf("%s and %s have the shortcut %q", name, other, p.ShortCut)
		}
		shortcuts[p.ShortCut] = name
		if p.Description == "" || len(p.Scopes) == 0 || p.Command == "" || !strings.Contains(strings.Join(p.Args, " "), "kubectl cell ") {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if len(shortcuts) == 0 {
		t.Error("there are no plugins")
	}
}
