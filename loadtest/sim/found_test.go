package sim

import (
	"testing"
	"time"
)

// TestFoundSchedules replays runs that once broke the claim, each with what was wrong.
func TestFoundSchedules(t *testing.T) {
	for name, o := range map[string]Options{
		// A snapshot of a dead node's uses reached the new home before the decree
		// that made it one, and was dropped; nobody sent it again.
		"books lost on the way to a new home": {
			Seed: 1722, Nodes: 3, Keys: 3, Limit: 84, Window: 59 * time.Second, Rate: 7.670253017153855, For: 100 * time.Second, Loss: 0.2, Drift: 0.0004,
			Faults: []Fault{
				{Kind: Die, At: 30300746883, Until: 39237869987, Node: 2},
				{Kind: Cut, At: 35517557778, Until: 35849790797, Node: 2, Other: 1},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if r := Run(o); r.Err != nil {
				t.Error(r.Err)
			}
		})
	}
}
