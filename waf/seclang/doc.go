// Package seclang reads the rules of the engine for those who must know what
// they demand: which variables a rule looks at, by what transformations, with
// which operator, and what it does when it matches.
//
// It is a reader, not an engine: it understands the form of a directive and
// nothing of its meaning. What it cannot read is an error, because a rule that
// was read wrongly could be proved not to match when it does.
//
// The lexical rules are those of ModSecurity's SecLang as the engine reads
// them: a line that ends in a backslash continues, a line that begins with # is
// a comment wherever it stands, arguments are in double quotes in which \" is
// a quote and nothing else is an escape.
package seclang
