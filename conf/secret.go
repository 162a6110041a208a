package conf

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is text that is never printed: every way of formatting it, logging it
// or encoding it gives [redacted]. Only [Secret.Reveal] gives the text. It must
// not be the key of a map: encoding/json takes keys of a string type as they are.
type Secret string

const redacted = "[redacted]"

// Reveal returns the text itself, for the one place that must send or compare it.
func (s Secret) Reveal() string { return string(s) }

// String returns [redacted], or nothing when there is no secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString is String, for %#v.
func (s Secret) GoString() string { return s.String() }

// Format writes [redacted] whatever the verb, also for %x, %q and %d, which
// would otherwise reach the bytes.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// LogValue is String, for log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is String.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalJSON is String in quotes.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + s.String() + `"`), nil }

// MarshalYAML is String.
func (s Secret) MarshalYAML() (any, error) { return s.String(), nil }
