// Package apicontract holds the answers of an HTTP API to its OpenAPI 3.1
// document, in tests.
package apicontract

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Contract is a document to hold answers to. It is not safe for concurrent use.
type Contract struct {
	paths    map[string]any
	root     map[string]any
	compiler *jsonschema.Compiler
	seen     map[string]bool
}

// New reads a document.
func New(document []byte) (*Contract, error) {
	decoded, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		return nil, err
	}
	root, _ := decoded.(map[string]any)
	paths, _ := root["paths"].(map[string]any)
	if len(paths) == 0 {
		return nil, errors.New("the document has no paths")
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("openapi.json", decoded); err != nil {
		return nil, err
	}
	return &Contract{paths, root, c, map[string]bool{}}, nil
}

// Seen reports whether an answer of the operation has been checked.
func (c *Contract) Seen(pattern string) bool { return c.seen[pattern] }

// Check says what about an answer is not as documented. path is the request's,
// still escaped and without a query.
func (c *Contract) Check(method, path string, status int, contentType string, body []byte) error {
	template := c.find(path)
	if template == "" {
		return fmt.Errorf("%s is not in the document", path)
	}
	item, _ := c.paths[template].(map[string]any)
	lower := strings.ToLower(method)
	op, ok := item[lower].(map[string]any)
	if !ok {
		if status == 405 || status == 404 {
			return nil
		}
		return fmt.Errorf("%s %s is not in the document, and was answered with %d", method, template, status)
	}
	c.seen[method+" "+template] = true
	responses, _ := op["responses"].(map[string]any)
	at := "openapi.json#/paths/" + escape(template) + "/" + lower + "/responses/"
	key := strconv.Itoa(status)
	response, ok := responses[key].(map[string]any)
	if !ok {
		if status < 400 {
			return fmt.Errorf("%s %s: %d is not documented", method, template, status)
		}
		key = "default"
		if response, ok = responses[key].(map[string]any); !ok {
			return fmt.Errorf("%s %s: %d is not documented, nor is default", method, template, status)
		}
	}
	at += key
	if ref, ok := response["$ref"].(string); ok {
		at = "openapi.json" + ref
		response = c.resolve(ref)
	}
	content, _ := response["content"].(map[string]any)
	if len(content) == 0 {
		if len(body) > 0 {
			return fmt.Errorf("%s %s: %d has no content in the document, and %d bytes came", method, template, status, len(body))
		}
		return nil
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return fmt.Errorf("%s %s: content type %q: %w", method, template, contentType, err)
	}
	if _, ok := content[media]; !ok {
		return fmt.Errorf("%s %s: %d is not documented as %s", method, template, status, media)
	}
	if media != "application/json" && media != "application/problem+json" {
		return nil
	}
	schema, err := c.compiler.Compile(at + "/content/" + escape(media) + "/schema")
	if err != nil {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%s %s: %d is not JSON: %w", method, template, status, err)
	}
	if err := schema.Validate(value); err != nil {
		return fmt.Errorf("%s %s: %d: %w", method, template, status, err)
	}
	return nil
}

func (c *Contract) resolve(ref string) map[string]any {
	at := c.root
	for _, name := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
		at, _ = at[name].(map[string]any)
	}
	return at
}

// find returns the documented path that matches, the one with the fewest
// wildcards.
func (c *Contract) find(path string) string {
	best, fewest := "", 1<<10
	given := strings.Split(path, "/")
	for template := range c.paths {
		segments := strings.Split(template, "/")
		if len(segments) != len(given) {
			continue
		}
		wild, same := 0, true
		for i, s := range segments {
			if strings.HasPrefix(s, "{") && given[i] != "" {
				wild++
			} else if s != given[i] {
				same = false
			}
		}
		if same && wild < fewest {
			best, fewest = template, wild
		}
	}
	return best
}

var escape = strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace
