package conf

import (
	"encoding"
	"reflect"
	"strings"
	"sync"
)

// field is what the tags of one struct field say.
type field struct {
	owner string // name of the struct, for the table of defaults
	key   string
	doc   string
	enum  []string
	need  bool
	short bool
	soon  string
	min   string
	max   string
	index []int
	typ   reflect.Type
}

var fieldCache sync.Map // reflect.Type → []field

// fieldsOf returns the settings of struct t in their order, those of inline
// structs among them.
func fieldsOf(t reflect.Type) []field {
	if fs, ok := fieldCache.Load(t); ok {
		return fs.([]field)
	}
	var fs []field
	for sf := range t.Fields() {
		key, option, _ := strings.Cut(sf.Tag.Get("yaml"), ",")
		if option == "inline" {
			for _, f := range fieldsOf(sf.Type) {
				f.index = append(append([]int{}, sf.Index...), f.index...)
				fs = append(fs, f)
			}
			continue
		}
		if key == "" {
			continue
		}
		f := field{
			owner: t.Name(), key: key, doc: sf.Tag.Get("doc"),
			need: sf.Tag.Get("need") == "true", short: sf.Tag.Get("short") == "true",
			soon: sf.Tag.Get("soon"), min: sf.Tag.Get("min"), max: sf.Tag.Get("max"),
			index: sf.Index, typ: sf.Type,
		}
		if words := sf.Tag.Get("enum"); words != "" {
			f.enum = strings.Split(words, "|")
		}
		fs = append(fs, f)
	}
	fieldCache.Store(t, fs)
	return fs
}

// fieldOf returns the setting of struct t named key.
func fieldOf(t reflect.Type, key string) (field, bool) {
	for _, f := range fieldsOf(t) {
		if f.key == key {
			return f, true
		}
	}
	return field{}, false
}

// shortField returns the setting that a plain text for struct t gives.
func shortField(t reflect.Type) (field, bool) {
	for _, f := range fieldsOf(t) {
		if f.short {
			return f, true
		}
	}
	return field{}, false
}

var (
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	secretType      = reflect.TypeFor[Secret]()
)

// isUnit reports whether values of t are read by their own UnmarshalText.
func isUnit(t reflect.Type) bool { return reflect.PointerTo(t).Implements(textUnmarshaler) }

// isSection reports whether t is a struct of settings.
func isSection(t reflect.Type) bool { return t.Kind() == reflect.Struct && !isUnit(t) }

// unitForm says how values of a unit type are written.
type unitForm struct {
	noun    string
	example string
	pattern string // ECMA 262, for the schema
}

var unitForms = map[reflect.Type]unitForm{
	reflect.TypeFor[Duration](): {"a duration", "500ms, 30s, 5m, 1h30m or 14d", `^(0|([0-9]+(\.[0-9]*)?(d|h|m|s|ms|us|µs|ns))+)$`},
	reflect.TypeFor[Size]():     {"a size", "512B, 64KiB, 1MiB or 10GB", `^(0|[0-9]+(\.[0-9]*)?(B|[kKMGT]B|[KMGT]iB))$`},
	reflect.TypeFor[Rate]():     {"a rate", "50/s, 600/m or 1000/h", `^[0-9]+(\.[0-9]*)?/[smhd]$`},
	reflect.TypeFor[Percent]():  {"a share", "20% or 0.2", `^[0-9]+(\.[0-9]*)?%?$`},
	reflect.TypeFor[Time]():     {"a time", "2026-11-26T12:00:00Z", `^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})$`},
	reflect.TypeFor[Prefix]():   {"a network", "10.0.0.0/8, 2001:db8::/32 or a single address", `^[0-9a-fA-F:.]+(/[0-9]{1,3})?$`},
}
