package redact

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Mode is what stands in the place of what was taken out.
type Mode uint8

const (
	// Mask leaves a mark with the kind, such as [redacted:card], and of an email
	// address the first letter and the domain.
	Mask Mode = iota
	// Hash leaves the kind and a keyed hash, [card:3f9ab2c4d5e6], so that equal values
	// can be told without being known.
	Hash
	// Drop leaves nothing.
	Drop
)

// Kind is what a detector looks for.
type Kind uint8

// The kinds, by the word that stands in marks and in Options.Off.
const (
	Field    Kind = iota // a value whose name says that it is a secret
	Email                // email address
	Phone                // phone number
	Card                 // payment card
	IBAN                 // bank account
	ID                   // national id
	IP                   // IPv4 or IPv6 address
	JWT                  // JSON web token
	Key                  // key of a known service, bearer or basic credential, private key
	Password             // password in free text or in a URL
	Entropy              // a text that nobody wrote by hand
	Custom               // matched by a pattern of the operator's
	Long                 // too long to be looked at
	numKinds
)

var kindNames = [numKinds]string{"field", "email", "phone", "card", "iban", "id", "ip", "jwt", "key", "password", "entropy", "pattern", "long"}

// String returns the kind's word.
func (k Kind) String() string { return kindNames[k] }

// KindNames returns the words that Options.Off takes.
func KindNames() []string { return slices.Clone(kindNames[:Custom]) }

type kinds uint16

func (s kinds) has(k Kind) bool { return s&(1<<k) != 0 }

const allKinds = kinds(1<<numKinds - 1)

// ident is set instead of Entropy for the values of names that end in id.
const ident = numKinds

// Options of a [Redactor]. The zero value masks, with every detector.
type Options struct {
	Mode Mode
	// HashKey is the key of Hash. Nodes that are to give equal values equal
	// hashes need the same one. Default: a random one
	HashKey []byte
	// Fields are names whose values always go, beside those that are known.
	// Case, dashes, dots and underscores do not matter.
	Fields []string
	// Safe are names whose values detectors leave alone, but for the operator's
	// own patterns: order numbers that look like cards, for example.
	Safe []string
	// Patterns are regular expressions by name; what they match goes.
	Patterns map[string]string
	// Off are detectors that are not used, by the words of KindNames.
	Off []string
}

// Redactor takes secrets out of texts.
type Redactor struct {
	mode     Mode
	on       kinds
	names    names
	patterns []pattern
	macs     sync.Pool // of *mac
	streams  sync.Pool // of *Stream
}

type pattern struct {
	name string
	re   *regexp.Regexp
}

// New compiles the options. An error names the option that is wrong.
func New(o Options) (*Redactor, error) {
	if o.Mode > Drop {
		return nil, fmt.Errorf("mode %d does not exist", o.Mode)
	}
	r := &Redactor{mode: o.Mode, on: allKinds}
	for _, word := range o.Off {
		i := slices.Index(kindNames[:Custom], word)
		if i < 0 {
			return nil, fmt.Errorf("there is no detector %q; there are %s", word, strings.Join(KindNames(), ", "))
		}
		r.on &^= 1 << i
	}
	r.names = compileNames(o.Fields, o.Safe)
	for name, expr := range o.Patterns {
		re, err := regexp.Compile(expr)
		if err != nil {
			return nil, fmt.Errorf("pattern %s: %w", name, err)
		}
		if re.MatchString("") {
			return nil, fmt.Errorf("pattern %s matches the empty text, and so everything", name)
		}
		r.patterns = append(r.patterns, pattern{name, re})
	}
	slices.SortFunc(r.patterns, func(a, b pattern) int { return strings.Compare(a.name, b.name) })
	key := o.HashKey
	if len(key) == 0 {
		key = make([]byte, 32)
		rand.Read(key) //nolint:errcheck // it never fails
	}
	r.macs.New = func() any { return &mac{h: hmac.New(sha256.New, key)} }
	r.streams.New = func() any { return &Stream{r: r} }
	return r, nil
}

// Default returns a redactor with the zero options.
var Default = sync.OnceValue(func() *Redactor {
	r, err := New(Options{})
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return r
})

type mac struct {
	h   hash.Hash
	sum [sha256.Size]byte
}

// hashBytes is how much of a hash is shown: 48 bits tell a million values apart
// with a chance of 1 in 500 that any two of them meet.
const hashBytes = 6

// mark appends what stands in the place of value.
func (r *Redactor) mark(dst []byte, k Kind, value []byte) []byte {
	switch r.mode {
	case Drop:
		return dst
	case Hash:
		m := r.macs.Get().(*mac)
		m.h.Reset()
		m.h.Write(value)
		sum := m.h.Sum(m.sum[:0])
		dst = append(dst, '[')
		dst = append(dst, kindNames[k]...)
		dst = append(dst, ':')
		dst = hex.AppendEncode(dst, sum[:hashBytes])
		r.macs.Put(m)
		return append(dst, ']')
	}
	if k == Email {
		return maskEmail(dst, value)
	}
	dst = append(dst, "[redacted:"...)
	dst = append(dst, kindNames[k]...)
	return append(dst, ']')
}

// maskEmail appends a***@example.com.
func maskEmail(dst, value []byte) []byte {
	at := slices.Index(value, '@')
	if at < 1 || value[0] >= 0x80 {
		return append(dst, "[redacted:email]"...)
	}
	dst = append(dst, value[0])
	dst = append(dst, "***"...)
	return append(dst, value[at:]...)
}
