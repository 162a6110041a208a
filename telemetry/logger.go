package telemetry

import (
	"io"
	"log/slog"
	"os"
	"strings"
)

// LogOptions says how the operational log looks. The zero value logs Info and
// above, as text on a terminal and as JSON elsewhere.
type LogOptions struct {
	Level  slog.Leveler // a *slog.LevelVar lets a reload change it. Default: Info
	Format string       // auto, text or json. Default: auto
}

// NewLogger returns a logger that writes to w. Attributes whose key says that
// they hold a credential are redacted: a mistake there must not become a leak.
func NewLogger(o LogOptions, w io.Writer) *slog.Logger {
	h := &slog.HandlerOptions{Level: o.Level, ReplaceAttr: redact}
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

func redact(_ []string, a slog.Attr) slog.Attr {
	if k := a.Value.Kind(); k != slog.KindString && k != slog.KindAny {
		return a // a number of tokens is no token
	}
	key := strings.ToLower(a.Key)
	for _, s := range secretKeys {
		if strings.Contains(key, s) {
			a.Value = slog.StringValue(Redacted)
		}
	}
	return a
}
