// Package soak proves that client-go's informers behave through the router as they do against one
// apiserver, while everything that they hang from is restarted.
//
// Many informers follow sharded, local and replicated resources; many writers change them; the router is restarted in
// between, which must make no informer list again and refuse nobody anything, and the apiserver of a cell is killed. At
// the end each cache has to equal what is in the cells, read directly and placed by the ring, and no informer may ever
// have been told an older version of an object than before.
//
// The length is -duration; make soak runs two minutes, make test a few seconds. The run fails with fewer writes a second
// than -rate. The backup daemon does not run, unless -backup says so: it is no part of what is proven here.
package soak
