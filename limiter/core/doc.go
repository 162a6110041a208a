// Package core is the arithmetic of a limit that cannot be overspent.
package core
