package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"sluice/conf"
	"sluice/limiter"
	"sluice/telemetry"
)

// alone reports whether doc's node is the only authority of its limits.
func alone(doc *conf.Document) bool { return doc.Cluster == nil && doc.Redis == nil }

// keptLimits says where a node that is its keys' only authority keeps what is used.
// Others are told by their peers or by Redis.
func keptLimits(doc *conf.Document, log *slog.Logger) limiter.DurableOptions {
	if !doc.Limits.Durable || !alone(doc) {
		return limiter.DurableOptions{}
	}
	return limiter.DurableOptions{Dir: filepath.Join(doc.Node.DataDir, "limits"), Logger: log}
}

// recoverLimits takes in what the process before this one kept, unless that hands
// it over itself.
func (a *app) recoverLimits(ctx context.Context) error {
	if a.line.wire != nil {
		return nil
	}
	switch err := a.limits.Recover(); {
	case errors.Is(err, limiter.ErrInUse):
		return fmt.Errorf("%w: each gateway needs a node.data_dir of its own", err)
	case err != nil:
		a.log.Error("what was used before is known in part only: some quotas begin anew", telemetry.KeyError, err)
	}
	a.persistLimits(ctx)
	return nil
}

// persistWait bounds how long a start waits for the disk; it goes on without.
const persistWait = 2 * time.Second

// persistLimits makes what is used durable from here on.
func (a *app) persistLimits(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, persistWait)
	defer cancel()
	if err := a.limits.Persist(ctx); err != nil {
		a.log.Error("what is used is not kept on disk yet", telemetry.KeyError, err)
	}
}

func (a *app) collectKept(emit telemetry.Emit) {
	s := a.limits.Stats().Durable
	if !s.Enabled {
		return
	}
	active := 0.0
	if s.Active {
		active = 1
	}
	emit("sluice_limit_durable", active)
	emit("sluice_limit_durable_bytes", float64(s.Bytes))
	emit("sluice_limit_durable_syncs_total", float64(s.Syncs))
}
