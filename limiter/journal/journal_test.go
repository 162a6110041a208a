package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// quick is a segment that leaves syncing to the kernel.
type quick struct{ *os.File }

func (quick) Sync() error { return nil }

func createQuick(path string) (File, error) {
	f, err := create(path)
	if err != nil {
		return nil, err
	}
	return quick{f.(*os.File)}, nil
}

// rig is a running journal whose snapshot is the records of the map.
type rig struct {
	*Journal
	t    testing.TB
	log  bytes.Buffer
	stop func() error

	mu   sync.Mutex
	last map[byte]byte
}

func start(t testing.TB, dir string, create func(string) (File, error)) *rig {
	t.Helper()
	r := &rig{t: t, last: make(map[byte]byte)}
	r.Journal = New(Options{
		Dir: dir, Head: func() []byte { return []byte("head") }, Create: create,
		Logger: slog.New(slog.NewTextHandler(&r.log, nil)),
		Snapshot: func(from int) (int, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			for k, v := range r.last {
				r.Append(func(b []byte, _ bool, _ uint32) []byte { return append(b, k, v) })
			}
			return -1, nil
		},
	})
	if err := r.Replay(func(first bool, content []byte) error {
		if first {
			if string(content) != "head" {
				return fmt.Errorf("head %q", content)
			}
			return nil
		}
		for i := 0; i+1 < len(content); i += 2 {
			r.last[content[i]] = content[i+1]
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = r.stop() })
	if err := r.Begin(ctx); err != nil {
		t.Fatal(err)
	}
	return r
}

// set appends and does not wait.
func (r *rig) set(k, v byte) *Batch {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last[k] = v
	return r.Append(func(b []byte, _ bool, _ uint32) []byte { return append(b, k, v) })
}

// crash is a copy of what is on disk.
func crash(t testing.TB, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestInvariant1_WhatIsDoneIsReadBack(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	for i := range 50 {
		b := r.set(byte(i%7), byte(i))
		r.Wait(b)
		if i%10 != 0 {
			continue
		}
		next := start(t, crash(t, dir), nil)
		if got := next.last[byte(i%7)]; got != byte(i) {
			t.Fatalf("%d was done, %d is there", i, got)
		}
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	list, err := segments(dir)
	if err != nil || len(list) != 1 {
		t.Errorf("segments %v, %v after a stop, want one", list, err)
	}
	if next := start(t, dir, nil); next.last[0] != 49 {
		t.Errorf("after a stop: %v", next.last)
	}
}

func TestManyAppendersShareASync(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			for j := range 20 {
				r.Wait(r.set(byte(i), byte(j)))
			}
		})
	}
	wg.Wait()
	if s := r.Stats(); !s.Active || s.Syncs == 0 || s.Syncs > 320 {
		t.Errorf("%d syncs for 640 records: %+v", s.Syncs, s)
	}
}

// TestInvariant4_TornTail cuts a segment at every byte: what is read is a prefix of
// what was written.
func TestInvariant4_TornTail(t *testing.T) {
	whole := []byte(magic)
	for i := range 4 {
		frame := append(make([]byte, frameHead), bytes.Repeat([]byte{byte('a' + i)}, 5+i)...)
		seal(frame)
		whole = append(whole, frame...)
	}
	for cut := range len(whole) + 1 {
		for _, tail := range [][]byte{nil, make([]byte, 64)} {
			n := 0
			err := scan(append(bytes.Clone(whole[:cut]), tail...), func(content []byte) error {
				if content[0] != byte('a'+n) || len(content) != 5+n {
					return fmt.Errorf("frame %d is %q", n, content)
				}
				n++
				return nil
			})
			if cut < len(magic) && tail != nil {
				continue // no segment at all
			}
			if err != nil && !errors.Is(err, errTorn) {
				t.Fatalf("cut at %d with %d zeros: %v", cut, len(tail), err)
			}
			if cut == len(whole) && n != 4 {
				t.Fatalf("%d frames of 4", n)
			}
		}
	}
}

func TestDamageIsNotTakenForATornTail(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	for i := range 4 {
		r.Wait(r.set(1, byte(i)))
	}
	copied := crash(t, dir)
	path := segmentPath(copied, 1)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text[len(magic)+frameHead+len("head")+frameHead] ^= 1 // the first record
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	err = New(Options{Dir: copied}).Replay(func(bool, []byte) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "damaged at byte 27") || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
}

func TestInvariant3_SizeIsBounded(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, createQuick)
	most := int64(0)
	for i := range 400 {
		b := r.Append(func(b []byte, _ bool, _ uint32) []byte {
			for range 32 << 10 {
				b = append(b, 1, byte(i))
			}
			return b
		})
		r.mu.Lock()
		r.last[1] = byte(i)
		r.mu.Unlock()
		r.Wait(b)
		size := int64(0)
		files, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if info, err := os.Stat(f); err == nil {
				size += info.Size()
			}
		}
		most = max(most, size)
	}
	if most > 3<<20 {
		t.Errorf("%d bytes on disk for 25 MB of records", most)
	}
	if got := start(t, crash(t, dir), nil).last[1]; got != byte(399%256) {
		t.Errorf("%d is there, 399 was done", got)
	}
}

// TestAFullDiskIsSaidAndHeals writes to a device that is full for a while.
func TestAFullDiskIsSaidAndHeals(t *testing.T) {
	dir := t.TempDir()
	var mu sync.Mutex
	full := true
	r := start(t, dir, func(path string) (File, error) {
		mu.Lock()
		defer mu.Unlock()
		if full {
			return os.OpenFile("/dev/full", os.O_WRONLY, 0)
		}
		return create(path)
	})
	if s := r.Stats(); s.Active || !errors.Is(s.Err, syscall.ENOSPC) || s.Since.IsZero() {
		t.Fatalf("with a full disk: %+v", s)
	}
	if b := r.set(1, 7); b != nil {
		t.Error("a record was taken that cannot be written")
	}
	mu.Lock()
	full = false
	mu.Unlock()
	deadline := time.Now().Add(20 * time.Second)
	for !r.Stats().Active {
		if time.Now().After(deadline) {
			t.Fatal("it does not heal")
		}
		time.Sleep(10 * time.Millisecond)
	}
	r.Wait(r.set(2, 8)) // with or after the snapshot
	if next := start(t, crash(t, dir), nil); next.last[1] != 7 || next.last[2] != 8 {
		t.Errorf("after healing: %v", next.last)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if log := r.log.String(); strings.Count(log, "not kept on disk") != 1 || strings.Count(log, "kept on disk again") != 1 {
		t.Errorf("log:\n%s", log)
	}
}

// failing is a segment whose nth write fails, as that of a disk that fills up.
type failing struct {
	quick
	left int
}

func (f *failing) Write(b []byte) (int, error) {
	if f.left--; f.left < 0 {
		n, _ := f.quick.Write(b[:len(b)/2])
		return n, syscall.ENOSPC
	}
	return f.quick.Write(b)
}

func TestAFailedWriteLetsEverybodyGo(t *testing.T) {
	dir := t.TempDir()
	first := true
	r := start(t, dir, func(path string) (File, error) {
		f, err := create(path)
		if err != nil || !first {
			return f, err
		}
		first = false
		return &failing{quick{f.(*os.File)}, 3}, nil
	})
	for i := range 5 {
		if b := r.set(1, byte(i)); b != nil {
			r.Wait(b)
		}
	}
	deadline := time.Now().Add(20 * time.Second)
	for s := r.Stats(); !s.Active || s.Failures == 0; s = r.Stats() {
		if time.Now().After(deadline) {
			t.Fatalf("it does not heal: %+v", s)
		}
		time.Sleep(10 * time.Millisecond)
	}
	r.Wait(r.set(2, 1))
	if got := start(t, crash(t, dir), nil).last[1]; got != 4 {
		t.Errorf("%d is there, 4 was the last", got)
	}
}

// stuck is a segment whose sync does not return while the gate is closed.
type stuck struct {
	quick
	gate chan struct{}
}

func (s stuck) Sync() error { <-s.gate; return nil }

func TestAStuckDiskIsGivenUp(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{}, 1)
		gate <- struct{}{} // for the head
		first := true
		r := start(t, dir, func(path string) (File, error) {
			f, err := create(path)
			if err != nil || !first {
				return quick{f.(*os.File)}, err
			}
			first = false
			return stuck{quick{f.(*os.File)}, gate}, nil
		})
		began := time.Now()
		b := r.set(1, 1)
		r.Wait(b)
		if d := time.Since(began); d != Patience {
			t.Errorf("waited for %v", d)
		}
		if s := r.Stats(); s.Active || s.Err == nil {
			t.Errorf("stats %+v", s)
		}
		close(gate)
		time.Sleep(2 * retryFirst)
		synctest.Wait()
		if s := r.Stats(); !s.Active || s.Err != nil {
			t.Errorf("it does not heal: %+v", s)
		}
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestOneProcessWrites(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	if err := New(Options{Dir: dir}).Replay(nil); !errors.Is(err, ErrInUse) {
		t.Fatalf("got %v", err)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	next := start(t, dir, nil) // what a successor does
	next.Wait(next.set(3, 3))
	if err := next.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.Begin(t.Context()); err != nil { // it failed, and we go on
		t.Fatal(err)
	}
	if !r.Stats().Active {
		t.Errorf("stats %+v", r.Stats())
	}
}

func FuzzScan(f *testing.F) {
	frame := append(make([]byte, frameHead), "content"...)
	seal(frame)
	f.Add(append([]byte(magic), frame...))
	f.Add(append(append([]byte(magic), frame...), frame[:9]...))
	f.Add([]byte(magic))
	f.Add([]byte("sluice"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, text []byte) {
		var all []byte
		err := scan(text, func(content []byte) error {
			frame := append(make([]byte, frameHead), content...)
			seal(frame)
			all = append(all, frame...)
			return nil
		})
		if len(all) > 0 && !bytes.HasPrefix(text, append([]byte(magic), all...)) {
			t.Fatalf("frames that are not there: %q", all)
		}
		if err == nil && len(text) != len(magic)+len(all) {
			t.Fatalf("no error, and %d bytes of %d were read", len(all), len(text))
		}
	})
}

func BenchmarkAppendAndSync(b *testing.B) {
	r := start(b, b.TempDir(), nil)
	b.ReportAllocs()
	for range b.N {
		r.Wait(r.set(1, 1))
	}
}
