package main

import (
	"time"

	"sluice/loadtest/limits/traffic"
)

// seed of all traffic.
const seed = 1

// The runs of the table. A flow is told from the others by its limit.
//
// mixed has everything at once, without faults; its flows are the rows of calm.
func mixed(nodes int, window time.Duration) *traffic.Plan {
	return traffic.New("mixed", seed, nodes, window, 3*window+window/5,
		traffic.Flow{Name: "0.05", Load: 0.05, Spread: traffic.Each, Tenants: 3, Limit: 201},
		traffic.Flow{Name: "0.2", Load: 0.2, Spread: traffic.Each, Tenants: 3, Limit: 202},
		traffic.Flow{Name: "0.5", Load: 0.5, Spread: traffic.Each, Tenants: 3, Limit: 203},
		traffic.Flow{Name: "0.7", Load: 0.7, Spread: traffic.Each, Tenants: 6, Limit: 204},
		traffic.Flow{Name: "1", Load: 1, Spread: traffic.Each, Tenants: 3, Limit: 205},
		traffic.Flow{Name: "1.5 even", Load: 1.5, Spread: traffic.Even, Tenants: 1, Limit: 1001},
		traffic.Flow{Name: "1.5 zipf", Load: 1.5, Spread: traffic.Zipf, Tenants: 1, Limit: 1002},
		traffic.Flow{Name: "1.5 shift", Load: 1.5, Spread: traffic.Shift, Tenants: 1, Limit: 1003},
		traffic.Flow{Name: "5", Load: 5, Spread: traffic.Each, Tenants: 3, Limit: 206},
		traffic.Flow{Name: "20", Load: 20, Spread: traffic.Each, Tenants: 3, Limit: 101},
		traffic.Flow{Name: "bursts", Shape: traffic.Bursts, Load: 1.2, Spread: traffic.Each, Tenants: 3, Limit: 500},
		traffic.Flow{Name: "edge", Shape: traffic.Edge, Load: 1.2, Spread: traffic.Each, Tenants: 2, Limit: 501},
	)
}

// quiet is one tenant at 15 % of its quota.
func quiet(nodes int, window time.Duration) *traffic.Plan {
	return traffic.New("quiet", seed, nodes, window, window/2, traffic.Flow{Name: "quiet", Load: 0.15, Tenants: 1, Limit: 10_000})
}

// spend is one tenant that spends its fresh quota at 1.5 times the rate that would
// last a window; keep goes on where it ended, with the quota spent.
func spend(nodes int, window time.Duration) *traffic.Plan {
	return traffic.New("spend", seed, nodes, window, window*2/3, traffic.Flow{Name: "t", Load: 1.5, Tenants: 1, Limit: 10_001})
}

func keep(nodes int, window time.Duration) *traffic.Plan {
	p := traffic.New("keep", seed+1, nodes, window, window, traffic.Flow{Name: "t", Load: 1.5, Tenants: 1, Limit: 10_001})
	p.Tenants[0].Name = spend(nodes, window).Tenants[0].Name
	return p
}

// faults are things that go wrong, one after the other, each with tenants of its own.
func faults(nodes int, window time.Duration) (*traffic.Plan, []event) {
	flow := func(name string, limit int64, load float64, spread traffic.Spread, from, to time.Duration) traffic.Flow {
		return traffic.Flow{Name: name, Load: load, Spread: spread, Tenants: 1, Limit: limit, From: from, To: to}
	}
	const s = time.Second
	p := traffic.New("faults", seed, nodes, window, 120*s,
		flow("redis 1.5", 1001, 1.5, traffic.Even, 0, 42*s),
		flow("redis 5", 202, 5, traffic.Shift, 0, 42*s),
		flow("cut 1.5", 1002, 1.5, traffic.Even, 45*s, 80*s),
		flow("cut 5", 203, 5, traffic.Shift, 45*s, 80*s),
		flow("kill 1.5", 1003, 1.5, traffic.Even, 83*s, 120*s),
		flow("kill 5", 204, 5, traffic.Shift, 83*s, 120*s),
	)
	return p, []event{
		{10 * s, killRedis}, {25 * s, restartRedis},
		{52 * s, cutGossip(0)}, {70 * s, healGossip},
		{90 * s, killNode(nodes - 1)}, {98 * s, startNode(nodes - 1)},
	}
}

// limitsOf are the limits of all flows of plans.
func limitsOf(plans ...*traffic.Plan) (list []int64) {
	have := map[int64]bool{}
	for _, p := range plans {
		for _, f := range p.Flows {
			if !have[f.Limit] {
				have[f.Limit] = true
				list = append(list, f.Limit)
			}
		}
	}
	return list
}
