// Package version says which build this is.
package version

import (
	"runtime"
	"runtime/debug"
)

// The linker sets these, with -X github.com/kubecell/kubectl-cell/pkg/version.version=v1.2.3 and so
// on: that is only possible with package variables. Nothing else writes them.
var (
	version string
	commit  string
	date    string
)

// Info describes a build.
type Info struct {
	// Version is a release such as "v0.4.1", or "devel".
	Version string `json:"version"`
	// Commit is the git commit, empty where it is not known.
	Commit string `json:"commit,omitempty"`
	// Date is when the build was made or, for a plain go build, the time of the commit (RFC 3339).
	Date      string `json:"date,omitempty"`
	GoVersion string `json:"goVersion"`
	// Platform is "<os>/<architecture>".
	Platform string `json:"platform"`
}

// Get returns the build of this process: what the linker was told, and for a plain `go build` or
// `go install` what the Go toolchain noted.
func Get() Info {
	info := Info{
		Version: version, Commit: commit, Date: date,
		GoVersion: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	build, ok := debug.ReadBuildInfo()
	if ok && info.Version == "" && build.Main.Version != "(devel)" {
		info.Version = build.Main.Version
	}
	if info.Version == "" {
		info.Version = "devel"
	}
	if !ok {
		return info
	}
	for _, setting := range build.Settings {
		switch {
		case setting.Key == "vcs.revision" && info.Commit == "":
			info.Commit = setting.Value
		case setting.Key == "vcs.time" && info.Date == "":
			info.Date = setting.Value
		}
	}
	return info
}
