package main

import (
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/limiter"
)

// heir is the other end of a succession that is being tested.
type heir struct {
	*succession
	t     *testing.T
	other *wire
	left  bool
	again int
}

func newHeir(t *testing.T) *heir {
	t.Helper()
	w, f, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	other, err := newWire(f)
	if err != nil {
		t.Fatal(err)
	}
	a := &app{log: slog.New(slog.DiscardHandler), line: &lineage{generation: 3}}
	a.upgrader = newUpgrader(a, filepath.Join(t.TempDir(), "upgrade.json"))
	h := &heir{t: t, other: other}
	h.succession = &succession{app: a, wire: w, done: make(chan struct{}), parts: []part{
		{name: "early", early: true, give: func(send func([]byte) error) error { return send([]byte("keys")) }},
		{name: "late", give: func(send func([]byte) error) error { return errors.Join(send([]byte("a")), send([]byte("b"))) },
			resume: func() error { h.again++; return nil },
			leave:  func(func([]byte) ([]byte, error)) { h.left = true }},
	}}
	t.Cleanup(func() { w.conn.Close(); other.conn.Close() })
	go h.give()
	return h
}

// begin plays the successor up to where it is ready.
func (h *heir) begin() {
	h.t.Helper()
	kind, content, err := h.other.receive()
	var hi hello
	if err != nil || kind != msgHello || json.Unmarshal(content, &hi) != nil || hi.Generation != 3 || hi.PID != os.Getpid() {
		h.t.Fatalf("%q %s %v", kind, content, err)
	}
	h.parts("early=keys ")
}

func (h *heir) parts(want string) {
	h.t.Helper()
	got := ""
	err := h.other.parts(func(name string, content []byte) error {
		got += name + "=" + string(content) + " "
		return nil
	})
	if err != nil || got != want {
		h.t.Fatalf("parts %q, %v, want %q", got, err, want)
	}
}

func TestSuccessorGetsAllBeforeItIsToldToGo(t *testing.T) {
	h := newHeir(t)
	h.begin()
	if err := h.other.sendJSON(msgReady, introduction{PID: 4711, Version: "new"}); err != nil {
		t.Fatal(err)
	}
	h.parts("late=a late=b ")
	if h.left {
		t.Error("the rooms were left before the successor said that it is ready")
	}
	if err := h.commit(); err != nil {
		t.Fatal(err)
	}
	kind, content, err := h.other.receive()
	var past ledger
	if err != nil || kind != msgGo || json.Unmarshal(content, &past) != nil {
		t.Fatalf("%q %s %v", kind, content, err)
	}
	if a := past.Attempts; len(a) != 1 || !a[0].OK || a[0].To != 4711 || a[0].ToVersion != "new" || a[0].Generation != 4 {
		t.Errorf("attempts %+v", a)
	}
	if !h.left || h.again != 0 {
		t.Errorf("left %v, resumed %d times", h.left, h.again)
	}
}

func TestPredecessorGoesOnWhenTheSuccessorFails(t *testing.T) {
	ready := func(h *heir) {
		if err := h.other.sendJSON(msgReady, introduction{PID: 1 << 30}); err != nil {
			h.t.Fatal(err)
		}
		h.parts("late=a late=b ")
	}
	for _, c := range []struct {
		name   string
		play   func(*heir)
		reason string
	}{
		{"says why at the start", func(h *heir) { _ = h.other.send(msgFailed, []byte("no certificate")) }, "no certificate"},
		{"says why at the end", func(h *heir) { ready(h); _ = h.other.send(msgFailed, []byte("state unreadable")) }, "state unreadable"},
		{"says nothing", func(h *heir) { h.other.conn.Close() }, "child died"},
		{"dies with the state", func(h *heir) { ready(h); h.other.conn.Close() }, "child died"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHeir(t)
			h.begin()
			c.play(h)
			<-h.done
			_ = h.wire.conn.SetReadDeadline(time.Now().Add(time.Second))
			if err := h.lastWords(errors.New("child died")); err == nil || err.Error() != c.reason {
				t.Errorf("reason %v, want %s", err, c.reason)
			}
			if err := h.revoke(); err != nil || h.again != 1 || h.left {
				t.Errorf("%v, resumed %d times, left %v", err, h.again, h.left)
			}
		})
	}
}

func TestSuccessorThatIsReadyTooEarlyIsSentAway(t *testing.T) {
	h := newHeir(t)
	h.begin()
	h.other.conn.Close() // it told tableflip that it is ready, without our state
	if err := h.commit(); err == nil || h.left || h.again != 1 {
		t.Errorf("%v, left %v, resumed %d times", err, h.left, h.again)
	}
}

func TestAnotherProtocolIsRefused(t *testing.T) {
	w, f, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	defer w.conn.Close()
	other, err := newWire(f)
	if err != nil {
		t.Fatal(err)
	}
	l := &lineage{wire: other, generation: 1, early: map[string][]byte{}}
	if err := w.sendJSON(msgHello, hello{Protocol: handoverProtocol + 1, Version: "v9"}); err != nil {
		t.Fatal(err)
	}
	if err := l.fail(l.meet()); err == nil || !strings.Contains(err.Error(), "restart instead") {
		t.Errorf("err = %v", err)
	}
	if kind, content, err := w.receive(); err != nil || kind != msgFailed || !strings.Contains(string(content), "v9") {
		t.Errorf("the predecessor was told %q %s %v", kind, content, err)
	}
}

func TestQuestionsAreAnsweredWhileThePredecessorDrains(t *testing.T) {
	w, f, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	other, err := newWire(f)
	if err != nil {
		t.Fatal(err)
	}
	l := &lineage{wire: other, taken: make(chan struct{})}
	var asked atomic.Int32
	l.again = func() { asked.Add(1) }
	log := slog.New(slog.DiscardHandler)
	ended := make(chan error)
	go func() {
		ended <- l.attend(t.Context(), func(q []byte) ([]byte, error) { return append(q, '!'), nil }, log)
	}()
	close(l.taken)
	for _, q := range []string{"a", "b"} {
		if a, err := w.ask([]byte(q)); err != nil || string(a) != q+"!" {
			t.Fatalf("%q, %v", a, err)
		}
	}
	if err := w.sendJSON(msgStreams, map[string]int{"websocket": 2}); err != nil {
		t.Fatal(err)
	}
	if err := w.send(msgAgain, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := w.ask(nil); err != nil { // what was sent before has been served
		t.Fatal(err)
	}
	if n := l.predecessorStreams(); n["websocket"] != 2 || !l.predecessorDrains() || asked.Load() != 1 {
		t.Errorf("streams %v, drains %v, asked %d times", n, l.predecessorDrains(), asked.Load())
	}
	w.conn.Close()
	if err := <-ended; err != nil || l.predecessorDrains() || l.predecessorStreams() != nil {
		t.Errorf("%v, drains %v", err, l.predecessorDrains())
	}
	if _, err := w.ask(nil); err == nil {
		t.Error("a successor that is gone has answered")
	}
}

func TestFirstProcessOfAContainerIsNotReplaced(t *testing.T) {
	a := &app{log: slog.New(slog.DiscardHandler), line: &lineage{generation: 1}, limits: limiter.New(limiter.Options{})}
	path := filepath.Join(t.TempDir(), "upgrade.json")
	a.upgrader = newUpgrader(a, path)
	a.upgrader.pid = 1
	a.upgrader.begin(nil)
	a.upgrader.request()
	a.upgrader.request()
	if s := a.upgrader.attempt(); s != nil {
		t.Fatal("it was")
	}
	l, err := readLedger(path)
	if err != nil {
		t.Fatal(err)
	}
	got, done := l.of(2)
	if !done || got.OK || !strings.Contains(got.Reason, "rolling restart instead") || l.waiting() {
		t.Errorf("%+v", l)
	}
}

func TestLedgerKeepsItsLastAttempts(t *testing.T) {
	var l ledger
	for i := 1; i <= 3*keptAttempts; i++ {
		l.Requested = i
		if !l.waiting() {
			t.Fatalf("request %d does not wait", i)
		}
		l.add(attempt{Covers: i, OK: true})
	}
	if len(l.Attempts) != keptAttempts || l.waiting() {
		t.Errorf("%d attempts, waiting %v", len(l.Attempts), l.waiting())
	}
	path := filepath.Join(t.TempDir(), "upgrade.json")
	if err := l.write(path); err != nil {
		t.Fatal(err)
	}
	if back, err := readLedger(path); err != nil || back.Requested != l.Requested {
		t.Errorf("%+v, %v", back, err)
	}
}
