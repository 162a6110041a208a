package cluster

// windowBits is how far behind the newest a sequence number may be: the library
// hands packets over newest first and holds up to 1,024 of them.
const windowBits = 4096

// window remembers which sequence numbers a sender has used, so that none is
// taken twice: a datagram that somebody recorded, and sends again, is encrypted
// as well as the first time. After RFC 6479: a ring of words that moves on with
// the newest number.
type window struct {
	last uint64 // newest number seen; 0 is never used
	bits [windowBits/64 + 1]uint64
}

// take says whether seq is new, and marks it as seen. Numbers too far behind
// count as seen.
func (w *window) take(seq uint64) bool {
	const words = uint64(len(w.bits))
	if seq == 0 || seq+windowBits <= w.last {
		return false
	}
	if seq > w.last {
		from, to := w.last/64, seq/64
		for i := from + 1; i <= to && i <= from+words; i++ {
			w.bits[i%words] = 0
		}
		w.last = seq
	}
	word, bit := seq/64%words, uint64(1)<<(seq%64)
	if w.bits[word]&bit != 0 {
		return false
	}
	w.bits[word] |= bit
	return true
}

// restart treats everything up to seq as seen.
func (w *window) restart(seq uint64) {
	*w = window{last: seq}
	for i := range w.bits {
		w.bits[i] = ^uint64(0)
	}
	if seq%64 != 63 {
		w.bits[seq/64%uint64(len(w.bits))] = 1<<(seq%64+1) - 1
	}
}
