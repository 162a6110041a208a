package segment

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// BenchmarkSearch searches 200,000 lines in one compressed file, with its index and without.
func BenchmarkSearch(b *testing.B) {
	lines := someLines(rand.New(rand.NewPCG(1, 2)), 200_000)
	path := filepath.Join(b.TempDir(), "access.log")
	var text []byte
	for i := range lines {
		text = append(append(text, lines[i].text()...), '\n')
	}
	write(b, path, text)
	to := rotate(b, path, day.Add(time.Hour), true)
	queries := []struct {
		name string
		Query
	}{{"id", Query{RequestID: lines[777].RequestID}}, {"tenant", Query{Tenant: lines[20].Tenant, Status: "5xx"}}, {"grep", Query{Grep: `items/9\d9"`}}}
	for _, index := range []string{"index", "none"} {
		for _, q := range queries {
			b.Run(q.name+"/"+index, func(b *testing.B) {
				b.SetBytes(int64(len(text)))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := Search(context.Background(), path, q.Query, quote, func([]byte) bool { return true }); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		if index == "index" {
			if err := os.Remove(to + Compressed + IndexExt); err != nil {
				b.Fatal(err)
			}
		}
	}
}
