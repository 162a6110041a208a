package traffic

import (
	"context"
	"sync"
	"time"
)

// Drive sends every request of the plan when its time has come, counted from
// start, to ask, in a goroutine of its own, and returns when all have been answered
// or ctx has ended. It returns by how much the latest one was late.
func (p *Plan) Drive(ctx context.Context, start time.Time, ask func(Request)) (late time.Duration) {
	var all sync.WaitGroup
	defer all.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for _, r := range p.Requests {
		wait := time.Until(start.Add(r.At))
		if wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return late
			}
		} else {
			late = max(late, -wait)
		}
		all.Go(func() { ask(r) })
	}
	return late
}
