// Package newcomer follows README as somebody does who knows nothing else: the commands of its shell blocks, in their
// order, typed into a shell on a terminal of its own, with a home that is empty, and no programs on PATH but those that
// README asks for and those that any system has. What a command asks there is answered as it says. Each has to end and
// to print as wanted; in the end nothing may run any more, and no file be left outside the folders that docs/install.md
// names.
//
// A block of README may have a comment before it: "newcomer: skip, REASON", or "newcomer: clone" for what is only played
// with -clone, which clones the repository as README says and builds there. Without it, this clone and its bin/ are used.
//
// With -record the same run writes docs/recording.svg and docs/first-five-minutes.md.
package newcomer
