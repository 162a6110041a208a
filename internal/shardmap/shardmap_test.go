package shardmap

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
)

func TestChangesMakeNewMapsAndLeaveOldOnesAlone(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var m Map[int]
	want := map[string]int{}
	for i := range 300 {
		old, was := m, maps.Clone(want)
		set, gone := map[string]int{}, []string(nil)
		for range rng.IntN(5) {
			set[fmt.Sprint(rng.IntN(100))] = i
		}
		for range rng.IntN(5) {
			if k := fmt.Sprint(rng.IntN(100)); set[k] == 0 {
				gone = append(gone, k)
			}
		}
		m = m.With(set, gone...)
		maps.Copy(want, set)
		for _, k := range gone {
			delete(want, k)
		}
		for _, c := range []struct {
			m    Map[int]
			want map[string]int
		}{{m, want}, {old, was}} {
			if got := maps.Collect(c.m.All()); !maps.Equal(got, c.want) || c.m.Len() != len(c.want) {
				t.Fatalf("step %d: %d entries %v, want %v", i, c.m.Len(), got, c.want)
			}
		}
		for k, v := range want {
			if got, ok := m.Get(k); !ok || got != v {
				t.Fatalf("step %d: %s is %d, want %d", i, k, got, v)
			}
		}
	}
}

func BenchmarkGet(b *testing.B) {
	set := make(map[string]int, 100_000)
	for i := range 100_000 {
		set[fmt.Sprintf("tenant-%06d", i)] = i
	}
	var empty Map[int]
	m := empty.With(set)
	names := make([]string, 0, len(set))
	for k := range set { // a random order
		names = append(names, k)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, ok := m.Get(names[i%len(names)]); !ok {
			b.Fatal("it is gone")
		}
	}
}

func BenchmarkWith(b *testing.B) {
	set := make(map[string]int, 100_000)
	for i := range 100_000 {
		set[fmt.Sprintf("tenant-%06d", i)] = i
	}
	var empty Map[int]
	m := empty.With(set)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		m = m.With(map[string]int{"tenant-000007": i})
	}
}
