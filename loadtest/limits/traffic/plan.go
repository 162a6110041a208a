package traffic

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Shape is how the requests of a tenant lie in time.
type Shape uint8

// The shapes.
const (
	// Steady requests come at random, at Load times the limit.
	Steady Shape = iota
	// Bursts come once a window, Load times the limit within a fortieth of it, as from
	// a job that runs every hour and takes a minute and a half.
	Bursts
	// Edge is the attack on windows that are counted by the clock: Load times the
	// limit just before a window ends, and three times the limit, evenly, in the next;
	// then the same again. It expects the run to start as a window does.
	Edge
)

// Spread is how the requests of a tenant are spread over the nodes.
type Spread uint8

// The spreads.
const (
	Even  Spread = iota // each request to any node
	Zipf                // the n-th node gets 1/n of what the first gets
	Shift               // all to one node, and to the next after a quarter of a window
	Each                // the tenants of the flow take turns with the three above
)

// Flow is a group of tenants that do the same.
type Flow struct {
	Name    string
	Shape   Shape
	Spread  Spread
	Load    float64 // times the limit
	Tenants int
	Limit   int64 // of each; another for each flow of a plan, since it is what tells them apart
	// From and To are the part of the run in which they ask; To 0: its end.
	From, To time.Duration
}

// Tenant is one tenant of a plan.
type Tenant struct {
	Name  string
	Flow  int
	Limit int64
}

// Request is one request.
type Request struct {
	At     time.Duration // from the beginning of the run
	Node   int
	Tenant int
}

// Plan is the traffic of one run.
type Plan struct {
	Name     string
	Nodes    int
	Window   time.Duration
	For      time.Duration
	Flows    []Flow
	Tenants  []Tenant
	Requests []Request // in order of time
}

// New makes a plan.
func New(name string, seed uint64, nodes int, window, length time.Duration, flows ...Flow) *Plan {
	p := &Plan{Name: name, Nodes: nodes, Window: window, For: length, Flows: flows}
	for i := range flows {
		f := &flows[i]
		if f.To == 0 {
			f.To = length
		}
		for n := range f.Tenants {
			rnd := rand.New(rand.NewPCG(seed, uint64(i)<<32|uint64(n)))
			p.Tenants = append(p.Tenants, Tenant{Name: strings.ReplaceAll(fmt.Sprintf("%s-%s-%d", name, f.Name, n), " ", "-"), Flow: i, Limit: f.Limit})
			p.add(rnd, f, len(p.Tenants)-1)
		}
	}
	slices.SortStableFunc(p.Requests, func(a, b Request) int { return cmp.Compare(a.At, b.At) })
	return p
}

// add makes the requests of one tenant.
func (p *Plan) add(rnd *rand.Rand, f *Flow, tenant int) {
	spread := f.Spread
	if spread == Each {
		spread = Spread(tenant % int(Each))
	}
	put := func(at time.Duration) {
		if at >= f.From && at < f.To {
			p.Requests = append(p.Requests, Request{at, p.node(rnd, spread, at), tenant})
		}
	}
	steady := func(from, to time.Duration, load float64) {
		if load <= 0 {
			return
		}
		mean := float64(p.Window) / (load * float64(f.Limit))
		for at := from; ; put(at) {
			if at += time.Duration(rnd.ExpFloat64() * mean); at >= to {
				return
			}
		}
	}
	burst := func(from, within time.Duration) {
		for range int(f.Load * float64(f.Limit)) {
			put(from + time.Duration(rnd.Int64N(int64(within))))
		}
	}
	switch f.Shape {
	case Steady:
		steady(f.From, f.To, f.Load)
	case Bursts:
		phase := time.Duration(rnd.Int64N(int64(p.Window / 2)))
		for at := f.From + phase; at < f.To; at += p.Window {
			burst(at+time.Duration(rnd.Int64N(int64(20*time.Millisecond))), p.Window/40)
		}
	case Edge:
		for at := f.From; at < f.To; at += 2 * p.Window {
			end := at + p.Window
			burst(end-p.Window/40, p.Window/50)
			steady(end, end+p.Window, 3)
		}
	}
}

func (p *Plan) node(rnd *rand.Rand, s Spread, at time.Duration) int {
	switch s {
	case Shift:
		return int(at/(p.Window/4)) % p.Nodes
	case Zipf:
		sum := 0.0
		for n := range p.Nodes {
			sum += 1 / float64(n+1)
		}
		x := rnd.Float64() * sum
		for n := range p.Nodes {
			if x -= 1 / float64(n+1); x < 0 {
				return n
			}
		}
	}
	return rnd.IntN(p.Nodes)
}

// Flow returns the flow of the tenants with a limit, -1 when there is none.
func (p *Plan) Flow(limit int64) int {
	return slices.IndexFunc(p.Flows, func(f Flow) bool { return f.Limit == limit })
}

// WriteTo writes the plan as text: a request a line, its nanosecond, node, tenant
// and that tenant's limit in each window of so many seconds.
func (p *Plan) WriteTo(w io.Writer) (int64, error) {
	b := bufio.NewWriter(w)
	n, _ := fmt.Fprintf(b, "# %s: %d nodes, window %v; ns node tenant limit\n", p.Name, p.Nodes, p.Window)
	for _, r := range p.Requests {
		k, _ := fmt.Fprintf(b, "%d %d %s %d\n", r.At, r.Node, p.Tenants[r.Tenant].Name, p.Tenants[r.Tenant].Limit)
		n += k
	}
	return int64(n), b.Flush()
}
