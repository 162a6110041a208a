package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// Goal is a ratio of CPU time per request that sluice means to keep.
type Goal struct {
	What   string  // in words
	Rows   string  // "small" or "large"
	Name   string  // of the row that is judged
	Base   string  // of the row that it is compared with
	AtMost float64 // the goal
	Remark string  // what to think of when reading it
}

// Bases are the rows that the tables compare with.
type Bases struct{ Plain, Full string }

// Markdown writes the report as a document section: facts, tables, goals.
func (r Report) Markdown(w io.Writer, bases Bases, goals []Goal) error {
	var b strings.Builder
	r.writeFacts(&b)
	fmt.Fprintf(&b, "\n**1 KB bodies**\n\n")
	writeSmall(&b, r, bases)
	if len(r.Large) > 0 {
		fmt.Fprintf(&b, "\n**100 KB bodies**\n\n")
		writeLarge(&b, r, bases)
	}
	r.writeGoals(&b, goals)
	r.writeNotes(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

func (r Report) writeFacts(b *strings.Builder) {
	s := r.Settings
	fmt.Fprintf(b, "`%s`, %s. %s, %d cores, %s, %s", r.Command, r.Started.UTC().Format(time.DateOnly), r.Machine.CPU, r.Machine.Cores, r.Machine.Kernel, r.Machine.Go)
	for _, name := range slices.Sorted(maps.Keys(r.Machine.Versions)) {
		fmt.Fprintf(b, ", %s %s", name, r.Machine.Versions[name])
	}
	b.WriteString(". ")
	if len(s.ProxyCPUs) > 0 {
		fmt.Fprintf(b, "Proxy on CPU %s, load and upstream on CPU %s. ", join(s.ProxyCPUs), join(s.LoadCPUs))
	} else {
		b.WriteString("Nothing pinned. ")
	}
	fmt.Fprintf(b, "%d keep-alive connections, bearer tokens of %d bytes. Saturated slices of %v in %d interleaved rounds: median (lowest–highest). \"≥\": the load was the limit, not the proxy.\n",
		s.Connections, s.TokenBytes, s.Slice, s.Rounds)
}

func writeSmall(b *strings.Builder, r Report, bases Bases) {
	plain, hasPlain := Find(r.Small, bases.Plain)
	full, hasFull := Find(r.Small, bases.Full)
	fmt.Fprintf(b, "| proxy | CPU µs per request | × %s | × %s | requests/s | p50 µs at %.0f/s | p99 µs | MiB |\n", label(plain, bases.Plain), label(full, bases.Full), r.Settings.Rate)
	b.WriteString("| --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, row := range r.Small {
		cells := []string{row.Label}
		switch {
		case !row.Valid():
			cells = append(cells, row.invalid(), "", "", "", "", "", "")
		default:
			cells = append(cells,
				cpuCell(row), ratioCell(row, plain, hasPlain), ratioCell(row, full, hasFull),
				throughputCell(row),
				spread(row.Of(func(s Sample) float64 { return s.P50 }), "%.0f"),
				spread(row.Of(func(s Sample) float64 { return s.P99 }), "%.0f"),
				memoryCell(row))
		}
		writeCells(b, cells)
	}
}

func writeLarge(b *strings.Builder, r Report, bases Bases) {
	plain, hasPlain := Find(r.Large, bases.Plain)
	fmt.Fprintf(b, "| proxy | CPU µs per request | × %s | requests/s |\n| --- | --- | --- | --- |\n", label(plain, bases.Plain))
	for _, row := range r.Large {
		if !row.Valid() {
			writeCells(b, []string{row.Label, row.invalid(), "", ""})
			continue
		}
		writeCells(b, []string{row.Label, cpuCell(row), ratioCell(row, plain, hasPlain), throughputCell(row)})
	}
}

func (r Report) writeGoals(b *strings.Builder, goals []Goal) {
	var lines []string
	for _, g := range goals {
		rows := r.Small
		if g.Rows == "large" {
			rows = r.Large
		}
		row, ok := Find(rows, g.Name)
		base, okBase := Find(rows, g.Base)
		if !ok || !okBase {
			continue
		}
		ratio, ok := Ratio(row, base)
		if !ok {
			continue
		}
		verdict := "reached"
		if ratio.Median > g.AtMost {
			verdict = "**missed**"
		}
		lines = append(lines, fmt.Sprintf("| %s | %.2f (%.2f–%.2f) | %.2f | %s | %s |\n", g.What, ratio.Median, ratio.Min, ratio.Max, g.AtMost, verdict, g.Remark))
	}
	if len(lines) == 0 {
		return
	}
	b.WriteString("\n**Ratios of CPU time, and the goals**\n\n| ratio | median of the rounds | at most | | |\n| --- | --- | --- | --- | --- |\n")
	for _, line := range lines {
		b.WriteString(line)
	}
}

func (r Report) writeNotes(b *strings.Builder) {
	var notes []string
	note := func(rows []Row, where string) {
		for _, row := range rows {
			for _, n := range row.Notes {
				notes = append(notes, row.Label+where+": "+n)
			}
		}
	}
	note(r.Small, "")
	note(r.Large, ", 100 KB")
	for _, m := range r.Missing {
		notes = append(notes, "Left out: "+m)
	}
	if len(notes) == 0 {
		return
	}
	b.WriteByte('\n')
	for _, n := range notes {
		fmt.Fprintf(b, "- %s\n", n)
	}
}

func writeCells(b *strings.Builder, cells []string) {
	b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

func cpuCell(row Row) string {
	if !row.Proxy {
		return "–"
	}
	return spread(row.Of(CPU), "%.1f")
}

// saturated is the share of its CPU above which a proxy, not the load, sets the
// throughput.
const saturated = 0.9

func throughputCell(row Row) string {
	cell := spread(row.Of(func(s Sample) float64 { return s.PerSecond }), "%.0f")
	if busy := SpreadOf(row.Of(func(s Sample) float64 { return s.Busy })).Median; row.Proxy && busy < saturated {
		return "≥ " + cell
	}
	return cell
}

func memoryCell(row Row) string {
	if !row.Proxy {
		return "–"
	}
	return fmt.Sprintf("%.0f", SpreadOf(row.Of(func(s Sample) float64 { return float64(s.RSS) / (1 << 20) })).Median)
}

func ratioCell(row, base Row, ok bool) string {
	ratio, has := Ratio(row, base)
	if !ok || !has || !row.Proxy {
		return "–"
	}
	if row.Name == base.Name {
		return "1"
	}
	return fmt.Sprintf("%.2f (%.2f–%.2f)", ratio.Median, ratio.Min, ratio.Max)
}

func spread(values []float64, verb string) string {
	s := SpreadOf(values)
	return fmt.Sprintf(verb+" ("+verb+"–"+verb+")", s.Median, s.Min, s.Max)
}

func label(row Row, name string) string {
	if row.Label != "" {
		return row.Label
	}
	return name
}

func join(cpus []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(cpus), " ", ", "), "[]")
}
