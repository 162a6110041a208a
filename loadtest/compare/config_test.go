package main

import (
	"testing"

	"sluice/conf"
)

// The gateway must take its configurations as they are rendered; conf is where
// its rules are.
func TestSluiceConfigurationsAreValid(t *testing.T) {
	for _, c := range contestants {
		if c.program != "sluice" {
			continue
		}
		dir := t.TempDir()
		s := site{
			Name: c.name, Dir: dir, Address: "127.0.0.1:8081", Upstream: "127.0.0.1:8082", Admin: "127.0.0.1:8083", AdminToken: "a-token-of-an-operator-0123456789",
			Verify: c.verifies, Issuer: "https://issuer.example/", Audience: "https://api.example", JWKS: dir + "/jwks.json",
			Log: dir + "/access.log", Quota: quota, CacheTokens: cacheTokens,
		}
		if err := s.render(c.config); err != nil {
			t.Fatal(err)
		}
		if _, problems := conf.Load(s.config); len(problems) > 0 {
			t.Errorf("%s: %v", c.name, problems)
		}
	}
}
