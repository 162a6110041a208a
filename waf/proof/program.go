package proof

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sluice/waf/seclang"
)

// Source is what a program is made from: the rules in the order in which the
// engine has them.
type Source struct {
	Directives []seclang.Directive
	Files      fs.FS                    // where @pmFromFile finds its lists, below the directory of the rule's file
	Paranoia   int                      // rules of higher levels are not loaded
	Overridden []string                 // transaction variables that are set for each request, in lower case
	Frame      func(*seclang.Rule) bool // rules that only prepare or sum up: they find nothing by themselves
}

// Program is the proof for one set of rules. It is immutable.
type Program struct {
	rules  []rule
	links  []link
	words  int // of a set of links
	terms  int // different needs by literals
	auto   *automaton
	byNeed [][]alternative // by the literals that a need is one of

	always  []uint64 // links that no need excludes
	byBytes []alternative
	byteOf  []byteSet

	vars    [NumVars]variable
	counts  []countTarget
	classes map[string]*class // by the set of links
	ids     map[int]int       // rule id → index

	waiting bool // some rule waits for others
	// argumentsMatter: some rule sees arguments that are clear by our reading.
	argumentsMatter bool
	memory          *memory
	opaque          []Opaque
}

// Opaque is a rule that cannot be excluded, and why: while it is loaded, the
// engine sees every request.
type Opaque struct {
	ID  int
	Why string
}

// Opaque returns the rules that send every request to the engine.
func (p *Program) Opaque() []Opaque { return p.opaque }

// link is one condition of a rule, that one value of several has to fulfil.
type link struct {
	rule  int
	test  test
	price int  // of one byte, for test
	exact bool // fulfilled needs are a match
	chain []*transformation
	each  bool // multiMatch: looks at the value before and after each transformation
}

// alternative is one way for a link to match: its needs beside the one by
// which it is found.
type alternative struct {
	link     uint16
	literals []uint16 // further needs by literals
	bytes    []uint16 // further needs by bytes
	trigger  uint16   // in byBytes: the need by bytes
}

// rule is a chain of links.
type rule struct {
	id      int
	finds   bool     // reports something, or blocks
	links   []uint16 // that all have to match
	setters [][]int  // for each further condition: rules of which one has to be a candidate
	inputs  []Input  // all that the rule depends on, when that is known
	looks   Vars     // at which parts of a request it looks, or may look
	phase   int
}

// Input is a variable, or a part of one, that a rule depends on.
type Input struct {
	Name  string
	Key   string // in lower case; "": all
	Count bool
}

// Rules calls f with each rule: its id, and whether it finds something.
func (p *Program) Rules(f func(index, id int, finds bool)) {
	for i := range p.rules {
		f(i, p.rules[i].id, p.rules[i].finds)
	}
}

// Possible reports whether a rule can match any request at all.
func (p *Program) Possible(index int) bool {
	return !slices.ContainsFunc(p.rules[index].setters, func(s []int) bool { return len(s) == 0 })
}

// Looks returns at which parts of a request a rule looks, or may look.
func (p *Program) Looks(index int) Vars { return p.rules[index].looks }

// Inputs returns what a rule depends on, nil when that is not known.
func (p *Program) Inputs(index int) []Input { return p.rules[index].inputs }

// ID returns the id of a rule.
func (p *Program) ID(index int) int { return p.rules[index].id }

// Index returns the index of the rule with this id.
func (p *Program) Index(id int) (int, bool) { i, ok := p.ids[id]; return i, ok }

// Known reports whether the rule is known not to match when its inputs have
// this fingerprint; Remember makes it known.
func (p *Program) Known(f Fingerprint) bool { return p.memory.has(fingerprint(f)) }

// Remember makes it known that a rule does not match its inputs.
func (p *Program) Remember(f Fingerprint) { p.memory.add(fingerprint(f)) }

// Fingerprint is the keyed hash of a rule with all its inputs. Entries are
// added in any order.
type Fingerprint fingerprint

// Add mixes in one entry of an input.
func (p *Program) Add(f Fingerprint, rule, input int, name, value string) Fingerprint {
	k := uint64(1)<<63 | uint64(rule)<<24 | uint64(input)<<8
	n := p.memory.fingerprint(k, name)
	v := p.memory.fingerprint(k^n.a, value)
	return Fingerprint{f.a + v.a, f.b + v.b}
}

// Size returns what the program holds: rules, literals' states and bytes.
func (p *Program) Size() string {
	return fmt.Sprintf("%d rules, %d conditions, %d states in %d KiB", len(p.rules), len(p.links), len(p.auto.next)/p.auto.classes, p.auto.bytes()>>10)
}

// compiler collects a program.
type compiler struct {
	src       Source
	p         *Program
	constants map[string]string
	settersOf []setter
	literals  map[string]uint16 // joined literals → need
	bytes     map[byteSet]uint16
	list      []literal
	targets   []placed
}

// setter is a rule that gives a transaction variable a value.
type setter struct {
	name   string // in lower case, up to the first macro
	prefix bool   // the name goes on by a macro
	rule   *seclang.Rule
	index  int // in the program; -1: none, of the frame
}

// placed is a link with where it looks.
type placed struct {
	link   uint16
	target seclang.Target
	except []seclang.Target
}

// Compile makes the program of the rules.
func Compile(src Source) (*Program, error) {
	rules, err := seclang.Rules(src.Directives)
	if err != nil {
		return nil, err
	}
	c := &compiler{
		src: src, constants: constants(rules, src), literals: make(map[string]uint16), bytes: make(map[byteSet]uint16),
		p: &Program{ids: make(map[int]int), classes: make(map[string]*class)},
	}
	narrow(rules, src.Directives)
	loaded := slices.DeleteFunc(slices.Clone(rules), func(r *seclang.Rule) bool { return !c.loaded(r) })
	all := slices.Clone(loaded)
	loaded = slices.DeleteFunc(loaded, func(r *seclang.Rule) bool { return idle(r, all, c) })
	for _, r := range rules {
		if c.frame(r) {
			c.collectSetters(r, -1)
		}
	}
	for i, r := range loaded {
		c.collectSetters(r, i)
	}
	for i, r := range loaded {
		if err := c.rule(i, r); err != nil {
			return nil, err
		}
	}
	return c.p, c.finish()
}

// loaded reports whether a rule belongs into the program: it looks at requests,
// its level is in force, and it does more than prepare.
func (c *compiler) loaded(r *seclang.Rule) bool {
	if phase(r) > 2 || c.frame(r) || skipsLevel(r) {
		return false
	}
	for _, tag := range r.Values("tag") {
		if level, ok := strings.CutPrefix(tag, "paranoia-level/"); ok {
			if n, err := strconv.Atoi(level); err == nil && n > c.src.Paranoia {
				return false
			}
		}
	}
	return true
}

// skipsLevel reports whether r only steps over the rules of higher levels, by a
// condition on transaction variables.
func skipsLevel(r *seclang.Rule) bool {
	return r.Has("skipafter") && !finds(r) && !slices.ContainsFunc(r.Targets, func(t seclang.Target) bool { return t.Name != "TX" })
}

// idle reports whether r changes nothing for others: it finds nothing, steers
// nothing, and what it sets is read by none of the rules.
func idle(r *seclang.Rule, rules []*seclang.Rule, c *compiler) bool {
	if finds(r) {
		return false
	}
	for _, l := range r.Links() {
		for _, steering := range []string{"ctl", "skip", "skipafter", "allow"} {
			if l.Has(steering) {
				return false
			}
		}
	}
	one := compiler{src: c.src}
	one.collectSetters(r, 0)
	for _, other := range rules {
		if other == r {
			continue
		}
		for _, l := range other.Links() {
			if strings.Contains(l.Raw, "%{") && len(one.settersOf) > 0 && readsByMacro(l.Raw, one.settersOf) {
				return false
			}
			for _, t := range l.Targets {
				if t.Name == "TX" && len(one.settersFor(t)) > 0 {
					return false
				}
			}
		}
	}
	return true
}

// readsByMacro reports whether the text of a rule expands a variable that one
// of the setters sets.
func readsByMacro(raw string, setters []setter) bool {
	for _, m := range macros.FindAllStringSubmatch(raw, -1) {
		name, isTX := strings.CutPrefix(strings.ToLower(m[1]), "tx.")
		for _, s := range setters {
			if isTX && (name == s.name || s.prefix && strings.HasPrefix(name, s.name)) {
				return true
			}
		}
	}
	return false
}

func (c *compiler) frame(r *seclang.Rule) bool { return c.src.Frame != nil && c.src.Frame(r) }

func phase(r *seclang.Rule) int {
	switch v, _ := r.Value("phase"); v {
	case "1", "3", "4", "5":
		return int(v[0] - '0')
	case "response":
		return 4
	case "logging":
		return 5
	}
	return 2
}

// finds reports whether a match of r is something: reported, refused, or
// scored.
func finds(r *seclang.Rule) bool {
	if !r.Has("nolog") || !r.Has("pass") {
		return true
	}
	for _, l := range r.Links() {
		for _, v := range l.Values("setvar") {
			if strings.Contains(strings.ToLower(v), "score") {
				return true
			}
		}
	}
	return false
}

// narrow applies SecRuleUpdateTargetById, as far as it takes targets away. What
// adds targets is refused before (see package crs).
func narrow(rules []*seclang.Rule, ds []seclang.Directive) {
	byID := make(map[string]*seclang.Rule, len(rules))
	for _, r := range rules {
		byID[strconv.Itoa(r.ID)] = r
	}
	for _, d := range ds {
		if d.Name != "secruleupdatetargetbyid" {
			continue
		}
		id, targets, _ := strings.Cut(d.Args, " ")
		r := byID[strings.Trim(id, `"`)]
		parsed, err := seclang.ParseTargets(strings.Trim(strings.TrimSpace(targets), `"`))
		if r == nil || err != nil {
			continue
		}
		for _, t := range parsed {
			if t.Exclude {
				r.Targets = append(r.Targets, t)
			}
		}
	}
}

// constants returns the transaction variables that have one value in every
// request: set by an action without a condition, or by one whose condition is
// that it is not set.
func constants(rules []*seclang.Rule, src Source) map[string]string {
	out := make(map[string]string)
	changing := make(map[string]bool)
	for _, name := range src.Overridden {
		changing[name] = true
	}
	for _, r := range rules {
		for i, l := range r.Links() {
			for _, v := range l.Values("setvar") {
				name, value, _ := strings.Cut(v, "=")
				name, isTX := strings.CutPrefix(strings.ToLower(strings.TrimSpace(name)), "tx.")
				if !isTX {
					continue
				}
				def := len(l.Targets) == 1 && l.Targets[0].Count && l.Targets[0].Name == "TX" &&
					strings.EqualFold(l.Targets[0].Key, name) && l.Op.Name == "eq" && l.Op.Arg == "0" && !l.Op.Negated
				fixed := len(r.Chain) == 0 && i == 0 && (len(l.Targets) == 0 || def) &&
					value != "" && value[0] != '+' && value[0] != '-' && !strings.Contains(name, "%{")
				if fixed {
					value, fixed = expand(value, func(n string) (string, bool) { v, ok := out[n]; return v, ok && !changing[n] })
				}
				switch _, set := out[name]; {
				case !fixed:
					changing[name] = true
				case !def || !set:
					out[name] = value
				}
			}
		}
	}
	for name := range changing {
		delete(out, name)
	}
	return out
}

func (c *compiler) constant(name string) (string, bool) { v, ok := c.constants[name]; return v, ok }

func (c *compiler) collectSetters(r *seclang.Rule, index int) {
	for _, l := range r.Links() {
		for _, v := range l.Values("setvar") {
			name, _, _ := strings.Cut(v, "=")
			name, isTX := strings.CutPrefix(strings.TrimPrefix(strings.ToLower(strings.TrimSpace(name)), "!"), "tx.")
			if !isTX {
				continue
			}
			static, _, macro := strings.Cut(name, "%{")
			c.settersOf = append(c.settersOf, setter{name: static, prefix: macro, rule: r, index: index})
		}
	}
}

// settersFor returns the rules that may set the variable that a target names.
func (c *compiler) settersFor(t seclang.Target) []int {
	key := strings.ToLower(t.Key)
	open := t.Regex // the key is the beginning of more
	if t.Regex {
		key = strings.TrimPrefix(key, "^")
		if i := strings.IndexAny(key, `.*+?()[]{}\|$`); i >= 0 {
			key = key[:i]
		}
	}
	var out []int
	for _, s := range c.settersOf {
		if key == "" || s.name == key || s.prefix && strings.HasPrefix(key, s.name) || open && (strings.HasPrefix(s.name, key) || strings.HasPrefix(key, s.name)) {
			out = append(out, s.index)
		}
	}
	return out
}

// rule compiles one chain.
func (c *compiler) rule(index int, r *seclang.Rule) error {
	out := rule{id: r.ID, finds: finds(r), phase: phase(r)}
	impossible := false
	why := ""
	inputs, known := []Input{}, true
	var reads []string // of transaction variables
	for _, l := range r.Links() {
		if len(l.Targets) == 0 {
			continue // always matches
		}
		out.looks |= looks(l)
		ins, tx, ok := c.inputs(l)
		inputs, reads, known = append(inputs, ins...), append(reads, tx...), known && ok
		n, setters, verdict, reason := c.link(index, l)
		if verdict == unknown && slices.ContainsFunc(l.Targets, aboutArguments) ||
			slices.ContainsFunc(l.Targets, func(t seclang.Target) bool { return t.Count && aboutArguments(t) }) {
			c.p.argumentsMatter = true
		}
		switch verdict {
		case never:
			impossible = true
		case sometimes:
			if setters != nil {
				if !slices.Contains(setters, index) {
					out.setters = append(out.setters, setters)
				}
			} else {
				out.links = append(out.links, n)
			}
		case unknown:
			why = reason
		}
	}
	if impossible {
		out.setters = append(out.setters, []int{}) // no rule sets it: never a candidate
	}
	if known && c.closed(index, reads) {
		out.inputs = inputs
	}
	if !impossible && len(out.links) == 0 && len(out.setters) == 0 && out.finds {
		if why == "" {
			why = "it has no condition"
		}
		c.p.opaque = append(c.p.opaque, Opaque{r.ID, why})
	}
	c.p.waiting = c.p.waiting || len(out.setters) > 0
	c.p.ids[r.ID] = index
	c.p.rules = append(c.p.rules, out)
	return nil
}

// looks returns at which parts of a request a condition may look.
func looks(l *seclang.Rule) (v Vars) {
	for _, t := range l.Targets {
		switch {
		case t.Exclude, t.Count, t.Name == "TX", strings.HasPrefix(t.Name, "MATCHED_VAR"): // the latter are what a link before looked at
		case variables[t.Name] == nil:
			return ^Vars(0)
		default:
			for _, one := range variables[t.Name] {
				v |= 1 << one
			}
		}
	}
	return v
}

func aboutArguments(t seclang.Target) bool { return !t.Exclude && strings.HasPrefix(t.Name, "ARGS") }

// ArgumentsMatter reports whether some rule sees an argument even when no
// condition is fulfilled by it: such a rule counts them, or is not understood.
// Then none may be left out of what the engine gets.
func (p *Program) ArgumentsMatter() bool { return p.argumentsMatter }

// verdict is what can be said of a link when the program is made.
type verdict uint8

const (
	unknown   verdict = iota // may match, always
	never                    // cannot match, whatever the request
	sometimes                // depends on the request
)

// link compiles one condition: a link that values are tested against, or the
// rules that have to match first.
func (c *compiler) link(index int, l *seclang.Rule) (n uint16, setters []int, v verdict, why string) {
	var include, except []seclang.Target
	for _, t := range l.Targets {
		if t.Exclude {
			except = append(except, t)
		} else {
			include = append(include, t)
		}
	}
	if slices.ContainsFunc(include, func(t seclang.Target) bool { return t.Name == "TX" }) {
		return c.transactionLink(include, l)
	}
	for _, t := range include {
		if variables[t.Name] == nil {
			return 0, nil, unknown, errUnknown("the variable", t.Name).Error()
		}
	}
	chain, err := chainOf(l)
	if err != nil {
		return 0, nil, unknown, err.Error()
	}
	op, ok := compileOperator(l.Op, c.constant, c.src.Files, path.Dir(l.File))
	if !ok {
		return 0, nil, unknown, errUnknown("the operator", l.Op.Name+" "+l.Op.Arg).Error()
	}
	n = uint16(len(c.p.links))
	if len(c.p.links) >= 1<<15 {
		return 0, nil, unknown, "there are too many rules"
	}
	c.p.links = append(c.p.links, link{rule: index, test: op.test, price: op.price(), exact: op.test == nil, chain: chain, each: l.Has("multimatch")})
	c.needs(n, op.alternatives)
	for _, t := range include {
		c.targets = append(c.targets, placed{n, t, except})
	}
	return n, nil, sometimes, ""
}

// transactionLink judges a condition on transaction variables alone.
func (c *compiler) transactionLink(include []seclang.Target, l *seclang.Rule) (n uint16, setters []int, v verdict, why string) {
	chain, err := chainOf(l)
	op, known := compileOperator(l.Op, c.constant, c.src.Files, path.Dir(l.File))
	setters = []int{}
	for _, t := range include {
		if t.Name != "TX" {
			return 0, nil, unknown, "it looks at transaction variables and others"
		}
		if digits.MatchString(t.Key) {
			return 0, nil, unknown, "it looks at what another rule captured" // of its own chain
		}
		key := strings.ToLower(t.Key)
		if slices.Contains(c.src.Overridden, key) || strings.HasPrefix(key, "json_re") { // the engine's own copies of bodies
			return 0, nil, unknown, "it looks at the transaction variable " + t.Key
		}
		value, fixed := c.constants[key]
		set := c.settersFor(t)
		if slices.Contains(set, -1) && (t.Regex || !fixed) {
			return 0, nil, unknown, "it looks at a transaction variable of the scoring"
		}
		switch {
		case t.Regex || !fixed && len(set) > 0:
			if t.Count {
				return 0, nil, unknown, "it counts transaction variables"
			}
			setters = append(setters, set...)
			continue
		case t.Count && fixed:
			value = "1"
		case t.Count:
			value = "0"
		case !fixed:
			continue // set by nobody: there is no value to match
		}
		if !known || err != nil || op.test == nil {
			return 0, nil, unknown, "it looks at the transaction variable " + t.Key
		}
		for _, f := range chain {
			value = f.apply(nil, value)
		}
		if matched, _ := op.test(value); matched {
			return 0, nil, unknown, "it looks at the transaction variable " + t.Key + ", which is " + value
		}
	}
	if len(setters) == 0 {
		return 0, nil, never, ""
	}
	return 0, setters, sometimes, ""
}

var digits = regexp.MustCompile(`^[0-9]+$`)

func chainOf(l *seclang.Rule) ([]*transformation, error) {
	var chain []*transformation
	for _, name := range l.Transformations() {
		t := transformations[name]
		if t == nil {
			return nil, errUnknown("the transformation", name)
		}
		chain = append(chain, t)
	}
	return chain, nil
}

// inputs returns what a link depends on: variables of the request, and
// transaction variables that it reads.
func (c *compiler) inputs(l *seclang.Rule) (out []Input, reads []string, ok bool) {
	for _, t := range l.Targets {
		switch {
		case t.Exclude:
		case t.Name == "TX":
			if t.Regex {
				reads = append(reads, "/"+strings.ToLower(t.Key))
			} else {
				reads = append(reads, strings.ToLower(t.Key))
			}
		case strings.HasPrefix(t.Name, "MATCHED_VAR"): // of this chain
		case variables[t.Name] == nil || t.Regex:
			return nil, nil, false
		default:
			out = append(out, Input{t.Name, strings.ToLower(t.Key), t.Count})
		}
	}
	for _, m := range macros.FindAllStringSubmatch(l.Op.Arg, -1) {
		name, isTX := strings.CutPrefix(strings.ToLower(m[1]), "tx.")
		if !isTX {
			return nil, nil, false
		}
		reads = append(reads, name)
	}
	return out, reads, true
}

var macros = regexp.MustCompile(`%\{([^}]*)\}`)

// closed reports whether a rule depends on no other: the transaction variables
// that it reads are constants, captures of its own, or set by itself alone.
func (c *compiler) closed(index int, reads []string) bool {
	for _, name := range reads {
		if digits.MatchString(name) {
			continue
		}
		t := seclang.Target{Name: "TX", Key: name}
		if key, isRegex := strings.CutPrefix(name, "/"); isRegex {
			t.Key, t.Regex = key, true
		} else if _, fixed := c.constants[name]; fixed {
			continue
		}
		if slices.Contains(c.src.Overridden, name) {
			return false
		}
		for _, s := range c.settersFor(t) {
			if s != index {
				return false
			}
		}
	}
	return true
}

// needs registers by which literals or bytes a link is found.
func (c *compiler) needs(n uint16, alternatives [][]need) {
	if alternatives == nil {
		for int(n)>>6 >= len(c.p.always) {
			c.p.always = append(c.p.always, 0)
		}
		c.p.always[n>>6] |= 1 << (n & 63)
		return
	}
	for _, needs := range alternatives {
		needs = slices.Clone(needs)
		slices.SortStableFunc(needs, func(a, b need) int { return b.strength() - a.strength() })
		alt := alternative{link: n}
		for i, need := range needs {
			if len(need.literals) == 0 {
				b, ok := c.bytes[need.bytes]
				if !ok {
					b = uint16(len(c.p.byteOf))
					c.bytes[need.bytes] = b
					c.p.byteOf = append(c.p.byteOf, need.bytes)
				}
				if i == 0 {
					alt.trigger = b
				} else {
					alt.bytes = append(alt.bytes, b)
				}
				continue
			}
			key := strings.Join(need.literals, "\x00")
			l, ok := c.literals[key]
			if !ok {
				l = uint16(c.p.terms)
				c.literals[key] = l
				c.p.terms++
				for _, text := range need.literals {
					c.list = append(c.list, literal{text, l})
				}
				c.p.byNeed = append(c.p.byNeed, nil)
			}
			if i == 0 {
				alt.trigger = l
			} else {
				alt.literals = append(alt.literals, l)
			}
		}
		if len(needs[0].literals) == 0 {
			c.p.byBytes = append(c.p.byBytes, alt)
		} else {
			c.p.byNeed[alt.trigger] = append(c.p.byNeed[alt.trigger], alt)
		}
	}
}

func (c *compiler) finish() error {
	p := c.p
	p.words = (len(p.links) + 63) / 64
	for len(p.always) < p.words {
		p.always = append(p.always, 0)
	}
	var err error
	if p.auto, err = newAutomaton(c.list); err != nil {
		return fmt.Errorf("the rules' literals: %w", err)
	}
	p.memory = newMemory()
	return c.place()
}
