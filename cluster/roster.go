package cluster

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// HomeAge is how long a replica must have been a member before it owns keys.
	HomeAge = 3 * time.Second

	// SuspectAfter is how long a member may be silent before it is suspect. In
	// clusters above 17 nodes it is more, since each peer is asked less often.
	SuspectAfter = 4 * time.Second

	// forgetAfter is how long the departed stay in the roster: their replay
	// windows must outlast a split.
	forgetAfter = 24 * time.Hour

	// heirsFor is how long what a predecessor knew stands in for members.
	heirsFor = 30 * time.Second

	maxRoster = 4096
)

// roster is this node's own list of members. The library's list cannot be read
// safely: it hands out pointers to records that it goes on changing.
type roster struct {
	n     *Node
	mu    sync.Mutex
	recs  map[string]*record // by name
	ids   map[uint32]string  // names by stable half
	old   map[NodeID]inherited
	heirs map[NodeID]*peer // what old stands for, until it is a member again; not changed after New

	view atomic.Pointer[view]
}

// record is what is known of one name. Under roster.mu.
type record struct {
	peer    *peer
	member  Member // State is Alive, Dead or Left; Suspect is worked out from heard
	suspect bool   // an event said so
	leaving bool   // said goodbye; the library will say that it is gone
}

// view is the roster for readers, replaced whole.
type view struct {
	members  []Member // sorted by name, the departed included
	peers    map[NodeID]*peer
	others   []*peer // alive, without this node
	homes    []NodeID
	byName   map[string]*peer
	nextHome time.Time // when one more member will be old enough; zero: none
}

// inherited is what a predecessor knew of a replica.
type inherited struct {
	since time.Time
	seen  [spaces]uint64
	addr  netip.AddrPort
	name  string
}

func newRoster(n *Node) *roster {
	r := &roster{n: n, recs: map[string]*record{}, ids: map[uint32]string{}, old: map[NodeID]inherited{}, heirs: map[NodeID]*peer{}}
	r.view.Store(&view{})
	return r
}

func (r *roster) inherit(h *handover) {
	for id, i := range h.peers {
		r.old[id] = i
		if i.name == r.n.id.name || !i.addr.IsValid() {
			continue
		}
		r.n.lost.add(i.addr) // forgotten when it is a member again
		// Packets that came while nobody read are waiting, and answers to them need
		// not wait for the first exchange of members.
		p := newPeer(r.n, id, i)
		p.node.Store(&memberlist.Node{Name: i.name, Addr: i.addr.Addr().AsSlice(), Port: i.addr.Port(), PMax: memberlist.ProtocolVersionMax})
		p.hear()
		r.heirs[id] = p
	}
}

func (r *roster) byName(name string) *peer { return r.view.Load().byName[name] }
func (r *roster) others() []*peer          { return r.view.Load().others }

// byID returns the peer with that id: a member, or one that the predecessor knew
// and that had no time yet to say that it is still there.
func (r *roster) byID(id NodeID) *peer {
	if p := r.view.Load().peers[id]; p != nil {
		return p
	}
	p := r.heirs[id]
	if p == nil || time.Since(r.n.born) > heirsFor {
		return nil
	}
	if r.knows(id) {
		return r.view.Load().peers[id] // it may have become a member just now
	}
	return p
}

// knows says whether there is a record for that name: from then on it counts.
func (r *roster) knows(id NodeID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.ids[id.Stable()]
	return ok
}

func (r *roster) suspectAfter() time.Duration {
	rounds := (len(r.others()) + probesPerRound - 1) / probesPerRound
	return max(SuspectAfter, time.Duration(rounds)*3*probeInterval)
}

var errSameHash = errors.New("its name has the same hash as another node's: rename it")

func (r *roster) admit(name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if owner, ok := r.ids[nameHash(name)]; ok && owner != name {
		return errSameHash
	}
	if name != r.n.id.name && nameHash(name) == r.n.self.Stable() {
		return errSameHash
	}
	return nil
}

// joined takes note of a node that the library believes alive. It is called for
// a replica that is new, is back, or has changed.
func (r *roster) joined(node *memberlist.Node) {
	meta, err := parseMeta(node.Meta)
	if err != nil {
		return // NotifyAlive has refused it
	}
	addr, _ := netip.AddrFromSlice(node.Addr)
	now := time.Now()
	m := Member{
		ID: makeNodeID(node.Name, meta.nonce), Name: node.Name, Address: netip.AddrPortFrom(addr.Unmap(), node.Port),
		Self: node.Name == r.n.id.name, Since: now, Heard: now, API: meta.api, Generation: meta.generation,
		Version: meta.version, Meta: meta.app,
	}
	if i, ok := r.old[m.ID]; ok && i.since.Before(now) {
		m.Since = i.since
	}
	to := memberlist.Node{Name: node.Name, Addr: slices.Clone(node.Addr), Port: node.Port, PMax: node.PMax}

	r.mu.Lock()
	defer r.mu.Unlock()
	rec := r.recs[node.Name]
	if rec == nil {
		rec = &record{}
		r.recs[node.Name] = rec
		r.ids[m.ID.Stable()] = node.Name
	}
	before := rec.member
	if rec.peer == nil || rec.peer.id != m.ID {
		if rec.peer != nil && before.State == Alive {
			// It restarted faster than anybody noticed: another replica all the same.
			before.State = Dead
			r.n.events.emit(Event{Kind: Gone, Member: before})
		}
		if rec.peer = r.heirs[m.ID]; rec.peer == nil {
			rec.peer = newPeer(r.n, m.ID, inherited{})
		}
		before = Member{State: Dead}
	}
	rec.peer.node.Store(&to)
	rec.peer.hear()
	rec.leaving, rec.suspect = false, false
	kind := Updated
	if before.State == Alive {
		m.Since = before.Since
	} else {
		kind = Joined
	}
	rec.member = m
	r.rebuild()
	r.n.events.emit(Event{Kind: kind, Member: m})
	r.n.lost.forget(m.Address)
}

// left takes note of a node that the library gave up, or that said goodbye.
func (r *roster) left(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec := r.recs[name]
	if rec == nil || rec.member.State != Alive {
		return
	}
	rec.member.State = Dead
	if rec.leaving || rec.member.Self {
		rec.member.State = Left
	} else {
		r.n.lost.add(rec.member.Address)
	}
	rec.member.Since = time.Now()
	r.rebuild()
	r.n.events.emit(Event{Kind: Gone, Member: rec.member})
}

// goodbye takes note that a replica is about to leave.
func (r *roster) goodbye(id NodeID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rec := range r.recs {
		if rec.member.ID == id {
			rec.leaving = true
		}
	}
}

func (r *roster) conflict(existing, other *memberlist.Node) {
	addr, _ := netip.AddrFromSlice(other.Addr)
	rival := netip.AddrPortFrom(addr.Unmap(), other.Port)
	r.n.counters.conflicts.Add(1)
	mine := existing.Name == r.n.id.name
	if suppressed, ok := r.n.counters.conflictLog.Allow(); ok {
		msg := "a node claims the name of another; it is let in when the other has been dead for 30s"
		if mine {
			msg = "another node has this node's name: give each its own node.name"
		}
		r.n.log.Error(msg, "node", existing.Name, "rival", rival.String(), "suppressed", suppressed)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if rec := r.recs[existing.Name]; rec != nil {
		r.n.events.emit(Event{Kind: Conflicted, Member: rec.member, Rival: rival})
	}
}

// rebuild replaces the view. The caller holds mu.
func (r *roster) rebuild() {
	now := time.Now()
	v := &view{peers: map[NodeID]*peer{}, byName: map[string]*peer{}}
	for name, rec := range r.recs {
		if rec.member.State != Alive && now.Sub(rec.member.Since) > forgetAfter {
			r.drop(name, rec)
			continue
		}
		v.members = append(v.members, rec.member)
	}
	slices.SortFunc(v.members, func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
	if len(v.members) > maxRoster {
		v.members = r.evict(v.members)
	}
	for i := range v.members {
		m := &v.members[i]
		if m.State != Alive {
			continue
		}
		p := r.recs[m.Name].peer
		v.peers[m.ID], v.byName[m.Name] = p, p
		if !m.Self {
			v.others = append(v.others, p)
		}
		if ripe := m.Since.Add(HomeAge); !ripe.After(now) {
			v.homes = append(v.homes, m.ID)
		} else if v.nextHome.IsZero() || ripe.Before(v.nextHome) {
			v.nextHome = ripe
		}
	}
	r.view.Store(v)
}

func (r *roster) drop(name string, rec *record) {
	delete(r.recs, name)
	delete(r.ids, rec.member.ID.Stable())
}

// evict forgets departed members, the longest gone first, until few enough are
// left. Those alive stay: the library bounds them.
func (r *roster) evict(all []Member) []Member {
	gone := slices.DeleteFunc(slices.Clone(all), func(m Member) bool { return m.State == Alive })
	slices.SortFunc(gone, func(a, b Member) int { return a.Since.Compare(b.Since) })
	gone = gone[:min(len(gone), len(all)-maxRoster)]
	for _, m := range gone {
		r.drop(m.Name, r.recs[m.Name])
	}
	return slices.DeleteFunc(all, func(m Member) bool { return r.recs[m.Name] == nil })
}

// watch emits what silence means, and lets members grow old enough for a home.
func (r *roster) watch() {
	now, limit := time.Now(), r.suspectAfter()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rec := range r.recs {
		if rec.member.State != Alive || rec.member.Self {
			continue
		}
		if silent := rec.peer.silence(now) > limit; silent != rec.suspect {
			rec.suspect = silent
			m := rec.member
			kind := Cleared
			if silent {
				kind, m.State = Suspected, Suspect
			}
			r.n.events.emit(Event{Kind: kind, Member: m})
		}
	}
	if v := r.view.Load(); !v.nextHome.IsZero() && !v.nextHome.After(now) {
		r.rebuild()
	}
}

// Members returns every node that is or was a member, sorted by name, this one
// included. Those gone are kept for a day.
func (n *Node) Members() []Member {
	v := n.roster.view.Load()
	now, limit := time.Now(), n.roster.suspectAfter()
	all := slices.Clone(v.members)
	for i := range all {
		m := &all[i]
		p := v.byName[m.Name]
		switch {
		case m.Self:
			m.Heard = now
		case p != nil:
			m.Heard = p.heardAt()
			if m.State == Alive && now.Sub(m.Heard) > limit {
				m.State = Suspect
			}
		}
	}
	return all
}

// Member returns the member with that replica id, when it is alive or suspect.
func (n *Node) Member(id NodeID) (Member, bool) {
	for _, m := range n.Members() {
		if m.ID == id && m.State <= Suspect {
			return m, true
		}
	}
	return Member{}, false
}
