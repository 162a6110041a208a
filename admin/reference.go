package admin

import (
	"bytes"
	"embed"
	"encoding/json"
	"html/template"
	"maps"
	"slices"
	"strings"
	"sync"
)

//go:embed reference/page.html reference/page.css
var referenceFiles embed.FS

// referenceRoutes are the OpenAPI document, and a page made of it that needs no
// script.
func (s *Server) referenceRoutes() {
	s.public("GET /api/v1/openapi.json", func(c *call) error { return c.text("application/json", s.document().json) })
	s.public("GET /api/v1/reference", func(c *call) error {
		c.w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		return c.text("text/html; charset=utf-8", referencePage())
	})
	s.public("GET /api/v1/reference.css", func(c *call) error {
		sheet, err := referenceFiles.ReadFile("reference/page.css")
		if err != nil {
			return err
		}
		return c.text("text/css; charset=utf-8", sheet)
	})
}

var referencePage = sync.OnceValue(func() []byte {
	page, err := renderReference(openAPI())
	if err != nil {
		panic("BUG: the reference page: " + err.Error())
	}
	return page
})

// shown is an operation as the page shows it.
type shown struct {
	Anchor, Method, Path, Summary, Description, Role string
	Parameters                                       []any
	Body                                             string // its schema, as JSON
	Answers                                          []shownAnswer
}

type shownAnswer struct{ Status, Description, Schema string }

func renderReference(d *document) ([]byte, error) {
	text, err := referenceFiles.ReadFile("reference/page.html")
	if err != nil {
		return nil, err
	}
	tmpl, err := template.New("page").Parse(string(text))
	if err != nil {
		return nil, err
	}
	byTag := map[string][]shown{}
	for o := range d.operations {
		tag := "other"
		if tags, ok := o.tree["tags"].([]any); ok && len(tags) > 0 {
			tag, _ = tags[0].(string)
		}
		byTag[tag] = append(byTag[tag], d.show(o))
	}
	type schema struct{ Name, JSON string }
	var schemas []schema
	if all, ok := lookup(d.tree, "components", "schemas"); ok {
		named, _ := all.(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(named)) {
			schemas = append(schemas, schema{name, indented(named[name])})
		}
	}
	var page bytes.Buffer
	err = tmpl.Execute(&page, map[string]any{
		"Info": d.tree["info"], "Tags": d.tree["tags"], "Operations": byTag, "Schemas": schemas,
	})
	return page.Bytes(), err
}

func (d *document) show(o operation) shown {
	word := func(name string) string { text, _ := o.tree[name].(string); return text }
	v := shown{
		Anchor: strings.Trim(strings.NewReplacer("/", "-", "{", "", "}", "", ":", "-", ".", "-").Replace(o.method+o.path), "-"),
		Method: strings.ToUpper(o.method), Path: o.path, Summary: word("summary"), Description: word("description"), Role: word("x-role"),
	}
	parameters, _ := o.tree["parameters"].([]any)
	for _, p := range parameters {
		v.Parameters = append(v.Parameters, d.resolve(p))
	}
	if schema, ok := lookup(o.tree, "requestBody", "content", "application/json", "schema"); ok {
		v.Body = indented(schema)
	}
	responses, _ := o.tree["responses"].(map[string]any)
	for _, status := range slices.Sorted(maps.Keys(responses)) {
		r, _ := d.resolve(responses[status]).(map[string]any)
		a := shownAnswer{Status: status}
		a.Description, _ = r["description"].(string)
		if content, ok := r["content"].(map[string]any); ok {
			for _, media := range slices.Sorted(maps.Keys(content)) {
				if schema, ok := lookup(content, media, "schema"); ok {
					a.Schema += media + " " + indented(schema)
				}
			}
		}
		v.Answers = append(v.Answers, a)
	}
	return v
}

// resolve follows a reference within the document.
func (d *document) resolve(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	ref, ok := m["$ref"].(string)
	if !ok {
		return v
	}
	target, _ := lookup(d.tree, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
	return target
}

func indented(v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // the template escapes
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return err.Error()
	}
	return b.String()
}
