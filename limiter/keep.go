package limiter

import (
	"context"
	"log/slog"
	"time"

	"sluice/limiter/core"
	"sluice/limiter/journal"
)

// A node without a cluster is its keys' only authority, and a crash must not make
// it forget: otherwise whoever can crash it has all quotas anew. So rights are
// noted on disk before they can be spent:
//
//	pool ──reserve──▶ coming ──synced──▶ in hand ──spend──▶ used
//	        record: uses so far, rights out (H)
//
// After a crash every right that was out counts as used at the restart. A use is
// thus never forgotten and never becomes older; what is lost is what was out and
// not spent, and a part of one record's uses that would have left the window
// earlier. Both are bounded by how much is reserved ahead, see [Rule.chunk].
//
// Each record says what has become used since the one before, and how much is out
// then. The first record of a bucket in each epoch of the journal has its whole log.

// DurableOptions say where a Limiter that is alone keeps what is used.
type DurableOptions struct {
	// Dir is a directory of its own. Empty: nothing is kept.
	Dir    string
	Logger *slog.Logger

	create func(path string) (journal.File, error) // of segments, for tests
}

// ErrInUse is a directory that another process writes to.
var ErrInUse = journal.ErrInUse

// keeper keeps the buckets of a limiter on disk.
type keeper struct {
	l       *Limiter
	journal *journal.Journal
	machine func() machine
	rules   map[*Rule]uint64 // of the frame that is being made; guarded by the journal's lock
}

func newKeeper(l *Limiter, o DurableOptions) *keeper {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	k := &keeper{l: l, machine: thisMachine, rules: make(map[*Rule]uint64)}
	k.journal = journal.New(journal.Options{Dir: o.Dir, Head: k.head, Snapshot: k.snapshot, Logger: o.Logger, Create: o.create})
	return k
}

// Recover takes in what a process before this one kept, and must be called before
// anything is decided. After [ErrInUse] the limiter must not be used; other errors
// tell of damage, and what could be read has been taken in.
func (l *Limiter) Recover() error {
	if l.keeper == nil {
		return nil
	}
	return l.keeper.recover()
}

// Persist makes what is used durable from now on. Run must be running. When it
// cannot be, decisions are made without; see [Stats].Durable.
func (l *Limiter) Persist(ctx context.Context) error {
	if l.keeper == nil {
		return nil
	}
	return l.keeper.journal.Begin(ctx)
}

// run writes until ctx ends, and then leaves everything on disk as it is, with no
// rights out.
func (k *keeper) run(ctx context.Context) error {
	own, cancel := context.WithCancel(context.Background())
	defer cancel()
	context.AfterFunc(ctx, func() {
		k.settle()
		cancel()
	})
	return k.journal.Run(own)
}

// settle puts all rights in hand back.
func (k *keeper) settle() {
	for i := range k.l.keys.shards {
		k.l.keys.shards[i].each(func(e *entry) {
			e.mu.Lock()
			defer e.mu.Unlock()
			if r := e.rule.Load(); r != nil {
				e.refresh(r, k.l.clock())
				e.kept.abandon(e)
				e.recall(maxTokens)
			}
		})
	}
}

// each calls do with every entry of the shard, without its lock.
func (s *shard) each(do func(*entry)) {
	x := s.index.Load()
	for i := range x.buckets {
		for j := range bucketSlots {
			if e := x.buckets[i].slots[j].Load(); e != nil {
				do(e)
			}
		}
	}
}

// closeWait bounds how long a handover waits for the disk.
const closeWait = time.Second

// close ends writing, since another process goes on.
func (k *keeper) close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	_ = k.journal.Close(ctx) // one that hangs writes nothing that would be wrong
}

// snapshot records the buckets of a shard.
func (k *keeper) snapshot(shard int) (next int, err error) {
	t := k.l.keys
	t.shards[shard].each(func(e *entry) {
		e.mu.Lock()
		defer e.mu.Unlock()
		if r := e.rule.Load(); r != nil && (e.account.Held != 0 || e.account.Log.Used() != 0) {
			e.kept.epoch = 0
			tick, _ := r.at(k.l.clock())
			e.kept.record(e, r, tick)
		}
	})
	if t.closed.Load() {
		return -1, errHeld // some buckets may have been with another process
	}
	if shard++; shard == numShards {
		shard = -1
	}
	return shard, nil
}

// kept is the part of an entry that is on disk. It is guarded by the entry's mu.
type kept struct {
	keeper *keeper
	epoch  uint32 // of the journal in which the bucket is there as a whole; 0: in none
	fresh  int64  // uses that were settled after the last record
	out    int64  // rights that were out then

	coming int64          // rights that can be spent when batch is done; part of account.Held
	batch  *journal.Batch // nil: nothing is under way
	wanted int64          // by requests that wait for it
}

// chunk is how many rights are reserved ahead of a pool. Two chunks may be out, and
// one chunk's uses may have the stamp of the last of them: together 1 % of the limit.
func (r *Rule) chunk(pool int64) int64 {
	return min(pool/8, r.limit.Rights/300, maxTokens/4)
}

// coming is how many rights are this bucket's and not yet in hand. mu is held.
func (e *entry) coming() int64 {
	if e.kept == nil {
		return 0
	}
	return e.kept.coming
}

// harvest moves rights that have become durable into the word. mu is held.
func (k *kept) harvest(e *entry) {
	if k == nil || k.coming == 0 {
		return
	}
	if k.batch != nil {
		select {
		case <-k.batch.Done():
		default:
			return
		}
	}
	for {
		w := e.hot.Load()
		n := min(k.coming, maxTokens-tokensIn(w))
		if e.hot.CompareAndSwap(w, w+uint64(n)<<tokenShift) {
			e.account.Return(k.coming - n)
			break
		}
	}
	k.coming, k.batch = 0, nil
}

// recast notes that the stamps in the log are no longer those on disk. mu is held.
func (k *kept) recast() {
	if k != nil {
		k.epoch = 0
	}
}

// abandon puts back what is coming. mu is held.
func (k *kept) abandon(e *entry) {
	if k != nil {
		e.account.Return(k.coming)
		k.coming, k.batch = 0, nil
	}
}

// reserve takes n rights out of the pool, to be spent when that is on disk. mu is
// held, and nothing is coming.
func (k *kept) reserve(e *entry, r *Rule, tick core.Stamp, n int64) {
	n = min(n, maxTokens/2)
	e.account.Held += n
	k.coming = n
	k.batch = k.record(e, r, tick)
}

// ahead reserves the next chunk when this one is in hand. mu is held.
func (k *kept) ahead(e *entry, r *Rule, tick core.Stamp) {
	if k.coming > 0 {
		return
	}
	pool := e.account.Pool(r.limit)
	n := r.chunk(pool)
	if n == 0 || tokensIn(e.hot.Load()) > n {
		return
	}
	k.reserve(e, r, tick, n)
}

// tidy records what has become of the rights that were out, if anything has, and
// puts back those in hand when none was spent since the last time: so that a crash
// costs a bucket that rests nothing. mu is held; the entry has just been refreshed.
func (k *kept) tidy(e *entry, r *Rule, tick core.Stamp) {
	if k == nil || k.coming > 0 || k.fresh == 0 && k.out == 0 {
		return
	}
	if k.fresh == 0 && pendingIn(e.hot.Load()) == 0 {
		e.recall(maxTokens)
	}
	if k.fresh > 0 || k.out != e.account.Held {
		k.record(e, r, tick)
	}
}

// takeKept is take for a bucket that is kept on disk: when the rights in hand do
// not do, it waits for the disk.
func (e *entry) takeKept(r *Rule, now Instant, c int64, commit bool) (w uint64, granted bool, v verdict) {
	e.mu.Lock()
	defer e.mu.Unlock()
	k := e.kept
	for {
		if e.rule.Load() == nil {
			return 0, granted, vanished
		}
		tick := e.refresh(r, now)
		if c > maxHotCost {
			return e.takeDearKept(r, now, c, commit)
		}
		w = e.hot.Load()
		if tokensIn(w) >= c {
			if pendingIn(w)+c > maxPending {
				e.roll(r, tick)
				continue
			}
			next := wordOf(tokensIn(w)-c, pendingIn(w), tickIn(w, tick))
			if commit {
				next += uint64(c) << pendingShift
			}
			if !e.hot.CompareAndSwap(w, next) {
				continue
			}
			k.ahead(e, r, tick)
			e.note(r)
			return next, granted, taken
		}
		pool := e.account.Pool(r.limit)
		lack := c - tokensIn(w)
		granted = true
		if k.coming+pool < lack {
			e.mark(r, tick, c)
			e.note(r)
			return w, true, refused
		}
		if k.coming == 0 {
			k.reserve(e, r, tick, min(pool, max(lack+k.wanted, r.chunk(pool))))
		}
		e.note(r)
		k.await(e, c)
	}
}

// await waits until what is coming can be spent. mu is held, but not meanwhile.
func (k *kept) await(e *entry, c int64) {
	batch := k.batch
	if batch == nil {
		return // nothing is being kept: it can be spent at once
	}
	k.wanted += c
	e.mu.Unlock()
	k.keeper.journal.Wait(batch)
	e.mu.Lock()
	k.wanted -= c
}

// takeDearKept is takeDear for a bucket that is kept on disk. mu is held, but not
// while it waits.
func (e *entry) takeDearKept(r *Rule, now Instant, c int64, commit bool) (w uint64, granted bool, v verdict) {
	k := e.kept
	tick := e.refresh(r, now)
	for k.coming > 0 {
		k.await(e, 0)
		if e.rule.Load() == nil {
			return 0, true, vanished
		}
		tick = e.refresh(r, now)
	}
	defer e.note(r)
	e.recall(maxTokens)
	if e.account.Pool(r.limit) < c {
		e.mark(r, tick, c)
		return e.hot.Load(), true, refused
	}
	e.account.Held += c // which keeps the entry in the table
	if batch := k.record(e, r, tick); batch != nil {
		e.mu.Unlock()
		k.keeper.journal.Wait(batch)
		e.mu.Lock()
	}
	if commit {
		tick = e.refresh(e.rule.Load(), now)
		e.used(tick+1, c)
	}
	return e.hot.Load(), true, taken
}

// DurableStats say how what is used is kept on disk.
type DurableStats struct {
	// Enabled says that it should be, Active that it is.
	Enabled, Active bool
	// Reason is why it is not, Since when; empty while it is, and before Persist.
	Reason string    `json:",omitempty"`
	Since  time.Time `json:",omitzero"`
	// Bytes are on disk.
	Bytes int64
	// Syncs and Failures count since New.
	Syncs, Failures uint64
}

func (k *keeper) stats() DurableStats {
	s := k.journal.Stats()
	d := DurableStats{Enabled: true, Active: s.Active, Since: s.Since, Bytes: s.Bytes, Syncs: s.Syncs, Failures: s.Failures}
	if s.Err != nil {
		d.Reason = s.Err.Error()
	}
	return d
}
