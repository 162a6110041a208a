// Package waf decides whether a request is safe.
//
// This version holds the address lists: networks that are refused before
// anything else is looked at, and networks that are never refused by them.
//
// Invariants
//
//  1. An allowed address is never denied, however many lists deny it.
//  2. A list is immutable; a change is a new list in a new snapshot.
//
// The room knows addresses and verdicts, not HTTP: package proxy turns a
// verdict into a refusal.
package waf
