package conf

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "rewrite what is generated: the expected problems and docs/configuration.md")

// canary is the secret that the broken documents hold; it must never come out.
const canary = "hunter2"

// testEnv is the environment of the broken documents.
func testEnv(name string) (string, bool) {
	value, ok := map[string]string{
		"WORD": "abc", "NUMBER": "10", "EMPTY": "", "LINES": "a\nb",
		"SECRET": canary, "NETWORK": "10.1.2.3/8",
	}[name]
	return value, ok
}

// The archives in testdata/bad hold pairs: NAME.yaml and NAME.want, the problems
// as they are rendered. Warnings alone leave the document usable.
func TestBrokenDocuments(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	cases := 0
	for _, file := range files {
		topic := strings.TrimSuffix(filepath.Base(file), ".txtar")
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i+1 < len(archive.Files); i += 2 {
			input, want := &archive.Files[i], &archive.Files[i+1]
			name := strings.TrimSuffix(input.Name, ".yaml")
			if want.Name != name+".want" {
				t.Fatalf("%s: %s is followed by %s", file, input.Name, want.Name)
			}
			cases++
			t.Run(topic+"/"+name, func(t *testing.T) {
				got := checkBroken(t, input.Name, input.Data)
				if *update {
					want.Data = got
				} else if diff := cmp.Diff(string(want.Data), string(got)); diff != "" {
					t.Errorf("problems of %s (-want +got):\n%s", input.Name, diff)
				}
			})
		}
		if *update {
			if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if cases < 100 {
		t.Errorf("only %d broken documents", cases)
	}
}

// brokenDocuments returns the inputs of testdata/bad.
func brokenDocuments(tb testing.TB) [][]byte {
	tb.Helper()
	files, err := filepath.Glob("testdata/bad/*.txtar")
	if err != nil {
		tb.Fatal(err)
	}
	var all [][]byte
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		for _, f := range archive.Files {
			if strings.HasSuffix(f.Name, ".yaml") {
				all = append(all, f.Data)
			}
		}
	}
	return all
}

// checkBroken renders the problems of a document after checking what holds for
// all of them.
func checkBroken(t *testing.T, file string, data []byte) []byte {
	t.Helper()
	d, ps := Parse(file, data, testEnv)
	if len(ps) == 0 {
		t.Error("no problem was found")
	}
	if errors, _ := ps.Count(); (d == nil) != (errors > 0) {
		t.Errorf("document given: %v, with %d errors", d != nil, errors)
	}
	lines := bytes.Split(data, []byte("\n"))
	for i, p := range ps {
		if p.Position.File != file || p.Position.Line < 1 || p.Position.Line > len(lines) ||
			p.Position.Column < 1 || p.Position.Column > len([]rune(string(lines[p.Position.Line-1])))+1 {
			t.Errorf("problem %d is nowhere in the file: %v", i, p)
		}
		if p.Message == "" || p.Hint == "" {
			t.Errorf("problem %d lacks a message or a hint: %+v", i, p)
		}
	}
	var rendered bytes.Buffer
	if err := ps.Render(&rendered, data, false); err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(ps)
	if err != nil {
		t.Fatal(err)
	}
	for form, text := range map[string]string{"rendered": rendered.String(), "JSON": string(asJSON)} {
		if strings.Contains(text, canary) {
			t.Errorf("the secret is in the %s problems:\n%s", form, text)
		}
	}
	return rendered.Bytes()
}
