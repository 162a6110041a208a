package telemetry

import (
	"log/slog"
	"time"

	"sluice/telemetry/redact"
)

// AccessLogOptions says where the access log goes. The zero value writes to
// standard output.
type AccessLogOptions struct {
	// File, Keep, MaxSize, Buffer, Sinks and Logger are those of [StreamOptions].
	File    string
	Keep    time.Duration
	MaxSize int64
	Buffer  int
	Sinks   []Sink
	Logger  *slog.Logger
	// Node and Generation are written on every line; empty and 0 leave them out.
	Node       string
	Generation int
	// Redact takes secrets out of paths, user agents and the like. Default: nothing
	// is taken out
	Redact *redact.Redactor
}

// AccessLog writes one JSON line for each request.
type AccessLog struct {
	*Stream
	encoders []paddedEncoder // by shard, each guarded by its shard's lock
}

type paddedEncoder struct {
	encoder
	_ [64]byte // keeps the next one off this cache line
}

// OpenAccessLog opens the file, so that a wrong path or permission is an error
// at the start. Nothing is written before Run.
func OpenAccessLog(o AccessLogOptions) (*AccessLog, error) {
	out, err := openOutput(o.stream())
	if err != nil {
		return nil, err
	}
	return newAccessLog(o, out), nil
}

func (o AccessLogOptions) stream() StreamOptions {
	return StreamOptions{
		Name: "access", File: o.File, Keep: o.Keep, MaxSize: o.MaxSize, Buffer: o.Buffer, Sinks: o.Sinks, Logger: o.Logger,
	}.withDefaults()
}

func newAccessLog(o AccessLogOptions, out output) *AccessLog {
	a := &AccessLog{Stream: newStream(o.stream(), out)}
	a.encoders = make([]paddedEncoder, len(a.shards))
	for i := range a.encoders {
		a.encoders[i].encoder = newEncoder(o.Node, o.Generation, o.Redact)
	}
	return a
}

// Write appends the line of r, as [Stream.Write] does one that is encoded
// already. It allocates nothing and keeps nothing of r.
func (a *AccessLog) Write(r *Record) {
	if a.off() {
		return
	}
	i, b := a.begin()
	if b != nil {
		b = a.encoders[i].append(b, r)
	}
	a.end(i, b)
}
