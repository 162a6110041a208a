package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"sluice/loadtest/limits/traffic"
)

func main() {
	out := flag.String("out", "out/limits", "directory for the report and the traffic; what the nodes write goes into a temporary one")
	loopback := flag.Bool("loopback", false, "put all nodes on loopback, even where namespaces are possible")
	keep := flag.Bool("keep", false, "keep the nodes' directories, and say where they are")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := report(ctx, *out, *loopback, *keep); err != nil {
		fmt.Fprintln(os.Stderr, "limits:", err)
		os.Exit(1)
	}
}

// report makes the tables, prints them and keeps them in dir.
func report(ctx context.Context, dir string, loopback, keep bool) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "sluice-limits-")
	if err != nil {
		return err
	}
	if keep {
		fmt.Fprintln(os.Stderr, "nodes are in", scratch)
	} else {
		defer os.RemoveAll(scratch)
	}
	var text bytes.Buffer
	begun := time.Now()
	if err := tables(ctx, io.MultiWriter(os.Stdout, &text), scratch, loopback); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "took %v\n", time.Since(begun).Round(time.Second))
	return os.WriteFile(filepath.Join(dir, "report.md"), text.Bytes(), 0o644)
}

const (
	tableNodes  = 3
	tableWindow = 20 * time.Second
)

// tables runs the whole contest.
func tables(ctx context.Context, out io.Writer, dir string, loopback bool) error {
	first, calm := mixed(tableNodes, tableWindow), []*traffic.Plan{quiet(tableNodes, tableWindow), spend(tableNodes, tableWindow), keep(tableNodes, tableWindow)}
	last, events := faults(tableNodes, tableWindow)
	r, err := open(settings{
		dir: dir, nodes: tableNodes, window: tableWindow, loopback: loopback, others: true, home: true,
		limits: limitsOf(append(calm, first, last)...),
	})
	if err != nil {
		return err
	}
	defer r.close()
	fmt.Fprintf(out, "%d nodes, windows of %v in place of an hour; %s; %d cores. sluice answers HTTP from processes of its own, the others are\ncalled within one process. Cells: most above the limit in any trailing window / admitted, against an exact log.\n\n",
		tableNodes, tableWindow, r.where, runtime.NumCPU())
	if err := r.measureIdle(3 * time.Second); err != nil {
		return err
	}
	results, err := r.run(ctx, first)
	if err != nil {
		return err
	}
	behaviour(out, calmRows, flowNames(first), results)
	var phases []phase
	for i, label := range []string{"at 15 % of a quota of 10,000", "until it is spent", "at 150 % from then on"} {
		results, err := r.run(ctx, calm[i])
		if err != nil {
			return err
		}
		phases = append(phases, phase{label, results})
	}
	fmt.Fprintln(out)
	costs(out, phases)
	if results, err = r.run(ctx, last, events...); err != nil {
		return err
	}
	fmt.Fprintln(out)
	behaviour(out, faultRows, flowNames(last), results)
	return nil
}

func flowNames(p *traffic.Plan) (names []string) {
	for _, f := range p.Flows {
		names = append(names, f.Name)
	}
	return names
}
