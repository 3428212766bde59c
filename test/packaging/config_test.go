package packaging_test

import (
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
		GOOS   []string `json:"goos"`
		GOARCH []string `json:"goarch"`
		Flags  []string `json:"flags"`
	} `json:"builds"`
	NFPMs []struct {
		Formats  []string `json:"formats"`
		Contents []struct {
			Src string `json:"src"`
			Dst string `json:"dst"`
		} `json:"contents"`
	} `json:"nfpms"`
	Krews []struct {
		Name             string `json:"name"`
		ShortDescription string `json:"short_description"`
		Description      string `json:"description"`
		Caveats          string `json:"caveats"`
	} `json:"krews"`
	SBOMs []struct {
		Cmd string `json:"cmd"`
	} `json:"sboms"`
}

func TestReleaseConfiguration(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(root, ".goreleaser.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var c goreleaser
	if err := yaml.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Builds) != 1 || len(c.NFPMs) != 1 || len(c.Krews) != 1 || len(c.SBOMs) != 1 {
		t.Fatalf("builds, packages, krew and SBOMs: %+v", c)
	}
	build := c.Builds[0]
	if got := strings.Join(append(build.GOOS, build.GOARCH...), " "); got != "linux darwin windows amd64 arm64" || !slices.Contains(build.Flags, "-trimpath") {
		t.Errorf("builds for %s with %v", got, build.Flags)
	}
	if got := strings.Join(c.NFPMs[0].Formats, " "); got != "deb rpm" {
		t.Errorf("packages are %s", got)
	}
	destinations := ""
	if len(c.Before.Hooks) != 1 || !strings.HasSuffix(c.Before.Hooks[0], "go run ./scripts/generate --man man") {
		t.Errorf("what makes the manual pages: %+v", c.Before.Hooks)
	}
	for _, content := range c.NFPMs[0].Contents {
		if content.Src == "man/*.1.gz" {
			destinations += content.Dst + "\n" // made by the hook
			continue
		}
		if _, err := os.Stat(filepath.Join(root, content.Src)); err != nil {
			t.Errorf("a package holds what is not there: %v", err)
		}
		destinations += content.Dst + "\n"
	}
	for _, shell := range []string{"/bash-completion/", "/fish/", "/zsh/vendor-completions/", "/zsh/site-functions/", "/usr/bin/kubectl_complete-cell", "/usr/share/man/man1/"} {
		if !strings.Contains(destinations, shell) {
			t.Errorf("the packages have no %s", shell)
		}
	}
	// What goreleaser writes for krew says the same as the manifest that is kept here.
	kept, written := readManifest(t, filepath.Join(root, "plugins", "cell.yaml")), c.Krews[0]
	if written.Name != kept.Metadata.Name || written.ShortDescription != kept.Spec.ShortDescription ||
		written.Description != kept.Spec.Description || written.Caveats != kept.Spec.Caveats {
		t.Error("krew in .goreleaser.yaml differs from plugins/cell.yaml")
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
