package telemetry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"sluice/telemetry/segment"
)

func openTestFile(t *testing.T, path string) *logFile {
	t.Helper()
	l, err := openLogFile(StreamOptions{Name: "access", File: path, Keep: time.Hour, MaxSize: 1 << 30}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.close() })
	return l
}

func mustWrite(t *testing.T, l *logFile, lines string) {
	t.Helper()
	if n, err := l.write([]byte(lines)); n != len(lines) || err != nil {
		t.Fatalf("write: %d, %v", n, err)
	}
}

func readAll(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(path, segment.Compressed) {
		z, err := zstd.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		r = z
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// files returns the names in the directory of path but path's own and those of
// indexes, none of which may be left alone.
func files(t *testing.T, path string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	var indexed []string
	for _, e := range entries {
		if of, ok := strings.CutSuffix(e.Name(), segment.IndexExt); ok {
			indexed = append(indexed, of)
		} else if e.Name() != filepath.Base(path) {
			names = append(names, e.Name())
		}
	}
	for _, of := range indexed {
		if !slices.Contains(names, of) {
			t.Errorf("the index of %s is left alone", of)
		}
	}
	return names
}

func TestAFullFileIsRenamedAndCompressed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	l := openTestFile(t, path)
	l.segment = 10
	mustWrite(t, l, "one\ntwo\n")
	mustWrite(t, l, "three\n")
	if got := readAll(t, path); got != "three\n" {
		t.Errorf("after rotation: %q", got)
	}
	if err := l.sweepOnce(context.Background(), time.Now()); err != nil {
		t.Fatal(err)
	}
	names := files(t, path)
	if len(names) != 1 || !strings.HasSuffix(names[0], ".log.zst") {
		t.Fatalf("rotated files: %q", names)
	}
	rotated := filepath.Join(filepath.Dir(path), names[0])
	if got := readAll(t, rotated); got != "one\ntwo\n" {
		t.Errorf("compressed: %q", got)
	}
	if _, err := os.Stat(rotated + segment.IndexExt); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(rotated); err != nil || info.Mode().Perm()&0o007 != 0 {
		t.Errorf("everyone may read the log: %v %v", info.Mode(), err)
	}
}

// Two rotations may fall into one millisecond, the first already compressed.
func TestRotationsOfOneMomentTakeDifferentNames(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	l := openTestFile(t, path)
	now := time.Now()
	for i := range 3 {
		mustWrite(t, l, fmt.Sprintf("%d\n", i))
		info, err := l.f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if err := l.rename(info, now); err != nil {
			t.Fatal(err)
		}
		if err := l.reopen(); err != nil {
			t.Fatal(err)
		}
		if err := l.sweepOnce(context.Background(), now); err != nil {
			t.Fatal(err)
		}
	}
	all := ""
	for _, name := range files(t, path) {
		all += readAll(t, filepath.Join(filepath.Dir(path), name))
	}
	if all != "0\n1\n2\n" {
		t.Errorf("left of three lines: %q", all)
	}
}

func TestAFileHoldsOneDay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	if err := os.WriteFile(path, []byte("yesterday\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-24 * time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	l := openTestFile(t, path)
	mustWrite(t, l, "today\n")
	mustWrite(t, l, "again\n")
	if got := readAll(t, path); got != "today\nagain\n" {
		t.Errorf("today's file: %q", got)
	}
	if n := len(files(t, path)); n != 1 {
		t.Errorf("%d rotated files, want 1", n)
	}
}

func TestAMovedFileIsOpenedAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	l := openTestFile(t, path)
	mustWrite(t, l, "one\n")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := l.idle(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("not opened anew while idle: %v", err)
	}
	mustWrite(t, l, "two\n")
	if got := readAll(t, path); got != "two\n" {
		t.Errorf("got %q", got)
	}
	// The directory may be gone for a while.
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	if _, err := l.write([]byte("lost\n")); err == nil {
		t.Error("no error although the directory is gone")
	}
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, l, "three\n")
	if got := readAll(t, path); got != "three\n" {
		t.Errorf("got %q", got)
	}
}

func TestAFileThatAnotherWriterHasOpenIsNotCompressed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	first, second := openTestFile(t, path), openTestFile(t, path)
	first.segment = 10
	mustWrite(t, second, "by the second\n")
	mustWrite(t, first, "by the first\n") // rotates
	sweep := func() []string {
		if err := first.sweepOnce(context.Background(), time.Now()); err != nil {
			t.Fatal(err)
		}
		return files(t, path)
	}
	if names := sweep(); len(names) != 1 || strings.HasSuffix(names[0], segment.Compressed) {
		t.Fatalf("compressed under the second writer: %q", names)
	}
	mustWrite(t, second, "more\n") // notices the move
	if got := readAll(t, path); got != "by the first\nmore\n" {
		t.Errorf("current file: %q", got)
	}
	names := sweep()
	if len(names) != 1 || !strings.HasSuffix(names[0], segment.Compressed) {
		t.Fatalf("not compressed: %q", names)
	}
	if got := readAll(t, filepath.Join(filepath.Dir(path), names[0])); got != "by the second\n" {
		t.Errorf("compressed file: %q", got)
	}
}

func TestOldAndTooManyFilesAreRemoved(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "access.log")
	l := openTestFile(t, path)
	l.keep, l.maxSize = 24*time.Hour, 2500
	now := time.Now()
	make := func(age time.Duration) string {
		name := segment.Name(path, now.Add(-age)) + segment.Compressed
		if err := os.WriteFile(name, bytes.Repeat([]byte{'x'}, 1000), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name+segment.IndexExt, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return filepath.Base(name)
	}
	make(25 * time.Hour)
	make(3 * time.Hour)
	keep2 := make(2 * time.Hour)
	keep1 := make(time.Hour)
	strangers := []string{"access-backup.log", "access-20261123.log.zst", "other-20261123T145733.123.log.zst", "access-20261123T145733.123.txt"}
	for _, s := range strangers {
		if err := os.WriteFile(filepath.Join(dir, s), bytes.Repeat([]byte{'x'}, 1000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.sweepOnce(context.Background(), now); err != nil {
		t.Fatal(err)
	}
	want := append(strangers, keep1, keep2)
	slices.Sort(want)
	if got := files(t, path); !slices.Equal(got, want) {
		t.Errorf("left: %q, want %q", got, want)
	}
}

func TestAnInterruptedCompressionLeavesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	l := openTestFile(t, path)
	l.segment = 10
	mustWrite(t, l, "one\ntwo\n")
	mustWrite(t, l, "three\n")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.sweepOnce(ctx, time.Now()); err == nil {
		t.Error("no error although it was interrupted")
	}
	names := files(t, path)
	if len(names) != 1 || filepath.Ext(names[0]) != ".log" {
		t.Errorf("left: %q", names)
	}
}

func TestDevicesAreNotRotated(t *testing.T) {
	l := openTestFile(t, os.DevNull)
	l.segment = 1
	mustWrite(t, l, "one\n")
	mustWrite(t, l, "two\n")
}

// Invariant 2: processes that append to one file at once, rotating it under
// each other, mix no lines and lose none.
func TestProcessesShareAFile(t *testing.T) {
	const processes, each = 3, 3000
	if path := os.Getenv("SLUICE_TEST_LOG"); path != "" {
		l := openTestFile(t, path)
		l.segment = 4 << 10
		for i := range each / 10 {
			var batch strings.Builder
			for j := range 10 {
				fmt.Fprintf(&batch, "<%s-%d>\n", os.Getenv("SLUICE_TEST_ID"), i*10+j)
			}
			mustWrite(t, l, batch.String())
			if i%50 == 0 {
				if err := l.sweepOnce(context.Background(), time.Now()); err != nil {
					t.Fatal(err)
				}
			}
		}
		return
	}

	path := filepath.Join(t.TempDir(), "access.log")
	var cmds []*exec.Cmd
	for p := range processes {
		cmd := exec.Command(os.Args[0], "-test.run=^TestProcessesShareAFile$")
		cmd.Env = append(os.Environ(), "SLUICE_TEST_LOG="+path, fmt.Sprintf("SLUICE_TEST_ID=%d", p))
		cmd.Stderr = os.Stderr
		cmds = append(cmds, cmd)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
	}
	for _, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	all := readAll(t, path)
	names := files(t, path)
	for _, name := range names {
		all += readAll(t, filepath.Join(filepath.Dir(path), name))
	}
	if len(names) < 2 {
		t.Errorf("rotated only %d times", len(names))
	}
	seen := make(map[string]bool)
	for line := range strings.Lines(all) {
		seen[line] = true
	}
	for p := range processes {
		for i := range each {
			if !seen[fmt.Sprintf("<%d-%d>\n", p, i)] {
				t.Fatalf("line %d of process %d is missing", i, p)
			}
		}
	}
	if len(seen) != processes*each {
		t.Errorf("%d different lines, want %d", len(seen), processes*each)
	}
}

func TestRunWritesRotatesAndReopens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	a, err := OpenAccessLog(AccessLogOptions{File: path})
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, a)
	a.Write(fullRecord())
	a.Reopen()
	stop()
	if got := strings.Count(readAll(t, path), "\n"); got != 1 {
		t.Errorf("%d lines, want 1", got)
	}
}
