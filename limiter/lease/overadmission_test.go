package lease

import (
	"testing"
	"time"
)

func TestOveradmissionIsSeenInTheBooks(t *testing.T) {
	n := NewNode(Options{Self: 1<<32 | 1})
	now := Instant{MonoNS: int64(time.Hour), UnixNS: int64(time.Hour)}
	for i, held := range []int64{0, 80, 99, 125, 90} {
		b := &bucket{key: Key{uint64(i), 0}, limit: Limit{Rights: 100, Window: time.Hour}}
		b.ledger.Log.Add(b.limit.Stamp(now), 1, 8) // in use, so that it is kept
		b.ledger.Held = held
		n.books[b.key], n.shelf = b, append(n.shelf, b)
	}
	n.shipAt = len(n.shelf) // nothing is being handed over
	n.dust(now)
	if got, want := n.Overadmission(), 0.26; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, b := range n.shelf {
		b.ledger.Held = 0
	}
	for range 3 { // it is remembered for a round, not for ever
		n.dust(now)
	}
	if got := n.Overadmission(); got != 0 {
		t.Errorf("got %v after it had ended", got)
	}
}
