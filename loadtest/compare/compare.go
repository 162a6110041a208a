package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"sluice/loadtest/compare/load"
	"sluice/loadtest/compare/proc"
	"sluice/loadtest/compare/report"
)

// options of the comparison.
type options struct {
	rounds      int
	slice       time.Duration
	rate        float64
	connections int
	only        string
	machine     machineOptions
	before      string
	json, doc   string
	profiles    string
	pgo         string

	given []string // the flags that were given and change what is measured
}

// command is what measures the same again, wherever its results went.
func (o options) command() string {
	return strings.Join(append([]string{"go run ./loadtest/compare"}, o.given...), " ")
}

func parseOptions(args []string) (o options, err error) {
	f := flag.NewFlagSet("compare", flag.ContinueOnError)
	f.IntVar(&o.rounds, "rounds", 5, "interleaved `rounds`")
	f.DurationVar(&o.slice, "slice", 2*time.Second, "`length` of a saturated slice, in whole seconds; the other slices are half as long")
	f.Float64Var(&o.rate, "rate", 0, "requests per `second` of the latency slices (default: half of what the slowest proxy answers)")
	f.IntVar(&o.connections, "connections", 64, "keep-alive `connections`")
	f.StringVar(&o.only, "only", "", "`names` of the rows to measure, separated by commas: "+strings.Join(names(contestants), ", "))
	o.machine.flags(f)
	f.StringVar(&o.before, "before", "", "another gateway `binary`, measured in the same rounds: what a change has brought")
	f.StringVar(&o.json, "json", "", "write every sample to this `file`")
	f.StringVar(&o.doc, "doc", "", "put the tables between the compare marks of this Markdown `file`")
	f.StringVar(&o.profiles, "profile", "", "after the rounds, write CPU profiles of sluice under its load to this `directory`")
	f.StringVar(&o.pgo, "pgo", "", "instead of rounds, write one merged CPU profile of sluice to this `file`, for go build -pgo")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 || o.rounds < 1 || o.slice < time.Second || o.connections < 1 || o.rate < 0 {
		return o, errors.New("compare: want no arguments, at least one round and one connection, slices of at least a second")
	}
	f.Visit(func(given *flag.Flag) {
		if !slices.Contains([]string{"json", "doc", "profile", "pgo", "sluice", "before"}, given.Name) {
			o.given = append(o.given, "--"+given.Name+"="+given.Value.String())
		}
	})
	return o, nil
}

func names(list []contestant) (names []string) {
	for _, c := range list {
		names = append(names, c.name)
	}
	return names
}

// comparison is one run.
type comparison struct {
	options
	rig     *rig
	entries []*entry
	goals   []report.Goal
	rate    float64
	missing []string
}

// entry is a running contestant with its loads and what they gave.
type entry struct {
	*running
	smallTarget   load.Target
	small, large  *load.Saturator // large: nil when it is not measured so
	smallRow, row report.Row
	answered      int64 // requests, by all loads
	logged        int64 // lines of the access log
}

func compare(ctx context.Context, args []string) error {
	o, err := parseOptions(args)
	if err != nil {
		return err
	}
	chosen, unknown := choose(contestants, o.only)
	if len(unknown) > 0 {
		return fmt.Errorf("no such rows: %s; there are %s", strings.Join(unknown, ", "), strings.Join(names(contestants), ", "))
	}
	judged := goals
	if o.before != "" {
		var twins []report.Goal
		chosen, twins = withBefore(chosen)
		judged = append(twins, goals...)
	}
	started := time.Now()
	say("building, signing %d tokens", distinctTokens)
	r, err := newRig(ctx, chosen, o.machine)
	if err != nil {
		return err
	}
	defer r.close()
	if o.before != "" {
		r.programs[beforeProgram] = program{path: o.before}
	}
	c := &comparison{options: o, rig: r, rate: o.rate, goals: judged}
	for _, one := range chosen {
		if err := c.enter(ctx, one); err != nil {
			return err
		}
	}
	if err := c.warmUp(ctx); err != nil {
		return err
	}
	if o.pgo != "" {
		return c.writePGO(ctx, o.pgo)
	}
	for round := range o.rounds {
		say("round %d of %d", round+1, o.rounds)
		if err := c.round(ctx, round); err != nil {
			return err
		}
		if err := c.collectLogs(); err != nil {
			return err
		}
	}
	c.judgeLogs()
	if o.profiles != "" {
		if _, err := c.profile(ctx, o.profiles); err != nil {
			return err
		}
	}
	return c.publish(c.report(started))
}

// enter starts a contestant and probes it. One that is not installed is left out.
func (c *comparison) enter(ctx context.Context, one contestant) error {
	run, err := c.rig.start(ctx, one)
	if errors.Is(err, errMissing) {
		c.missing = append(c.missing, fmt.Sprintf("%s (%v)", one.label, err))
		return nil
	}
	if err != nil {
		return err
	}
	if err := probe(ctx, run, c.rig.credentials.refused); err != nil {
		return err
	}
	e := &entry{running: run, smallTarget: load.Target{Address: run.site.Address, Path: smallPath, Tokens: run.tokens, Conns: c.connections}}
	e.smallRow = report.Row{Name: one.name, Label: one.label, Proxy: run.process != nil}
	e.row = e.smallRow
	if e.small, err = load.NewSaturator(c.rig.programs["wrk"].path, c.rig.dir, one.name, e.smallTarget); err != nil {
		return err
	}
	if one.large {
		target := e.smallTarget
		target.Path = largePath
		if e.large, err = load.NewSaturator(c.rig.programs["wrk"].path, c.rig.dir, one.name+"-large", target); err != nil {
			return err
		}
	}
	c.entries = append(c.entries, e)
	return nil
}

// warmUp saturates everyone for a second, so that connections, caches and heaps
// have their size, and finds the rate that even the slowest takes with ease.
func (c *comparison) warmUp(ctx context.Context) error {
	slowest := math.Inf(1)
	for _, e := range c.entries {
		say("warming up %s", e.name)
		res, err := e.small.Run(ctx, time.Second)
		if err != nil {
			return err
		}
		e.answered += res.Requests
		slowest = min(slowest, res.PerSecond())
	}
	if c.rate == 0 {
		c.rate = math.Floor(slowest/2/100) * 100
	}
	if !(c.rate >= 1 && c.rate < math.Inf(1)) {
		return fmt.Errorf("nothing answers fast enough for a rate: %.0f/s", slowest)
	}
	return nil
}

// round gives each entry its slice of each kind of load.
func (c *comparison) round(ctx context.Context, round int) error {
	order := inRound(c.entries, round)
	for _, e := range order {
		s, err := c.measure(ctx, e, func() (load.Result, error) { return e.small.Run(ctx, c.slice) })
		if err != nil {
			return err
		}
		s.Round = round
		e.smallRow.Samples = append(e.smallRow.Samples, s)
	}
	for _, e := range order {
		var res load.Result
		at, err := c.measure(ctx, e, func() (_ load.Result, err error) {
			res, err = load.Rate(ctx, e.smallTarget, c.rate, c.slice/2)
			return res, err
		})
		if err != nil {
			return err
		}
		s := &e.smallRow.Samples[len(e.smallRow.Samples)-1]
		s.RateCPU, s.P50, s.P99 = at.CPU, micros(res.P50), micros(res.P99)
		s.Requests += at.Requests
		s.Errors += at.Errors
	}
	for _, e := range order {
		if e.large == nil {
			continue
		}
		s, err := c.measure(ctx, e, func() (load.Result, error) { return e.large.Run(ctx, c.slice/2) })
		if err != nil {
			return err
		}
		s.Round = round
		e.row.Samples = append(e.row.Samples, s)
	}
	return nil
}

// measure runs one slice of load and says what the entry's processes used for it.
func (c *comparison) measure(ctx context.Context, e *entry, slice func() (load.Result, error)) (report.Sample, error) {
	before, err := c.usage(e)
	if err != nil {
		return report.Sample{}, err
	}
	res, err := slice()
	if err != nil {
		return report.Sample{}, errors.Join(ctx.Err(), fmt.Errorf("%s: %w", e.name, err))
	}
	after, err := c.usage(e)
	if err != nil {
		return report.Sample{}, err
	}
	e.answered += res.Requests
	used := after.CPU - before.CPU
	elapsed := after.at.Sub(before.at).Seconds()
	s := report.Sample{
		PerSecond: res.PerSecond(), Busy: used.Seconds() / res.Elapsed.Seconds(),
		RSS: after.RSS, Requests: res.Requests, Errors: res.Errors,
	}
	if res.Requests > 0 {
		s.CPU = micros(used) / float64(res.Requests)
	}
	if len(c.rig.proxyCPUs) > 0 {
		s.Foreign = max(0, (after.busy-before.busy-used).Seconds()/elapsed)
	}
	return s, nil
}

// usage is what an entry has used, and the proxies' CPU altogether, until at.
type usage struct {
	proc.Usage
	busy time.Duration
	at   time.Time
}

func (c *comparison) usage(e *entry) (u usage, err error) {
	u.at = time.Now()
	if e.process != nil {
		if u.Usage, err = e.process.Usage(); err != nil {
			return u, fmt.Errorf("%s: %w", e.name, err)
		}
	}
	for _, cpu := range c.rig.proxyCPUs {
		busy, err := proc.BusyTime(cpu)
		if err != nil {
			return u, err
		}
		u.busy += busy
	}
	return u, nil
}

// report collects what was measured.
func (c *comparison) report(started time.Time) report.Report {
	rep := report.Report{
		Command: c.command(),
		Started: started, Machine: report.ThisMachine(), Missing: c.missing,
		Settings: report.Settings{
			Rounds: c.rounds, Slice: c.slice, Connections: c.connections, Rate: c.rate,
			TokenBytes: len(c.rig.credentials.known[0]), ProxyCPUs: c.rig.proxyCPUs, LoadCPUs: c.rig.loadCPUs,
		},
	}
	for name, argument := range map[string]string{"nginx": "-v", "haproxy": "-v", "wrk": "-v"} {
		if p := c.rig.programs[name].path; p != "" {
			rep.Machine.Versions[name] = report.ProgramVersion(p, argument)
		}
	}
	if p := c.rig.programs["caddy"].path; p != "" {
		rep.Machine.Versions["caddy"] = report.ModuleVersion(p, "github.com/caddyserver/caddy/v2")
	}
	for _, e := range c.entries {
		rep.Small = append(rep.Small, annotate(e.smallRow))
		if e.large != nil {
			rep.Large = append(rep.Large, annotate(e.row))
		}
	}
	return rep
}

// annotate adds what a reader must know of a row.
func annotate(row report.Row) report.Row {
	foreign := report.SpreadOf(row.Of(func(s report.Sample) float64 { return s.Foreign })).Median
	if row.Proxy && foreign > 0.05 {
		row.Notes = append(slices.Clone(row.Notes), fmt.Sprintf("something else used %.0f%% of the proxy's CPU", 100*foreign))
	}
	return row
}

// publish prints the tables and writes the files asked for.
func (c *comparison) publish(rep report.Report) error {
	var text strings.Builder
	if err := rep.Markdown(&text, bases, c.goals); err != nil {
		return err
	}
	fmt.Print(text.String())
	if c.json != "" {
		data, err := json.MarshalIndent(rep, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(c.json, append(data, '\n'), 0o644); err != nil {
			return err
		}
	}
	return replaceInDocument(c.doc, "compare", text.String())
}

// replaceInDocument puts text between the marks of that name in a Markdown
// file; without a file it does nothing.
func replaceInDocument(file, mark, text string) error {
	if file == "" {
		return nil
	}
	document, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	updated, err := report.ReplaceSection(string(document), "<!-- "+mark+":begin -->", "<!-- "+mark+":end -->", text)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, []byte(updated), 0o644)
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// say tells whoever waits what is going on; the tables alone are on standard output.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
