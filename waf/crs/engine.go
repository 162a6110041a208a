package crs

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/experimental"
	"github.com/corazawaf/coraza/v3/types"

	"sluice/waf/proof"
	"sluice/waf/seclang"
)

// Engine is one set of rules, ready. It is safe for concurrent use. Requests
// under way keep it; it holds nothing that has to be closed but memory.
type Engine struct {
	waf     coraza.WAF
	parser  coraza.WAF // without rules: reads multipart and XML bodies
	program *proof.Program
	remove  []int // for each rule of the program that finds: its id, by index; else 0
	rules   map[int]Rule
	tags    map[string][]int
	scans   sync.Pool // of *inspection
	whole   bool      // some rule looks at what only the engine's own reading gives
}

// Rule is what a finding's rule is about.
type Rule struct {
	ID    int
	Tags  []string
	finds bool
}

// New builds the engine of a profile. It takes a good part of a second and
// tens of megabytes.
func New(p Profile) (*Engine, error) {
	text, err := p.load()
	if err != nil {
		return nil, err
	}
	e := &Engine{rules: make(map[int]Rule), tags: make(map[string][]int)}
	e.scans.New = func() any { return newInspection(e) }
	var ids []int
	cfg := coraza.NewWAFConfig().WithRootFS(text.root)
	for _, name := range text.files {
		cfg = cfg.WithDirectivesFromFile(name)
	}
	cfg = experimental.WAFConfigWithRuleObserver(cfg, func(r types.RuleMetadata) {
		if r.SecMark() == "" {
			ids = append(ids, r.ID())
		}
	})
	if e.waf, err = coraza.NewWAF(cfg); err != nil {
		return nil, fmt.Errorf("build the rules: %w", err)
	}
	e.parser, err = coraza.NewWAF(coraza.NewWAFConfig().WithDirectives("SecRuleEngine On\nSecRequestBodyAccess On\n" +
		"SecRequestBodyLimit 1073741824\nSecRequestBodyInMemoryLimit 1073741824\nSecArgumentsLimit 1000000\nSecAuditEngine Off\n"))
	if err != nil {
		return nil, fmt.Errorf("build the parser: %w", err)
	}
	e.program, err = proof.Compile(proof.Source{
		Directives: text.directives, Files: text.root, Paranoia: p.Paranoia, Overridden: []string{thresholdVariable}, Frame: frame,
	})
	if err != nil {
		return nil, fmt.Errorf("read the rules: %w", err)
	}
	return e, e.index(text, ids)
}

// index checks that the proof was made from the rules that the engine has, and
// notes what their findings are about.
func (e *Engine) index(text *loaded, ids []int) error {
	rules, err := seclang.Rules(text.directives)
	if err != nil {
		return err
	}
	var read []int
	for _, r := range rules {
		read = append(read, r.ID)
		at, inProgram := e.program.Index(r.ID)
		inProgram = inProgram && e.program.Possible(at)
		info := Rule{ID: r.ID, Tags: r.Values("tag")}
		e.rules[r.ID] = info
		for _, t := range info.Tags {
			e.tags[t] = append(e.tags[t], r.ID)
		}
		for _, l := range r.Links() {
			if inProgram && strings.EqualFold(l.Op.Name, "validateSchema") || inProgram && slices.ContainsFunc(l.Targets, func(t seclang.Target) bool {
				return proof.VarsOf(t.Name) == nil && readByEngine[t.Name]
			}) {
				e.whole = true
			}
		}
	}
	if !slices.Equal(read, ids) {
		return fmt.Errorf("BUG: the rules were read as %d, the engine has %d", len(read), len(ids))
	}
	e.program.Rules(func(_, id int, finds bool) {
		r := e.rules[id]
		r.finds = finds
		e.rules[id] = r
		if !finds {
			id = 0
		}
		e.remove = append(e.remove, id)
	})
	return nil
}

// readByEngine are variables that only the engine's own reading of a body
// fills: rules that use them get whole bodies.
var readByEngine = map[string]bool{
	"ARGS_COMBINED_SIZE": true, "FILES_COMBINED_SIZE": true, "FILES_SIZES": true, "FILES_TMP_CONTENT": true, "FILES_TMPNAMES": true,
	"FULL_REQUEST_LENGTH": true, "JSON": true, "REQUEST_XML": true, "ARGS_PATH": true,
}

// Opaque returns the rules that send every request to the engine.
func (e *Engine) Opaque() []proof.Opaque { return e.program.Opaque() }

// Size says in words what the proof holds.
func (e *Engine) Size() string { return e.program.Size() }

// Rules returns the rules with this id, or with this tag.
func (e *Engine) Rules(id int, tag string) []int {
	if id != 0 {
		if _, ok := e.rules[id]; ok {
			return []int{id}
		}
		return nil
	}
	return e.tags[tag]
}

// Finds reports whether the rule with this id is in force and finds something.
func (e *Engine) Finds(id int) bool { return e.rules[id].finds }

// Family is the part of the rule set that a rule belongs to, for metrics:
// sqli, xss, rce…, or "own".
func (e *Engine) Family(id int) string {
	for _, t := range e.rules[id].Tags {
		if f, ok := strings.CutPrefix(t, "attack-"); ok {
			return f
		}
	}
	return "own"
}

// Close lets go of what the engine shares with others of its kind.
func (e *Engine) Close() {
	for _, w := range []coraza.WAF{e.waf, e.parser} {
		if c, ok := w.(io.Closer); ok {
			_ = c.Close() // releases cache entries; requests under way keep theirs
		}
	}
}
