package limiter

import (
	"encoding/binary"
	"errors"
	"os"
	"strings"

	"sluice/limiter/core"
	"sluice/limiter/journal"
)

// The format of what is kept, integers as varints unless a size is given. The head
// of a segment:
//
//	version (1)  secret (16)  monoNS (8)  clockNS (8)  unixNS (8)  spilled (1)  boot
//
// Every other frame stands for itself: the time at which it was begun, monoNS, and
// a sequence of records:
//
//	rule     kind (1), length, definition; rules are numbered as they come
//	bucket   kind (1), rule, key (16), full, rights out, runs (see handover_format.go)
//	use      kind (1), rule, key (16), full, rights out, stamp, uses
//
// A bucket replaces what was known of its key; a use adds to it. Stamps and full are
// in the time of the process that wrote the segment, see its head.
const (
	keepVersion = 1
	keepHead    = 1 + 16 + 8 + 8 + 8 + 1
	recordKept  = 'k'
	recordUse   = 'u'
)

// machine is what times of different processes have in common.
type machine struct {
	clockNS int64  // since the start of the machine
	boot    string // names that start
}

func thisMachine() machine {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return machine{clockNS: monotonicNS()}
	}
	return machine{monotonicNS(), strings.TrimSpace(string(boot))}
}

func (k *keeper) head() []byte {
	now, m := k.l.clock(), k.machine() // in this order: see recovery.head
	b := []byte{keepVersion}
	for _, n := range []uint64{k.l.secret[0], k.l.secret[1], uint64(now.MonoNS), uint64(m.clockNS), uint64(now.UnixNS)} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	b = append(b, flag(k.l.keys.spilled.Load()))
	return append(b, m.boot...)
}

// record appends what has become of e since the last record. mu is held.
func (k *kept) record(e *entry, r *Rule, tick core.Stamp) *journal.Batch {
	batch := k.keeper.journal.Append(func(b []byte, fresh bool, epoch uint32) []byte {
		rules := k.keeper.rules
		if fresh {
			clear(rules)
			b = binary.AppendVarint(b, k.keeper.l.clock().MonoNS)
		}
		n, known := rules[r]
		if !known {
			n = uint64(len(rules))
			rules[r] = n
			definition := r.appendDefinition(nil)
			b = append(b, recordRule)
			b = binary.AppendUvarint(b, uint64(len(definition)))
			b = append(b, definition...)
		}
		kind := byte(recordUse)
		if k.epoch != epoch {
			k.epoch, kind = epoch, recordKept
		}
		b = append(b, kind)
		b = binary.AppendUvarint(b, n)
		b = appendKey(b, e.key)
		b = binary.AppendVarint(b, e.full.Load())
		b = binary.AppendUvarint(b, uint64(e.account.Held))
		if kind == recordUse {
			b = binary.AppendUvarint(b, uint64(tick+1))
			return binary.AppendUvarint(b, uint64(k.fresh))
		}
		return appendRuns(b, e.account.Log.Runs())
	})
	k.fresh, k.out = 0, e.account.Held
	return batch
}

// recovered is a bucket as a process before left it, in this one's time.
type recovered struct {
	rule *Rule
	log  core.Log
	full int64
	held int64
	atNS int64 // of the last record, MonoNS
}

// frameSpan is more than the records of one frame can be apart in time.
const frameSpan = 5 * journal.Patience

// advance lets go of what had left the window by then. Stamps can be compared only
// when they are near each other, which those of a forgotten file are not.
func (b *recovered) advance(to Instant) {
	if to.MonoNS-b.atNS > int64(b.rule.window+frameSpan) {
		b.log.Clear()
	} else if !b.rule.fixed {
		tick, _ := b.rule.at(to)
		b.log.Expire(tick, b.rule.limit.Span)
	}
	b.atNS = to.MonoNS
}

// recovery reads segments.
type recovery struct {
	l       *Limiter
	now     Instant
	machine machine
	shift   int64 // of the present segment, as in Import
	buckets map[Key]*recovered
	begun   bool
}

func (k *keeper) recover() error {
	r := recovery{l: k.l, buckets: make(map[Key]*recovered)}
	// The machine's clock first: the present is then never too early.
	r.machine = k.machine()
	r.now = k.l.clock()
	err := k.journal.Replay(r.frame)
	if errors.Is(err, ErrInUse) {
		return err
	}
	r.adopt()
	return err
}

func (r *recovery) frame(first bool, content []byte) error {
	if first {
		return r.head(content)
	}
	return r.records(content)
}

func (r *recovery) head(b []byte) error {
	if len(b) < keepHead || b[0] != keepVersion {
		return errForeign
	}
	le := binary.LittleEndian
	secret := [2]uint64{le.Uint64(b[1:]), le.Uint64(b[9:])}
	if r.begun && secret != r.l.secret {
		clear(r.buckets) // keys of another secret mean nothing
	}
	r.l.secret, r.begun = secret, true
	thenMono, thenClock, thenUnix := int64(le.Uint64(b[17:])), int64(le.Uint64(b[25:])), int64(le.Uint64(b[33:]))
	if b[41] != 0 {
		r.l.keys.spilled.Store(true)
	}
	// After a restart of the machine nothing but the wall clock knows how long it
	// was; should that have been set back meanwhile, uses count as younger.
	passed := r.now.UnixNS - thenUnix
	if string(b[keepHead:]) == r.machine.boot && r.machine.boot != "" {
		passed = r.machine.clockNS - thenClock
	}
	r.shift = r.now.MonoNS - max(0, passed) - thenMono
	return nil
}

func (r *recovery) records(b []byte) error {
	in := reader{b: b}
	begun := Instant{MonoNS: in.varint() + r.shift}
	var rules []*Rule
	for len(in.b) > 0 {
		kind := in.byte()
		if kind == recordRule {
			rule, err := r.l.foreignRule(in.bytes(int(in.uvarint())))
			if err != nil {
				return err
			}
			rules = append(rules, rule)
			continue
		}
		n := in.uvarint()
		if in.bad || n >= uint64(len(rules)) || kind != recordKept && kind != recordUse {
			return errForeign
		}
		rule := rules[n]
		key, full, held := in.key().asText(), in.varint()+r.shift, in.uvarint()
		if held > MaxRequests {
			return errForeign
		}
		ticks := rule.stampShift(r.shift)
		known := r.buckets[key]
		if kind == recordKept {
			runs, ok := in.log(core.MaxRuns, ticks)
			if !ok {
				return errForeign
			}
			r.buckets[key] = &recovered{rule, core.Load(runs), full, int64(held), begun.MonoNS}
			continue
		}
		stamp, uses := in.uvarint(), in.uvarint()
		if in.bad || stamp > 1<<32-1 || uses > MaxRequests || known == nil || !known.rule.sameTicks(rule) {
			return errForeign
		}
		known.advance(begun)
		if known.log.Used()+int64(uses) > 1<<32-1 {
			return errForeign
		}
		known.rule, known.full, known.held = rule, full, int64(held)
		known.log.Add(core.Stamp(stamp)+ticks, uint32(uses), core.MaxRuns)
	}
	if in.bad {
		return errForeign
	}
	return nil
}

// adopt puts the buckets into the table. Rights that were out count as used now.
func (r *recovery) adopt() {
	for key, b := range r.buckets {
		b.advance(r.now)
		tick, _ := b.rule.at(r.now)
		if b.rule.fixed {
			b.log.Expire(tick, b.rule.limit.Span)
		}
		if b.held > 0 {
			b.log.Add(tick+1, uint32(b.held), core.MaxRuns)
		}
		if interval := b.rule.intervalNS; interval > 0 {
			b.full = min(max(b.full, r.now.MonoNS)+min(b.held, b.rule.burst)*interval, r.now.MonoNS+b.rule.toleranceNS)
		} else {
			b.full = 0
		}
		if b.log.Used() == 0 && b.full <= r.now.MonoNS {
			continue
		}
		r.l.keys.adopt(key, b.rule, r.now, b.full, b.log.Runs())
	}
}
