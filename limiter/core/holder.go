package core

// Holder is one key at a replica: the rights in its hands and its own uses. It
// is what a node keeps of a key whose authority is elsewhere.
//
// Invariant, after every method: Tokens is not negative, and Tokens plus the uses
// that the authority has not been told of is at most what the authority's row
// says that the replica holds, whatever happened to the messages.
//
// The zero Holder, given a name, holds nothing. One goroutine at a time.
type Holder struct {
	Self  Replica
	Epoch uint64

	granted  int64 // as far as replies have said
	spent    int64 // all uses, reported or not
	returned int64
	acked    int64 // of spent, what a reply has confirmed
	seq      uint64
	asked    int64 // spent, as the Take of seq had it
	log      Log   // own uses inside the window
	gone     bool
}

// Tokens is how many rights can be spent now.
func (h *Holder) Tokens() int64 {
	if h.gone {
		return 0
	}
	return h.granted - h.spent - h.returned
}

// Row is what the holder knows of its dealings with the authority.
func (h *Holder) Row() Row {
	return Row{Granted: h.granted, Settled: h.spent, Returned: h.returned}
}

// Gone reports whether the authority has reclaimed what the replica held.
func (h *Holder) Gone() bool { return h.gone }

// Spend uses n rights during the tick now; false, and nothing, when there are
// fewer.
func (h *Holder) Spend(now Stamp, n int64, most int) bool {
	if n > h.Tokens() {
		return false
	}
	h.spent += n
	h.log.Add(now+1, uint32(n), most)
	return true
}

// Use records n rights that were spent at or before at: Spend for an owner that
// keeps the rights in its own place. n is at most Tokens.
func (h *Holder) Use(at Stamp, n int64, most int) {
	h.spent += n
	h.log.Put(at, uint32(n), most)
	if h.Tokens() < 0 && !h.gone {
		panic("BUG: more rights spent than granted")
	}
}

// GiveBack returns n rights, at most Tokens. The next Take says so.
func (h *Holder) GiveBack(n int64) {
	h.returned += n
	if h.Tokens() < 0 && !h.gone {
		panic("BUG: more rights returned than granted")
	}
}

// Unreported is how many uses no reply has confirmed.
func (h *Holder) Unreported() int64 { return h.spent - h.acked }

// Used is the own uses inside the window.
func (h *Holder) Used() int64 { return h.log.Used() }

// Rescale converts the log to ticks of another length, see Log.Rescale.
func (h *Holder) Rescale(now, then Stamp, from, to int64) { h.log.Rescale(now, then, from, to) }

// Expire forgets own uses that have left the window. Those among them that no message
// has reported never will be: their rights are unspent again, and their number is
// returned. So a holder whose uses fit what it was granted once needs no authority.
func (h *Holder) Expire(now Stamp, l Limit) (renewed int64) {
	h.log.Expire(now, l.Span)
	// The newest uses are those that were not reported; what of them the log has no
	// longer is out of the window.
	if renewed = h.spent - h.asked - h.log.Used(); renewed <= 0 {
		return 0
	}
	h.spent -= renewed
	return renewed
}

// Recall gives back rights: all when the holder is idle, else half, rounded up.
// The next Take says so. It returns how many.
func (h *Holder) Recall(idle bool) int64 {
	n := h.Tokens()
	if !idle {
		n = (n + 1) / 2
	}
	h.returned += n
	return n
}

// Take makes the next message to the authority. It reports every use that no
// reply has confirmed; sending it again, or the next one instead, is safe.
func (h *Holder) Take(now Stamp, want int64) Take {
	h.seq++
	h.asked = h.spent
	return h.message(now, h.spent-h.acked, want)
}

// Present makes a message with the whole window, for an authority that may know
// nothing.
func (h *Holder) Present(now Stamp) Take {
	h.seq++
	h.asked = h.spent
	return h.message(now, h.log.Used(), 0)
}

// message is the row and the newest n uses, oldest first.
func (h *Holder) message(now Stamp, n, want int64) Take {
	t := Take{From: h.Self, Epoch: h.Epoch, Seq: h.seq, Row: h.Row(), Want: want}
	runs := h.log.Runs()
	first := len(runs)
	for have := int64(0); first > 0 && have < n; first-- {
		have += int64(runs[first-1].N)
	}
	t.Whole = first == 0
	// Runs that are reported together go under the youngest one's age.
	step := (len(runs) - first + reportRuns - 1) / reportRuns
	var sum int64
	for i, r := range runs[first:] {
		if sum += int64(r.N); (i+1)%step != 0 && i+1 < len(runs)-first {
			continue
		}
		age := now - r.At
		if now.Before(r.At) {
			age = 0 // the use is of the tick that has not ended
		}
		age -= (age + driftShare - 1) / driftShare
		t.Uses = append(t.Uses, Uses{Age: age, N: sum})
		sum = 0
	}
	return t
}

// driftShare is the reciprocal of how much faster than the authority's clock a
// replica's may run: 500 parts in a million, twice what an undisciplined quartz
// does.
const driftShare = 2000

// reportRuns bounds the uses that one message tells apart.
const reportRuns = 16

// Apply takes over a reply. Replies may come late, twice or out of order: Granted
// only grows, and only the reply to the last Take confirms what it reported. One
// of an older epoch is ignored.
func (h *Holder) Apply(r Reply) {
	switch {
	case r.To != h.Self || r.Epoch < h.Epoch:
		return
	case r.Verdict == Reclaimed:
		h.gone = true
		return
	case r.Verdict == OtherEpoch:
		h.Enter(r.Epoch)
		return
	case r.Verdict == Unknown:
		return
	}
	h.granted = max(h.granted, r.Granted)
	if r.Seq == h.seq {
		h.acked = max(h.acked, h.asked)
	}
}

// Enter goes on under another authority: nothing that the old one confirmed binds
// it.
func (h *Holder) Enter(epoch uint64) {
	if epoch > h.Epoch {
		h.Epoch, h.acked = epoch, h.spent-h.log.Used()
	}
}

// End makes the holder one that holds nothing, and is only remembered for its
// uses: what it held counts as given back.
func (h *Holder) End() {
	h.returned = h.granted - h.spent
	h.gone = false
}
