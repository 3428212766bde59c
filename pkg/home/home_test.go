package home_test

import (
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/kubecell/kubectl-cell/pkg/exit"
	"github.com/kubecell/kubectl-cell/pkg/home"
)

func TestPlaces(t *testing.T) {
	for _, test := range []struct {
		env          map[string]string
		state, cache string
	}{
		{map[string]string{home.Env: "/own", "XDG_STATE_HOME": "/state", "XDG_CACHE_HOME": "/cache"}, "/own", "/own/cache"},
		{map[string]string{"XDG_STATE_HOME": "/state", "XDG_CACHE_HOME": "/cache", "HOME": "/h"}, "/state/kubectl-cell", "/cache/kubectl-cell"},
		{map[string]string{"XDG_STATE_HOME": "relative", "XDG_CACHE_HOME": "relative", "HOME": "/h"},
			"/h/.local/state/kubectl-cell", "/h/.cache/kubectl-cell"},
		{nil, "", ""},
	} {
		getenv := func(name string) string { return test.env[name] }
		state, err := home.State(getenv)
		if state != test.state || (err != nil) != (test.state == "") {
			t.Errorf("%v: state in %q, error %v; want %q", test.env, state, err, test.state)
		}
		if err != nil && exit.HintOf(err, exit.Plugin) == "" {
			t.Errorf("%v: %v has no hint", test.env, err)
		}
		if cache := home.Cache(getenv); cache != test.cache {
			t.Errorf("%v: cache in %q, want %q", test.env, cache, test.cache)
		}
	}
}

// TestUnusable: the hint is about the disk where it is full, and names what chooses another directory there.
func TestUnusable(t *testing.T) {
	full := &fs.PathError{Op: "write", Path: "/state/file", Err: syscall.ENOSPC}
	for _, test := range []struct {
		err  error
		flag string
		want []string
	}{
		{full, "", []string{"df -h /state", "export " + home.Env}},
		{full, "--state-dir", []string{"df -h /state", "--state-dir"}},
		{fs.ErrPermission, "", []string{"that you own: export " + home.Env}},
		{fs.ErrPermission, "--state-dir", []string{"that you own with --state-dir", "export " + home.Env}},
	} {
		err := home.Unusable("/state", fmt.Errorf("lock: %w", test.err), test.flag)
		hint := exit.HintOf(err, exit.Plugin)
		for _, want := range test.want {
			if !strings.Contains(hint, want) {
				t.Errorf("%v, flag %q: hint %q, want %q in it", err, test.flag, hint, want)
			}
		}
	}
}
