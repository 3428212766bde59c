// Package packaging holds the tests of what users install: the krew manifest and an installation of this build from an
// archive as krew does it, the plugin of k9s, the configuration from which releases are built, and what opens archives and
// packages and finds in which of them something is wrong.
//
// With the build tag release, and KUBECELL_DIST=DIR, the archives of all machines and the packages that `make release-snapshot`
// has made are opened as well, and compared with what manifest and configuration say of them.
package packaging
