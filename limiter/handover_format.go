package limiter

import (
	"encoding/binary"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"sluice/limiter/core"
)

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
	e.b = appendRuns(e.b, runs)
}

func appendRuns(b []byte, runs []core.Run) []byte {
	b = binary.AppendUvarint(b, uint64(len(runs)))
	before := core.Stamp(0)
	for _, r := range runs {
		b = binary.AppendUvarint(b, uint64(r.At-before))
		b = binary.AppendUvarint(b, uint64(r.N))
		before = r.At
	}
	return b
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
	e := t.entry()
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
