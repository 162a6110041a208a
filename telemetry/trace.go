package telemetry

import (
	"encoding/hex"
	"math/rand/v2"
)

// TraceID names a trace: 16 bytes, not all zero when valid.
type TraceID [16]byte

// SpanID names one hop of a trace: 8 bytes, not all zero when valid.
type SpanID [8]byte

// String returns 32 lower-case hexadecimal digits.
func (t TraceID) String() string { return hex.EncodeToString(t[:]) }

// IsZero reports whether t names no trace.
func (t TraceID) IsZero() bool { return t == TraceID{} }

// String returns 16 lower-case hexadecimal digits.
func (s SpanID) String() string { return hex.EncodeToString(s[:]) }

// IsZero reports whether s names no span.
func (s SpanID) IsZero() bool { return s == SpanID{} }

// Flags of a trace context (W3C Trace Context level 2 §3.2.2.5). The others are
// reserved and are sent as zero.
const (
	FlagSampled byte = 0x01 // the caller may have recorded this trace
	FlagRandom  byte = 0x02 // at least the last 7 bytes of the trace id are random

	flagsKnown = FlagSampled | FlagRandom
)

// TraceContext is one hop's place in a distributed trace. It is a value, and
// its zero value is no trace at all.
type TraceContext struct {
	TraceID TraceID
	SpanID  SpanID // of the parent when parsed, of this hop when made here
	Flags   byte
}

// Sampled reports whether the caller asked for this trace to be recorded.
func (c TraceContext) Sampled() bool { return c.Flags&FlagSampled != 0 }

// traceparentLen is the length of version 00, and the least of any version.
const traceparentLen = len("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")

// ParseTraceparent parses the value of a traceparent header (W3C Trace Context
// level 2 §3.2 and §4.3). It reports false for what the specification
// says to ignore: upper-case digits, zero ids, version ff, another length of
// version 00. Of a later version it reads the fields that version 00 has.
// The caller ignores traceparent altogether when the header is repeated, and
// tracestate whenever traceparent is ignored.
func ParseTraceparent(s string) (TraceContext, bool) {
	var (
		c       TraceContext
		version [1]byte
		flags   [1]byte
	)
	if len(s) < traceparentLen || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return TraceContext{}, false
	}
	if !decodeHex(version[:], s[0:2]) || !decodeHex(c.TraceID[:], s[3:35]) ||
		!decodeHex(c.SpanID[:], s[36:52]) || !decodeHex(flags[:], s[53:55]) {
		return TraceContext{}, false
	}
	switch {
	case version[0] == 0xff:
		return TraceContext{}, false
	case version[0] == 0 && len(s) != traceparentLen:
		return TraceContext{}, false
	case len(s) > traceparentLen && s[traceparentLen] != '-':
		return TraceContext{}, false
	case c.TraceID.IsZero() || c.SpanID.IsZero():
		return TraceContext{}, false
	}
	c.Flags = flags[0] & flagsKnown
	return c, true
}

// decodeHex fills dst from twice as many lower-case hexadecimal digits. The
// standard decoder also takes upper case, which the specification forbids.
func decodeHex(dst []byte, s string) bool {
	for i := range dst {
		hi, lo := unhex(s[2*i]), unhex(s[2*i+1])
		if hi > 15 || lo > 15 {
			return false
		}
		dst[i] = hi<<4 | lo
	}
	return true
}

func unhex(b byte) byte {
	switch {
	case '0' <= b && b <= '9':
		return b - '0'
	case 'a' <= b && b <= 'f':
		return b - 'a' + 10
	}
	return 0xff
}

// NewTrace returns a new trace with its first span, and flags.
//
// The ids come from the runtime's generator: ChaCha8, seeded by the system and
// kept per thread, so it takes no lock and never waits. They are unique, and
// nothing may rely on their being secret.
func NewTrace(flags byte) TraceContext {
	c := TraceContext{Flags: flags&flagsKnown | FlagRandom}
	for c.TraceID.IsZero() {
		putUint64(c.TraceID[0:8], rand.Uint64())
		putUint64(c.TraceID[8:16], rand.Uint64())
	}
	c.SpanID = newSpanID()
	return c
}

// Child returns the context of a new span under c: same trace, same flags.
func (c TraceContext) Child() TraceContext {
	c.SpanID = newSpanID()
	return c
}

func newSpanID() (s SpanID) {
	for s.IsZero() {
		putUint64(s[:], rand.Uint64())
	}
	return s
}

func putUint64(b []byte, v uint64) {
	_ = b[7]
	for i := range 8 {
		b[i] = byte(v >> (56 - 8*i))
	}
}

// Append appends c as the value of a traceparent header, in version 00.
func (c TraceContext) Append(dst []byte) []byte {
	dst = append(dst, "00-"...)
	dst = hex.AppendEncode(dst, c.TraceID[:])
	dst = append(dst, '-')
	dst = hex.AppendEncode(dst, c.SpanID[:])
	return append(dst, '-', hexDigits[c.Flags&flagsKnown>>4], hexDigits[c.Flags&flagsKnown&15])
}

// String returns c as the value of a traceparent header.
func (c TraceContext) String() string {
	return string(c.Append(make([]byte, 0, traceparentLen)))
}

// AppendChild appends the traceparent of a new span under c, and returns that
// span's id for the record.
func (c TraceContext) AppendChild(dst []byte) ([]byte, SpanID) {
	c = c.Child()
	return c.Append(dst), c.SpanID
}

const hexDigits = "0123456789abcdef"
