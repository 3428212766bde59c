// Package packaging holds the tests of what users install: the krew manifest and an installation from an archive as
// krew does it, the plugin of k9s, and the configuration from which releases are built.
//
// With KUBECELL_DIST=DIR the archives and the manifest that `make release-snapshot` has made are tested, too.
package packaging
