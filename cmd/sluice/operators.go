package main

import "sluice/admin"

// newAdmin builds the admin listener's handler and introduces it to the rest.
func (a *app) newAdmin() *admin.Server {
	s := admin.New(admin.Deps{
		Token: a.token, Metrics: a.metrics, Health: a.health, Log: a.log, Audit: audit{a.log, a.policies.store},
		Status: a.status, Config: a.effective, Reload: a.reloader.Reload, Cluster: &clusterView{a.gossip, a}, Captures: a.logs.captures,
		Policies: a.policies, Bans: a.bans, FileBans: a.gateway.FileBans,
	})
	a.metrics.Collect(s.Collect)
	return s
}
