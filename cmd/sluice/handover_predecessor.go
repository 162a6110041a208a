package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"sluice/telemetry"
)

// holdTimeout bounds how long decisions wait for a successor to take over; a
// million keys take about a second.
const holdTimeout = 5 * time.Second

// succession is one attempt to hand over, seen by the predecessor.
type succession struct {
	app   *app
	parts []part
	wire  *wire
	done  chan struct{} // closed when give has returned

	mu     sync.Mutex   // guards what follows
	state  giving       //
	next   introduction // valid from ready on
	reason error        // what the successor, or giving, failed of
	late   *time.Timer  // ends the hold; nil: nothing is held
}

// giving is how far a succession has come.
type giving uint8

const (
	starting giving = iota // the successor is on its way
	held                   // decisions wait, the state is under way or there
	given                  // the successor has it
	revoked                // this process goes on
)

// succeed starts a successor and hands over to it. On an error this process goes
// on as before.
func (a *app) succeed() (*succession, error) {
	w, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	err = a.line.upgrades.AddFile("handover", theirs)
	theirs.Close()
	if err != nil {
		w.conn.Close()
		return nil, fmt.Errorf("pass the handover socket on: %w", err)
	}
	s := &succession{app: a, parts: a.parts(), wire: w, done: make(chan struct{})}
	go s.give()
	upgradeErr := a.line.upgrade()
	if upgradeErr == nil {
		if err := s.commit(); err != nil {
			return nil, err
		}
		return s, nil
	}
	// The child has ended, or was killed: what it said last is there, if anything.
	_ = w.conn.SetReadDeadline(time.Now().Add(lastWords))
	<-s.done
	err = s.lastWords(upgradeErr)
	resumed := s.revoke()
	w.conn.Close()
	return nil, errors.Join(err, resumed)
}

// lastWords is how long the end of the successor is given to arrive.
const lastWords = 200 * time.Millisecond

// lastWords returns the best reason there is for the end of the successor.
func (s *succession) lastWords(otherwise error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reason == nil && s.state == held {
		if kind, content, err := s.wire.receive(); err == nil && kind == msgFailed {
			s.reason = errors.New(string(content))
		}
	}
	if s.reason != nil {
		return s.reason
	}
	return otherwise
}

// upgrade has tableflip start a successor and returns when that is ready.
func (l *lineage) upgrade() error {
	for {
		err := l.upgrades.Upgrade()
		// Its own notice that the predecessor is gone may come a moment after ours.
		if err == nil || err.Error() != "parent hasn't exited" || l.predecessorDrains() {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

// give plays the predecessor's side up to the point where the successor has all.
func (s *succession) give() {
	defer close(s.done)
	if err := s.converse(); err != nil {
		s.mu.Lock()
		if s.reason == nil {
			s.reason = err
		}
		s.mu.Unlock()
	}
}

func (s *succession) converse() error {
	hi := hello{Protocol: handoverProtocol, Generation: s.app.line.generation, PID: os.Getpid(), Version: version}
	if err := s.wire.sendJSON(msgHello, hi); err != nil {
		return nil // tableflip knows why it is gone
	}
	for _, p := range s.parts {
		if p.early && p.give(func(b []byte) error { return s.wire.sendPart(p.name, b) }) != nil {
			return nil
		}
	}
	if s.wire.send(msgReady, nil) != nil {
		return nil
	}
	kind, content, err := s.wire.receive()
	switch {
	case err != nil:
		return nil
	case kind == msgFailed:
		return errors.New(string(content))
	case kind != msgReady || json.Unmarshal(content, &s.next) != nil:
		return fmt.Errorf("the successor said %q when it should be ready", kind)
	}
	if !s.hold() {
		return errors.New("it came too late")
	}
	for _, p := range s.parts {
		if p.early {
			continue
		}
		if err := p.give(func(b []byte) error { return s.wire.sendPart(p.name, b) }); err != nil {
			s.kill()
			return fmt.Errorf("hand over %s: %w", p.name, err)
		}
	}
	if err := s.wire.send(msgReady, nil); err != nil {
		return fmt.Errorf("hand over: %w", err)
	}
	return nil
}

// hold begins the time in which decisions wait.
func (s *succession) hold() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != starting {
		return false
	}
	s.state = held
	s.late = time.AfterFunc(holdTimeout, func() {
		s.mu.Lock()
		if s.state == held {
			s.reason = fmt.Errorf("the new process did not take over within %v", holdTimeout)
		}
		s.mu.Unlock()
		s.kill()
	})
	return true
}

// kill ends a successor that has introduced itself and does not do as it should.
// tableflip then reports that it is gone.
func (s *succession) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == held {
		_ = syscall.Kill(s.next.PID, syscall.SIGKILL) // a child of ours that nobody has waited for yet
	}
}

// commit gives the place to the successor, which has said that it can take it.
func (s *succession) commit() error {
	<-s.done
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != held || s.reason != nil {
		// It told tableflip and not us, or both too late. What it has is old.
		_ = s.wire.send(msgAbort, nil)
		s.wire.conn.Close()
		s.state = revoked
		return errors.Join(errors.New("the new process broke the protocol; upgrades need a restart from now on"), s.reason, s.resume())
	}
	s.late.Stop()
	if err := s.wire.sendJSON(msgGo, s.app.upgrader.handLedger(s.next)); err != nil {
		// It is dead, and has admitted nothing.
		s.state = revoked
		return errors.Join(fmt.Errorf("the new process ended when it should take over: %w; upgrades need a restart from now on", err), s.resume())
	}
	s.state = given
	for _, p := range s.parts {
		if p.leave != nil {
			p.leave(s.wire.ask)
		}
	}
	return nil
}

// revoke makes this process go on.
func (s *succession) revoke() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.late != nil {
		s.late.Stop()
	}
	s.state = revoked
	return s.resume()
}

func (s *succession) resume() error {
	var errs []error
	for _, p := range s.parts {
		if p.resume != nil {
			errs = append(errs, p.resume())
		}
	}
	return errors.Join(errs...)
}

// report tells the successor what this process still has, until ctx ends.
func (s *succession) report(ctx context.Context) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := s.wire.sendJSON(msgStreams, s.app.gateway.Streams()); err != nil {
			s.app.log.Debug("the successor is not told of streams", telemetry.KeyError, err)
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
