package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"sluice/loadtest/compare/load"
)

// What the gateway's metrics say of its memory. The collector's goal follows the
// live heap, and unlike the heap itself it does not swing between two
// collections.
const (
	heapGoal       = "go_memstats_next_gc_bytes"
	heapAllocated  = "go_memstats_alloc_bytes_total"
	goroutineCount = "go_goroutines"
)

// soak saturates the full gateway for a while, prints what it holds after each
// slice, and fails when memory or goroutines grow, or a request fails.
func soak(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("soak", flag.ContinueOnError)
	length := f.Duration("for", 10*time.Minute, "`length` of the load")
	slice := f.Duration("slice", 10*time.Second, "`time` between samples, in whole seconds")
	name := f.String("row", "sluice-full", "which of sluice's `rows` to load")
	var machine machineOptions
	machine.flags(f)
	if err := f.Parse(args); err != nil {
		return err
	}
	chosen, _ := choose(contestants, *name)
	if len(chosen) != 1 || chosen[0].program != "sluice" {
		return fmt.Errorf("soak: %q is not one of sluice's rows", *name)
	}
	r, err := newRig(ctx, chosen, machine)
	if err != nil {
		return err
	}
	defer r.close()
	run, err := r.start(ctx, chosen[0])
	if err != nil {
		return err
	}
	if err := probe(ctx, run, r.credentials.refused); err != nil {
		return err
	}
	wrk, err := load.NewSaturator(r.programs["wrk"].path, r.dir, run.name, load.Target{Address: run.site.Address, Path: smallPath, Tokens: run.tokens, Conns: 64})
	if err != nil {
		return err
	}

	fmt.Println("| after | requests/s | CPU µs per request | RSS MiB | heap goal MiB | bytes allocated per request | goroutines |\n| --- | --- | --- | --- | --- | --- | --- |")
	var rss, heap, goroutines []float64
	var failed int64
	allocated := 0.0
	for begin := time.Now(); time.Since(begin) < *length; {
		before, err := run.process.Usage()
		if err != nil {
			return err
		}
		res, err := wrk.Run(ctx, *slice)
		if err != nil {
			return errors.Join(ctx.Err(), err)
		}
		after, err := run.process.Usage()
		if err != nil {
			return err
		}
		metrics, err := run.metrics(ctx)
		if err != nil {
			return err
		}
		for _, name := range []string{heapGoal, heapAllocated, goroutineCount} {
			if metrics[name] == 0 {
				return fmt.Errorf("the gateway exports no %s, so growth cannot be told", name)
			}
		}
		const mib = 1 << 20
		failed += res.Errors
		rss = append(rss, float64(after.RSS)/mib)
		heap = append(heap, metrics[heapGoal]/mib)
		goroutines = append(goroutines, metrics[goroutineCount])
		last := len(rss) - 1
		fresh := metrics[heapAllocated] - allocated
		allocated += fresh
		fmt.Printf("| %v | %.0f | %.1f | %.1f | %.1f | %.0f | %.0f |\n", time.Since(begin).Round(time.Second), res.PerSecond(),
			micros(after.CPU-before.CPU)/float64(res.Requests), rss[last], heap[last], fresh/float64(res.Requests), goroutines[last])
	}
	if failed > 0 {
		err = fmt.Errorf("%d requests failed", failed)
	}
	return errors.Join(err,
		growth("resident memory (MiB)", rss, 0.10, 4),
		growth("heap goal (MiB)", heap, 0.10, 4),
		growth("goroutines", goroutines, 0.05, 16))
}
