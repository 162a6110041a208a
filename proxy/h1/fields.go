package h1

import (
	"bytes"
	"net/http"
)

// Limits bound what a peer can make this side hold. The zero value means the defaults.
type Limits struct {
	HeadBytes    int // start line and fields together, with their line ends; default 64 KiB
	Fields       int // field lines of a head or of a trailer section; default 128
	TrailerBytes int // a trailer section; default 8 KiB
}

// Defaults of [Limits].
const (
	DefaultHeadBytes    = 64 << 10
	DefaultFields       = 128
	DefaultTrailerBytes = 8 << 10
)

func (l Limits) headBytes() int    { return orDefault(l.HeadBytes, DefaultHeadBytes) }
func (l Limits) fields() int       { return orDefault(l.Fields, DefaultFields) }
func (l Limits) trailerBytes() int { return orDefault(l.TrailerBytes, DefaultTrailerBytes) }

func orDefault(n, otherwise int) int {
	if n > 0 {
		return n
	}
	return otherwise
}

// ConnOption is a set of options of the Connection field (RFC 9110 §7.6.1).
type ConnOption uint8

// The options that HTTP/1.1 knows; ConnOther stands for every nominated field name.
const (
	ConnClose ConnOption = 1 << iota
	ConnKeepAlive
	ConnUpgrade
	ConnOther
)

// Fields is the storage of a header section, made to be used again: the map,
// the slices that are its values and what was learnt on the way.
//
// The strings in Header live on for as long as somebody holds them. The
// slices do not: they belong to the Fields and are wiped by Reset, so who needs
// a list of values for longer copies it. (Appending to one copies it by itself.)
type Fields struct {
	// Header holds every field but Host and Transfer-Encoding, which become part
	// of the message. Its owner may change it freely until Reset.
	Header http.Header
	// Known are the names that were there, Host and Transfer-Encoding included.
	Known Known
	// Connection are the options of the Connection field.
	Connection ConnOption

	hosts   int      // Host lines
	host    string   // the last one
	lengths int      // Content-Length lines
	length  string   // the last one
	codings int      // Transfer-Encoding lines
	coding  string   // the last one
	values  []string // backs the one-element slices of Header
	spans   []span   // where the fields of the head being parsed are
}

// span is where one field stands in its head.
type span struct {
	name, nameEnd   int32
	value, valueEnd int32 // without the whitespace around it
	known           int16 // place in names, or -1
}

// A Fields that has grown past these bounds is not kept: one odd request
// must not leave its size behind in every pooled object.
const (
	keepFields = 64
	keepValues = 64
)

// Reset empties the storage and lets go of every string in it.
func (f *Fields) Reset() {
	if len(f.Header) > keepFields || f.Header == nil {
		f.Header = make(http.Header, 16)
	} else {
		clear(f.Header)
	}
	if cap(f.values) > keepValues {
		f.values = nil
	}
	if cap(f.spans) > keepFields {
		f.spans = nil
	}
	clear(f.values)
	*f = Fields{Header: f.Header, values: f.values[:0], spans: f.spans[:0]}
}

// Has reports whether a field of the set was there.
func (f *Fields) Has(k Known) bool { return f.Known&k != 0 }

// scan walks over the field lines of head from at up to the empty line that
// ends it, notes where they are and brings their names into canonical form in
// place. head must end with the empty line.
func (f *Fields) scan(head []byte, at, most int) error {
	f.spans = f.spans[:0]
	for {
		line := head[at:]
		end := bytes.IndexByte(line, '\n')
		if end < 0 {
			return errIncomplete
		}
		if end == 0 || line[end-1] != '\r' {
			return errBareLF
		}
		line = line[:end-1]
		if len(line) == 0 {
			if at+end+1 != len(head) {
				return errIncomplete
			}
			return nil
		}
		if len(f.spans) == most {
			return errManyFields
		}
		if line[0] == ' ' || line[0] == '\t' {
			return errFold // RFC 9112 §5.2: a server refuses it
		}
		colon := bytes.IndexByte(line, ':')
		if colon < 0 {
			return errNoColon
		}
		if colon == 0 {
			return errFieldName
		}
		// A space before the colon is no tchar, hence refused (RFC 9112 §5.1).
		name := line[:colon]
		known := lookup(name)
		if known < 0 {
			valid, changed := canonicalise(name)
			if !valid {
				return errFieldName
			}
			if changed {
				known = lookup(name)
			}
		}
		value, valueEnd := colon+1, len(line)
		for value < valueEnd && (line[value] == ' ' || line[value] == '\t') {
			value++
		}
		for valueEnd > value && (line[valueEnd-1] == ' ' || line[valueEnd-1] == '\t') {
			valueEnd--
		}
		if !validValue(line[value:valueEnd]) {
			return errFieldValue
		}
		f.spans = append(f.spans, span{
			name: int32(at), nameEnd: int32(at + colon),
			value: int32(at + value), valueEnd: int32(at + valueEnd),
			known: int16(known),
		})
		at += end + 1
	}
}

// fill puts the scanned fields into the map. head is the string copy of what was scanned.
func (f *Fields) fill(head string) {
	if cap(f.values) < len(f.spans) {
		f.values = make([]string, 0, max(len(f.spans), 24))
	}
	for _, s := range f.spans {
		value := head[s.value:s.valueEnd]
		if s.known < 0 {
			f.add(head[s.name:s.nameEnd], value, false)
			continue
		}
		bit := Known(1) << s.known
		first := f.Known&bit == 0
		f.Known |= bit
		switch bit {
		case KnownHost:
			f.hosts++
			f.host = value
		case KnownTransferEncoding:
			f.codings++
			f.coding = value
		case KnownContentLength:
			f.lengths++
			f.length = value
			f.add(names[s.known], value, first)
		case KnownConnection:
			f.Connection |= connOptions(value)
			f.add(names[s.known], value, first)
		default:
			f.add(names[s.known], value, first)
		}
	}
}

// add adds a value under the canonical name. first is a promise that the name
// is not in the map yet.
func (f *Fields) add(name, value string, first bool) {
	if !first {
		if old, ok := f.Header[name]; ok {
			f.Header[name] = append(old, value)
			return
		}
	}
	f.values = append(f.values, value)
	n := len(f.values)
	f.Header[name] = f.values[n-1 : n : n]
}

// connOptions reads the options of one Connection field value.
func connOptions(value string) (o ConnOption) {
	for token := range Tokens(value) {
		switch {
		case equalFold(token, "close"):
			o |= ConnClose
		case equalFold(token, "keep-alive"):
			o |= ConnKeepAlive
		case equalFold(token, "upgrade"):
			o |= ConnUpgrade
		default:
			o |= ConnOther
		}
	}
	return o
}
