package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"sluice/telemetry"
)

// upgrader replaces this process by one of the binary and the configuration on
// disk, when it is asked to. Requests that come while it cannot are kept, as one.
type upgrader struct {
	app      *app
	pid      int
	wake     chan struct{} // room for one
	replaced chan *succession

	mu      sync.Mutex // guards what follows
	ledger  ledger
	path    string // of the ledger
	busy    bool   // an attempt is under way
	current attempt
	serving bool // the ledger is ours to write
	after   *succession
}

func newUpgrader(a *app, path string) *upgrader {
	return &upgrader{app: a, pid: os.Getpid(), path: path, wake: make(chan struct{}, 1), replaced: make(chan *succession, 1)}
}

// begin makes the ledger ours, with the past that the predecessor handed over;
// nil when there was none, or it died too soon.
func (u *upgrader) begin(past *ledger) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.serving = true
	if past != nil {
		u.ledger = *past
	} else {
		var err error
		if u.ledger, err = readLedger(u.path); err != nil {
			u.app.log.Warn("record of upgrades not read", telemetry.KeyFile, u.path, telemetry.KeyError, err)
		}
		if u.ledger.waiting() { // whoever asked asked for what has happened now
			u.ledger.add(attempt{
				Covers: u.ledger.Requested, OK: true, From: u.app.line.predecessor.PID, To: u.pid,
				FromVersion: u.app.line.predecessor.Version, ToVersion: version, Generation: u.app.line.generation, Began: u.app.started,
			})
		}
	}
	if u.ledger.waiting() {
		u.queuedLocked()
		u.wakeUp()
	}
	u.writeLocked()
}

func (u *upgrader) writeLocked() {
	if !u.serving {
		return
	}
	if err := u.ledger.write(u.path); err != nil {
		u.app.log.Warn("record of upgrades not written", telemetry.KeyFile, u.path, telemetry.KeyError, err)
	}
}

func (u *upgrader) wakeUp() {
	select {
	case u.wake <- struct{}{}:
	default: // one request stands for several
	}
}

// request asks for an upgrade: now, or as soon as it can be.
func (u *upgrader) request() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.after != nil { // we are the one that drains
		if err := u.after.wire.send(msgAgain, nil); err != nil {
			u.app.log.Error("upgrade refused: this process has been replaced", "successor", u.after.next.PID)
		}
		return
	}
	u.ledger.Requested++
	u.queuedLocked()
	u.writeLocked()
	u.wakeUp()
}

// queuedLocked says why a request has to wait, if it has to.
func (u *upgrader) queuedLocked() {
	switch {
	case u.busy:
		u.ledger.Queued = "an upgrade is under way"
	case u.app.line.predecessorDrains():
		u.ledger.Queued = fmt.Sprintf("process %d, which this one replaced, still drains", u.app.line.predecessor.PID)
	default:
		return
	}
	u.app.log.Info("upgrade queued", telemetry.KeyReason, u.ledger.Queued)
}

// errFirstProcess is why process 1 is not replaced.
var errFirstProcess = errors.New("this is process 1 of its container, which would end with it: do a rolling restart instead (kubectl rollout restart, docker compose up -d)")

// Run upgrades on request until ctx ends or an upgrade succeeds.
func (u *upgrader) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-u.wake:
		}
		if err := u.app.line.upgrades.WaitForParent(ctx); ctx.Err() != nil {
			return ctx.Err()
		} else if err != nil {
			u.app.log.Debug("predecessor", telemetry.KeyError, err)
		}
		u.mu.Lock()
		waiting := u.ledger.waiting()
		u.mu.Unlock()
		if !waiting {
			continue
		}
		if s := u.attempt(); s != nil {
			u.replaced <- s
			return nil
		}
	}
}

// attempt makes one upgrade. It returns nil when this process goes on.
func (u *upgrader) attempt() *succession {
	u.mu.Lock()
	u.busy, u.ledger.Queued = true, ""
	u.current = attempt{Covers: u.ledger.Requested, From: u.pid, FromVersion: version, Began: time.Now()}
	u.writeLocked()
	u.mu.Unlock()
	u.app.log.Info("upgrade begins", telemetry.KeyGeneration, u.app.line.generation+1)

	s, err := (*succession)(nil), error(errFirstProcess)
	if u.pid != 1 {
		resume := u.app.reloader.pause()
		s, err = u.app.succeed()
		resume(s != nil)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.busy = false
	if err == nil {
		u.after = s
		return s
	}
	u.serving = true
	u.current.Reason, u.current.TookMS = err.Error(), time.Since(u.current.Began).Milliseconds()
	u.ledger.add(u.current)
	u.writeLocked()
	u.app.log.Error("upgrade failed; this process goes on", telemetry.KeyError, err)
	return nil
}

// handLedger returns the ledger for the successor, in which the attempt under way
// has succeeded, and leaves writing it to the successor.
func (u *upgrader) handLedger(next introduction) *ledger {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.serving = false
	l := u.ledger
	a := u.current
	a.OK, a.To, a.ToVersion, a.Generation = true, next.PID, next.Version, u.app.line.generation+1
	a.TookMS = time.Since(a.Began).Milliseconds()
	l.Attempts = append([]attempt(nil), l.Attempts...)
	l.add(a)
	return &l
}
