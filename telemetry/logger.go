package telemetry

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"sluice/telemetry/redact"
)

// LogOptions says how the operational log looks. The zero value logs Info and
// above, as text on a terminal and as JSON elsewhere.
type LogOptions struct {
	Level  slog.Leveler     // a *slog.LevelVar lets a reload change it. Default: Info
	Format string           // auto, text or json. Default: auto
	Redact *redact.Redactor // Default: redact.Default
}

// NewLogger returns a logger that writes to w. Attributes whose key says that
// they hold a credential are redacted, and so are secrets within messages and
// texts: a mistake there must not become a leak.
func NewLogger(o LogOptions, w io.Writer) *slog.Logger {
	if o.Redact == nil {
		o.Redact = redact.Default()
	}
	h := &slog.HandlerOptions{Level: o.Level, ReplaceAttr: redactAttr(o.Redact)}
	if o.Format == "text" || o.Format != "json" && isTerminal(w) {
		return slog.New(slog.NewTextHandler(w, h))
	}
	return slog.New(slog.NewJSONHandler(w, h))
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// Redacted stands for a value that is not logged.
const Redacted = "[redacted]"

// secretKeys are the parts of an attribute's key that make its value a secret.
var secretKeys = []string{"authorization", "cookie", "password", "secret", "token", "api_key", "apikey", "private_key"}

// redactAttr returns what slog calls for each attribute. Addresses, ids and numbers
// stay: operators need them, and they are of this system.
func redactAttr(r *redact.Redactor) func([]string, slog.Attr) slog.Attr {
	return func(groups []string, a slog.Attr) slog.Attr {
		kind := a.Value.Kind()
		if kind != slog.KindString && kind != slog.KindAny {
			return a // a number of tokens is no token
		}
		key := strings.ToLower(a.Key)
		for _, s := range secretKeys {
			if strings.Contains(key, s) {
				a.Value = slog.StringValue(Redacted)
				return a
			}
		}
		if len(groups) == 0 && (a.Key == slog.LevelKey || a.Key == KeyHash || a.Key == KeyVersion) {
			return a
		}
		text := ""
		switch v := a.Value.Any().(type) {
		case string:
			text = v
		case error:
			text = v.Error()
		case fmt.Stringer:
			text = v.String()
		default:
			return a
		}
		if clean := string(r.Secrets(nil, []byte(text))); clean != text {
			a.Value = slog.StringValue(clean)
		}
		return a
	}
}
