// Package packaging holds the tests of what users install: the krew manifest and an installation from an archive as
// krew does it, the plugin of k9s, and the configuration from which releases are built. The archives of all machines, and the
// packages, are opened and compared with what manifest and configuration say of them.
//
// With KUBECELL_DIST=DIR these are what `make release-snapshot` has made; without, they are made of this build, and for other
// machines of the beginning of a program.
package packaging
