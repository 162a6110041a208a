package conf

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// decoder walks a YAML tree and the types of document.go side by side. It knows
// where every value stands, which ones the file gives and which came out of the
// environment.
type decoder struct {
	*report
	lines     [][]byte
	env       func(string) (string, bool)
	positions map[string]Position
	names     map[string]Position // of the names in tables
	given     map[string]bool     // paths with a value in the file
	written   map[string]string   // what the file says where a variable was expanded
	defaults  bool                // walking a default: nothing is recorded
}

func newDecoder(r *report, data []byte, env func(string) (string, bool)) *decoder {
	return &decoder{
		report: r, lines: bytes.Split(data, []byte("\n")), env: env,
		positions: map[string]Position{}, names: map[string]Position{}, given: map[string]bool{}, written: map[string]string{},
	}
}

func (d *decoder) document(root *yaml.Node, doc *Document) {
	d.record("", root)
	d.section(root, reflect.ValueOf(doc).Elem(), "")
}

// value decodes n into v. f is the field that v is, or that holds it. It reports
// whether a value was given.
func (d *decoder) value(n *yaml.Node, v reflect.Value, path string, f field) bool {
	n = resolved(n)
	d.record(path, n)
	t := v.Type()
	if t.Kind() == reflect.Pointer {
		v.Set(reflect.New(t.Elem()))
		if given := d.value(n, v.Elem(), path, f); !given {
			v.SetZero()
			return false
		}
		return true
	}
	composite := t.Kind() == reflect.Slice || t.Kind() == reflect.Map || isSection(t)
	if composite && isNull(n) {
		if f.need {
			return false
		}
		d.warnAt(nodePos(d.file, n), path, "has no value and counts as absent", "remove the key, or give it a value")
		return false
	}
	switch {
	case isSection(t):
		d.section(n, v, path)
	case t.Kind() == reflect.Slice:
		d.list(n, v, path, f)
	case t.Kind() == reflect.Map:
		d.table(n, v, path, f)
	default:
		return d.scalar(n, v, path, f)
	}
	return true
}

func (d *decoder) record(path string, n *yaml.Node) {
	if !d.defaults {
		d.positions[path] = nodePos(d.file, n)
	}
}

// section decodes a mapping into a struct.
func (d *decoder) section(n *yaml.Node, v reflect.Value, path string) {
	t := v.Type()
	if n.Kind != yaml.MappingNode {
		short, ok := shortField(t)
		if ok && n.Kind == yaml.ScalarNode {
			at := keyPath(path, short.key)
			d.given[at] = d.value(n, v.FieldByIndex(short.index), at, short) && !d.defaults
			if !d.given[at] && short.need {
				d.at(nodePos(d.file, n), at, "is empty", "write "+lowerFirst(strings.TrimSuffix(short.doc, ".")))
			}
			d.fill(v, path, map[string]bool{short.key: true})
			return
		}
		d.wrongKind(n, path, "a group of settings", "write `key: value` lines, or {key: value}")
		return
	}
	given := map[string]bool{}
	for _, e := range d.entries(n, path) {
		key := e.key.Value
		f, known := fieldOf(t, key)
		if !known {
			if path == "" && strings.HasPrefix(key, "x-") {
				continue // a place for anchors
			}
			d.unknownKey(e.key, path, t)
			continue
		}
		at := keyPath(path, key)
		given[key] = d.value(e.value, v.FieldByIndex(f.index), at, f)
		if given[key] && !d.defaults {
			d.given[at] = true
			d.warnSoon(e.key, v.FieldByIndex(f.index), at, f)
		}
	}
	for _, f := range fieldsOf(t) {
		if f.need && !given[f.key] {
			d.at(nodePos(d.file, n), keyPath(path, f.key), "is missing", "add it: "+lowerFirst(strings.TrimSuffix(f.doc, ".")))
		}
	}
	d.fill(v, path, given)
}

// fill gives the fields of struct v that were not given their defaults.
func (d *decoder) fill(v reflect.Value, path string, given map[string]bool) {
	for _, f := range fieldsOf(v.Type()) {
		at := keyPath(path, f.key)
		if given[f.key] || d.failed[at] {
			continue
		}
		fv := v.FieldByIndex(f.index)
		if n := defaultNode(f); n != nil {
			was := d.defaults
			d.defaults = true
			d.value(n, fv, at, f)
			d.defaults = was
		} else if isSection(f.typ) {
			d.fill(fv, at, nil)
		}
	}
}

func (d *decoder) unknownKey(key *yaml.Node, path string, t reflect.Type) {
	var keys []string
	for _, f := range fieldsOf(t) {
		keys = append(keys, f.key)
	}
	d.at(nodePos(d.file, key), keyPath(path, key.Value), "unknown key", didYouMean(key.Value, "keys here", keys))
}

// warnSoon warns when a setting is used that this version does not act on.
func (d *decoder) warnSoon(key *yaml.Node, v reflect.Value, path string, f field) {
	if f.soon == "" || d.failed[path] {
		return
	}
	absent := reflect.New(f.typ).Elem()
	if n := defaultNode(f); n != nil {
		scratch := newDecoder(&report{failed: map[string]bool{}}, nil, nil)
		scratch.defaults = true
		scratch.value(n, absent, path, f)
	}
	if reflect.DeepEqual(v.Interface(), absent.Interface()) {
		return
	}
	d.warnAt(nodePos(d.file, key), path, "accepted, but in this version "+f.soon, "remove it, or leave it for a later version")
}

// list decodes a sequence into a slice.
func (d *decoder) list(n *yaml.Node, v reflect.Value, path string, f field) {
	if n.Kind != yaml.SequenceNode {
		d.wrongKind(n, path, "a list", "write [a, b], or lines that begin with a dash")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	element := field{owner: f.owner, key: f.key, enum: f.enum, typ: f.typ.Elem()}
	for i, item := range n.Content {
		at := indexPath(path, i)
		if isNull(resolved(item)) {
			d.record(at, resolved(item))
			d.at(nodePos(d.file, resolved(item)), at, "has no value", "remove the dash or the comma, or give it a value")
			continue
		}
		if !d.value(item, v.Index(i), at, element) {
			d.at(nodePos(d.file, resolved(item)), at, "is empty", "remove it, or give it a value")
		}
	}
}

// table decodes a mapping into a map with names as keys.
func (d *decoder) table(n *yaml.Node, v reflect.Value, path string, f field) {
	if n.Kind != yaml.MappingNode {
		d.wrongKind(n, path, "names with their values", "write `name: value` lines, or {name: value}")
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	element := field{owner: f.owner, key: f.key, enum: f.enum, typ: f.typ.Elem()}
	for _, e := range d.entries(n, path) {
		name := e.key.Value
		at := keyPath(path, name)
		if name == "" {
			d.at(nodePos(d.file, e.key), at, "the name is empty", "give it a name")
			continue
		}
		if strings.ContainsFunc(name, control) {
			d.at(nodePos(d.file, e.key), at, "the name holds a line break or a control character", "give it a plain name")
			continue
		}
		if !d.defaults {
			d.names[at] = nodePos(d.file, e.key)
		}
		item := reflect.New(v.Type().Elem()).Elem()
		if value := resolved(e.value); isNull(value) {
			d.record(at, value)
			d.at(nodePos(d.file, e.key), at, "has no value", "give it a value, or remove the name")
		} else {
			d.value(value, item, at, element)
		}
		// The name exists even when its value is wrong: what refers to it is
		// no further problem.
		v.SetMapIndex(reflect.ValueOf(name), item)
	}
}

type entry struct{ key, value *yaml.Node }

// entries returns the pairs of mapping n with its merge keys (<<) unfolded: the
// mapping's own keys win, then the first of what is merged. A key that stands
// twice in one mapping is an error.
func (d *decoder) entries(n *yaml.Node, path string) []entry {
	var own, merged []entry
	seen := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := resolved(n.Content[i]), n.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode:
			d.at(nodePos(d.file, key), "", "a key must be a word", "write `key: value`")
		case key.ShortTag() == "!!merge":
			merged = append(merged, d.merged(value, path)...)
		case seen[key.Value] != nil:
			d.failed[keyPath(path, key.Value)] = false // say it even when the first one is wrong too
			d.at(nodePos(d.file, key), keyPath(path, key.Value), "is given twice", fmt.Sprintf("remove this one, or the one in line %d", seen[key.Value].Line))
		default:
			seen[key.Value] = key
			own = append(own, entry{key, value})
		}
	}
	for _, e := range merged {
		if seen[e.key.Value] == nil {
			seen[e.key.Value] = e.key
			own = append(own, e)
		}
	}
	return own
}

// merged returns the pairs that <<: n adds.
func (d *decoder) merged(n *yaml.Node, path string) []entry {
	n = resolved(n)
	switch n.Kind {
	case yaml.MappingNode:
		return d.entries(n, path)
	case yaml.SequenceNode:
		var all []entry
		for _, item := range n.Content {
			if item = resolved(item); item.Kind == yaml.MappingNode {
				all = append(all, d.entries(item, path)...)
				continue
			}
			d.at(nodePos(d.file, item), "", "<< can only merge groups of settings", "write <<: *name, or <<: [*one, *two]")
		}
		return all
	}
	d.at(nodePos(d.file, n), "", "<< can only merge groups of settings", "write <<: *name, or <<: [*one, *two]")
	return nil
}

// wrongKind reports that n is not what belongs at path.
func (d *decoder) wrongKind(n *yaml.Node, path, want, hint string) {
	d.at(nodePos(d.file, n), path, "must be "+want+", not "+kindName(n), hint)
}

// offsetPos returns the position of the byte offset in the value of scalar n. A
// value that is not written as it reads (escapes, several lines) is one place.
func (d *decoder) offsetPos(n *yaml.Node, offset int) Position {
	pos := nodePos(d.file, n)
	if d.defaults || n.Line < 1 || n.Line > len(d.lines) {
		return pos
	}
	line := []rune(string(d.lines[n.Line-1]))
	if n.Column-1 > len(line) {
		return pos
	}
	rest := string(line[n.Column-1:])
	if i := strings.Index(rest, n.Value); i >= 0 && i <= 1 {
		pos.Column += utf8.RuneCountInString(rest[:i+offset])
	}
	return pos
}

func lowerFirst(s string) string {
	if len(s) > 1 && s[1] >= 'a' && s[1] <= 'z' {
		return strings.ToLower(s[:1]) + s[1:]
	}
	return s
}
