package limiter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"sluice/limiter/core"
)

// A limiter goes to a successor process in three steps, so that at any moment
// one process alone can admit:
//
//	predecessor                              successor
//	Hold      decisions wait
//	Export    every bucket is taken out ──▶  Import    into a limiter that is idle
//	Forward   decisions are the              Answer    takes them beside its own
//	          successor's, or
//	Resume    the successor failed:
//	          the buckets come back
//
// The predecessor keeps no rights. What its last connections ask is decided by the
// successor, on the buckets that the successor's own traffic uses, so no split of a
// quota between the two is needed and the bound is the same as without an upgrade.
//
// In a cluster the rights of keys do not travel: the predecessor gives back to the
// authority what it holds, and the successor, a replica of its own, takes anew.
// Addresses and bursts go as they do otherwise.
//
// Red marks are not sent: they are worked out anew by the first request that does
// not fit. Counters stay behind.

// Handover is a limiter that is being given away. Its methods are called by one
// goroutine, in the order of the picture.
type Handover struct {
	l      *Limiter
	chunks [][]byte      // what was taken out, until it is clear who has it
	over   chan struct{} // closed by Forward and Resume

	// ask is set before over is closed; nil: the limiter decides again.
	ask func(question []byte) (answer []byte, err error)
}

// Errors of a handover.
var (
	errHeld     = errors.New("limiter: a handover is under way")
	errReserved = errors.New("limiter: a request holds rights and does not end")
	errForeign  = errors.New("limiter: the state of the other process cannot be read")
)

// Hold begins a handover: decisions that start from now on wait for its end.
func (l *Limiter) Hold() (*Handover, error) {
	h := &Handover{l: l, over: make(chan struct{})}
	if !l.handover.CompareAndSwap(nil, h) {
		return nil, errHeld
	}
	return h, nil
}

// surrenderWait bounds how long Export waits for requests that had reserved rights
// when it came by; they take microseconds.
const surrenderWait = time.Second

// Export takes every bucket out and calls send with parts of them, each of which
// Import takes by itself and in any order. After an error the caller must Resume.
func (h *Handover) Export(send func(chunk []byte) error) error {
	keys, addresses := h.l.keys, h.l.addresses
	// Whoever looks at these under the lock that guards what it changes, and finds
	// them unset, is done before Export takes that lock.
	keys.closed.Store(true)
	addresses.closed.Store(true)
	x := exporter{h: h, now: h.l.clock()}
	x.clockNS = monotonicNS() // after now: see Import
	deadline := time.Now().Add(surrenderWait)
	for i := range keys.shards {
		x.begin()
		if h.l.fleet != nil {
			if err := x.end(send); err != nil {
				return err
			}
			break
		}
		err := keys.shards[i].surrender(keys, &x, deadline)
		if err = errors.Join(err, x.end(send)); err != nil {
			return err
		}
	}
	for from := 0; from < len(addresses.sets); from += setsPerChunk {
		x.begin()
		for i := from; i < min(from+setsPerChunk, len(addresses.sets)); i++ {
			if s := addresses.sets[i].Load(); s != nil {
				addresses.held.Add(-int64(s.surrender(&x)))
			}
		}
		if err := x.end(send); err != nil {
			return err
		}
	}
	return nil
}

const setsPerChunk = 4096

// Forward ends the handover: the successor has the buckets. ask takes it a
// question and brings its answer; it may be called from many goroutines and must
// not keep the question. When it fails, the request is refused: this process has
// no rights left.
func (h *Handover) Forward(ask func(question []byte) (answer []byte, err error)) {
	h.chunks, h.ask = nil, ask
	close(h.over)
	if h.l.fleet != nil {
		h.l.fleet.leave()
	}
}

// Resume ends the handover: the successor has failed, and the buckets come back.
// The waiting decisions are taken here.
func (h *Handover) Resume() error {
	var errs []error
	for _, chunk := range h.chunks {
		errs = append(errs, h.l.Import(chunk))
	}
	h.chunks = nil
	h.l.keys.closed.Store(false)
	h.l.addresses.closed.Store(false)
	h.l.handover.Store(nil)
	close(h.over)
	return errors.Join(errs...)
}

// decide takes a decision that came during or after the handover. It returns
// false when the limiter decides for itself again.
func (h *Handover) decide(charges []Charge, d *Decision) bool {
	<-h.over
	if h.ask == nil {
		return false
	}
	answer, err := h.ask(appendQuestion(nil, charges))
	if err == nil {
		err = parseAnswer(answer, len(charges), d)
	}
	if err != nil {
		d.unanswered(h.l.clock(), charges)
	}
	return true
}

// unanswered refuses because nobody can be asked.
func (d *Decision) unanswered(now Instant, charges []Charge) {
	*d = Decision{Zone: Amber, N: len(charges)}
	for i := range charges {
		charges[i].Rule.untouched(&d.Quotas[i])
		d.Quotas[i].Remaining, d.Quotas[i].Wait = 0, time.Second
	}
	d.summarize(now, charges)
}

// surrender takes e out of use and appends it. It returns false while a request
// has reserved rights.
func (e *entry) surrender(now Instant, to *exporter) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.rule.Load()
	if r == nil {
		return true // dropped before
	}
	for {
		e.refresh(r, now)
		w := e.hot.Load()
		if pendingIn(w) != 0 {
			continue
		}
		if e.account.Held != tokensIn(w) {
			return false
		}
		if e.hot.CompareAndSwap(w, 0) {
			e.account.Return(tokensIn(w))
			break
		}
	}
	// From here on spenders find no tokens, and under the mutex no rule.
	e.rule.Store(nil)
	e.deny.Store(0)
	full := e.full.Load()
	if e.account.Log.Used() == 0 && full <= now.MonoNS {
		return true // as good as new
	}
	to.bucket(e.key, r, full, e.account.Log.Runs())
	return true
}

// surrender takes every entry of the shard out.
func (s *shard) surrender(t *table, to *exporter, deadline time.Time) error {
	s.mu.Lock()
	x := s.index.Load() // the last one while the table is closed
	s.mu.Unlock()
	for i := range x.buckets {
		b := &x.buckets[i]
		for j := range bucketSlots {
			e := b.slots[j].Load()
			if e == nil {
				continue
			}
			for !e.surrender(to.now, to) {
				if time.Now().After(deadline) {
					return errReserved
				}
				runtime.Gosched()
			}
			s.mu.Lock()
			b.drop(j)
			s.alive--
			t.live.Add(-1)
			s.mu.Unlock()
		}
	}
	s.mu.Lock()
	s.rebuild(x)
	s.mu.Unlock()
	return nil
}

// surrender takes every address of the set out and returns how many there were.
func (s *addressSet) surrender(to *exporter) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.ways[:s.used] {
		to.address(&s.ways[i])
	}
	n = int(s.used)
	s.used = 0
	return n
}

// The format of a chunk, all integers as varints unless a size is given:
//
//	version (1)  secret (16)  monoNS (8)  clockNS (8)  spilled (1)
//	records: kind (1) and
//	  rule     length, definition; rules are numbered as they come
//	  bucket   rule, key (16), full, runs
//	  address  unitNS, key (16), full, runs
//	runs: count, then stamp (the first) or gap, and uses, of each
//
// Stamps and full are in the sender's time, whose present is monoNS when the
// machine's monotonic clock, which both processes read, shows clockNS.
const (
	chunkVersion = 1
	chunkHead    = 1 + 16 + 8 + 8 + 1

	recordRule    = 'r'
	recordBucket  = 'b'
	recordAddress = 'a'
)

// exporter makes chunks.
type exporter struct {
	h       *Handover
	now     Instant
	clockNS int64
	b       []byte
	rules   map[*Rule]uint64 // of this chunk
}

func (e *exporter) begin() {
	e.rules = make(map[*Rule]uint64)
	l := e.h.l
	b := append(make([]byte, 0, 4096), chunkVersion)
	b = binary.LittleEndian.AppendUint64(b, l.secret[0])
	b = binary.LittleEndian.AppendUint64(b, l.secret[1])
	b = binary.LittleEndian.AppendUint64(b, uint64(e.now.MonoNS))
	b = binary.LittleEndian.AppendUint64(b, uint64(e.clockNS))
	spilled := byte(0)
	if l.keys.spilled.Load() {
		spilled = 1
	}
	e.b = append(b, spilled)
}

func (e *exporter) end(send func([]byte) error) error {
	chunk := e.b
	e.b = nil
	if len(chunk) == chunkHead && len(e.h.chunks) > 0 {
		return nil // nothing but a head, and the first has told what is in it
	}
	e.h.chunks = append(e.h.chunks, chunk)
	return send(chunk)
}

func (e *exporter) bucket(k Key, r *Rule, full int64, runs []core.Run) {
	n, known := e.rules[r]
	if !known {
		n = uint64(len(e.rules))
		e.rules[r] = n
		definition := r.appendDefinition(nil)
		e.b = append(e.b, recordRule)
		e.b = binary.AppendUvarint(e.b, uint64(len(definition)))
		e.b = append(e.b, definition...)
	}
	e.b = append(e.b, recordBucket)
	e.b = binary.AppendUvarint(e.b, n)
	e.rest(k, full, runs)
}

func (e *exporter) address(a *address) {
	e.b = append(e.b, recordAddress)
	e.b = binary.AppendVarint(e.b, a.unitNS)
	e.rest(a.key, a.full, a.runs[:a.n])
}

func (e *exporter) rest(k Key, full int64, runs []core.Run) {
	e.b = appendKey(e.b, k)
	e.b = binary.AppendVarint(e.b, full)
	e.b = binary.AppendUvarint(e.b, uint64(len(runs)))
	before := core.Stamp(0)
	for _, r := range runs {
		e.b = binary.AppendUvarint(e.b, uint64(r.At-before))
		e.b = binary.AppendUvarint(e.b, uint64(r.N))
		before = r.At
	}
}

// Import takes in a part of what another process's limiter exported, and its
// secret. Nothing may be decided meanwhile. An error means that the state is lost
// in part: the caller must not go on with it.
func (l *Limiter) Import(chunk []byte) error {
	// The clock first: the present is then never too early.
	clock := monotonicNS()
	now := l.clock()
	if len(chunk) < chunkHead || chunk[0] != chunkVersion {
		return errForeign
	}
	le := binary.LittleEndian
	l.secret = [2]uint64{le.Uint64(chunk[1:]), le.Uint64(chunk[9:])}
	then, thenClock := int64(le.Uint64(chunk[17:])), int64(le.Uint64(chunk[25:]))
	if chunk[33] != 0 {
		l.keys.spilled.Store(true)
	}
	// shift is what a time of the sender has to be moved by. It errs upwards only,
	// by the time between two readings of clocks: a use never becomes older.
	shift := now.MonoNS - max(0, clock-thenClock) - then
	r := reader{b: chunk[chunkHead:]}
	var rules []*Rule
	for !r.bad && len(r.b) > 0 {
		switch r.byte() {
		case recordRule:
			rule, err := l.foreignRule(r.bytes(int(r.uvarint())))
			if err != nil {
				return err
			}
			rules = append(rules, rule)
		case recordBucket:
			n := r.uvarint()
			if n >= uint64(len(rules)) {
				return errForeign
			}
			rule := rules[n]
			key, full := r.key(), r.varint()+shift
			log, ok := r.log(core.MaxRuns, rule.stampShift(shift))
			if !ok {
				return errForeign
			}
			l.keys.adopt(key.asText(), rule, now, full, log)
		case recordAddress:
			unit := r.varint()
			if unit == 0 {
				unit = 1 // an address that was made and never charged
			}
			key, full := r.key(), r.varint()+shift
			ticks := core.Stamp(0)
			if unit > 0 {
				ticks = core.Stamp(ceilDiv(shift, unit))
			}
			log, ok := r.log(addressRuns, ticks)
			if !ok {
				return errForeign
			}
			l.addresses.adopt(key.asAddress(), unit, full, log)
		default:
			return errForeign
		}
	}
	if r.bad {
		return errForeign
	}
	return nil
}

// stampShift is shiftNS in r's ticks, rounded up. Stamps of fixed windows are of
// the wall clock and need none.
func (r *Rule) stampShift(shiftNS int64) core.Stamp {
	if r.fixed {
		return 0
	}
	return core.Stamp(ceilDiv(shiftNS, r.unitNS))
}

// adopt adds a bucket that another process had, beyond the table's limit if need
// be. Should there be one already, its uses are added to it as of now.
func (t *table) adopt(k Key, r *Rule, now Instant, full int64, runs []core.Run) {
	s := t.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.fleet != nil {
		return // the predecessor was alone; the cluster's authority has its own counts
	}
	x := s.index.Load()
	log := core.Load(runs)
	if e := x.find(k); e != nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		if own := e.rule.Load(); own != nil {
			tick := e.refresh(own, now)
			e.account.Log.Add(tick+1, uint32(log.Used()), core.MaxRuns)
			e.full.Store(max(e.full.Load(), full))
			e.note(own)
			return
		}
	}
	if s.taken >= x.room() {
		x = s.rebuild(x)
	}
	e := new(entry)
	tick, _ := r.at(now)
	e.init(k, r, tick)
	if len(runs) <= len(e.inline) {
		log = core.Load(append(e.inline[:0], runs...))
	}
	e.account.Log = log
	e.full.Store(full)
	e.note(r)
	t.live.Add(1)
	if x.insert(e) {
		s.taken++
	}
	s.alive++
}

// adopt adds an address that another process had.
func (t *addresses) adopt(k Key, unitNS, full int64, runs []core.Run) {
	s := t.set(k, true)
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.find(k)
	if a == nil {
		var evicted bool
		if a, evicted = s.place(k); !evicted {
			t.held.Add(1)
		}
	}
	a.full, a.unitNS = full, unitNS
	a.n = uint8(copy(a.runs[:], runs))
}

// foreignRule returns the rule of a definition, the same one each time.
func (l *Limiter) foreignRule(definition []byte) (*Rule, error) {
	l.foreignMu.Lock()
	defer l.foreignMu.Unlock()
	if r := l.foreign[string(definition)]; r != nil {
		return r, nil
	}
	r, err := parseDefinition(definition)
	if err != nil {
		return nil, err
	}
	if l.foreign == nil {
		l.foreign = make(map[string]*Rule)
	}
	l.foreign[string(definition)] = r
	return r, nil
}

// appendDefinition appends what makes r: id, window, limit and burst.
func (r *Rule) appendDefinition(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(r.id)))
	b = append(b, r.id...)
	fixed := byte(0)
	if r.fixed {
		fixed = 1
	}
	b = append(b, fixed)
	for _, n := range []int64{int64(r.window), r.limit.Rights, r.intervalNS, r.burst} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	return b
}

func parseDefinition(b []byte) (*Rule, error) {
	p := reader{b: b}
	r := &Rule{id: string(p.bytes(int(p.uvarint()))), fixed: p.byte() == 1}
	r.window = time.Duration(p.uvarint())
	r.limit.Rights = int64(p.uvarint())
	r.intervalNS, r.burst = int64(p.uvarint()), int64(p.uvarint())
	switch {
	case p.bad || r.id == "",
		r.window < MinWindow || r.window > MaxWindow,
		r.limit.Rights < 1 || r.limit.Rights > MaxRequests,
		r.intervalNS < 0 || r.burst < 0 || r.burst > MaxRequests,
		r.intervalNS > 0 && r.burst > int64(MaxWindow)/r.intervalNS:
		return nil, fmt.Errorf("%w: a rule makes no sense", errForeign)
	}
	r.digest, r.toleranceNS = digest(r.id), r.intervalNS*r.burst
	r.finish()
	return r, nil
}

// reader takes chunks apart. Once something was missing it gives zeros and is bad.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) bytes(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.bad, r.b = true, nil
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) byte() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) key() Key {
	b := r.bytes(16)
	if b == nil {
		return Key{}
	}
	return Key{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])}
}

func appendKey(b []byte, k Key) []byte {
	b = binary.LittleEndian.AppendUint64(b, k[0])
	return binary.LittleEndian.AppendUint64(b, k[1])
}

// log reads runs and moves them by ticks.
func (r *reader) log(most int, ticks core.Stamp) (runs []core.Run, ok bool) {
	count := r.uvarint()
	if r.bad || count > uint64(most) {
		return nil, false
	}
	runs = make([]core.Run, 0, count)
	at, sum := core.Stamp(0), uint64(0)
	for i := range count {
		gap, n := r.uvarint(), r.uvarint()
		if sum += n; r.bad || n == 0 || sum > 1<<32-1 || gap > 1<<32-1 || i > 0 && (gap == 0 || gap >= 1<<30) {
			return nil, false
		}
		at += core.Stamp(gap)
		runs = append(runs, core.Run{At: at + ticks, N: uint32(n)})
	}
	return runs, true
}

// ceilDiv is a/b rounded towards positive infinity, for b > 0.
func ceilDiv(a, b int64) int64 {
	q := a / b
	if a > 0 && a%b != 0 {
		q++
	}
	return q
}

// monotonicNS reads the clock that all processes of the machine share. 0 where
// there is none: ages are then those at the export, which is too young, never too
// old, by the time that the state was under way.
func monotonicNS() int64 {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) != nil {
		return 0
	}
	return t.Nano()
}

// A question is what a Decide was asked: the count of charges (1), and of each the
// rule's definition with its length, key (16), cost and shadow (1).
func appendQuestion(b []byte, charges []Charge) []byte {
	b = append(b, byte(len(charges)))
	for i := range charges {
		c := &charges[i]
		definition := c.Rule.appendDefinition(nil)
		b = binary.AppendUvarint(b, uint64(len(definition)))
		b = append(b, definition...)
		b = appendKey(b, c.Key)
		b = binary.AppendUvarint(b, uint64(max(0, c.Cost)))
		shadow := byte(0)
		if c.Shadow {
			shadow = 1
		}
		b = append(b, shadow)
	}
	return b
}

// Answer decides what a predecessor's connection asks. It is Decide for the other
// end of [Handover.Forward].
func (l *Limiter) Answer(question []byte) ([]byte, error) {
	r := reader{b: question}
	var charges [MaxCharges]Charge
	n := int(r.byte())
	if n == 0 || n > MaxCharges {
		return nil, errForeign
	}
	for i := range charges[:n] {
		rule, err := l.foreignRule(r.bytes(int(r.uvarint())))
		if err != nil {
			return nil, err
		}
		charges[i] = Charge{Rule: rule, Key: r.key(), Cost: int64(r.uvarint()), Shadow: r.byte() == 1}
	}
	if r.bad {
		return nil, errForeign
	}
	var d Decision
	l.Decide(l.clock(), charges[:n], &d)
	return d.append(nil), nil
}

// append appends the decision as an answer.
func (d *Decision) append(b []byte) []byte {
	b = append(b, flag(d.Admitted), byte(d.Zone), byte(d.Tightest), d.WouldRefuse)
	for _, n := range []int64{d.Limit, d.Remaining, d.ResetUnixSec, int64(d.RetryAfter)} {
		b = binary.AppendVarint(b, n)
	}
	for i := range d.Quotas[:d.N] {
		q := &d.Quotas[i]
		for _, n := range []int64{q.Limit, q.Remaining, int64(q.ResetAfter), int64(q.Wait), q.BurstLimit, q.BurstRemaining} {
			b = binary.AppendVarint(b, n)
		}
		b = append(b, flag(q.BurstRefused))
	}
	return b
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func parseAnswer(b []byte, charges int, d *Decision) error {
	r := reader{b: b}
	*d = Decision{N: charges, Admitted: r.byte() == 1, Zone: Zone(r.byte()), Tightest: int(r.byte()), WouldRefuse: r.byte()}
	d.Limit, d.Remaining, d.ResetUnixSec, d.RetryAfter = r.varint(), r.varint(), r.varint(), time.Duration(r.varint())
	for i := range d.Quotas[:charges] {
		d.Quotas[i] = Quota{
			Limit: r.varint(), Remaining: r.varint(), ResetAfter: time.Duration(r.varint()), Wait: time.Duration(r.varint()),
			BurstLimit: r.varint(), BurstRemaining: r.varint(), BurstRefused: r.byte() == 1,
		}
	}
	if r.bad || d.Tightest >= charges || d.Zone > Red {
		return errForeign
	}
	return nil
}
