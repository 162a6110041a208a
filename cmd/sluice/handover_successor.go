package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/cloudflare/tableflip"

	"sluice/telemetry"
)

// lineage is this process's place in a line of processes that each took over from
// the one before.
type lineage struct {
	upgrades   *tableflip.Upgrader
	generation int // counts from 1

	// What follows is about the predecessor; wire is nil without one.
	wire        *wire
	predecessor hello
	early       map[string][]byte // its early parts
	streams     atomic.Pointer[map[string]int]
	taken       chan struct{} // closed when its place has been taken
	over        atomic.Bool   // it has ended
	again       func()        // called when the predecessor was asked for another upgrade
}

// joinLine finds out whether this process was started by a predecessor.
func joinLine(upgradeTimeout time.Duration) (*lineage, error) {
	upgrades, err := tableflip.New(tableflip.Options{UpgradeTimeout: upgradeTimeout})
	if err != nil {
		return nil, fmt.Errorf("prepare for upgrades: %w", err)
	}
	l := &lineage{upgrades: upgrades, generation: 1, early: make(map[string][]byte), taken: make(chan struct{})}
	if !upgrades.HasParent() {
		return l, nil
	}
	f, err := upgrades.File("handover")
	if err != nil || f == nil {
		return nil, errors.Join(errors.New("the running process has no handover socket: it is too old, restart instead"), err)
	}
	if l.wire, err = newWire(f); err != nil {
		return nil, err
	}
	return l, l.fail(l.meet())
}

// meet learns who the predecessor is, and what this process starts with.
func (l *lineage) meet() error {
	kind, content, err := l.wire.receive()
	if err != nil || kind != msgHello || json.Unmarshal(content, &l.predecessor) != nil {
		return errors.Join(errors.New("the predecessor does not introduce itself"), err)
	}
	if l.predecessor.Protocol != handoverProtocol {
		return fmt.Errorf("the running version %s hands over by protocol %d, this one (%s) takes over by %d: restart instead",
			l.predecessor.Version, l.predecessor.Protocol, version, handoverProtocol)
	}
	l.generation = l.predecessor.Generation + 1
	return l.wire.parts(func(name string, content []byte) error {
		l.early[name] = append(l.early[name], content...)
		return nil
	})
}

// fail tells the predecessor why this process ends, and returns err.
func (l *lineage) fail(err error) error {
	if err != nil && l.wire != nil {
		_ = l.wire.conn.SetDeadline(time.Now().Add(time.Second))
		_ = l.wire.send(msgFailed, []byte(err.Error())) // it sees that we end in any case
	}
	return err
}

// takeEarly gives the rooms what they compile with.
func (l *lineage) takeEarly(parts []part, log *slog.Logger) {
	for _, p := range parts {
		if content, ok := l.early[p.name]; ok && p.early {
			if err := p.take(content); err != nil {
				log.Warn("state of the predecessor not used", "part", p.name, telemetry.KeyError, err)
			}
		}
	}
	l.early = nil
}

// takeOver makes this process the one that serves. The rooms must be able to do
// everything but accept. When it fails nothing has been taken over.
func (l *lineage) takeOver(parts []part, log *slog.Logger) (past *ledger, err error) {
	if l.wire == nil {
		return nil, l.upgrades.Ready()
	}
	if err := l.wire.sendJSON(msgReady, introduction{os.Getpid(), version}); err != nil {
		return nil, fmt.Errorf("tell the predecessor: %w", err)
	}
	byName := make(map[string]part)
	for _, p := range parts {
		byName[p.name] = p
	}
	err = l.wire.parts(func(name string, content []byte) error {
		p, known := byName[name]
		if !known {
			log.Debug("part of the predecessor not known", "part", name)
			return nil
		}
		return p.take(content)
	})
	if err != nil {
		return nil, err
	}
	if err := l.upgrades.Ready(); err != nil {
		return nil, err
	}
	kind, content, err := l.wire.receive()
	switch {
	case errors.Is(err, io.EOF):
		log.Warn("the predecessor ended before it could say so; its place is taken", "predecessor", l.predecessor.PID)
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read from the predecessor: %w", err)
	case kind != msgGo:
		return nil, errAborted
	}
	past = new(ledger)
	if err := json.Unmarshal(content, past); err != nil {
		log.Warn("record of upgrades not taken over", telemetry.KeyError, err)
		past = nil
	}
	return past, nil
}

// attend serves the predecessor while it drains, from when its place was taken. It
// returns when that has ended.
func (l *lineage) attend(ctx context.Context, answer func([]byte) ([]byte, error), log *slog.Logger) error {
	if l.wire == nil {
		<-ctx.Done()
		return nil
	}
	select {
	case <-l.taken:
	case <-ctx.Done():
		return nil
	}
	stop := context.AfterFunc(ctx, func() { l.wire.conn.Close() })
	defer stop()
	defer l.wire.conn.Close()
	for {
		kind, content, err := l.wire.receive()
		if err != nil {
			break
		}
		switch kind {
		case msgQuestion:
			var text []byte
			if text, err = answer(content); err == nil {
				err = l.wire.send(msgAnswer, text)
			}
		case msgStreams:
			var n map[string]int
			if err = json.Unmarshal(content, &n); err == nil {
				l.streams.Store(&n)
			}
		case msgAgain:
			l.again()
		}
		if err != nil {
			log.Warn("the predecessor's message cannot be served", telemetry.KeyError, err)
		}
	}
	l.over.Store(true)
	l.streams.Store(nil)
	log.Info("the predecessor has ended", "predecessor", l.predecessor.PID)
	return nil
}

// predecessorDrains reports whether the process that this one replaced still runs.
func (l *lineage) predecessorDrains() bool { return l.wire != nil && !l.over.Load() }

// predecessorStreams are the streams that the predecessor still has; nil: it has
// ended.
func (l *lineage) predecessorStreams() map[string]int {
	if n := l.streams.Load(); n != nil {
		return *n
	}
	return nil
}
