package core

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
)

// The model is every history, up to a depth, of one authority and a few replicas
// over a network that may lose, repeat and reorder messages, with crashes and
// reclaims. After each step the claim of the package and the equation that it
// rests on must hold.
type model struct {
	limit    Limit
	now      Stamp
	ledger   Ledger
	holders  []Holder
	crashed  []bool
	takes    []Take
	replies  []Reply
	admitted []int8 // by tick since the beginning
	recalls  int8
	bounds
}

// bounds keep the number of histories finite.
type bounds struct {
	messages int    // in flight at once
	ticks    int    // of the clock
	seqs     uint64 // messages of one replica
	recalled int8   // recalls altogether
}

var (
	small = bounds{messages: 2, ticks: 3, seqs: 3, recalled: 2}
	large = bounds{messages: 4, ticks: 10, seqs: 20, recalled: 10}
)

func newModel(replicas int, rights int64, b bounds) *model {
	m := &model{limit: Limit{Rights: rights, Span: 1}, crashed: make([]bool, replicas), admitted: make([]int8, b.ticks+1), bounds: b}
	for i := range replicas {
		m.holders = append(m.holders, Holder{Self: Replica(i + 1)})
	}
	return m
}

func (m *model) clone() *model {
	c := *m
	c.ledger.Log.runs = slices.Clone(m.ledger.Log.runs)
	c.ledger.rows = make(map[Replica]*ledgerRow, len(m.ledger.rows))
	for id, row := range m.ledger.rows {
		r := *row
		r.log.runs = slices.Clone(row.log.runs)
		c.ledger.rows[id] = &r
	}
	c.holders = slices.Clone(m.holders)
	for i := range c.holders {
		c.holders[i].log.runs = slices.Clone(m.holders[i].log.runs)
	}
	c.crashed = slices.Clone(m.crashed)
	c.takes = slices.Clone(m.takes)
	c.replies = slices.Clone(m.replies)
	c.admitted = slices.Clone(m.admitted)
	return &c
}

// id is the state as text: equal states need not be explored twice.
func (m *model) id() string {
	b := make([]byte, 0, 256)
	num := func(vs ...int64) {
		for _, v := range vs {
			b = binary.AppendVarint(b, v)
		}
	}
	log := func(l *Log) {
		num(int64(len(l.runs)))
		for _, r := range l.runs {
			num(int64(r.At), int64(r.N))
		}
	}
	reply := func(r Reply) {
		num(int64(r.To), int64(r.Seq), int64(r.Verdict), r.Granted)
	}
	num(int64(m.now), m.ledger.Held, int64(m.recalls))
	log(&m.ledger.Log)
	for i := range m.holders {
		h := &m.holders[i]
		num(h.granted, h.spent, h.returned, h.acked, int64(h.seq), h.asked)
		log(&h.log)
		if row := m.ledger.rows[h.Self]; row != nil {
			num(row.Granted, row.Settled, row.Returned, int64(row.seq), int64(row.seen))
			reply(row.reply)
			b = append(b, flag(row.gone))
		}
		b = append(b, flag(h.gone), flag(m.crashed[i]), '|')
	}
	// The network has no order.
	var messages [][]byte
	tail := len(b)
	for _, t := range m.takes {
		b = b[:tail]
		num(1, int64(t.From), int64(t.Seq), t.Row.Granted, t.Row.Settled, t.Row.Returned, t.Want)
		for _, u := range t.Uses {
			num(int64(u.Age), u.N)
		}
		messages = append(messages, slices.Clone(b[tail:]))
	}
	for _, r := range m.replies {
		b = b[:tail]
		num(2)
		reply(r)
		messages = append(messages, slices.Clone(b[tail:]))
	}
	b = b[:tail]
	slices.SortFunc(messages, slices.Compare[[]byte])
	for _, x := range messages {
		b = append(append(b, x...), '/')
	}
	for _, n := range m.admitted {
		b = append(b, byte(n))
	}
	return string(b)
}

func flag(v bool) byte {
	if v {
		return 1
	}
	return 0
}

// check returns what is wrong.
func (m *model) check() string {
	var held int64
	for _, row := range m.ledger.rows {
		held += row.Held()
	}
	switch {
	case held != m.ledger.Held:
		return "the rows hold another sum than the account"
	case m.ledger.Log.Used()+m.ledger.Held+m.ledger.Pool(m.limit) != m.limit.Rights:
		return "U + H + P is not L"
	case m.ledger.Pool(m.limit) < 0:
		return "the pool is negative"
	}
	for i := range m.holders {
		h := &m.holders[i]
		row := m.ledger.Row(h.Self)
		if h.Tokens() < 0 {
			return "tokens are negative"
		}
		// What a crashed replica held may have been counted as used since.
		if unreported := h.spent - row.Settled; !m.crashed[i] && h.Tokens()+unreported > row.Held() {
			return "a replica can spend what the authority does not hold for it"
		}
	}
	// Uses at ticks a ≤ b may lie within one span if b − a ≤ span.
	for from := range m.admitted {
		var n int64
		for _, k := range m.admitted[from:min(len(m.admitted), from+int(m.limit.Span)+1)] {
			n += int64(k)
		}
		if n > m.limit.Rights {
			return "more admissions than the limit in one window"
		}
	}
	return ""
}

// next returns every state that one step leads to, with the step's name.
func (m *model) next(yield func(string, *model)) {
	room := len(m.takes)+len(m.replies) < m.messages
	for i := range m.holders {
		if m.crashed[i] {
			if !m.ledgerGone(i) {
				c := m.clone()
				c.ledger.Reclaim(c.now, c.limit, c.holders[i].Self, true, 4)
				yield("reclaim", c)
			}
			continue
		}
		c := m.clone()
		if c.holders[i].Spend(c.now, 1, 4) {
			c.admitted[c.now]++
			yield("spend", c)
		}
		if room && m.holders[i].seq < m.seqs {
			for want := range int64(2) {
				c := m.clone()
				c.takes = append(c.takes, c.holders[i].Take(c.now, want*2))
				yield("take", c)
			}
		}
		if m.holders[i].Tokens() > 0 && m.recalls < m.recalled {
			c := m.clone()
			c.recalls++
			c.holders[i].Recall(m.recalls == 0)
			yield("recall", c)
		}
		if i == 0 {
			c := m.clone()
			c.crashed[i] = true
			yield("crash", c)
		}
	}
	for k := range m.takes {
		for _, again := range []bool{false, true} {
			if again && !room {
				continue
			}
			c := m.clone()
			t := c.takes[k]
			if !again {
				c.takes = slices.Delete(c.takes, k, k+1)
			}
			if r, ok := c.ledger.Serve(c.now, c.limit, t, 4); ok {
				c.replies = append(c.replies, r)
			}
			yield("serve", c)
		}
		c := m.clone()
		c.takes = slices.Delete(c.takes, k, k+1)
		yield("lose take", c)
	}
	for k := range m.replies {
		for _, again := range []bool{false, true} {
			c := m.clone()
			r := c.replies[k]
			if !again {
				c.replies = slices.Delete(c.replies, k, k+1)
			}
			if i := r.To - 1; !c.crashed[i] {
				c.holders[i].Apply(r)
			}
			yield("reply", c)
		}
		c := m.clone()
		c.replies = slices.Delete(c.replies, k, k+1)
		yield("lose reply", c)
	}
	if int(m.now) < m.ticks {
		c := m.clone()
		c.now++
		c.ledger.Expire(c.now, c.limit)
		for i := range c.holders {
			c.holders[i].Expire(c.now, c.limit)
		}
		yield("tick", c)
	}
}

func (m *model) ledgerGone(i int) bool {
	row := m.ledger.rows[m.holders[i].Self]
	return row != nil && row.gone
}

func explore(t *testing.T, m *model, depth, most int) {
	type node struct {
		*model
		parent *node
		step   string
	}
	frontier := []*node{{model: m}}
	seen := map[string]bool{m.id(): true}
	states := 1
	for d := range depth {
		var next []*node
		for _, n := range frontier {
			n.next(func(step string, c *model) {
				id := c.id()
				if seen[id] || t.Failed() {
					return
				}
				seen[id] = true
				states++
				k := &node{c, n, step}
				if bad := c.check(); bad != "" {
					var trace []string
					for x := k; x != nil; x = x.parent {
						trace = append(trace, x.step)
					}
					slices.Reverse(trace)
					t.Errorf("%s after %q", bad, trace)
				}
				next = append(next, k)
			})
			if len(seen) > most {
				t.Logf("%d states, complete to depth %d", states, d)
				return
			}
		}
		frontier = next
	}
	t.Logf("%d states, complete to depth %d", states, depth)
}

func TestEveryShortHistoryKeepsTheLimit(t *testing.T) {
	t.Run("3 replicas, 4 rights", func(t *testing.T) { explore(t, newModel(3, 4, small), 8, modelStates) })
	t.Run("2 replicas, 2 rights", func(t *testing.T) { explore(t, newModel(2, 2, small), 14, modelStates) })
}

// TestRandomLongHistoriesKeepTheLimit goes where the exhaustive search is too
// wide to reach: rights that are spent, expire, and are spent again.
func TestRandomLongHistoriesKeepTheLimit(t *testing.T) {
	for seed := range uint64(modelWalks) {
		rnd := rand.New(rand.NewPCG(seed, 6))
		m := newModel(1+rnd.IntN(3), 1+rnd.Int64N(4), large)
		var trace []string
		for range 100 {
			// A kind of step first, then one of that kind: else the many ways of
			// losing messages leave little else to happen.
			var names []string
			steps := map[string][]*model{}
			m.next(func(step string, c *model) {
				if len(steps[step]) == 0 {
					names = append(names, step)
				}
				steps[step] = append(steps[step], c)
			})
			if len(names) == 0 {
				break
			}
			name := names[rnd.IntN(len(names))]
			if (name == "crash" || name == "lose take" || name == "lose reply") && rnd.IntN(8) != 0 {
				continue
			}
			m = steps[name][rnd.IntN(len(steps[name]))]
			trace = append(trace, name)
			if bad := m.check(); bad != "" {
				t.Fatalf("seed %d: %s after %q", seed, bad, trace)
			}
		}
	}
}
