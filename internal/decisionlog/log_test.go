package decisionlog

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWhatIsAddedIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	w, err := Create(path, 4)
	if err != nil {
		t.Fatal(err)
	}
	want := []Record{
		{BeforeNS: 1 << 50, TookNS: 1<<32 - 1, WaitNS: 1 << 31, Cost: 7, Key: 1<<64 - 1, Limit: 1 << 31, WindowMS: 3_600_000, Admitted: true, Zone: 2},
		{BeforeNS: 2, Cost: 1, Key: 3, Limit: 5, WindowMS: 1000, Zone: 1},
	}
	for _, r := range want {
		w.Add(r)
	}
	got, slots, lost, err := Read(path, 0) // while it is open, as when its process was killed
	if err != nil || lost != 0 || slots != 2 || !cmp.Equal(got, want) {
		t.Errorf("lost %d, %v\n%s", lost, err, cmp.Diff(want, got))
	}
	for range 5 {
		w.Add(want[0])
	}
	if got, slots, lost, err = Read(path, 1); err != nil || lost != 3 || slots != 4 || len(got) != 3 {
		t.Errorf("%d records, lost %d, %v; want 3 and 3", len(got), lost, err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

func TestRecordsOfManyGoroutinesAreWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	w, err := Create(path, 4000)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var all sync.WaitGroup
	for g := range uint32(4) {
		all.Go(func() {
			for i := range uint32(1000) {
				n := g*1000 + i + 1
				w.Add(Record{BeforeNS: int64(n), TookNS: n, WaitNS: n, Cost: n, Key: uint64(n), Limit: n, WindowMS: n})
			}
		})
	}
	all.Wait()
	got, _, _, err := Read(path, 0)
	if err != nil || len(got) != 4000 {
		t.Fatalf("%d records, %v", len(got), err)
	}
	for _, r := range got {
		n := uint32(r.BeforeNS)
		if r != (Record{BeforeNS: int64(n), TookNS: n, WaitNS: n, Cost: n, Key: uint64(n), Limit: n, WindowMS: n}) {
			t.Fatalf("torn: %+v", r)
		}
	}
}

func TestOtherFilesAreRefused(t *testing.T) {
	for name, text := range map[string]string{"empty": "", "short": "x", "other": string(make([]byte, 200))} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := Read(path, 0); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestAddDoesNotAllocate(t *testing.T) {
	w, err := Create(filepath.Join(t.TempDir(), "log"), 2000)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if n := testing.AllocsPerRun(1000, func() { w.Add(Record{BeforeNS: 1}) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
