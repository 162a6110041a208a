package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/telemetry/redact"
)

// memory is an output that a test can stall and break.
type memory struct {
	mu    sync.Mutex
	lines bytes.Buffer
	err   error
	gate  chan struct{} // when set, each write waits for a value
}

func (m *memory) write(lines []byte) (int, error) {
	if m.gate != nil {
		<-m.gate
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return 0, m.err
	}
	return m.lines.Write(lines)
}
func (m *memory) idle() error               { return nil }
func (m *memory) reopen() error             { return nil }
func (m *memory) sweep(ctx context.Context) { <-ctx.Done() }
func (m *memory) close() error              { return nil }

func (m *memory) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Count(m.lines.Bytes(), []byte{'\n'})
}

// run starts a and returns how to stop it and wait.
func run(t *testing.T, a *AccessLog) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

func TestLinesAreWrittenWithinAFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &memory{}
		a := newAccessLog(AccessLogOptions{}, out)
		run(t, a)
		a.Write(fullRecord())
		synctest.Wait()
		if n := out.count(); n != 0 {
			t.Errorf("%d lines at once, want them batched", n)
		}
		time.Sleep(flushEvery)
		synctest.Wait()
		if n := out.count(); n != 1 {
			t.Errorf("%d lines after a flush, want 1", n)
		}
	})
}

// Invariant 3: what was taken is written when Run returns, in whole lines.
func TestStopLosesNothing(t *testing.T) {
	out := &memory{}
	a := newAccessLog(AccessLogOptions{}, out)
	stop := run(t, a)
	const writers, each = 8, 2000
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			r := fullRecord()
			for i := range each {
				r.RequestID = fmt.Sprintf("%d-%d", w, i)
				a.Write(r)
			}
		})
	}
	wg.Wait()
	stop()
	if n := a.Dropped(); n != 0 {
		t.Fatalf("%d lines dropped", n)
	}
	seen := make(map[string]bool)
	for line := range bytes.Lines(out.lines.Bytes()) {
		var v struct {
			RequestID string `json:"request_id"`
		}
		if err := json.Unmarshal(line, &v); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		seen[v.RequestID] = true
	}
	if len(seen) != writers*each {
		t.Errorf("%d different lines, want %d", len(seen), writers*each)
	}

	a.Write(fullRecord())
	if n := a.Dropped(); n != 1 {
		t.Errorf("a line after the end: %d dropped, want 1", n)
	}
}

// Invariant 1: a disk that hangs costs lines, not requests, and every line is
// either written or counted.
func TestSlowDiskDropsAndCounts(t *testing.T) {
	out := &memory{gate: make(chan struct{})}
	a := newAccessLog(AccessLogOptions{Buffer: 4 * batchSize}, out)
	stop := run(t, a)
	const total = 5000 // some 3 MB into 256 KiB of buffers
	for range total {
		a.Write(fullRecord())
	}
	if a.Dropped() == 0 {
		t.Fatal("nothing dropped although the disk hangs")
	}
	close(out.gate)
	stop()
	if got := out.count() + int(a.Dropped()); got != total {
		t.Errorf("written and dropped: %d, want %d", got, total)
	}
	if out.count() < 4*batchSize/MaxLine {
		t.Errorf("only %d lines written", out.count())
	}
}

func TestBatchesComeBackAfterAStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &memory{}
		a := newAccessLog(AccessLogOptions{Buffer: 2 * batchSize}, out)
		run(t, a)
		for range 20 { // far more than the buffers hold at once
			for range 50 {
				a.Write(fullRecord())
			}
			time.Sleep(flushEvery)
			synctest.Wait()
		}
		if n := a.Dropped(); n != 0 || out.count() != 1000 {
			t.Errorf("%d dropped, %d written, want 0 and 1000", n, out.count())
		}
	})
}

func TestBrokenDiskCountsAndWarnsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var warnings bytes.Buffer
		out := &memory{err: errors.New("no space left on device")}
		a := newAccessLog(AccessLogOptions{Logger: NewLogger(LogOptions{}, &warnings)}, out)
		stop := run(t, a)
		for range 5 {
			a.Write(fullRecord())
			time.Sleep(flushEvery)
			synctest.Wait()
		}
		stop()
		if n := a.Dropped(); n != 5 {
			t.Errorf("%d dropped, want 5", n)
		}
		if n := strings.Count(warnings.String(), "\n"); n != 1 || !strings.Contains(warnings.String(), "no space left") {
			t.Errorf("want one warning with the cause, got %s", warnings.String())
		}
	})
}

func TestOffWritesAndCountsNothing(t *testing.T) {
	a, err := OpenAccessLog(AccessLogOptions{File: "off"})
	if err != nil {
		t.Fatal(err)
	}
	run(t, a)
	a.Write(fullRecord())
	if n := a.Dropped(); n != 0 {
		t.Errorf("%d dropped", n)
	}
}

func TestOpenNamesTheFileThatCannotBeWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missing", "access.log")
	_, err := OpenAccessLog(AccessLogOptions{File: path})
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, want an error that names %s", err, path)
	}
}

func TestWriteAllocatesNothing(t *testing.T) {
	if raceEnabled {
		return // sync.Pool drops items at random under the race detector
	}
	out := &memory{}
	a := newAccessLog(AccessLogOptions{Redact: redact.Default()}, out)
	r := fullRecord()
	for range 50 { // until every shard knows the texts
		a.Write(r)
	}
	if n := testing.AllocsPerRun(50, func() { a.Write(r) }); n != 0 {
		t.Errorf("Write allocates %v times, want 0", n)
	}
}

// cutWriter takes so many bytes, then fails once.
type cutWriter struct {
	bytes.Buffer
	left int
	err  error
}

func (c *cutWriter) Write(p []byte) (int, error) {
	if c.err != nil && len(p) > c.left {
		n, _ := c.Buffer.Write(p[:c.left])
		err := c.err
		c.err = nil
		return n, err
	}
	c.left -= len(p)
	return c.Buffer.Write(p)
}

func (*cutWriter) Close() error { return nil }

func TestALineCutByAnErrorSpoilsNoOther(t *testing.T) {
	w := &cutWriter{left: 7, err: errors.New("full")}
	s := &pipe{w: w, chunk: MaxLine}
	if n, err := s.write([]byte("one\ntwo two\nthree\n")); n != 4 || err == nil {
		t.Errorf("wrote %d, %v; want the 4 bytes of the first line and an error", n, err)
	}
	if _, err := s.write([]byte("four\n")); err != nil {
		t.Fatal(err)
	}
	if got, want := w.String(), "one\ntwo\nfour\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

type pieces [][]byte

func (p *pieces) Write(b []byte) (int, error) {
	*p = append(*p, bytes.Clone(b))
	return len(b), nil
}

func (*pieces) Close() error { return nil }

// Invariant 2, for pipes: no write is larger than PIPE_BUF, and each ends a line.
func TestPipesAreWrittenInWholeLines(t *testing.T) {
	var p pieces
	s := &pipe{w: &p, chunk: MaxLine}
	line := encodeLine(fullRecord())
	all := strings.Repeat(line, 50)
	if n, err := s.write([]byte(all)); n != len(all) || err != nil {
		t.Fatal(n, err)
	}
	for _, piece := range p {
		if len(piece) > MaxLine || piece[len(piece)-1] != '\n' {
			t.Errorf("a write of %d bytes that ends in %q", len(piece), piece[len(piece)-1])
		}
	}
	if got := string(bytes.Join(p, nil)); got != all {
		t.Error("the pieces are not the whole")
	}
}

// brokenStdout, when set, makes this test binary the process of the test below.
const brokenStdout = "TELEMETRY_TEST_BROKEN_STDOUT"

// survived is the exit code by which that process says that it lost a line and
// nothing else; SIGPIPE would have ended it.
const survived = 42

func TestABrokenStdoutCostsLinesAndNotTheProcess(t *testing.T) {
	if os.Getenv(brokenStdout) != "" {
		a, err := OpenAccessLog(AccessLogOptions{})
		if err != nil {
			t.Fatal(err)
		}
		stop := run(t, a)
		a.Write(fullRecord())
		stop()
		if a.Dropped() == 1 {
			os.Exit(survived)
		}
		os.Exit(1)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r.Close() // the reader has gone
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), brokenStdout+"=1")
	cmd.Stdout = w
	var exit *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != survived {
		t.Errorf("the process ended by %v, want exit status %d", err, survived)
	}
}
