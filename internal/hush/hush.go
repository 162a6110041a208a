// Package hush keeps libraries from writing to the standard log while they are
// being initialised: the metrics library says so at every start, of short commands
// too, when the kernel counts no pressure, which users can do nothing about.
//
// It works by the order in which Go initialises packages: of those whose imports
// are ready, the first by import path. This one imports next to nothing; net/http,
// which that library imports, needs the standard library's vendor/…, which sort after
// sluice/…. The test of cmd/sluice would notice a change.
package hush

import (
	"io"
	"log"
	"os"
)

func init() { log.SetOutput(io.Discard) }

// End gives the standard log back to standard error. main calls it first.
func End() { log.SetOutput(os.Stderr) }
