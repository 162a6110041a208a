package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"sluice/conf"
	"sluice/telemetry"
	"sluice/telemetry/payload"
	"sluice/telemetry/redact"
)

// logs are the streams that this process writes, and what is taken out of all of
// them first.
type logs struct {
	redactor *redact.Redactor
	access   *telemetry.AccessLog
	security *telemetry.Stream
	payload  *telemetry.Stream
	captures *captures
}

// openLogs opens the files, so that one that cannot be written is an error of
// the start.
func openLogs(doc *conf.Document, generation int, log *slog.Logger) (l *logs, err error) {
	l = new(logs)
	if l.redactor, err = newRedactor(&doc.Logs.Redact); err != nil {
		return nil, fmt.Errorf("%s: logs.redact: %w", doc.Pos("logs.redact"), err)
	}
	access, security := &doc.Logs.Access, &doc.Logs.Security
	sinks, err := openOutputs(doc, "access", log)
	if err != nil {
		return nil, err
	}
	l.access, err = telemetry.OpenAccessLog(telemetry.AccessLogOptions{
		File: access.File, Keep: access.Keep.Std(), MaxSize: int64(access.MaxSize),
		Node: doc.Node.Name, Generation: generation, Redact: l.redactor, Sinks: sinks, Logger: log,
	})
	if err != nil {
		return nil, err
	}
	if sinks, err = openOutputs(doc, "security", log); err != nil {
		return nil, err
	}
	l.security, err = telemetry.OpenStream(telemetry.StreamOptions{
		Name: "security", File: security.File, Keep: security.Keep.Std(), MaxSize: int64(security.MaxSize),
		Buffer: 4 << 20, Sinks: sinks, Logger: log,
	})
	if err != nil {
		return nil, err
	}
	if sinks, err = openOutputs(doc, "payload", log); err != nil {
		return nil, err
	}
	bodies := &doc.Logs.Payload
	l.payload, err = telemetry.OpenStream(telemetry.StreamOptions{
		Name: "payload", File: bodies.File, Keep: bodies.Keep.Std(), MaxSize: int64(bodies.MaxSize), MaxLine: payload.MaxLine(int(bodies.MaxBody)),
		Buffer: 16 << 20, Sinks: sinks, Logger: log,
	})
	if err != nil {
		return nil, err
	}
	l.captures = newCaptures(payload.Options{Writer: l.payload, Redact: l.redactor, MaxBody: int(bodies.MaxBody)}, log)
	return l, nil
}

var redactModes = map[string]redact.Mode{"mask": redact.Mask, "hash": redact.Hash, "drop": redact.Drop}

func newRedactor(c *conf.Redact) (*redact.Redactor, error) {
	return redact.New(redact.Options{
		Mode: redactModes[c.Mode], HashKey: []byte(c.Key.Reveal()),
		Fields: c.Fields, Safe: c.Safe, Patterns: c.Patterns, Off: c.Off,
	})
}

// Run writes all streams until ctx is done.
func (l *logs) Run(ctx context.Context) error {
	var running sync.WaitGroup
	runs := []func(context.Context) error{l.access.Run, l.security.Run, l.payload.Run}
	errs := make([]error, len(runs))
	for i, run := range runs {
		running.Go(func() { errs[i] = run(ctx) })
	}
	running.Wait()
	return errors.Join(errs...)
}

func (l *logs) collect(emit telemetry.Emit) {
	l.access.Collect(emit)
	l.security.Collect(emit)
	l.payload.Collect(emit)
}
