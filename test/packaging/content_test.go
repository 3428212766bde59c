package packaging_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// manPages is what the packages' manual pages are made as, before a release.
const manPages = "man/*.1.gz"

func readConfig(t *testing.T) *goreleaser {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, ".goreleaser.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return parseConfig(t, data)
}

// beside are the files that each archive has beside the program.
func (c *goreleaser) beside(t *testing.T) contents {
	t.Helper()
	out := contents{}
	for _, pattern := range c.Archives[0].Files {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("nothing matches %s: %v", pattern, err)
		}
		for _, file := range found {
			out[path.Join(path.Dir(pattern), filepath.Base(file))] = fromFile(t, file, 0o644)
		}
	}
	return out
}

func fromFile(t *testing.T, file string, mode fs.FileMode) entry {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return entry{mode, content}
}

// on is the machine that a platform of a manifest stands for.
func (p platform) on() machine {
	return machine{p.Selector.MatchLabels["os"], p.Selector.MatchLabels["arch"]}
}

// checkArchive returns in what an archive is not as the manifest says, or as it is to be laid out.
func (p platform) checkArchive(in, beside contents) []string {
	var out []string
	wrong := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	const executable = 0o111
	program, there := in[p.Bin]
	switch got, err := programOf(program.content); {
	case !there:
		wrong("there is no %s", p.Bin)
	case err != nil || got != p.on():
		wrong("%s is for %v, not for %v: %v", p.Bin, got, p.on(), err)
	case p.on().os != "windows" && program.mode&executable != executable:
		wrong("%s has the mode %v", p.Bin, program.mode)
	}
	if p.Files != nil {
		for _, f := range *p.Files {
			if !in.matches(f.From) {
				wrong("nothing matches %s, which is to be installed", f.From)
			}
		}
	}
	for name, want := range beside {
		if !bytes.Equal(in[name].content, want.content) {
			wrong("%s is missing or another one", name)
		}
	}
	for name := range in {
		if _, known := beside[name]; !known && name != p.Bin {
			wrong("there is %s as well", name)
		}
	}
	return out
}

func (c contents) matches(pattern string) bool {
	for name := range c {
		if is, err := path.Match(pattern, name); is && err == nil {
			return true
		}
	}
	return false
}

// packaged are the files of a package. Of the program and of manual pages there is no content.
func (c *goreleaser) packaged(t *testing.T, packager string) contents {
	t.Helper()
	out := contents{"usr/bin/kubectl-cell": {mode: 0o755}}
	for _, one := range c.NFPMs[0].Contents {
		to := strings.TrimPrefix(one.Dst, "/")
		switch {
		case one.Packager != "" && one.Packager != packager:
		case one.Src == manPages:
			pages, err := filepath.Glob(filepath.Join(root, "docs", "cli", "*.md"))
			if err != nil || len(pages) == 0 {
				t.Fatalf("pages: %v, %v", pages, err)
			}
			for _, page := range pages {
				name := strings.ReplaceAll(strings.TrimSuffix(filepath.Base(page), ".md"), "_", "-")
				out[to+name+".1.gz"] = entry{mode: fs.FileMode(one.FileInfo.Mode)}
			}
		default:
			out[to] = fromFile(t, filepath.Join(root, one.Src), fs.FileMode(one.FileInfo.Mode))
		}
	}
	return out
}

// checkPackage returns in what a package is not as it is to be laid out.
func checkPackage(in, want contents, arch string) []string {
	var out []string
	wrong := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for name, of := range want {
		got, there := in[name]
		switch {
		case !there:
			wrong("there is no %s", name)
		case got.mode != of.mode:
			wrong("%s has the mode %v, not %v", name, got.mode, of.mode)
		case name == "usr/bin/kubectl-cell":
			if on, err := programOf(got.content); err != nil || on != (machine{"linux", arch}) {
				wrong("%s is for %v: %v", name, on, err)
			}
		case of.content == nil:
			if page, err := gunzip(got.content); err != nil || !bytes.Contains(page, []byte(".TH ")) {
				wrong("%s is no manual page: %v", name, err)
			}
		case !bytes.Equal(got.content, of.content):
			wrong("%s is another one", name)
		}
	}
	for name := range in {
		if _, known := want[name]; !known {
			wrong("there is %s as well", name)
		}
	}
	return out
}

func gunzip(data []byte) ([]byte, error) {
	unzipped, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(unzipped)
}

// filled is a package with something in the place of what is not kept here.
func filled(t *testing.T, want contents, arch string) contents {
	t.Helper()
	var page bytes.Buffer
	zipped := gzip.NewWriter(&page)
	if _, err := zipped.Write([]byte(".TH KUBECTL-CELL 1\n")); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	out := maps.Clone(want)
	for name, one := range out {
		switch {
		case name == "usr/bin/kubectl-cell":
			one.content = stub(machine{"linux", arch})
		case one.content == nil:
			one.content = page.Bytes()
		}
		out[name] = one
	}
	return out
}

// The check itself finds what is wrong with a package.
func TestPackagesThatLackSomething(t *testing.T) {
	want := readConfig(t).packaged(t, "deb")
	for name, test := range map[string]struct {
		spoil func(contents)
		says  string
	}{
		"program":              {func(c contents) { delete(c, "usr/bin/kubectl-cell") }, "there is no usr/bin/kubectl-cell"},
		"program of another":   {func(c contents) { c["usr/bin/kubectl-cell"] = entry{0o755, stub(machine{"linux", "arm64"})} }, "is for {linux arm64}"},
		"executable program":   {func(c contents) { c["usr/bin/kubectl-cell"] = entry{0o644, stub(machine{"linux", "amd64"})} }, "has the mode -rw-r--r--"},
		"completion":           {func(c contents) { delete(c, "usr/share/bash-completion/completions/kubectl-cell") }, "there is no usr/share/bash"},
		"completer":            {func(c contents) { c["usr/bin/kubectl_complete-cell"] = entry{0o755, []byte("#!/bin/sh\n")} }, "is another one"},
		"zsh's folder of deb":  {func(c contents) { delete(c, "usr/share/zsh/vendor-completions/_kubectl-cell") }, "there is no usr/share/zsh/vendor"},
		"manual page":          {func(c contents) { delete(c, "usr/share/man/man1/kubectl-cell-where.1.gz") }, "there is no usr/share/man/man1/kubectl-cell-where"},
		"compressed page":      {func(c contents) { c["usr/share/man/man1/kubectl-cell.1.gz"] = entry{0o644, []byte(".TH ")} }, "is no manual page"},
		"license":              {func(c contents) { delete(c, "usr/share/doc/kubectl-cell/copyright") }, "there is no usr/share/doc"},
		"nothing beside these": {func(c contents) { c["etc/passwd"] = entry{0o644, nil} }, "there is etc/passwd as well"},
	} {
		t.Run(name, func(t *testing.T) {
			in := filled(t, want, "amd64")
			test.spoil(in)
			if problems := checkPackage(in, want, "amd64"); len(problems) != 1 || !strings.Contains(problems[0], test.says) {
				t.Errorf("problems are %q, want one that says %q", problems, test.says)
			}
		})
	}
}

// The check itself finds what is wrong with an archive.
func TestArchivesThatLackSomething(t *testing.T) {
	beside := readConfig(t).beside(t)
	for name, test := range map[string]struct {
		platform int
		spoil    func(contents)
		says     string
	}{
		"program of macOS":     {0, func(c contents) { c["kubectl-cell"] = entry{0o755, stub(machine{"linux", "amd64"})} }, "is for {linux amd64}, not for {darwin amd64}"},
		"program of arm":       {3, func(c contents) { c["kubectl-cell"] = entry{0o755, stub(machine{"linux", "amd64"})} }, "is for {linux amd64}, not for {linux arm64}"},
		"executable program":   {2, func(c contents) { c["kubectl-cell"] = entry{0o644, stub(machine{"linux", "amd64"})} }, "has the mode -rw-r--r--"},
		"other license":        {2, func(c contents) { c["LICENSE"] = entry{0o644, []byte("none\n")} }, "LICENSE is missing or another one"},
		"completion":           {4, func(c contents) { delete(c, "completions/kubectl-cell.ps1") }, "completions/kubectl-cell.ps1 is missing"},
		"plugin of k9s":        {4, func(c contents) { delete(c, "plugins/k9s.yaml") }, "plugins/k9s.yaml is missing"},
		"nothing beside these": {5, func(c contents) { c["notes.txt"] = entry{0o644, nil} }, "there is notes.txt as well"},
	} {
		t.Run(name, func(t *testing.T) {
			p := readManifest(t, filepath.Join(root, "plugins", "cell.yaml")).Spec.Platforms[test.platform]
			in := maps.Clone(beside)
			in[p.Bin] = entry{0o755, stub(p.on())}
			test.spoil(in)
			if problems := p.checkArchive(in, beside); len(problems) != 1 || !strings.Contains(problems[0], test.says) {
				t.Errorf("problems are %q, want one that says %q", problems, test.says)
			}
		})
	}
	// What krew is to install is looked for by itself.
	windows := readManifest(t, filepath.Join(root, "plugins", "cell.yaml")).Spec.Platforms[4]
	in := maps.Clone(beside)
	in["kubectl-cell"] = entry{0o755, stub(windows.on())}
	problems := strings.Join(windows.checkArchive(in, beside), "; ")
	for _, says := range []string{"there is no kubectl-cell.exe", "nothing matches kubectl-cell.exe", "there is kubectl-cell as well"} {
		if !strings.Contains(problems, says) {
			t.Errorf("a program without .exe: problems are %q, want one that says %q", problems, says)
		}
	}
}
