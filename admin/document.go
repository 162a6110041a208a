package admin

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"go.yaml.in/yaml/v3"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"sluice/conf"
)

// fragments are the parts of the OpenAPI document: base.yaml and one file for
// each resource, with paths and components of its own.
//
//go:embed openapi/*.yaml
var fragments embed.FS

// document is the OpenAPI 3.1 document of the API: what is served, what bodies
// are checked by, and what the reference page is made of.
type document struct {
	tree   map[string]any // as JSON knows it
	json   []byte
	bodies map[string]*jsonschema.Schema // of request bodies, by the route's pattern
}

// document puts the fragments together when it is first asked for: a node that
// is never asked does not pay for it.
func (s *Server) document() *document { return openAPI() }

var openAPI = sync.OnceValue(func() *document {
	d, err := newDocument(fragments)
	if err != nil {
		panic("BUG: the OpenAPI document: " + err.Error())
	}
	return d
})

// Document returns the OpenAPI 3.1 document of the API, as JSON.
func Document() []byte { return slices.Clone(openAPI().json) }

func newDocument(files fs.FS) (*document, error) {
	tree, err := merge(files)
	if err != nil {
		return nil, err
	}
	d := &document{tree: tree, bodies: map[string]*jsonschema.Schema{}}
	d.complete()
	if d.json, err = json.Marshal(tree); err != nil {
		return nil, err
	}
	// The compiler wants what jsonschema itself decoded.
	decoded, err := jsonschema.UnmarshalJSON(bytes.NewReader(d.json))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	// Texts with units, as the configuration has them.
	c.RegisterFormat(&jsonschema.Format{Name: "sluice-duration", Validate: inWords(conf.ParseDuration)})
	c.RegisterFormat(&jsonschema.Format{Name: "sluice-rate", Validate: inWords(conf.ParseRate)})
	c.RegisterFormat(&jsonschema.Format{Name: "sluice-network", Validate: inWords(netip.ParsePrefix)})
	if err := c.AddResource("openapi.json", decoded); err != nil {
		return nil, err
	}
	for o := range d.operations {
		if _, has := lookup(o.tree, "requestBody", "content", "application/json", "schema"); !has {
			continue
		}
		at := "openapi.json#/paths/" + escape(o.path) + "/" + o.method + "/requestBody/content/application~1json/schema"
		schema, err := c.Compile(at)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.pattern(), err)
		}
		d.bodies[o.pattern()] = schema
	}
	return d, nil
}

// inWords makes a format of what parses a text.
func inWords[T any](parse func(string) (T, error)) func(any) error {
	return func(v any) error {
		text, ok := v.(string)
		if !ok {
			return nil // its type is another rule's affair
		}
		_, err := parse(text)
		return err
	}
}

// merge reads the fragments. Two that define one thing are an error.
func merge(files fs.FS) (map[string]any, error) {
	names, err := fs.Glob(files, "openapi/*.yaml")
	if err != nil {
		return nil, err
	}
	tree := map[string]any{}
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		var part map[string]any
		if err := yaml.Unmarshal(text, &part); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if err := graft(tree, part, 0); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return tree, nil
}

// graft adds part to tree. Maps are merged down to where things have names: the
// paths, and the schemas and other components by their kind.
func graft(tree, part map[string]any, depth int) error {
	for key, value := range part {
		had, taken := tree[key]
		if !taken {
			tree[key] = value
			continue
		}
		a, ok1 := had.(map[string]any)
		b, ok2 := value.(map[string]any)
		if list, ok := had.([]any); ok {
			more, ok := value.([]any)
			if !ok {
				return fmt.Errorf("%s is a list elsewhere", key)
			}
			tree[key] = append(list, more...)
			continue
		}
		if !ok1 || !ok2 || depth > 2 {
			return fmt.Errorf("%s is there twice", key)
		}
		if err := graft(a, b, depth+1); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

// operation is one method of one path.
type operation struct {
	path, method string // as in the document: /api/v1/x/{id}, get
	tree         map[string]any
}

// pattern is the operation's route as the server knows it.
func (o operation) pattern() string { return strings.ToUpper(o.method) + " " + o.path }

var methods = []string{"get", "put", "post", "delete", "patch"}

// operations yields all operations, by path and then method.
func (d *document) operations(yield func(operation) bool) {
	paths, _ := d.tree["paths"].(map[string]any)
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		item, _ := paths[path].(map[string]any)
		for _, m := range methods {
			if tree, ok := item[m].(map[string]any); ok && !yield(operation{path, m, tree}) {
				return
			}
		}
	}
}

// complete adds to every operation what goes without saying: that errors are
// problems, and that the one who calls needs a role.
func (d *document) complete() {
	for o := range d.operations {
		responses, _ := o.tree["responses"].(map[string]any)
		if responses == nil {
			responses = map[string]any{}
			o.tree["responses"] = responses
		}
		if _, has := responses["default"]; !has {
			responses["default"] = map[string]any{"$ref": "#/components/responses/Problem"}
		}
		role, _ := o.tree["x-role"].(string)
		if role == "" {
			o.tree["security"] = []any{}
		}
	}
}

// check holds the body of a call to its schema. The error is of text that is
// not JSON.
func (d *document) check(pattern string, body []byte) ([]Fault, error) {
	schema := d.bodies[pattern]
	if schema == nil {
		panic("BUG: the OpenAPI document has no request body for " + pattern)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	err = schema.Validate(value)
	if err == nil {
		return nil, nil
	}
	v, ok := err.(*jsonschema.ValidationError) //nolint:errorlint // that is what Validate returns
	if !ok {
		return nil, err
	}
	return leaves(nil, v), nil
}

var english = message.NewPrinter(language.English)

// leaves turns the tree of a violation into faults: its leaves, each at the
// field that has to change.
func leaves(faults []Fault, v *jsonschema.ValidationError) []Fault {
	at := slices.Clip(v.InstanceLocation)
	add := func(detail string, more ...string) {
		f := Fault{Pointer: pointer(append(at, more...)...), Detail: detail}
		if !slices.Contains(faults, f) {
			faults = append(faults, f)
		}
	}
	switch k := v.ErrorKind.(type) {
	case *kind.Required:
		for _, name := range k.Missing {
			add("is missing", name)
		}
		return faults
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			add("is not a member that is known here", name)
		}
		return faults
	case *kind.FalseSchema:
		add("may not be given here")
		return faults
	case *kind.Format:
		if strings.HasPrefix(k.Want, "sluice-") { // ours say what would be right
			add(sentence(k.Err))
			return faults
		}
	}
	if len(v.Causes) == 0 {
		add(v.ErrorKind.LocalizedString(english))
		return faults
	}
	for _, cause := range v.Causes {
		faults = leaves(faults, cause)
	}
	return faults
}

// pointer is a JSON pointer as a URI fragment.
func pointer(names ...string) string {
	var b strings.Builder
	b.WriteByte('#')
	for _, n := range names {
		b.WriteByte('/')
		b.WriteString(escape(n))
	}
	return b.String()
}

var escape = strings.NewReplacer("~", "~0", "/", "~1").Replace

func lookup(tree map[string]any, names ...string) (any, bool) {
	var at any = tree
	for _, n := range names {
		m, ok := at.(map[string]any)
		if !ok {
			return nil, false
		}
		if at, ok = m[n]; !ok {
			return nil, false
		}
	}
	return at, true
}
