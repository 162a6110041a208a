package telemetry

import (
	"io"
	"log/slog"
)

// LogOptions says how the operational log looks. The zero value logs Info and
// above, as text on a terminal and as JSON elsewhere.
type LogOptions struct {
	Level  slog.Leveler // a *slog.LevelVar lets a reload change it. Default: Info
	Format string       // auto, text or json. Default: auto
}

// NewLogger returns a logger that writes to w.
func NewLogger(o LogOptions, w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, nil))
}
