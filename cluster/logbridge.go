package cluster

import (
	"context"
	"log/slog"
	"strings"
	"sync"

	"sluice/telemetry"
)

// logBridge takes the gossip library's log lines, such as
//
//	[WARN] memberlist: Refuting a suspect message (from: gw-2)
//
// and makes records of them. What it calls an error is an event of the network,
// and strangers can cause as many as they send packets: those pass through one
// throttle for each sort of line. Two sorts are counted, because the library
// tells of them nowhere else.
type logBridge struct {
	n  *Node
	mu sync.Mutex
	by map[string]*telemetry.Throttle
}

const maxSorts = 64

func (l *logBridge) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	level := slog.LevelDebug
	if rest, ok := strings.CutPrefix(text, "["); ok {
		name, rest, _ := strings.Cut(rest, "] ")
		text = rest
		switch name {
		case "WARN", "ERR", "ERROR":
			level = slog.LevelWarn
		case "INFO":
			level = slog.LevelInfo
		}
	}
	text = strings.TrimPrefix(text, "memberlist: ")
	switch {
	case strings.Contains(text, "with unacceptable label"):
		l.n.drop(dropLabel)
	case strings.HasPrefix(text, "Decrypt packet failed"), strings.HasPrefix(text, "failed to receive: no installed keys"),
		strings.HasPrefix(text, "failed to receive: encryption is configured"):
		l.n.drop(dropKey)
	case strings.HasPrefix(text, "handler queue full"):
		l.n.drop(dropOverflow)
	case strings.HasPrefix(text, "Refuting"), strings.HasPrefix(text, "Conflicting address"):
		level = slog.LevelDebug // the first is routine after a restart, the second has an event of its own
	}
	if !l.n.log.Enabled(context.Background(), level) {
		return len(line), nil
	}
	attrs := []any{slog.String("library", text)}
	if level == slog.LevelWarn {
		suppressed, ok := l.throttle(text).Allow()
		if !ok {
			return len(line), nil
		}
		if suppressed > 0 {
			attrs = append(attrs, slog.Uint64(telemetry.KeySuppressed, suppressed))
		}
	}
	l.n.log.Log(context.Background(), level, "gossip", attrs...)
	return len(line), nil
}

// throttle returns that of a line's sort: its first words, which name no node.
func (l *logBridge) throttle(text string) *telemetry.Throttle {
	sort := text
	if i := strings.IndexAny(text, ":%'\""); i > 0 {
		sort = text[:i]
	}
	sort = sort[:min(len(sort), 24)]
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.by == nil || len(l.by) > maxSorts {
		l.by = map[string]*telemetry.Throttle{}
	}
	t := l.by[sort]
	if t == nil {
		t = &telemetry.Throttle{}
		l.by[sort] = t
	}
	return t
}
