package crs

import (
	"strings"

	"github.com/corazawaf/coraza/v3/types/variables"
)

// Finding is a rule that matched.
type Finding struct {
	Rule     int
	Message  string // the rule's own words; nothing of the request
	Severity string
	Part     string // where: ARGS:json.note
	Match    string // what matched, with letters and digits made unrecognisable
}

// maxFindings bounds what is kept of one request.
const maxFindings = 32

func (e *Engine) findings(tx state) []Finding {
	var out []Finding
	for _, m := range tx.MatchedRules() {
		id := m.Rule().ID()
		if !e.rules[id].finds || len(out) == maxFindings {
			continue
		}
		f := Finding{Rule: id, Message: plain(m.Message()), Severity: m.Rule().Severity().String()}
		if data := m.MatchedDatas(); len(data) > 0 {
			d := data[0]
			f.Part = d.Variable().Name()
			if d.Key() != "" {
				f.Part += ":" + cut(d.Key(), 64)
			}
			f.Match = Shape(d.Value())
		}
		out = append(out, f)
	}
	return out
}

// plain takes away what a rule's message quotes of the request.
func plain(message string) string {
	if i := strings.Index(message, ": "); i > 0 && len(message) > 120 {
		message = message[:i]
	}
	return cut(message, 120)
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// Shape makes a value unrecognisable and leaves its form: letters become a,
// digits 9, runs are cut to three. What makes an attack one, its punctuation,
// can still be seen; a name, a number or a token cannot.
func Shape(s string) string {
	const longest = 80
	var b strings.Builder
	last, run := byte(0), 0
	for i := 0; i < len(s) && b.Len() < longest; i++ {
		c := s[i]
		switch {
		case c|0x20 >= 'a' && c|0x20 <= 'z', c >= 0x80:
			c = 'a'
		case '0' <= c && c <= '9':
			c = '9'
		case c < ' ' || c == 0x7f:
			c = ' '
		}
		if c == last {
			run++
		} else {
			last, run = c, 1
		}
		if run <= 3 {
			b.WriteByte(c)
		}
	}
	if b.Len() >= longest {
		b.WriteString("…")
	}
	return b.String()
}

// Exceptions are the rules that a route leaves out, everywhere or for some
// arguments. nil excepts nothing.
type Exceptions struct {
	everywhere []bool            // rule, by index
	byArgument map[string][]bool // argument, in lower case → rule
	targets    []target
}

type target struct {
	rule     int
	argument string
}

// Exception leaves rules out: by id, or by tag; for one argument, or "" for
// all.
type Exception struct {
	Rule     int
	Tag      string
	Argument string
}

// Except compiles exceptions. Rules that the engine does not have are none.
func (e *Engine) Except(list []Exception) *Exceptions {
	if len(list) == 0 {
		return nil
	}
	x := &Exceptions{everywhere: make([]bool, len(e.remove)), byArgument: make(map[string][]bool)}
	for _, l := range list {
		for _, id := range e.Rules(l.Rule, l.Tag) {
			i, ok := e.program.Index(id)
			if !ok {
				continue
			}
			if l.Argument == "" {
				x.everywhere[i] = true
				continue
			}
			key := lower(l.Argument)
			if x.byArgument[key] == nil {
				x.byArgument[key] = make([]bool, len(e.remove))
			}
			x.byArgument[key][i] = true
			x.targets = append(x.targets, target{id, l.Argument})
		}
	}
	return x
}

func (x *Exceptions) rule(index int) bool { return x != nil && x.everywhere[index] }

func (x *Exceptions) of(argument string) []bool {
	if x == nil {
		return nil
	}
	return x.byArgument[argument]
}

// apply takes the arguments out of the engine's rules, as ctl:ruleRemoveTargetById does.
func (x *Exceptions) apply(tx state) {
	if x == nil {
		return
	}
	for _, t := range x.targets {
		for _, v := range argumentVariables {
			tx.RemoveRuleTargetByID(t.rule, v, t.argument, nil)
		}
	}
}

var argumentVariables = []variables.RuleVariable{
	variables.Args, variables.ArgsGet, variables.ArgsPost, variables.ArgsNames, variables.ArgsGetNames, variables.ArgsPostNames,
}

func toLower(s string) string { return strings.ToLower(s) }
