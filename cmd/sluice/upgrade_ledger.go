package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"sluice/conf"
)

// ledger is upgrade.json in the data directory: what was asked for and what came
// of it. Whoever asked reads it, since a signal has no answer. The process that
// serves writes it.
type ledger struct {
	// Requested counts the upgrades asked for, over all generations.
	Requested int `json:"requested"`
	// Queued says why a request waits; empty: none does.
	Queued string `json:"queued,omitempty"`
	// Attempts are the last ones, oldest first.
	Attempts []attempt `json:"attempts"`
}

// attempt is one upgrade.
type attempt struct {
	Covers      int       `json:"covers"` // the requests up to this one
	OK          bool      `json:"ok"`
	Reason      string    `json:"reason,omitempty"` // why not
	From        int       `json:"from"`             // process ids
	To          int       `json:"to,omitempty"`
	FromVersion string    `json:"from_version"`
	ToVersion   string    `json:"to_version,omitempty"`
	Generation  int       `json:"generation,omitempty"` // of the new process
	Began       time.Time `json:"began"`
	TookMS      int64     `json:"took_ms"` // until the new process was ready
}

// keptAttempts bounds Attempts.
const keptAttempts = 20

func (l *ledger) add(a attempt) {
	l.Attempts = append(l.Attempts, a)
	if over := len(l.Attempts) - keptAttempts; over > 0 {
		l.Attempts = append([]attempt(nil), l.Attempts[over:]...)
	}
}

// waiting reports whether a request has not been answered by an attempt.
func (l *ledger) waiting() bool {
	_, ok := l.of(l.Requested)
	return l.Requested > 0 && !ok
}

// of returns the attempt that answered request n.
func (l *ledger) of(n int) (attempt, bool) {
	for _, a := range l.Attempts {
		if a.Covers >= n {
			return a, true
		}
	}
	return attempt{}, false
}

func ledgerFile(doc *conf.Document) string { return filepath.Join(doc.Node.DataDir, "upgrade.json") }

// readLedger returns an empty ledger when there is none.
func readLedger(path string) (l ledger, err error) {
	text, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return l, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &l)
	}
	return l, err
}

func (l *ledger) write(path string) error {
	text, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return replaceFile(path, append(text, '\n'))
}

// replaceFile replaces path as a whole, so that no reader sees half of it.
func replaceFile(path string, content []byte) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, content, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
