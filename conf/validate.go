package conf

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// validate checks what the types cannot say: references between settings,
// combinations, and texts with a syntax of their own. Values that did not decode
// were reported and are left alone.
func validate(d *Document, dec *decoder) {
	v := &validator{doc: d, dec: dec}
	v.listeners()
	v.admin()
	v.backing()
	v.auth()
	v.limits()
	v.services()
	v.routes()
	v.browser()
	v.waf()
	v.observability()
	v.unreachable()
}

type validator struct {
	doc *Document
	dec *decoder
}

func (v *validator) errorf(path, hint, format string, args ...any) {
	v.dec.at(v.pos(path), path, fmt.Sprintf(format, args...), hint)
}

func (v *validator) warnf(path, hint, format string, args ...any) {
	if !v.broken(path) {
		v.dec.warnAt(v.pos(path), path, fmt.Sprintf(format, args...), hint)
	}
}

// keyErrorf is errorf about the name of a value in a table, not the value.
func (v *validator) keyErrorf(path, hint, format string, args ...any) {
	pos, ok := v.dec.names[path]
	if !ok {
		pos = v.pos(path)
	}
	v.dec.at(pos, path, fmt.Sprintf(format, args...), hint)
}

func (v *validator) pos(path string) Position { return v.doc.Pos(path) }

// broken reports whether path already has an error, so that its value in the
// document is not the file's.
func (v *validator) broken(path string) bool { return v.dec.failed[path] }

// given reports whether the file has a value at path.
func (v *validator) given(path string) bool { return v.dec.given[path] }

// quote quotes the value at path as a message may: see scalarText.shown.
func (v *validator) quote(path, value string) string {
	if written, ok := v.dec.written[path]; ok {
		return strconv.Quote(written)
	}
	return strconv.Quote(userInfo.ReplaceAllString(value, "://"+redacted+"@"))
}

// syntax reports err about the value at path.
func (v *validator) syntax(path, value string, err *valueError) {
	if err != nil {
		v.errorf(path, err.Hint, "%s %s", v.quote(path, value), err.Message)
	}
}

// reference checks that name is one of the names of something.
func (v *validator) reference(path, name, noun, section string, names []string) {
	if v.broken(path) || v.broken(section) || name == "" || slices.Contains(names, name) {
		return
	}
	hint := didYouMean(name, noun+"s", names)
	if _, ok := v.dec.written[path]; ok {
		hint = didYouMean("", noun+"s", names) // the name is the environment's
	}
	v.errorf(path, hint, "there is no %s %s", noun, v.quote(path, name))
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// unique reports the second of two equal elements of a list, compared by fold.
func (v *validator) unique(path string, list []string, fold func(string) string) {
	seen := map[string]int{}
	for i, s := range list {
		at := indexPath(path, i)
		if v.broken(at) || s == "" {
			continue
		}
		if first, ok := seen[fold(s)]; ok {
			v.errorf(at, "remove one of them", "%s stands here twice, first as %s", v.quote(at, s), indexPath(path, first))
			continue
		}
		seen[fold(s)] = i
	}
}

func same(s string) string { return s }
