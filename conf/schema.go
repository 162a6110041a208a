package conf

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// schemaID names the schema; nothing is fetched from there.
const schemaID = "https://docs.sluice.example/configuration.schema.json"

// Schema returns the JSON Schema (2020-12) of the configuration, generated from
// the tags of document.go, for editors. It says what a single value may be; what
// depends on other values only [Parse] checks.
func Schema() []byte {
	s := schemer{defs: object{
		"Variable": object{
			"type": "string", "pattern": `\$\{`,
			"description": "A value with ${VARIABLE} or ${VARIABLE:-default}, expanded from the environment.",
		},
	}}
	root := s.section(reflect.TypeFor[Document]())
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["$id"] = schemaID
	root["title"] = "sluice configuration"
	root["patternProperties"] = object{"^x-": object{"description": "A place for anchors; not read."}}
	root["$defs"] = s.defs
	text, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		panic("BUG: " + err.Error()) // plain maps, lists and texts
	}
	return append(text, '\n')
}

type object = map[string]any

type schemer struct{ defs object }

// section returns the schema of a struct given as a mapping.
func (s *schemer) section(t reflect.Type) object {
	properties, required := object{}, []string{}
	for _, f := range fieldsOf(t) {
		p := s.value(f.typ, f)
		p["description"] = f.doc
		if f.soon != "" {
			p["description"] = f.doc + " Accepted, but in this version " + f.soon + "."
		}
		if n := defaultNode(f); n != nil {
			p["default"] = plainValue(n)
		}
		properties[f.key] = p
		if f.need {
			required = append(required, f.key)
		}
	}
	o := object{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		o["required"] = required
	}
	return o
}

// value returns the schema of a value of type t that f holds.
func (s *schemer) value(t reflect.Type, f field) object {
	switch {
	case t.Kind() == reflect.Pointer:
		return s.value(t.Elem(), f)
	case isSection(t):
		return s.reference(t.Name(), func() object {
			if short, ok := shortField(t); ok {
				return object{"anyOf": []any{s.value(short.typ, short), s.section(t)}}
			}
			return s.section(t)
		})
	case t.Kind() == reflect.Slice:
		return object{"type": "array", "items": s.value(t.Elem(), f)}
	case t.Kind() == reflect.Map:
		return object{"type": "object", "propertyNames": object{"minLength": 1}, "additionalProperties": s.value(t.Elem(), f)}
	case isUnit(t):
		return s.unit(t)
	}
	return object{"anyOf": []any{scalarSchema(t, f), object{"$ref": "#/$defs/Variable"}}}
}

func (s *schemer) reference(name string, define func() object) object {
	if _, ok := s.defs[name]; !ok {
		s.defs[name] = nil // ends the recursion of a type that holds itself
		s.defs[name] = define()
	}
	return object{"$ref": "#/$defs/" + name}
}

func (s *schemer) unit(t reflect.Type) object {
	return s.reference(t.Name(), func() object {
		form := unitForms[t]
		forms := []any{object{"type": "string", "pattern": form.pattern}}
		switch t {
		case reflect.TypeFor[Duration](), reflect.TypeFor[Size]():
			forms = append(forms, object{"const": 0})
		case reflect.TypeFor[Percent]():
			forms = append(forms, object{"type": "number", "minimum": 0, "maximum": 1})
		}
		return object{
			"description": strings.ToUpper(form.noun[:1]) + form.noun[1:] + ", such as " + form.example + ".",
			"anyOf":       append(forms, object{"$ref": "#/$defs/Variable"}),
		}
	})
}

func scalarSchema(t reflect.Type, f field) object {
	switch t.Kind() {
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.String:
		if f.enum != nil {
			return object{"enum": enumValues(f.enum)}
		}
		// YAML reads 1042 as a number; as a name it is as good as any.
		return object{"type": []string{"string", "number", "boolean"}}
	}
	o := object{"type": "integer"}
	if n, err := strconv.ParseInt(f.min, 10, 64); err == nil {
		o["minimum"] = n
	}
	if n, err := strconv.ParseInt(f.max, 10, 64); err == nil {
		o["maximum"] = n
	}
	return o
}

// enumValues returns words, and those that YAML reads as numbers as such too.
func enumValues(words []string) []any {
	var values []any
	for _, w := range words {
		values = append(values, w)
	}
	for _, w := range words {
		if n, err := strconv.ParseFloat(w, 64); err == nil {
			values = append(values, n)
		}
	}
	return values
}

// plainValue returns a default as JSON has it.
func plainValue(n *yaml.Node) any {
	var v any
	if err := n.Decode(&v); err != nil {
		panic("BUG: " + err.Error()) // every default was parsed
	}
	return v
}
