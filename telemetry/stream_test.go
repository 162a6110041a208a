package telemetry

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// recorder is a sink that remembers what it was offered.
type recorder struct {
	mu    sync.Mutex
	lines bytes.Buffer
	ended bool
}

func (r *recorder) Offer(lines []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		panic("BUG: offered after the end")
	}
	r.lines.Write(lines)
}

func (r *recorder) Run(ctx context.Context) error {
	<-ctx.Done()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	return nil
}

func (r *recorder) Collect(stream string, emit Emit) {
	emit("sluice_log_dropped_total", 0, stream+":recorder")
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Count(r.lines.Bytes(), []byte{'\n'})
}

func runStream(t *testing.T, s *Stream) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

func TestFileAndSinksGetTheSameLines(t *testing.T) {
	out, sink := &memory{}, &recorder{}
	s := newStream(StreamOptions{Sinks: []Sink{sink}}.withDefaults(), out)
	stop := runStream(t, s)
	for i := range 3000 {
		s.Write(fmt.Appendf(nil, `{"n":%d}`, i))
	}
	stop()
	if out.lines.String() != sink.lines.String() || sink.count() != 3000 || s.Dropped() != 0 {
		t.Errorf("file has %d lines, sink %d, %d dropped", out.count(), sink.count(), s.Dropped())
	}
}

// A disk that hangs keeps nothing from the sinks.
func TestHangingDiskLeavesTheSinksAlone(t *testing.T) {
	out, sink := &memory{gate: make(chan struct{})}, &recorder{}
	s := newStream(StreamOptions{Buffer: 64 * batchSize, Sinks: []Sink{sink}}.withDefaults(), out)
	stop := runStream(t, s)
	line := []byte(`{"x":"` + strings.Repeat("x", 1000) + `"}`)
	written := 0
	for sink.count() < 20_000 { // 20 MB through 4 MB of buffers, of which the disk takes none
		s.Write(line)
		written++
		if written > 10_000_000 {
			t.Fatal("the sink starves")
		}
	}
	close(out.gate)
	stop()
	if s.Dropped() == 0 {
		t.Error("nothing was dropped although the disk hung")
	}
	if got := out.count() + int(s.Dropped()); got < written {
		t.Errorf("%d lines written or counted as dropped, of %d", got, written)
	}
}

func TestTooLongALineIsCounted(t *testing.T) {
	out := &memory{}
	s := newStream(StreamOptions{MaxLine: 100}.withDefaults(), out)
	stop := runStream(t, s)
	s.Write(bytes.Repeat([]byte("x"), 99))
	s.Write(bytes.Repeat([]byte("x"), 100))
	stop()
	if out.count() != 1 || s.Dropped() != 1 {
		t.Errorf("%d written, %d dropped, want 1 and 1", out.count(), s.Dropped())
	}
}

func TestOnlySinks(t *testing.T) {
	sink := &recorder{}
	s, err := OpenStream(StreamOptions{File: "off", Sinks: []Sink{sink}})
	if err != nil {
		t.Fatal(err)
	}
	stop := runStream(t, s)
	s.Write([]byte("{}"))
	stop()
	if sink.count() != 1 {
		t.Errorf("%d lines, want 1", sink.count())
	}
}
