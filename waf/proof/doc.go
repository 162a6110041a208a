// Package proof decides, value by value, that no loaded rule can match a
// request, so that the engine need not be asked.
//
// It only ever says "cannot match". What it cannot exclude goes to the engine,
// which alone finds and blocks.
//
//	value ─ memory: seen before, nothing matched ──────────────────────── clear
//	      └ the transformations that the rules use: most change nothing,
//	        and the texts that differ are few
//	        └ one pass of an automaton over each: which literals are there
//	          └ the rules whose literals are all there: the operator itself
//	            └ none matches ─────────────────────────────────────────── clear
//	              one matches ─ the rule is a candidate
//
// A [Program] is made from the rules themselves, and only from them: the
// literals that a pattern demands are read off its syntax tree, the lists of
// @pm are literals already. A chain of rules is excluded when one of its links
// is.
//
// # Invariants
//
//  1. When the engine reports a rule, that rule was a candidate. A rule whose
//     operator, transformation or variable is not known is always one.
//  2. A transformation of ours is the engine's, byte for byte (fuzzed against
//     it), as is an operator: it is the same library.
//  3. The memory holds only values of which every rule of their class is
//     excluded, under a keyed 128-bit hash; it is a memory of one program, and
//     is dropped with it.
//  4. A program is immutable, a [Scan] belongs to one goroutine.
//
// Sources: Aho and Corasick, Efficient string matching, CACM 18(6), 1975; Cox,
// Regular expression matching with a trigram index, 2012, for literals that a
// pattern demands; Aumasson and Bernstein, SipHash, 2012.
package proof
