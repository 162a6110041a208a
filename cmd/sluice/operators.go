package main

import (
	"context"
	"log/slog"

	"sluice/admin"
	"sluice/telemetry"
)

// newAdmin builds the admin listener's handler and introduces it to the rest.
func (a *app) newAdmin() *admin.Server {
	s := admin.New(admin.Deps{
		Token: a.token, Metrics: a.metrics, Health: a.health, Log: a.log, Audit: logAudit{a.log},
		Status: a.status, Config: a.effective, Reload: a.reloader.Reload, Cluster: &clusterView{a.gossip, a}, Captures: a.logs.captures,
		Bans: a.bans, FileBans: a.gateway.FileBans,
	})
	a.metrics.Collect(s.Collect)
	return s
}

// logAudit writes what operators do into the process's log.
type logAudit struct{ log *slog.Logger }

// Record writes one line.
func (l logAudit) Record(_ context.Context, e *admin.Entry) {
	l.log.Info("operator's call", "operator", e.Operator, "role", e.Role.String(), telemetry.KeyClient, e.Address.String(),
		"action", e.Action, "kind", e.Kind, "object", e.ID, telemetry.KeyStatus, e.Status, telemetry.KeyReason, e.Reason,
		telemetry.KeyRequestID, e.RequestID)
}
