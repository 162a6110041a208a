package telemetry

import (
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/VictoriaMetrics/metrics"
)

// What the firewall did about what it found.
const (
	WAFDetect = "detect" // logged
	WAFBlock  = "block"  // refused
)

// WAFRecord is what the firewall found in a request.
type WAFRecord struct {
	Action string // WAFDetect or WAFBlock
	Attack bool   // over the threshold or a limit; not written
	Score  int    // anomaly score
	Limit  string // optional: the structural limit that the request goes beyond
	Rules  []int
	Parts  []string // where each rule matched: ARGS:note
	Shapes []string // what matched, made unrecognisable
}

// maxWAFRules bounds the rules in a line.
const maxWAFRules = 8

func (w *WAFRecord) append(b []byte) []byte {
	b = append(b, `,"waf":{"action":"`...)
	b = appendText(b, w.Action, maxWord)
	b = strconv.AppendInt(append(b, `","score":`...), int64(w.Score), 10)
	b = appendOptional(b, `,"limit":"`, w.Limit, maxWord)
	b = append(b, `,"rules":[`...)
	for i, id := range w.Rules[:min(len(w.Rules), maxWAFRules)] {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(id), 10)
	}
	b = append(b, ']')
	if len(w.Parts) > 0 {
		b = appendOptional(b, `,"part":"`, w.Parts[0], maxWord)
	}
	if len(w.Shapes) > 0 {
		b = appendOptional(b, `,"match":"`, w.Shapes[0], 2*maxWord)
	}
	return append(b, '}')
}

// wafSeconds are the bounds of an inspection's time.
var wafSeconds = newBuckets(1e9, .00001, .000025, .00005, .0001, .00025, .0005, .001, .0025, .005, .01, .02, .05, .1)

// maxRuleNames bounds the rules that are counted by their ids.
const maxRuleNames = 400

// maxWAFFindings bounds the series by family, tenant and action.
const maxWAFFindings = 500

// wafFinding is what findings are counted by.
type wafFinding struct{ family, tenant, action string }

// wafMetrics counts what the firewall does.
type wafMetrics struct {
	seconds    cells
	rules      *bounded[string, metrics.Counter]
	findings   *bounded[wafFinding, metrics.Counter]
	overloaded *metrics.Counter
}

func (m *Metrics) newWAF(stripes int) {
	m.waf.seconds = newCells(stripes, wafSeconds.slots())
	m.waf.rules = newBounded(maxRuleNames, other, m.capped("sluice_waf_rule_hits_total"), func(rule string) *metrics.Counter {
		return m.counter("sluice_waf_rule_hits_total", rule)
	})
	m.waf.findings = newBounded(maxWAFFindings, wafFinding{other, other, other}, m.capped("sluice_waf_requests_total"), func(f wafFinding) *metrics.Counter {
		return m.counter("sluice_waf_requests_total", f.family, f.tenant, f.action)
	})
	m.waf.overloaded = m.counter("sluice_waf_overload_total")
}

// Inspected counts an inspection of the firewall and how long it took.
func (m *Metrics) Inspected(d time.Duration) {
	wafSeconds.observe(&m.waf.seconds, m.stripes.stripe(), 0, int64(d))
}

// RuleHit counts a rule of the firewall that matched.
func (m *Metrics) RuleHit(rule int) { m.waf.rules.get(strconv.Itoa(rule)).Inc() }

// Found counts a request in which the firewall found something: by the family of
// the first rule, or "limit" or "overload", the tenant, empty for none, and what
// was done. Pass it only tenants of verified credentials.
func (m *Metrics) Found(family, tenant, action string) {
	if len(tenant) > maxTenantName || !utf8.ValidString(tenant) {
		tenant = other
	}
	m.waf.findings.get(wafFinding{family, tenant, action}).Inc()
}

// WAFOverloaded counts a request for whose inspection there was no place or no
// time.
func (m *Metrics) WAFOverloaded() { m.waf.overloaded.Inc() }
