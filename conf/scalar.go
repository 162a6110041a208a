package conf

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// scalar decodes a single value: variables first, then by the type of v. It
// reports whether there is one; an empty text is none.
func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path string, f field) bool {
	t := v.Type()
	if n.Kind != yaml.ScalarNode {
		d.wrongKind(n, path, scalarName(t), scalarHint(t, f))
		return true
	}
	text, used, offset, fault := expand(n.Value, d.lookup())
	if fault != nil {
		d.at(d.offsetPos(n, offset), path, fault.Message, fault.Hint)
		return true
	}
	if used && t != secretType {
		d.written[path] = n.Value
	}
	plain := n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
	tag := n.ShortTag()
	if used && (plain || t.Kind() != reflect.String) {
		// What a variable holds has the type that it would have in the file.
		tag = (&yaml.Node{Kind: yaml.ScalarNode, Value: text}).ShortTag()
	}
	switch {
	case strings.HasPrefix(tag, "!") && !strings.HasPrefix(tag, "!!"), tag == "!!binary":
		d.at(nodePos(d.file, n), path, "the tag "+tag+" is not supported", "remove it")
		return true
	case tag == "!!null" && !(t.Kind() == reflect.String && text == "" && used):
		if f.need && !used {
			return false // "is missing" says it
		}
		d.at(nodePos(d.file, n), path, "has no value", "give it a value, or remove the key")
		return true
	}
	s := scalarText{n: n, text: text, tag: tag, used: used}
	switch {
	case t == secretType:
		return d.secret(s, v, path)
	case isUnit(t):
		d.unit(s, v, path, f)
	case t.Kind() == reflect.String:
		return d.text(s, v, path, f)
	case t.Kind() == reflect.Bool:
		d.boolean(s, v, path)
	default:
		d.integer(s, v, path, f)
	}
	return true
}

// scalarText is a scalar after expansion.
type scalarText struct {
	n    *yaml.Node
	text string
	tag  string
	used bool // a variable was expanded
}

// shown quotes the value as a message may: what came out of the environment may
// be a secret, so the file's own words stand for it.
func (s scalarText) shown() string {
	if s.used {
		return strconv.Quote(s.n.Value)
	}
	return strconv.Quote(s.text)
}

func (d *decoder) lookup() func(string) (string, bool) {
	if d.env == nil {
		return func(string) (string, bool) { return "", false }
	}
	return d.env
}

func (d *decoder) secret(s scalarText, v reflect.Value, path string) bool {
	switch {
	case s.text == "":
		d.at(nodePos(d.file, s.n), path, "the secret is empty", "give it a value, or remove the key")
	case strings.ContainsFunc(s.text, control):
		d.at(nodePos(d.file, s.n), path, "the secret holds a line break or a control character", "write it on one line")
	default:
		v.SetString(s.text)
	}
	return true
}

func (d *decoder) text(s scalarText, v reflect.Value, path string, f field) bool {
	switch {
	case s.text == "":
		return false
	case strings.ContainsFunc(s.text, control):
		d.at(nodePos(d.file, s.n), path, "the value holds a line break or a control character", "write it on one line")
		return true
	case f.enum != nil && !slices.Contains(f.enum, s.text):
		hint := "write one of " + strings.Join(f.enum, ", ")
		if len(f.enum) == 1 {
			hint = "write " + f.enum[0]
		}
		if !s.used && strings.Trim(s.text, "0123456789") != "" {
			if word := suggest(s.text, f.enum); word != "" {
				hint = fmt.Sprintf("did you mean %q? (%s)", word, strings.Join(f.enum, ", "))
			}
		}
		d.at(nodePos(d.file, s.n), path, "unknown value "+s.shown(), hint)
		return true
	}
	v.SetString(s.text)
	return true
}

// control reports whether c ends a line or steers a terminal. No setting needs
// one, and logs, headers and metrics would carry it on.
func control(c rune) bool { return unicode.IsControl(c) && c != '\t' || c == '\u2028' || c == '\u2029' }

func (d *decoder) boolean(s scalarText, v reflect.Value, path string) {
	if s.tag != "!!bool" {
		hint := "write true or false"
		switch strings.ToLower(s.text) {
		case "yes", "on", "y", "true":
			hint = "write true, without quotes"
		case "no", "off", "n", "false":
			hint = "write false, without quotes"
		}
		d.wrong(s, path, "true or false", hint)
		return
	}
	v.SetBool(strings.EqualFold(s.text, "true"))
}

func (d *decoder) integer(s scalarText, v reflect.Value, path string, f field) {
	digits := strings.ReplaceAll(s.text, "_", "")
	value, err := strconv.ParseInt(digits, 0, 64)
	plainDigits := strings.Trim(digits, "0123456789") == ""
	switch {
	case s.tag == "!!str" && plainDigits && s.text != "":
		d.wrong(s, path, "a whole number", "remove the quotes")
	case s.tag == "!!str" && strings.Trim(s.text, "0123456789,") == "":
		d.wrong(s, path, "a whole number", "write it without commas; 1_000 is fine")
	case plainDigits && len(digits) > 1 && digits[0] == '0':
		d.at(nodePos(d.file, s.n), path, s.shown()+" begins with a zero", "remove the zero: YAML takes such a number as octal")
	case errors.Is(err, strconv.ErrRange), err == nil && v.OverflowInt(value):
		d.at(nodePos(d.file, s.n), path, s.shown()+" is too large", "write a smaller number")
	case err != nil || s.tag != "!!int":
		d.wrong(s, path, "a whole number", "write digits only, such as 1000 or 1_000")
	default:
		v.SetInt(value)
		d.bounds(s, v, path, f)
	}
}

func (d *decoder) unit(s scalarText, v reflect.Value, path string, f field) {
	err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(s.text))
	if err != nil {
		form := unitForms[v.Type()]
		message, hint := s.shown()+" is not "+form.noun, "write it as "+form.example
		if why, ok := errors.AsType[*valueError](err); ok && !s.used {
			message, hint = why.Message, why.Hint
		}
		d.at(nodePos(d.file, s.n), path, message, hint)
		return
	}
	if p, ok := v.Addr().Interface().(*Prefix); ok {
		d.warnMasked(s, *p, path)
	}
	d.bounds(s, v, path, f)
}

// warnMasked warns about a network whose address has bits that its mask hides:
// 10.1.2.3/8 means all of 10.0.0.0/8, which may not be what was meant.
func (d *decoder) warnMasked(s scalarText, p Prefix, path string) {
	if q, err := parseUnmasked(s.text); err == nil && q != p.Prefix {
		network, host := "the network "+p.String(), fmt.Sprintf("%s/%d", q.Addr(), q.Addr().BitLen())
		if s.used {
			network, host = "a whole network", "a single address"
		}
		d.warnAt(nodePos(d.file, s.n), path, s.shown()+" has bits beyond its mask and means "+network, "write the network itself, or "+host+" for one address")
	}
}

// bounds checks v against the min and max tags of f.
func (d *decoder) bounds(s scalarText, v reflect.Value, path string, f field) {
	if !v.CanInt() {
		return
	}
	for _, b := range []struct {
		tag, word, hint string
		sign            int64
	}{{f.min, "little", "at least", 1}, {f.max, "much", "at most", -1}} {
		if b.tag == "" {
			continue
		}
		limit := reflect.New(v.Type()).Elem()
		if isUnit(v.Type()) {
			if err := limit.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(b.tag)); err != nil {
				panic("BUG: bad bound " + b.tag + " of " + path)
			}
		} else {
			n, err := strconv.ParseInt(b.tag, 10, 64)
			if err != nil {
				panic("BUG: bad bound " + b.tag + " of " + path)
			}
			limit.SetInt(n)
		}
		if (v.Int() < limit.Int()) == (b.sign > 0) && v.Int() != limit.Int() {
			d.at(nodePos(d.file, s.n), path, s.shown()+" is too "+b.word, "write "+b.hint+" "+b.tag)
		}
	}
}

func (d *decoder) wrong(s scalarText, path, want, hint string) {
	got := kindName(&yaml.Node{Kind: yaml.ScalarNode, Tag: s.tag})
	if s.tag == "!!float" {
		got = "a fraction"
	}
	d.at(nodePos(d.file, s.n), path, "must be "+want+", not "+got, hint)
}

// scalarName says what a value of t is.
func scalarName(t reflect.Type) string {
	if form, ok := unitForms[t]; ok {
		return form.noun
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "text"
	}
	return "a whole number"
}

func scalarHint(t reflect.Type, f field) string {
	if form, ok := unitForms[t]; ok {
		return "write it as " + form.example
	}
	switch {
	case len(f.enum) > 0:
		return "write one of " + strings.Join(f.enum, ", ")
	case t.Kind() == reflect.Bool:
		return "write true or false"
	case t.Kind() == reflect.String:
		return "write a single value after the key"
	}
	return "write digits only, such as 1000"
}
