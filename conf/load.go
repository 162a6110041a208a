package conf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// maxBytes bounds a configuration file. The largest one seen in the field is a
// hundredth of it; what is larger is a wrong file.
const maxBytes = 8 << 20

// byteOrderMark is what some Windows editors put in front of UTF-8.
var byteOrderMark = []byte("\ufeff")

// Load reads the file at path and parses it with the variables of the process's
// environment. See [Parse].
func Load(path string) (*Document, Problems) {
	data, err := readFile(path)
	if err != nil {
		p := Problem{Position: Position{File: path}, Message: err.Error(), Hint: "name a configuration file that can be read"}
		if errors.Is(err, fs.ErrNotExist) {
			p.Message = "there is no such file"
		}
		return nil, Problems{p}
	}
	return Parse(path, data, os.LookupEnv)
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, pathless(err)
	}
	defer f.Close()
	// One byte more than allowed tells "too large" without reading the rest,
	// also from a device or a pipe without a size.
	data, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return nil, pathless(err)
	}
	return data, nil
}

// pathless drops the path from err: the position of the problem has it.
func pathless(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

// Parse decodes, defaults and checks one YAML document. The name file stands in
// positions only. env looks up variables, nil stands for an empty environment.
//
// The document is nil exactly when one of the problems is an error; all problems
// come at once, sorted by position.
func Parse(file string, data []byte, env func(string) (string, bool)) (*Document, Problems) {
	if env == nil {
		env = func(string) (string, bool) { return "", false }
	}
	r := &report{file: file, failed: map[string]bool{}}
	if len(data) > maxBytes {
		r.at(Position{File: file}, "", fmt.Sprintf("the file is larger than %v", Size(maxBytes)), "name a configuration file")
		return nil, r.problems
	}
	data = bytes.TrimPrefix(data, byteOrderMark)
	root := parseSyntax(r, data)
	if root == nil {
		return nil, r.finish()
	}
	d := &Document{file: file}
	dec := newDecoder(r, data, env)
	dec.document(root, d)
	d.positions, d.given, d.written = dec.positions, dec.given, dec.written
	deriveDefaults(d)
	validate(d, dec)
	ps := r.finish()
	if ps.Err() != nil {
		return nil, ps
	}
	d.hash = hash(d)
	return d, ps
}

// File returns the name that d was parsed under.
func (d *Document) File() string { return d.file }

// Pos returns where the setting at path stands, such as
// listeners[1].tls.certificates[0].cert. A setting that is not in the file is
// placed at the nearest one around it.
func (d *Document) Pos(path string) Position {
	for p := path; ; p = parentPath(p) {
		if pos, ok := d.positions[p]; ok {
			return pos
		}
		if p == "" {
			return Position{File: d.file}
		}
	}
}

// Hash returns twelve hexadecimal digits that change whenever the effective
// configuration does. Nodes with the same file agree on it: node.name is left
// out. A secret takes part only through a keyed and stretched hash.
func (d *Document) Hash() string { return d.hash }
