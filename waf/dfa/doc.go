// Package dfa answers whether a text matches a regular expression, in time
// that grows with the text and hardly with the expression.
//
// It knows the expressions of package regexp, and gives the answers of that
// package, which it also falls back to. It finds no positions and no groups.
//
//	text ─ rune ─ class ─ next state, built when it is first needed
//	                       └ too many states for this text: package regexp
//
// A [Machine] is the deterministic automaton of the expression's program, of
// which states are built only as texts reach them. Two runes that the program
// cannot tell apart are one class, so that a state has few transitions.
//
// # Invariants
//
//  1. Match(s) is regexp.MustCompile(pattern).MatchString(s), broken UTF-8
//     included (fuzzed).
//  2. The states of a machine hold at most about [maxBytes]. A full cache is
//     replaced by an empty one: no text can make a machine slow for others for
//     longer than it is looked at itself.
//  3. Reading takes no lock. Building a state does.
//
// # Sources
//
// Thompson, Regular expression search algorithm, CACM 11(6), 1968; Cox, Regular
// expression matching in the wild, 2010, for building states as they are
// needed and for what an empty-width condition asks of them.
package dfa
