package main

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sluice/conf"
	"sluice/limiter"
	"sluice/telemetry"
)

// newLimits builds the limiter: with its own authority on a lone node, else as one
// of those that share limits through Redis, through the gossip, or both.
func (a *app) newLimits(doc *conf.Document) (*limiter.Limiter, error) {
	secret, err := limitsSecret(doc)
	if err != nil {
		return nil, err
	}
	o := limiter.Options{Secret: secret, Durable: keptLimits(doc, a.log), Cluster: limiter.ClusterOptions{
		Redis: doc.Redis, Available: doc.Limits.Partition == "available", Logger: a.log,
		Self:   uint64(a.gossip.id),
		Waited: a.metrics.Timing("sluice_limit_wait_seconds"), RedisTook: a.metrics.Timing("sluice_redis_seconds"),
	}}
	if c := doc.Cluster; c != nil {
		o.Cluster.Peers, o.Cluster.Nodes, o.Cluster.Prefix = a.gossip.peers, c.Nodes, "sluice:"+c.Label
	}
	return limiter.New(o), nil
}

// limitsKeyFile keeps the key that was made of the cluster's first secret. From
// then on it holds, whatever becomes of the secret: rotating the gossip key must
// not start the counts anew. Its content may be written into limits.key.
const limitsKeyFile = "limits.key"

// limitsSecret is what the names of buckets are hashed with; zero on a lone node,
// which nobody has to agree with.
func limitsSecret(doc *conf.Document) (secret [16]byte, err error) {
	if doc.Redis == nil && doc.Cluster == nil {
		return secret, nil
	}
	text := doc.Limits.Key.Reveal()
	if text == "" {
		path := filepath.Join(doc.Node.DataDir, limitsKeyFile)
		data, err := os.ReadFile(path)
		switch text = strings.TrimSpace(string(data)); {
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return secret, fmt.Errorf("read the key of limits: %w", err)
		case len(text) < 16:
			raw, err := hkdf.Key(sha256.New, []byte(doc.Cluster.Secret.Reveal()), nil, "sluice limits key", 24)
			if err != nil {
				return secret, fmt.Errorf("make the key of limits: %w", err)
			}
			text = base64.StdEncoding.EncodeToString(raw)
			if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
				return secret, fmt.Errorf("keep the key of limits: %w", err)
			}
		}
	}
	sum := sha256.Sum256([]byte("sluice limits\x00" + text))
	copy(secret[:], sum[:])
	return secret, nil
}

// Times of the watch over the limits.
const (
	limitsWatch = 200 * time.Millisecond
	// limitsWait is how long a node that starts is kept from being ready because the
	// limits' authority does not grant. After that it serves what needs no quota.
	limitsWait = 15 * time.Second
)

// limitsPending makes a node that starts unready from the beginning, not from when
// watchLimits first looks. A successor has what its predecessor had.
func (a *app) limitsPending() {
	if a.limits.Shared() && a.line.wire == nil {
		a.health.Set("limits", limitsTrouble(a.limits.Stats().Cluster))
	}
}

// watchLimits keeps health told of the limits' authority.
//
// Once a node has been ready, limits do not make it unready again: what they
// cannot grant is refused with 429 by every node alike, and what needs no quota is
// still served. Only a node that starts waits, so that the first requests that it
// gets are not refused for want of a majority or of Redis; and it waits for as
// long as it counts under another key than the others, since it would admit every
// quota once more.
func (a *app) watchLimits(ctx context.Context) error {
	if !a.limits.Shared() {
		return nil
	}
	began := time.Now()
	started := a.line.wire != nil // see limitsPending
	tick := time.NewTicker(limitsWatch)
	defer tick.Stop()
	for {
		s := a.limits.Stats().Cluster
		strangers := a.gossip.strangers(a.limits.Fingerprint())
		a.health.Degrade("limits", limitsTrouble(s))
		a.health.Degrade("limits key", strangers)
		if !started {
			err := limitsTrouble(s)
			if time.Since(began) > limitsWait {
				err = nil
			}
			if strangers != nil {
				err = strangers
			}
			a.health.Set("limits", err)
			if started = err == nil; started && !s.Ready {
				a.log.Warn("no authority grants limits yet; what needs a quota is refused until one does", telemetry.KeyReason, fmt.Sprint(limitsTrouble(s)))
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// limitsTrouble says in words what keeps the authority from granting.
func limitsTrouble(s limiter.ClusterStats) error {
	switch {
	case s.Fenced && s.Epoch != 0:
		return errors.New("this node has reached neither Redis nor a majority of the cluster for 10 s, and spends no quota")
	case s.Authority == "none":
		return errors.New("no authority of limits is known: neither Redis nor a majority of the cluster answers")
	case !s.Ready:
		return fmt.Errorf("the authority of limits (%s) grants nothing at the moment", s.Authority)
	}
	return nil
}

// collectLimits reports the cluster's part of the limiter.
func (a *app) collectLimits(emit telemetry.Emit) {
	s := a.limits.Stats().Cluster
	for _, state := range []string{"local", "redis", "home", "none"} {
		value := 0.0
		if s.Authority == state {
			value = 1
		}
		emit("sluice_limit_authority", value, state)
	}
	if !a.limits.Shared() {
		return
	}
	number := func(yes bool) float64 {
		if yes {
			return 1
		}
		return 0
	}
	emit("sluice_limit_epoch", float64(s.Epoch))
	emit("sluice_limit_fenced", number(s.Fenced))
	emit("sluice_limit_overadmission_ratio", s.Overadmission)
	emit("sluice_limit_takes_total", float64(s.Takes), "take")
	emit("sluice_limit_takes_total", float64(s.Reports), "report")
	emit("sluice_limit_recalls_total", float64(s.Recalls))
	emit("sluice_limit_reclaims_total", float64(s.Reclaimed))
	emit("sluice_limit_rights_total", float64(s.Granted), "granted")
	emit("sluice_limit_rights_total", float64(s.GivenBack), "returned")
	emit("sluice_limit_messages_dropped_total", float64(s.Garbled), "garbled")
	emit("sluice_limit_messages_dropped_total", float64(s.Dropped), "full")
	if a.reloader.redis() {
		emit("sluice_redis_up", number(s.RedisUp))
		emit("sluice_redis_errors_total", float64(s.RedisFails))
	}
}

// redis reports whether there is one to ask.
func (r *reloader) redis() bool {
	doc, _ := r.document()
	return doc.Redis != nil
}

// runLimits runs the limiter, from when this process has joined the cluster and
// taken its place: before that it does not know whom it shares with. One that shares
// with nobody has its disk to serve before.
func (a *app) runLimits(ctx context.Context) error {
	if doc, _ := a.reloader.document(); alone(doc) {
		return a.limits.Run(ctx)
	}
	select {
	case <-a.joined:
		return a.limits.Run(ctx)
	case <-ctx.Done():
		return nil
	}
}
