package segment

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Query says which lines are looked for: those that meet every condition that is
// not zero.
type Query struct {
	Since, Until time.Time // of the line's time: Since ≤ time < Until
	RequestID    string
	Tenant       string
	Route        string
	Status       string        // 503, 5xx or >=400
	SlowerThan   time.Duration // duration_ms above this
	Grep         string        // a regular expression (RE2), or text
	Limit        int           // most lines. Default: 100
	After        string        // cursor of an earlier search
}

// matcher is a compiled Query.
type matcher struct {
	since, until int64 // Unix milliseconds; until is exclusive
	needles      [][]byte
	must         [][]uint64 // of each group of keys a block must have one
	status       statusRange
	slower       float64 // milliseconds; 0: any
	grep         *regexp.Regexp
}

type statusRange struct{ least, most int }

func parseStatus(s string) (statusRange, error) {
	number := func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		if err != nil || n < 100 || n > 599 {
			return 0, fmt.Errorf("%q is no status: write 503, 5xx or >=400", s)
		}
		return n, nil
	}
	if s == "" {
		return statusRange{}, nil
	}
	if len(s) == 3 && strings.HasSuffix(s, "xx") && s[0] >= '1' && s[0] <= '5' {
		n := int(s[0]-'0') * 100
		return statusRange{n, n + 99}, nil
	}
	for _, op := range [...]string{">=", "<=", ">", "<"} {
		rest, ok := strings.CutPrefix(s, op)
		if !ok {
			continue
		}
		n, err := number(rest)
		switch op {
		case ">=":
			return statusRange{n, 999}, err
		case "<=":
			return statusRange{1, n}, err
		case ">":
			return statusRange{n + 1, 999}, err
		}
		return statusRange{1, n - 1}, err
	}
	n, err := number(s)
	return statusRange{n, n}, err
}

func compile(q *Query, quote func(string) string) (*matcher, error) {
	m := &matcher{since: -1 << 62, until: 1 << 62, slower: float64(q.SlowerThan) / float64(time.Millisecond)}
	if !q.Since.IsZero() {
		m.since = q.Since.UnixMilli()
	}
	if !q.Until.IsZero() {
		m.until = q.Until.UnixMilli()
	}
	var err error
	if m.status, err = parseStatus(q.Status); err != nil {
		return nil, err
	}
	for _, f := range [...]struct{ field, kind, value string }{
		{"request_id", keyRequest, q.RequestID}, {"tenant", keyTenant, q.Tenant}, {"route", keyRoute, q.Route},
	} {
		if f.value == "" {
			continue
		}
		written := quote(f.value)
		m.needles = append(m.needles, []byte(`"`+f.field+`":"`+written+`"`))
		h := hash2(f.kind, []byte(written))
		m.must = append(m.must, []uint64{h})
		if f.kind != keyRequest {
			m.mustClass(h)
		}
	}
	switch {
	case m.status.least > 0 && m.status.least == m.status.most:
		m.must = append(m.must, []uint64{hash2(keyStatus, strconv.AppendInt(nil, int64(m.status.least), 10))})
	default:
		m.mustClass(0)
	}
	if q.Grep != "" {
		if m.grep, err = regexp.Compile(q.Grep); err != nil {
			return nil, fmt.Errorf("grep: %w", err)
		}
		if literal, whole := m.grep.LiteralPrefix(); whole {
			m.grep = nil
			m.needles = append(m.needles, []byte(literal))
		}
	}
	return m, nil
}

// mustClass asks that h is there with one of the classes of status that are looked for.
func (m *matcher) mustClass(h uint64) {
	if m.status.least == 0 {
		return
	}
	var group []uint64
	for class := m.status.least / 100; class <= min(m.status.most/100, 5); class++ {
		group = append(group, hashClass(h, class))
	}
	m.must = append(m.must, group)
}

// mayHold reports whether a block may have a line that matches.
func (m *matcher) mayHold(b *block) bool {
	if b.maxTime < m.since || b.minTime >= m.until {
		return false
	}
	for _, group := range m.must {
		if !slices.ContainsFunc(group, b.filter.has) {
			return false
		}
	}
	return true
}

func (m *matcher) matches(line []byte) bool {
	for _, n := range m.needles {
		if !bytes.Contains(line, n) {
			return false
		}
	}
	if m.status.least > 0 {
		if s := Status(line); s < m.status.least || s > m.status.most {
			return false
		}
	}
	if m.since > -1<<62 || m.until < 1<<62 {
		if at, ok := Time(line); !ok || at < m.since || at >= m.until {
			return false
		}
	}
	if m.slower > 0 {
		if d, ok := Number(line, "duration_ms"); !ok || d <= m.slower {
			return false
		}
	}
	return m.grep == nil || m.grep.Match(line)
}
