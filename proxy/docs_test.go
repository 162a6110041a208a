package proxy

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"sluice/internal/problem"
)

var update = flag.Bool("update", false, "rewrite generated documents")

// TestErrorsDocIsTrue keeps docs/errors.md the same as the table of refusals.
func TestErrorsDocIsTrue(t *testing.T) {
	var b bytes.Buffer
	b.WriteString(`# Errors

Every answer that sluice itself gives is ` + "`application/problem+json`" + ` (RFC 9457): ` + "`type`, `title`, `status`, `detail`, `request_id`" + `, and for
429 also ` + "`violated-policies`, `tenant`, `tier`, `limit`, `remaining`, `retry_after`" + `. The access log has the word in ` + "`origin`" + ` and the cause, which is never
sent, in ` + "`error`" + `. An answer of the service has the origin ` + "`upstream`" + `, also when it is an error; 499 in the log is a client that left first.

The type is ` + "`" + problem.DocsURL + "`" + ` with the word, but for 429, whose type is registered: ` + "`" + problem.QuotaExceeded + "`" + `.

| word | status | title | what it says |
| --- | --- | --- | --- |
`)
	for _, r := range refusals[codeNone+1:] {
		fmt.Fprintf(&b, "| `%s` | %d | %s | %s |\n", r.word, r.status, r.title, r.detail)
	}
	b.WriteString("\nThis table is generated: `make generate`.\n")
	const path = "../docs/errors.md"
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, b.Bytes()) {
		t.Errorf("%s is not what the table says; run make generate", path)
	}
}

func TestRefusalsAreWhole(t *testing.T) {
	words := make(map[string]bool)
	for c, r := range refusals[codeNone+1:] {
		if r.word == "" || r.status < 400 || r.title == "" || !strings.HasSuffix(r.detail, ".") || words[r.word] {
			t.Errorf("row %d: %+v", c+1, r)
		}
		words[r.word] = true
	}
}
