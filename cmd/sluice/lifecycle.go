package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// phase is one step of starting, undone by stop. The list of phases is the
// order of the house: what is started later may use what was started before,
// and stopping runs the list backwards, so that no request outlives what it
// stands on.
type phase struct {
	name  string
	start func(context.Context) error
	stop  func(context.Context) error // may be nil
	grace time.Duration               // how long stop may take
}

// startAll starts the phases in order. On failure those already started are
// stopped again, and the error names the phase.
func startAll(ctx context.Context, phases []phase) error {
	for i, p := range phases {
		if err := p.start(ctx); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", p.name, err), stopAll(phases[:i], nil))
		}
	}
	return nil
}

// stopAll stops the phases backwards, each within its own grace, all of them
// even when one fails.
func stopAll(phases []phase, log *slog.Logger) error {
	var errs []error
	for i := len(phases) - 1; i >= 0; i-- {
		p := phases[i]
		if p.stop == nil {
			continue
		}
		began := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), p.grace)
		if err := p.stop(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", p.name, err))
		}
		cancel()
		if log != nil {
			log.Debug("phase stopped", "phase", p.name, "took", time.Since(began).Round(time.Millisecond))
		}
	}
	return errors.Join(errs...)
}

// runner owns one goroutine that runs until it is stopped.
type runner struct {
	cancel context.CancelFunc
	done   chan error
}

// goRun starts run and returns what stops it.
func goRun(run func(context.Context) error) *runner {
	ctx, cancel := context.WithCancel(context.Background())
	r := &runner{cancel: cancel, done: make(chan error, 1)}
	go func() { r.done <- run(ctx) }()
	return r
}

// stop cancels the goroutine and waits for its end, at most as long as ctx.
func (r *runner) stop(ctx context.Context) error {
	r.cancel()
	select {
	case err := <-r.done:
		if errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
