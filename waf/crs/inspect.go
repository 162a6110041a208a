package crs

import (
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"
	"unsafe"

	"github.com/corazawaf/coraza/v3/collection"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	"github.com/corazawaf/coraza/v3/types"
	"github.com/corazawaf/coraza/v3/types/variables"

	"sluice/waf/proof"
)

// Settings are what one route asks of an engine.
type Settings struct {
	Threshold  int // anomaly score from which a request is refused
	Limits     Limits
	Exceptions *Exceptions // nil: none
	Gate       *Gate       // nil: nothing is bounded but the work
	// Whole gives every request to the engine with every rule, as if there were
	// no proof. For comparison.
	Whole bool
}

// Verdict is the outcome of an inspection.
type Verdict struct {
	Refused  bool
	Excess   string // the limit that the request goes beyond, "" for none
	Overload bool   // given up: no place or no time for it; nothing is known of the request
	Score    int    // anomaly score; 0 when the engine did not run
	Findings []Finding
	Engine   bool // the engine ran
}

// inspection is the storage of one inspection.
type inspection struct {
	e      *Engine
	scan   *proof.Scan
	parsed parsed
	path   []byte
	keep   []bool // by position in parsed.post: not clear
	work   int    // see DefaultWork
	gate   *Gate
	due    time.Time          // when it has to be at an end; zero: never
	inside bool               // has a place at the gate
	gaveUp bool               // something was not looked at: there was no place, or no time
	read   [proof.NumVars]int // bytes of each part that the engine read
}

func newInspection(e *Engine) *inspection {
	return &inspection{e: e, scan: e.program.NewScan(), path: make([]byte, 0, 256)}
}

func (in *inspection) reset() {
	p := &in.parsed
	for _, list := range []*[]pair{&p.get, &p.post, &p.header, &p.cookies} {
		clear((*list)[:cap(*list)])
		*list = (*list)[:0]
	}
	*p = parsed{get: p.get, post: p.post, header: p.header, cookies: p.cookies}
	in.keep, in.work, in.read, in.gaveUp = in.keep[:0], 0, [proof.NumVars]int{}, false
	in.scan.Reset()
}

// Inspect judges a request. It does not keep it.
func (e *Engine) Inspect(r *Request, set *Settings) Verdict {
	in := e.scans.Get().(*inspection)
	in.gate, in.due = set.Gate, set.Gate.deadline()
	defer in.leave() // also when the engine panics
	v := in.inspect(r, set)
	if in.gaveUp {
		v = givenUp
	}
	in.leave()
	in.reset()
	e.scans.Put(in)
	return v
}

// enter makes sure that the inspection has a place and time for what comes next.
func (in *inspection) enter(r *Request) bool {
	if !in.inside && !in.gaveUp {
		in.inside = in.gate.enter(in.due, r.Gone)
		in.gaveUp = !in.inside
	}
	return !in.late()
}

func (in *inspection) leave() {
	if in.inside {
		in.gate.leave()
		in.inside = false
	}
}

// late reports whether the inspection has been given up, or is now.
func (in *inspection) late() bool {
	if !in.gaveUp && !in.due.IsZero() {
		in.gaveUp = time.Now().After(in.due)
	}
	return in.gaveUp
}

// givenUp is the verdict on a request for which there was no place or no time.
var givenUp = Verdict{Refused: true, Overload: true}

func (in *inspection) inspect(r *Request, set *Settings) Verdict {
	kind := KindNone
	if len(r.Body) > 0 {
		kind = KindOf(first(r.Header["Content-Type"]))
	}
	if x := set.Limits.structure(r, kind); x != "" {
		return Verdict{Refused: true, Excess: string(x)}
	}
	if len(r.Body) > heavyBody && !in.enter(r) {
		return givenUp
	}
	p, s := &in.parsed, in.scan
	s.Limit = set.Limits.Work
	p.readHead(r)
	p.kind = kind
	if set.Whole || p.failed {
		return in.run(r, set, nil)
	}
	p.judgeHead(s, r)
	in.judgeArgs(proof.ArgGet, p.get, set, nil)
	if kind != KindNone {
		if x, sure := in.readBody(r, set); x != "" {
			return Verdict{Refused: true, Excess: x}
		} else if !sure {
			return in.run(r, set, nil)
		}
	}
	for _, args := range [2][]pair{p.get, p.post} {
		for i := range args {
			if len(args[i].name) > set.Limits.NameLength {
				return Verdict{Refused: true, Excess: "name_length"}
			}
		}
	}
	if len(p.get)+len(p.post) > set.Limits.Arguments {
		return Verdict{Refused: true, Excess: "arguments"}
	}
	if s.Exceeded() {
		return Verdict{Refused: true, Excess: "work"}
	}
	in.work = s.Work
	candidates, any := s.Candidates()
	if !any {
		return Verdict{}
	}
	if any = in.withoutKnown(candidates, set); !any {
		return Verdict{}
	}
	return in.run(r, set, candidates)
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// judgeArgs gives arguments to the proof; keep notes which are not clear.
func (in *inspection) judgeArgs(v proof.Var, args []pair, set *Settings, keep []bool) {
	for i := range args {
		if i%64 == 63 && in.late() {
			return // Inspect sees that it was given up
		}
		a := &args[i]
		key := lower(a.name)
		var clearly bool
		if except := set.Exceptions.of(key); except != nil {
			clearly = in.scan.ValueExcept(v, key, a.value, except)
			clearly = in.scan.ValueExcept(v+1, key, a.name, except) && clearly
		} else {
			clearly = in.scan.Value(v, key, a.value)
			clearly = in.scan.Value(v+1, key, a.name) && clearly
		}
		if keep != nil {
			keep[i] = !clearly
		}
	}
}

// lower is strings.ToLower, which costs nothing when there is nothing to do.
func lower(s string) string {
	for i := 0; i < len(s); i++ {
		if c := s[i]; 'A' <= c && c <= 'Z' || c >= 0x80 {
			return toLower(s)
		}
	}
	return s
}

// readBody reads a body and gives its values to the proof. sure = false: the
// engine has to see it whole.
func (in *inspection) readBody(r *Request, set *Settings) (excess string, sure bool) {
	p, s := &in.parsed, in.scan
	body := unsafe.String(unsafe.SliceData(r.Body), len(r.Body))
	s.Value(proof.BodyProcessor, "", processors[p.kind])
	switch p.kind {
	case KindJSON:
		if p.post, sure = readJSON(p.post, body, &set.Limits, in.path); !sure {
			return "", false
		}
	case KindForm, KindText:
		p.body = body
		p.post = appendQuery(p.post, body)
		s.Value(proof.Body, "", body)
		s.Value(proof.BodyLength, "", strconv.Itoa(len(body)))
	default:
		if !in.enter(r) {
			return "", false // Inspect sees that it was given up
		}
		return "", in.readByEngine(r)
	}
	if len(p.get)+len(p.post) > set.Limits.Arguments {
		return "arguments", false
	}
	in.keep = append(in.keep, make([]bool, len(p.post))...)
	in.judgeArgs(proof.ArgPost, p.post, set, in.keep)
	return "", true
}

// state is what the engine's transaction is behind its public face.
type state interface {
	types.Transaction
	plugintypes.TransactionState
	RemoveRuleByID(int)
	RemoveRuleTargetByID(id int, v variables.RuleVariable, key string, keyRx *regexp.Regexp)
}

// setter is how a variable of one value is set.
type setter interface{ Set(string) }

// parsePrice is what the engine's reading of a byte costs, see DefaultWork.
var parsePrice = [...]int{KindMultipart: 2, KindXML: 16, KindText: 0}

// readByEngine lets the engine read a multipart or XML body, and judges what it
// found.
func (in *inspection) readByEngine(r *Request) (sure bool) {
	in.scan.Work += parsePrice[in.parsed.kind] * len(r.Body)
	if in.scan.Exceeded() {
		return true
	}
	tx := in.e.parser.NewTransaction().(state)
	defer func() { _ = tx.Close() }()
	for _, v := range r.Header["Content-Type"] {
		tx.AddRequestHeader("Content-Type", v)
	}
	vars := tx.Variables()
	vars.RequestBodyProcessor().(setter).Set(processors[in.parsed.kind])
	tx.ProcessRequestHeaders()
	if _, _, err := tx.WriteRequestBody(r.Body); err != nil {
		return false
	}
	if _, err := tx.ProcessRequestBody(); err != nil {
		return false
	}
	s := in.scan
	value := func(v proof.Var, key, text string) {
		in.read[v] += len(text) + 16
		s.Value(v, key, text)
	}
	single := func(v proof.Var, c collection.Single) { value(v, "", c.Get()) }
	each := func(v proof.Var, c collection.Collection) {
		for _, m := range c.FindAll() {
			value(v, lower(m.Key()), m.Value())
		}
	}
	if e := vars.RequestBodyError().Get(); e != "" && e != "0" {
		return false
	}
	single(proof.StrictError, vars.MultipartStrictError())
	single(proof.BodyLength, vars.RequestBodyLength())
	each(proof.ArgPost, vars.ArgsPost())
	each(proof.ArgPostName, vars.ArgsPostNames())
	each(proof.File, vars.Files())
	each(proof.FileName, vars.FilesNames())
	each(proof.PartHeader, vars.MultipartPartHeaders())
	each(proof.MultipartFilename, vars.MultipartFilename())
	each(proof.MultipartName, vars.MultipartName())
	for _, m := range vars.RequestXML().FindAll() {
		if m.Key() == "/*" {
			value(proof.XMLText, "", m.Value())
		} else {
			value(proof.XMLAttribute, "", m.Value())
		}
	}
	if body := vars.RequestBody().Get(); body != "" {
		value(proof.Body, "", body)
	}
	return true
}

// withoutKnown takes the rules off the candidates that are excepted, and those
// of which the engine has said before that they do not match these inputs. It
// reports whether one is left.
func (in *inspection) withoutKnown(candidates []bool, set *Settings) (any bool) {
	for i, c := range candidates {
		if !c || in.e.remove[i] == 0 {
			continue
		}
		if set.Exceptions.rule(i) {
			candidates[i] = false
			continue
		}
		if f, ok := in.fingerprint(i); ok && in.e.program.Known(f) {
			candidates[i] = false
			continue
		}
		any = true
	}
	return any
}

// fingerprint hashes all inputs of a rule, false when they are not known or are
// no part of the head.
func (in *inspection) fingerprint(rule int) (f proof.Fingerprint, ok bool) {
	inputs := in.e.program.Inputs(rule)
	if inputs == nil {
		return f, false
	}
	p := &in.parsed
	// The rule itself comes first: without inputs, all rules would be one.
	f = in.e.program.Add(f, rule, len(inputs), "", "")
	for n, input := range inputs {
		add := func(name, value string) { f = in.e.program.Add(f, rule, n, name, value) }
		switch input.Name {
		case "REQUEST_HEADERS", "REQUEST_HEADERS_NAMES":
			for _, h := range p.header {
				if key := lowerName(h.name); input.Key == "" || input.Key == key {
					if input.Name == "REQUEST_HEADERS_NAMES" {
						add(key, h.name)
					} else {
						add(key, h.value)
					}
				}
			}
		case "REQUEST_LINE":
			add("", p.line)
		case "REQUEST_URI", "REQUEST_URI_RAW", "REQUEST_FILENAME", "REQUEST_BASENAME", "QUERY_STRING":
			add("", p.raw)
		case "REQUEST_METHOD", "REQUEST_PROTOCOL":
			add(p.method, p.proto)
		default:
			return f, false
		}
	}
	return f, true
}

// run gives the request to the engine: with the candidates alone, or, when they
// are nil, with every rule and the body as it came.
func (in *inspection) run(r *Request, set *Settings, candidates []bool) Verdict {
	e, p := in.e, &in.parsed
	if in.work = in.cost(r, candidates); in.work > set.Limits.Work && !set.Whole {
		return Verdict{Refused: true, Excess: "work"}
	}
	if !in.enter(r) {
		return givenUp
	}
	tx := e.waf.NewTransaction().(state)
	defer func() { _ = tx.Close() }()
	for i, id := range e.remove {
		if id != 0 && (candidates != nil && !candidates[i] || set.Exceptions.rule(i)) {
			tx.RemoveRuleByID(id)
		}
	}
	set.Exceptions.apply(tx)
	vars := tx.Variables()
	vars.TX().Set(thresholdVariable, []string{strconv.Itoa(set.Threshold)})
	tx.ProcessConnection(r.Client.String(), 0, "", 0)
	tx.ProcessURI(r.Target, r.Method, r.Proto)
	tx.AddRequestHeader("Host", r.Host)
	addHeaders(tx, r.Header)
	tx.SetServerName(r.Host)
	if p.kind != KindNone && p.kind != KindText {
		vars.RequestBodyProcessor().(setter).Set(processors[p.kind])
	}
	v := Verdict{Engine: true}
	it := tx.ProcessRequestHeaders()
	if it == nil {
		in.giveBody(tx, r, candidates == nil)
		it, _ = tx.ProcessRequestBody() // an error is a finding of rule 200002
	}
	v.Refused = it != nil
	if score := vars.TX().Get("blocking_inbound_anomaly_score"); len(score) > 0 {
		v.Score, _ = strconv.Atoi(score[0])
	}
	v.Findings = e.findings(tx)
	if candidates != nil && it == nil {
		for i, c := range candidates {
			if !c || e.remove[i] == 0 || slices.ContainsFunc(v.Findings, func(f Finding) bool { return f.Rule == e.remove[i] }) {
				continue
			}
			if f, ok := in.fingerprint(i); ok {
				e.program.Remember(f)
			}
		}
	}
	return v
}

func addHeaders(tx types.Transaction, h http.Header) {
	for name, values := range h {
		for _, v := range values {
			tx.AddRequestHeader(name, v)
		}
	}
}

// giveBody gives the engine the body, or what of it may be matched.
func (in *inspection) giveBody(tx state, r *Request, whole bool) {
	p := &in.parsed
	if p.kind == KindNone {
		return
	}
	if whole || in.e.whole || p.kind == KindMultipart || p.kind == KindXML {
		_, _, _ = tx.WriteRequestBody(r.Body) // the limit is far above ours
		return
	}
	vars := tx.Variables()
	if p.kind != KindJSON {
		vars.RequestBodyProcessor().(setter).Set(processors[p.kind])
		vars.RequestBody().(setter).Set(p.body)
		vars.RequestBodyLength().(setter).Set(strconv.Itoa(len(p.body)))
	}
	all := in.e.program.ArgumentsMatter()
	for i, a := range p.post {
		if all || in.keep[i] {
			tx.AddPostRequestArgument(a.name, a.value)
		}
	}
}

// What the engine costs for each byte that it looks at, see DefaultWork.
const (
	rulePrice = 24  // with one rule
	headPrice = 600 // of a head, with every rule
)

// cost is the work that a request makes in all when the engine runs: each
// candidate looks at each argument that is left, with a pattern matcher that
// takes longer than ours. Without candidates, all rules look at the head: a body
// that comes without them is refused for what it is, before a rule looks at it.
func (in *inspection) cost(r *Request, candidates []bool) int {
	p := &in.parsed
	fields := 0
	for _, h := range p.header {
		fields += len(h.name) + len(h.value)
	}
	if candidates == nil {
		return in.scan.Work + headPrice*(len(r.Target)+fields/4)
	}
	sizes := in.sizes(fields)
	total := 0
	for i, c := range candidates {
		if !c || in.e.remove[i] == 0 {
			continue
		}
		looks := in.e.program.Looks(i)
		for v, size := range sizes {
			if looks.Has(proof.Var(v)) {
				total += size
			}
		}
	}
	return in.scan.Work + rulePrice*total
}

// sizes returns how many bytes the engine gets of each part of the request; what
// it reads itself is already counted in in.read.
func (in *inspection) sizes(fields int) [proof.NumVars]int {
	const entry = 16 // bytes that stand for the entry itself
	p, sizes := &in.parsed, in.read
	for _, v := range []proof.Var{proof.URI, proof.URIRaw, proof.Filename, proof.Basename, proof.Line, proof.Query} {
		sizes[v] = len(p.raw)
	}
	sizes[proof.Header], sizes[proof.Cookie] = fields, fields
	for _, a := range p.get {
		sizes[proof.ArgGet] += len(a.value) + entry
		sizes[proof.ArgGetName] += len(a.name) + entry
	}
	all := in.e.whole || in.e.program.ArgumentsMatter()
	for i, a := range p.post {
		if all || in.keep[i] {
			sizes[proof.ArgPost] += len(a.value) + entry
			sizes[proof.ArgPostName] += len(a.name) + entry
		}
	}
	sizes[proof.Body] += len(p.body)
	return sizes
}
