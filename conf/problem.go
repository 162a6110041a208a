package conf

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Position is a place in a configuration file. Line and Column count from 1,
// Column in characters; a Line of 0 is the file as a whole.
type Position struct {
	File   string
	Line   int
	Column int
}

// String returns file:line:column, which editors and terminals make a link of.
func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return p.File + ":" + strconv.Itoa(p.Line) + ":" + strconv.Itoa(p.Column)
}

// Severity says whether a problem keeps the document from being applied.
type Severity int

// An error refuses the document, a warning does not.
const (
	SeverityError Severity = iota
	SeverityWarning
)

// String returns "error" or "warning".
func (s Severity) String() string {
	if s == SeverityWarning {
		return "warning"
	}
	return "error"
}

// Problem is one thing that is wrong with a document, where it stands and what
// would be right. It is an error. Nothing in it quotes a secret or a value that
// came out of the environment.
type Problem struct {
	Position Position
	Path     string // the setting, such as services.items.balance; empty for the file as a whole
	Severity Severity
	Message  string // what is wrong
	Hint     string // what would be right; may be empty
}

// Error returns "file:line:column: path: what is wrong; what would be right".
func (p Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.Position.String())
	b.WriteString(": ")
	b.WriteString(p.headline())
	if p.Hint != "" {
		b.WriteString("; ")
		b.WriteString(p.Hint)
	}
	return b.String()
}

func (p Problem) headline() string {
	if p.Path == "" {
		return p.Message
	}
	return p.Path + ": " + p.Message
}

// flatProblem is the JSON form of a Problem.
type flatProblem struct {
	File     string `json:"file"`
	Line     int    `json:"line,omitempty"`
	Column   int    `json:"column,omitempty"`
	Path     string `json:"path,omitempty"`
	Severity string `json:"severity"`
	Message  string `json:"message"`
	Hint     string `json:"hint,omitempty"`
}

// MarshalJSON gives a flat object for editors and scripts.
func (p Problem) MarshalJSON() ([]byte, error) {
	return json.Marshal(flatProblem{p.Position.File, p.Position.Line, p.Position.Column, p.Path, p.Severity.String(), p.Message, p.Hint})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (p *Problem) UnmarshalJSON(data []byte) error {
	var f flatProblem
	if err := json.Unmarshal(data, &f); err != nil {
		return err
	}
	*p = Problem{Position: Position{f.File, f.Line, f.Column}, Path: f.Path, Message: f.Message, Hint: f.Hint}
	if f.Severity == SeverityWarning.String() {
		p.Severity = SeverityWarning
	}
	return nil
}

// Problems are all that is wrong with a document, in the order of the file.
type Problems []Problem

// MarshalJSON gives a list, also when there is nothing in it.
func (ps Problems) MarshalJSON() ([]byte, error) { return json.Marshal(append([]Problem{}, ps...)) }

// Err returns the errors among ps joined into one, or nil when there are only
// warnings.
func (ps Problems) Err() error {
	var errs []error
	for _, p := range ps {
		if p.Severity == SeverityError {
			errs = append(errs, p)
		}
	}
	return errors.Join(errs...)
}

// Count returns the numbers of errors and warnings.
func (ps Problems) Count() (errors, warnings int) {
	for _, p := range ps {
		if p.Severity == SeverityError {
			errors++
		} else {
			warnings++
		}
	}
	return errors, warnings
}

// Sort orders ps by position, errors before warnings at the same place.
func (ps Problems) Sort() {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(a.Position.File, b.Position.File),
			cmp.Compare(a.Position.Line, b.Position.Line),
			cmp.Compare(a.Position.Column, b.Position.Column),
			cmp.Compare(a.Severity, b.Severity),
			cmp.Compare(a.Path, b.Path),
		)
	})
}

// Summary returns the closing line, such as "2 errors, 1 warning. Nothing was
// applied.", or an empty text when nothing is wrong.
func (ps Problems) Summary() string {
	errors, warnings := ps.Count()
	switch {
	case errors > 0 && warnings > 0:
		return counted(errors, "error") + ", " + counted(warnings, "warning") + ". Nothing was applied."
	case errors > 0:
		return counted(errors, "error") + ". Nothing was applied."
	case warnings > 0:
		return counted(warnings, "warning") + "."
	}
	return ""
}

func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
