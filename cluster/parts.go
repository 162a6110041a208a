package cluster

import "time"

// Bounds of messages that are being put together, for each peer.
const (
	maxAssemblies = 16
	assemblyLimit = 5 * time.Second
)

// assembly puts messages together from their parts, which come in any order.
type assembly struct{ open []partial }

type partial struct {
	first uint64
	began time.Time
	of    byte
	have  uint16 // a bit for each part
	parts [MaxDatagrams][]byte
}

// add takes a part and returns the whole payload when it was the last one. It
// copies. ok is false when the part contradicts another.
func (a *assembly) add(f *frame, now time.Time) (whole []byte, ok bool) {
	at := -1
	for i := range a.open {
		if a.open[i].first == f.first {
			at = i
		}
	}
	if at >= 0 && now.Sub(a.open[at].began) > assemblyLimit {
		a.remove(at)
		at = -1
	}
	if at < 0 {
		if len(a.open) == maxAssemblies {
			a.remove(0) // the oldest
		}
		a.open = append(a.open, partial{first: f.first, began: now, of: f.of})
		at = len(a.open) - 1
	}
	p := &a.open[at]
	bit := uint16(1) << f.index
	if p.of != f.of || p.have&bit != 0 {
		return nil, false
	}
	p.have |= bit
	p.parts[f.index] = append([]byte(nil), f.payload...)
	if p.have != 1<<p.of-1 {
		return nil, true
	}
	for _, part := range p.parts[:p.of] {
		whole = append(whole, part...)
	}
	a.remove(at)
	return whole, true
}

func (a *assembly) remove(i int) {
	a.open = append(a.open[:i], a.open[i+1:]...)
	a.open[:len(a.open)+1][len(a.open)] = partial{} // lets go of its parts
}
