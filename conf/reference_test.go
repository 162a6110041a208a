package conf

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const referenceFile = "../docs/configuration.md"

// referenceMark divides what is written by hand from what is generated.
const referenceMark = "<!-- From here on generated from conf/document.go and conf/defaults.go: go generate ./conf -->\n"

func TestReferenceIsCurrent(t *testing.T) {
	text, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	intro, reference, ok := strings.Cut(string(text), referenceMark)
	if !ok {
		t.Fatalf("%s has lost the line %q", referenceFile, referenceMark)
	}
	want := newReference().write()
	if *update {
		if err := os.WriteFile(referenceFile, []byte(intro+referenceMark+want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if diff := cmp.Diff(want, reference); diff != "" {
		t.Errorf("%s is out of date; run go generate ./conf (-want +got):\n%s", referenceFile, diff)
	}
}

// Every complete example in the manual must load.
func TestManualExamplesLoad(t *testing.T) {
	text, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(text, -1)
	if len(examples) < 3 {
		t.Fatalf("%d examples", len(examples))
	}
	for _, e := range examples {
		if d, ps := Parse("example.yaml", e[1], goodEnv); d == nil {
			t.Errorf("refused: %v\n%s", ps.Err(), e[1])
		}
	}
}

// reference writes one table for each struct, in the order of the document.
type reference struct {
	out    bytes.Buffer
	titles map[reflect.Type]string // of the tables, by type
}

func newReference() *reference { return &reference{titles: map[reflect.Type]string{}} }

func (r *reference) write() string {
	r.table("Top level", reflect.TypeFor[Document]())
	return r.out.String()
}

// table writes the table of t and, below it, those of the structs it holds.
func (r *reference) table(title string, t reflect.Type) {
	fmt.Fprintf(&r.out, "\n## %s\n\n", title)
	if f, ok := shortField(t); ok {
		fmt.Fprintf(&r.out, "A plain text stands for `%s` alone.\n\n", f.key)
	}
	r.out.WriteString("| key | type | default | meaning |\n| --- | --- | --- | --- |\n")
	base := strings.Trim(title, "`")
	if t == reflect.TypeFor[Document]() {
		base = ""
	}
	type child struct {
		title string
		typ   reflect.Type
	}
	var children []child
	for _, f := range fieldsOf(t) {
		path, inner := strings.TrimPrefix(base+"."+f.key, "."), f.typ
		for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice || inner.Kind() == reflect.Map {
			switch inner.Kind() {
			case reflect.Slice:
				path += "[]"
			case reflect.Map:
				path += ".NAME"
			}
			inner = inner.Elem()
		}
		if _, known := r.titles[inner]; isSection(inner) && !known {
			r.titles[inner] = "`" + path + "`"
			children = append(children, child{"`" + path + "`", inner})
		}
		value, meaning := defaultAndMeaning(f)
		fmt.Fprintf(&r.out, "| `%s` | %s | %s | %s |\n", f.key, r.typeName(f.typ, f), cell(value), cell(meaning))
	}
	for _, c := range children {
		r.table(c.title, c.typ)
	}
}

func (r *reference) typeName(t reflect.Type, f field) string {
	switch {
	case t.Kind() == reflect.Pointer:
		return r.typeName(t.Elem(), f)
	case isSection(t):
		return "[" + r.titles[t] + "](#" + anchor(r.titles[t]) + ")"
	case t.Kind() == reflect.Slice:
		switch name := r.typeName(t.Elem(), f); name {
		case "text", "network":
			return "list of " + name + "s"
		default:
			return "list of " + name
		}
	case t.Kind() == reflect.Map:
		return "name to " + r.typeName(t.Elem(), f)
	case t == secretType:
		return "secret"
	case isUnit(t):
		return strings.SplitN(unitForms[t].noun, " ", 2)[1]
	case t.Kind() == reflect.Bool:
		return "true or false"
	case f.enum != nil:
		return "`" + strings.Join(f.enum, "`, `") + "`"
	case t.Kind() == reflect.String:
		return "text"
	}
	return "number"
}

// defaultAndMeaning splits the sentence of f in what stands in its two columns.
func defaultAndMeaning(f field) (value, meaning string) {
	meaning = literal(f.doc)
	if before, after, ok := strings.Cut(meaning, "Default: "); ok {
		meaning = strings.TrimSpace(before)
		var more string
		value, more, _ = strings.Cut(after, "; ")
		value = strings.TrimSuffix(value, ".")
		if more != "" {
			meaning += " " + strings.ToUpper(more[:1]) + more[1:]
		}
	}
	if d, ok := defaults[f.owner+"."+f.key]; ok {
		value = "`" + strings.Trim(d.value, `"`) + "`: " + literal(d.reason)
	}
	if f.need {
		value = "required"
	} else if value == "" && f.typ.Kind() == reflect.Bool {
		value = "`false`"
	}
	if f.min != "" || f.max != "" {
		meaning += " " + bounds(f)
	}
	if f.soon != "" {
		meaning += " **Accepted, but in this version " + f.soon + ".**"
	}
	return value, meaning
}

// literal keeps Markdown from taking text for its own marks.
func literal(text string) string {
	return strings.NewReplacer("*", `\*`, "_", `\_`, "<", "&lt;").Replace(text)
}

func bounds(f field) string {
	switch {
	case f.max == "":
		return "At least " + f.min + "."
	case f.min == "":
		return "At most " + f.max + "."
	}
	return "From " + f.min + " to " + f.max + "."
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

// anchor is the fragment that a heading gets in rendered Markdown.
func anchor(title string) string {
	return regexp.MustCompile(`[^a-z0-9_-]`).ReplaceAllString(strings.ToLower(title), "")
}

// derived are the defaults that are no constants: deriveDefaults or the room
// that acts on the setting fills them in.
var derived = map[string]bool{
	"Node.name": true, "Listener.trusted_proxies": true, "Issuer.jwks_url": true, "Burst.size": true, "Service.host": true,
	"ServiceTimeouts.header": true, "UpstreamTLS.ca": true, "UpstreamTLS.server_name": true, "Route.name": true, "Route.timeout": true,
	"CORS.headers": true, "Limits.anonymous": true,
}

// The sentence of a setting and the table of defaults say the same.
func TestSentencesAgreeWithDefaults(t *testing.T) {
	seen := map[string]bool{}
	var walk func(typ reflect.Type)
	walk = func(typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice || typ.Kind() == reflect.Map {
			typ = typ.Elem()
		}
		if !isSection(typ) {
			return
		}
		for _, f := range fieldsOf(typ) {
			name := f.owner + "." + f.key
			if seen[name] {
				continue
			}
			seen[name] = true
			if f.doc == "" || !strings.HasSuffix(strings.TrimSuffix(f.doc, "…"), ".") && !strings.Contains(f.doc, "Default: ") && !strings.HasSuffix(f.doc, "…") {
				t.Errorf("%s has no sentence: %q", name, f.doc)
			}
			d, inTable := defaults[name]
			_, said, inDoc := strings.Cut(f.doc, "Default: ")
			switch {
			case inTable && d.reason == "":
				t.Errorf("%s: the default has no reason", name)
			case inTable && composite(f.typ):
				// These are said in words; TestEmptyDocumentIsUsable checks them.
			case inTable && !inDoc:
				t.Errorf("%s: the sentence does not name the default %s", name, d.value)
			case inTable:
				value := strings.Trim(d.value, `"`)
				if rest, ok := strings.CutPrefix(said, value); !ok || rest != "" && rest != "." && !strings.HasPrefix(rest, "; ") {
					t.Errorf("%s: the sentence says %q, the table %q", name, said, value)
				}
			case inDoc && !derived[name]:
				t.Errorf("%s: the sentence promises the default %q, which nobody gives", name, said)
			}
			if f.need && inTable {
				t.Errorf("%s is required and has a default", name)
			}
			walk(f.typ)
		}
	}
	walk(reflect.TypeFor[Document]())
	for name := range defaults {
		if !seen[name] {
			t.Errorf("there is no setting %s", name)
		}
	}
	for name := range derived {
		if !seen[name] {
			t.Errorf("there is no setting %s", name)
		}
	}
}
