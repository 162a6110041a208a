package detector

import (
	"time"

	"sluice/conf"
	"sluice/waf/bans"
)

// Rule is one of the things that are looked for.
type Rule uint8

// The rules that count.
const (
	BruteForce Rule = iota
	Stuffing
	Scanning
	Attacks
	Throttled
	numWindows
	Surge Rule = iota - 1
	Anomaly
	numRules
)

var ruleWords = [numRules]string{"brute_force", "credential_stuffing", "scanning", "attacks", "throttled", "surge", "anomaly"}

func (r Rule) String() string { return ruleWords[r] }

// what says what was counted, for a ban's reason.
var what = [numWindows]string{
	"failed authentications", "different credentials that failed", "different paths refused or missing",
	"requests with an attack", "requests over a limit",
}

// tells says which signals a rule counts, whom it counts by, and whether only
// what is different counts.
var tells = [numWindows]struct {
	signals  Signal
	kinds    []bans.Kind
	distinct bool
}{
	BruteForce: {AuthFailure, []bans.Kind{bans.Address}, false},
	Stuffing:   {AuthFailure, []bans.Kind{bans.Address}, true},
	Scanning:   {Refused, []bans.Kind{bans.Address, bans.Subject}, true},
	Attacks:    {Attack, []bans.Kind{bans.Address, bans.Subject, bans.Key}, false},
	Throttled:  {Limited, []bans.Kind{bans.Address, bans.Subject, bans.Key}, false},
}

// limits are one rule's.
type limits struct {
	count  float64
	per    time.Duration
	ban    bool // else the finding is reported only
	action bans.Action
	lasts  time.Duration
}

// Settings are the detector's part of a configuration, compiled. They are
// immutable.
type Settings struct {
	off, enforce bool
	rules        [numWindows]limits
	surge        limits  // count: of one tick
	factor       float64 // of a surge or an anomaly, against the baseline
	maxFor       time.Duration
}

// Compile makes settings of a configuration that has been validated.
func Compile(c conf.Detector) *Settings {
	s := &Settings{off: c.Mode == "off", enforce: c.Mode == "enforce", maxFor: c.MaxFor.Std(), factor: float64(c.Surge.Factor)}
	for i, r := range [numWindows]conf.DetectorRule{c.BruteForce, c.CredentialStuffing, c.Scanning, c.Attacks, c.Throttled} {
		s.rules[i] = limits{count: float64(r.Count), per: r.Per.Std(), lasts: r.For.Std()}
		s.rules[i].act(r.Action)
	}
	s.surge = limits{count: c.Surge.Floor.PerSecond() * Tick.Seconds(), per: Tick, lasts: c.Surge.For.Std()}
	s.surge.act(c.Surge.Action)
	return s
}

func (l *limits) act(word string) {
	if action, err := bans.ParseAction(word); err == nil {
		l.ban, l.action = true, action
	}
}
