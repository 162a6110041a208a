package telemetry

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestRequestIDsSortByTimeAndDiffer(t *testing.T) {
	var ids []string
	for i := range 1000 {
		ids = append(ids, NewRequestID(testTime.Add(time.Duration(i)*time.Millisecond)))
	}
	if !slices.IsSorted(ids) {
		t.Error("ids of later times do not sort later")
	}
	seen := make(map[string]bool)
	for range 10000 {
		id := NewRequestID(testTime)
		if seen[id] || len(id) != requestIDLen || !ValidRequestID(id) {
			t.Fatalf("id %q: seen %v", id, seen[id])
		}
		seen[id] = true
	}
}

func TestRequestIDTime(t *testing.T) {
	// 1469918176385 ms is the example of the ULID specification.
	if got := NewRequestID(time.UnixMilli(1469918176385))[:10]; got != "01ARYZ6S41" {
		t.Errorf("time part %s, want 01ARYZ6S41", got)
	}
}

func TestValidRequestID(t *testing.T) {
	for s, want := range map[string]bool{
		"":                                     false,
		"a":                                    true,
		"550e8400-e29b-41d4-a716-446655440000": true,
		"Root=1-67891233-abcdef012345678912345678": true,
		"YWJj+/8=":               true,
		"a.b_c:d~e":              true,
		strings.Repeat("x", 128): true,
		strings.Repeat("x", 129): false,
		"a b":                    false,
		"a\r\nSet-Cookie: x":     false,
		"é":                      false,
		"a;b":                    false,
		`a"b`:                    false,
		"<script>":               false,
	} {
		if got := ValidRequestID(s); got != want {
			t.Errorf("ValidRequestID(%q) = %v, want %v", s, got, want)
		}
	}
}

func TestRequestIDAllocatesItsText(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { sinkString = NewRequestID(testTime) }); n != 1 {
		t.Errorf("%v allocations, want 1", n)
	}
}

var sinkString string
