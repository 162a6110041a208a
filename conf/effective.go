package conf

import (
	"bytes"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"fmt"
	"io"
	"reflect"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// Effective returns d as YAML with every default filled in and marked as such,
// and every secret redacted. But for the secrets it is a configuration of the
// same meaning.
func Effective(d *Document) ([]byte, error) {
	e := encoder{doc: d, redact: true}
	return marshal(e.section(reflect.ValueOf(d).Elem(), ""))
}

func marshal(n *yaml.Node) ([]byte, error) {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(n); err != nil {
		return nil, fmt.Errorf("encode configuration: %w", err)
	}
	if err := enc.Close(); err != nil {
		return nil, fmt.Errorf("encode configuration: %w", err)
	}
	return b.Bytes(), nil
}

// hashRounds stretches the hash to about a millisecond: whoever sees it, in a
// metric or a log, cannot try short secrets against it cheaply.
const hashRounds = 4096

func hash(d *Document) string {
	nameless := *d
	nameless.Node.Name = ""
	e := encoder{doc: &nameless}
	h := sha256.New()
	writeTree(h, e.section(reflect.ValueOf(&nameless).Elem(), ""))
	key, err := pbkdf2.Key(sha256.New, string(h.Sum(nil)), []byte("sluice configuration hash 1"), hashRounds, 6)
	if err != nil {
		panic("BUG: " + err.Error()) // only for lengths that FIPS mode refuses
	}
	return hex.EncodeToString(key)
}

// writeTree writes n so that different trees give different bytes.
func writeTree(w io.Writer, n *yaml.Node) {
	fmt.Fprintf(w, "%d %d %d:%s", n.Kind, len(n.Content), len(n.Value), n.Value)
	for _, child := range n.Content {
		writeTree(w, child)
	}
}

// encoder turns a document back into YAML.
type encoder struct {
	doc    *Document
	redact bool
}

// section encodes a struct: what is zero and has no default counts as absent.
func (e encoder) section(v reflect.Value, path string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range fieldsOf(v.Type()) {
		fv := v.FieldByIndex(f.index)
		at := keyPath(path, f.key)
		if fv.Kind() == reflect.Pointer && fv.IsNil() || defaultNode(f) == nil && empty(fv) {
			continue
		}
		child := e.value(fv, at, f)
		if isSection(f.typ) && len(child.Content) == 0 {
			continue
		}
		if e.redact && !e.doc.given[at] && !composite(f.typ) {
			child.LineComment = "default"
		}
		n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: f.key}, child)
	}
	return n
}

func empty(v reflect.Value) bool {
	if v.Kind() == reflect.Slice || v.Kind() == reflect.Map {
		return v.Len() == 0
	}
	return v.IsZero()
}

// composite reports whether t holds settings that are marked one by one.
func composite(t reflect.Type) bool {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	return isSection(t)
}

func (e encoder) value(v reflect.Value, path string, f field) *yaml.Node {
	t := v.Type()
	switch {
	case t.Kind() == reflect.Pointer:
		return e.value(v.Elem(), path, f)
	case isSection(t):
		return e.section(v, path)
	case t.Kind() == reflect.Slice:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		if !composite(t) {
			n.Style = yaml.FlowStyle
		}
		for i := range v.Len() {
			n.Content = append(n.Content, e.value(v.Index(i), indexPath(path, i), f))
		}
		return n
	case t.Kind() == reflect.Map:
		n := &yaml.Node{Kind: yaml.MappingNode}
		for _, name := range sortedKeys(reflectKeys(v)) {
			at := keyPath(path, name)
			child := e.value(v.MapIndex(reflect.ValueOf(name)), at, f)
			if e.redact && f.setsHeaders() && e.secretHeader(name, at) {
				child.SetString(redacted)
			}
			key := &yaml.Node{}
			key.SetString(name)
			n.Content = append(n.Content, key, child)
		}
		return n
	}
	return e.scalar(v)
}

func reflectKeys(v reflect.Value) map[string]struct{} {
	keys := make(map[string]struct{}, v.Len())
	for _, k := range v.MapKeys() {
		keys[k.String()] = struct{}{}
	}
	return keys
}

// secretHeader reports whether the value of a header that is set may be a
// credential for a service: by its name, or because the environment holds it.
func (e encoder) secretHeader(name, path string) bool {
	_, written := e.doc.written[path]
	return written || secretName.MatchString(name)
}

// setsHeaders reports whether f maps header names to values that are sent.
func (f field) setsHeaders() bool {
	return f.owner == "Route" && f.key == "set_headers" || f.owner == "Headers" && f.key == "set" || f.owner == "LogOutput" && f.key == "headers"
}

func (e encoder) scalar(v reflect.Value) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode}
	switch x := v.Interface().(type) {
	case Secret:
		text := x.Reveal()
		if e.redact {
			text = x.String()
		}
		n.SetString(escapeVariables(text))
	case encoding.TextMarshaler:
		text, err := x.MarshalText()
		if err != nil {
			panic("BUG: " + err.Error()) // units always have a text
		}
		n.Value = string(text)
	case bool:
		n.Value = strconv.FormatBool(x)
	case string:
		n.SetString(escapeVariables(x))
	default:
		n.Value = strconv.FormatInt(v.Int(), 10)
	}
	return n
}
