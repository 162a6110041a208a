package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sluice/cluster/facts"
	"sluice/conf"
)

func parsed(t *testing.T, text string) *conf.Document {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sluice.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	doc, problems := conf.Load(path)
	if problems.Err() != nil {
		t.Fatal(problems)
	}
	return doc
}

const withLimits = `
listeners: [{address: "127.0.0.1:1"}]
services: {app: {upstreams: ["http://127.0.0.1:9"]}}
routes: [{path: /*, service: app}]
tiers: {standard: {requests: `

func TestLimitsAreNumberedInTheOrderInWhichTheyCome(t *testing.T) {
	known, err := facts.Open(facts.Options{Node: 1})
	if err != nil {
		t.Fatal(err)
	}
	node := func() *limitsRevisions {
		return &limitsRevisions{facts: known, log: slog.New(slog.DiscardHandler)}
	}
	small, large := parsed(t, withLimits+"1000}}"), parsed(t, withLimits+"2000}}")
	one, two := node(), node()
	first := one.of(small)
	if got := two.of(small); got != first {
		t.Errorf("two nodes number the same limits %d and %d", first, got)
	}
	second := one.of(large)
	if second <= first {
		t.Errorf("changed limits have number %d, after %d", second, first)
	}
	if got := node().of(small); got != first {
		t.Errorf("a node that starts with the old limits gives them number %d, want %d", got, first)
	}
	if got := one.of(small); got <= second {
		t.Errorf("limits that were taken back have number %d, not above %d", got, second)
	}
	if now := uint64(time.Now().UnixMilli()); first > now+1 || first < now-60_000 {
		t.Errorf("number %d is not of now, %d", first, now)
	}
}

func TestTheLimitsKeyOutlivesTheGossipKey(t *testing.T) {
	dir := t.TempDir()
	with := func(cluster, more string) [16]byte {
		t.Helper()
		doc := parsed(t, withLimits+"1000}}\nnode: {name: a, data_dir: "+dir+"}\n"+cluster+"\n"+more)
		s, err := limitsSecret(doc)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	const one = `cluster: {secret: "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}`
	const two = `cluster: {secret: "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="}`
	first := with(one, "")
	if first == ([16]byte{}) || with(two, "") != first {
		t.Error("another gossip key makes another key of limits")
	}
	kept, err := os.ReadFile(filepath.Join(dir, limitsKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir() // a node that is added after the change
	if with(two, "") == first {
		t.Error("the key of limits does not depend on the secret at all")
	}
	if with(two, "limits: {key: "+string(kept)+"}") != first {
		t.Error("the file's content as limits.key is another key")
	}
	dir = t.TempDir()
	if with(one, "") != first {
		t.Error("two nodes with the same secret have different keys")
	}
}
