package bans

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"
)

// Action is what meets a banned request.
type Action uint8

// The actions, from the hardest.
const (
	Block     Action = iota // 403
	Challenge               // 429 with the time that is left
	Tarpit                  // let through, late
	numActions
)

var actionWords = [numActions]string{"block", "challenge", "tarpit"}

func (a Action) String() string {
	if a < numActions {
		return actionWords[a]
	}
	return "unknown"
}

// ParseAction reads an action's word; "" is block.
func ParseAction(word string) (Action, error) {
	if word == "" {
		return Block, nil
	}
	if i := slices.Index(actionWords[:], word); i >= 0 {
		return Action(i), nil
	}
	return 0, fmt.Errorf("%q is no action; the actions are %s", word, strings.Join(actionWords[:], ", "))
}

// MarshalText is String, for JSON and YAML.
func (a Action) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText is [ParseAction].
func (a *Action) UnmarshalText(text []byte) (err error) {
	*a, err = ParseAction(string(text))
	return err
}

// List is which of the lists an entry stands on.
type List uint8

// The lists. Each is a kind of fact, and has room of its own (invariant 4).
const (
	Banned   List = iota // by an operator
	Detected             // by the detector
	Allowed              // by an operator
	Struck               // what the detector has banned of late; shuts out nobody
	numLists
	filed // by the configuration; not in the book
)

// FactKind is the kind of the list's facts in the store.
func (l List) FactKind() string { return [...]string{"ban", "ban-auto", "allow", "strike"}[l] }

// Source says who is the author of the list's entries.
func (l List) Source() string {
	return [...]string{Banned: "operator", Detected: "detector", Allowed: "operator", Struck: "detector", numLists: "", filed: "file"}[l]
}

// FactKinds returns the kinds of all lists, to be watched.
func FactKinds() []string {
	return []string{Banned.FactKind(), Detected.FactKind(), Allowed.FactKind(), Struck.FactKind()}
}

// Entry is one ban or allowance. It is immutable.
type Entry struct {
	Target
	Action  Action    // of a ban
	Reason  string    // never empty
	By      string    // an operator's name, or what found it
	Since   time.Time // when it was written, in whole seconds
	Until   time.Time
	Strikes int // how many times in a row the detector has found the target
	List    List

	untilNS int64
	hits    *Hits
}

// Hits counts the requests that an entry met on this node. It is the same for
// every version of the entry.
type Hits struct {
	count atomic.Uint64
	said  atomic.Int64 // Unix second of the last event about it
}

// Hit counts a request, and reports whether it is the first of its second, which
// is the one to make an event of.
func (e *Entry) Hit(now time.Time) (first bool) {
	if e.hits == nil {
		return true
	}
	e.hits.count.Add(1)
	second := now.Unix()
	last := e.hits.said.Load()
	return last != second && e.hits.said.CompareAndSwap(last, second)
}

// Count returns how many requests the entry met on this node.
func (e *Entry) Count() uint64 {
	if e.hits == nil {
		return 0
	}
	return e.hits.count.Load()
}

// Left returns how long the entry is still in force.
func (e *Entry) Left(now time.Time) time.Duration { return e.Until.Sub(now) }

// endNS is an end in Unix nanoseconds, which reach to the year 2262.
func endNS(t time.Time) int64 {
	if t.Year() > 2261 {
		return math.MaxInt64
	}
	return t.UnixNano()
}

func (e *Entry) live(nowNS int64) bool { return nowNS < e.untilNS }

// Bounds of an entry's texts, in bytes: together they must fit a fact.
const (
	maxReason = 300
	maxBy     = 64
)

// MaxFor is the longest that an entry may be in force.
const MaxFor = 366 * 24 * time.Hour

// Errors of a bad entry are of this type: their text is for who wrote it.
type BadEntry struct{ Message string }

func (e *BadEntry) Error() string { return e.Message }

func bad(format string, args ...any) error { return &BadEntry{fmt.Sprintf(format, args...)} }

// check normalises e and says what is wrong with it.
func (e *Entry) check(now time.Time) error {
	t, err := NewTarget(e.Kind, e.Value)
	if err != nil {
		return bad("%s", err)
	}
	e.Target = t
	e.Reason = strings.TrimSpace(e.Reason)
	switch {
	case e.Reason == "":
		return bad("a reason is needed: whoever meets this at night wants to know why")
	case len(e.Reason) > maxReason:
		return bad("the reason is longer than %d bytes", maxReason)
	case !utf8.ValidString(e.Reason) || strings.ContainsFunc(e.Reason, unicode.IsControl):
		return bad("the reason holds a control character or is no UTF-8")
	case e.Until.IsZero():
		return bad("an end is needed: say for how long")
	case !e.Until.After(now):
		return bad("the end, %s, is past", e.Until.UTC().Format(time.RFC3339))
	case e.Until.Sub(now) > MaxFor:
		return bad("the end, %s, is more than %d days away", e.Until.UTC().Format(time.RFC3339), int(MaxFor.Hours()/24))
	case e.Action >= numActions:
		return bad("there is no such action")
	}
	if e.List == Allowed {
		switch e.Kind {
		case Address, Tenant, Subject, Key:
		default:
			return bad("%s cannot be allowed: only address, tenant, subject and key can", e.Kind)
		}
	}
	if len(e.By) > maxBy {
		e.By = strings.ToValidUTF8(e.By[:maxBy], "")
	}
	return nil
}

// value is what a fact holds of an entry; the target is its key, the end its
// expiry.
type value struct {
	Action  string `json:"a,omitempty"`
	Reason  string `json:"r"`
	By      string `json:"b,omitempty"`
	Since   int64  `json:"s"` // Unix seconds
	Strikes int    `json:"n,omitempty"`
}

func (e *Entry) encode() []byte {
	v := value{Reason: e.Reason, By: e.By, Since: e.Since.Unix(), Strikes: e.Strikes}
	if e.Action != Block {
		v.Action = e.Action.String()
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // < would take six bytes of few
	if err := enc.Encode(v); err != nil {
		panic("BUG: " + err.Error())
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// Fact is an entry as the store holds it.
type Fact struct {
	Kind, Key string
	Value     []byte
	Expires   time.Time
	Gone      bool // deleted or expired
}

var errFact = errors.New("bans: the fact cannot be read")

// decode reads a fact of list l.
func decode(l List, f Fact) (*Entry, error) {
	t, err := parseKey(f.Key)
	if err != nil {
		return nil, err
	}
	var v value
	if err := json.Unmarshal(f.Value, &v); err != nil {
		return nil, fmt.Errorf("%w: %w", errFact, err)
	}
	action, err := ParseAction(v.Action)
	if err != nil {
		return nil, err
	}
	if f.Expires.IsZero() || v.Strikes < 0 {
		return nil, errFact
	}
	return &Entry{
		Target: t, Action: action, Reason: v.Reason, By: v.By, Since: time.Unix(v.Since, 0).UTC(),
		Until: f.Expires.UTC(), Strikes: v.Strikes, List: l, untilNS: endNS(f.Expires),
	}, nil
}
