package telemetry

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestMetricsReferenceIsCurrent compares docs/metrics.md from its marker on with
// what the table of families says and a scrape shows; run it with -update to rewrite it.
func TestMetricsReferenceIsCurrent(t *testing.T) {
	const file, marker = "../docs/metrics.md", "<!-- Generated from telemetry/families.go and a scrape; do not edit below. -->\n"
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, _, ok := bytes.Cut(have, []byte(marker))
	if !ok {
		t.Fatalf("%s has lost its marker", file)
	}
	var b bytes.Buffer
	b.Write(head)
	b.WriteString(marker)
	b.WriteString("\n### sluice\n\n| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n")
	for _, f := range Families() {
		labels := "–"
		if len(f.Labels) > 0 {
			labels = "`" + strings.Join(f.Labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.Name, f.Type, labels, f.Help)
	}
	for _, part := range []struct{ prefix, title string }{{"go_", "The Go runtime"}, {"process_", "The process"}} {
		fmt.Fprintf(&b, "\n### %s\n\n", part.title)
		for _, name := range libraryMetrics(t) {
			if strings.HasPrefix(name, part.prefix) {
				fmt.Fprintf(&b, "- `%s`\n", name)
			}
		}
	}
	b.WriteString("\n### Buckets\n\n")
	for _, h := range []struct {
		names string
		b     *buckets
	}{
		{"`sluice_request_seconds`, `sluice_upstream_seconds`", requestSeconds},
		{"`sluice_overhead_seconds`", overheadSeconds},
		{"`sluice_request_bytes`, `sluice_response_bytes`", bodyBytes},
	} {
		fmt.Fprintf(&b, "- %s: %s\n", h.names, strings.Join(h.b.le, ", "))
	}
	if *update {
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(have, b.Bytes()) {
		t.Errorf("%s is stale: go test ./telemetry -run MetricsReference -update", file)
	}
}

// TestMetricsInTheManualExist reads the names that the manual tells operators to
// watch.
func TestMetricsInTheManualExist(t *testing.T) {
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	library := make(map[string]bool)
	for _, name := range libraryMetrics(t) {
		name, _, _ = strings.Cut(name, "{")
		library[name] = true
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range metricName.FindAllString(string(text), -1) {
			if _, ours := familyOfSample(name); !ours && !library[name] {
				t.Errorf("%s: there is no metric %s", filepath.Base(page), name)
			}
		}
	}
}

// metricName is what looks like the name of a metric.
var metricName = regexp.MustCompile(`\b(sluice|go|process)_[a-z]+(_[a-z]+)*\b`)

// libraryMetrics returns the names in a scrape that are not sluice's own, with
// the labels' names. It leaves out those that are there only where the kernel
// counts pressure; the page says so by hand.
func libraryMetrics(t *testing.T) []string {
	var names []string
	for series := range scrapeText(t, NewMetrics(MetricsOptions{})) {
		if strings.HasPrefix(series, "sluice_") || strings.HasPrefix(series, "process_pressure_") {
			continue
		}
		names = append(names, labelValue.ReplaceAllString(series, "$1"))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

var labelValue = regexp.MustCompile(`(\w+)="[^"]*"`)

// TestEveryLogFieldIsDocumented reads the fields off a full line.
func TestEveryLogFieldIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/logs.md")
	if err != nil {
		t.Fatal(err)
	}
	_, doc, _ := strings.Cut(string(page), "\n## Fields\n")
	doc, _, _ = strings.Cut(doc, "\n## ")
	r := fullRecord()
	for v, i := reflect.ValueOf(*r), 0; i < v.NumField(); i++ {
		if name := v.Type().Field(i).Name; v.Field(i).IsZero() && name != "BytesIn" {
			t.Errorf("the test's record leaves %s out", name)
		}
	}
	line := encodeLine(r)
	fields := make(map[string]bool)
	for part := range strings.SplitSeq(line, `"`) {
		if !strings.Contains(line, `"`+part+`":`) {
			continue // a value
		}
		fields[part] = true
		if !strings.Contains(doc, "\n| `"+part+"` |") {
			t.Errorf("docs/logs.md has no row for %s", part)
		}
	}
	if rows := strings.Count(doc, "\n| `"); rows != len(fields) {
		t.Errorf("docs/logs.md has %d rows, a line has %d fields", rows, len(fields))
	}
}
