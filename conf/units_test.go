package conf

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "30s": 30 * time.Second, "5m": 5 * time.Minute, "1h": time.Hour, "14d": 14 * 24 * time.Hour,
		"1h30m": 90 * time.Minute, "1.5h": 90 * time.Minute, "250ms": 250 * time.Millisecond, "1d12h": 36 * time.Hour,
		"7us": 7 * time.Microsecond, "7µs": 7 * time.Microsecond, "3ns": 3, "1s1ms": 1001 * time.Millisecond, "106751d": 106751 * 24 * time.Hour,
	} {
		if got, err := ParseDuration(text); err != nil || got.Std() != want {
			t.Errorf("ParseDuration(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for want, d := range map[string]Duration{
		"0s": 0, "75s": Duration(75 * time.Second), "90m": Duration(90 * time.Minute), "14d": 14 * Day, "36h": Duration(36 * time.Hour),
		"1s1ms": Duration(1001 * time.Millisecond), "1ns": 1, "-30s": Duration(-30 * time.Second), "365d": 365 * Day,
	} {
		if got := d.String(); got != want {
			t.Errorf("String of %v = %q, want %q", d.Std(), got, want)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]Size{
		"0": 0, "0B": 0, "512B": 512, "64KiB": 65536, "64KB": 64000, "64kB": 64000, "1MiB": 1 << 20, "10GB": 1e10, "1.5GiB": 3 << 29, "2TiB": 2 << 40, "1TB": 1e12,
	} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for want, s := range map[string]Size{"0B": 0, "1B": 1, "64KiB": 65536, "64KB": 64000, "10GB": 1e10, "1537B": 1537} {
		if got := s.String(); got != want {
			t.Errorf("String of %d = %q, want %q", s, got, want)
		}
	}
}

func TestRates(t *testing.T) {
	for text, want := range map[string]float64{"50/s": 50, "600/m": 10, "1000/h": 1000.0 / 3600, "0.5/s": 0.5, "1/d": 1.0 / 86400, "1000000000/s": 1e9} {
		got, err := ParseRate(text)
		if err != nil || math.Abs(got.PerSecond()-want) > want*1e-12 {
			t.Errorf("ParseRate(%q) = %v, %v; want %v per second", text, got.PerSecond(), err, want)
		}
	}
	for want, text := range map[string]string{"50/s": "50/s", "10/s": "600/m", "1000/h": "1000/h", "30/m": "0.5/s", "1/d": "1/d", "7/m": "7/m"} {
		if r, err := ParseRate(text); err != nil || r.String() != want {
			t.Errorf("%s is written %q, want %q (%v)", text, r, want, err)
		}
	}
}

func TestPercents(t *testing.T) {
	for text, want := range map[string]Percent{"20%": 0.2, "0.2": 0.2, "0": 0, "1": 1, "100%": 1, "0.1%": 0.001, ".5": 0.5} {
		if got, err := ParsePercent(text); err != nil || math.Abs(float64(got-want)) > 1e-15 {
			t.Errorf("ParsePercent(%q) = %v, %v; want %v", text, float64(got), err, float64(want))
		}
	}
	for want, p := range map[string]Percent{"20%": 0.2, "0.1%": 0.001, "0%": 0, "100%": 1, "7%": 0.07} {
		if got := p.String(); got != want {
			t.Errorf("String of %v = %q, want %q", float64(p), got, want)
		}
	}
}

func TestPrefixes(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.0/8": "10.0.0.0/8", "10.1.2.3/8": "10.0.0.0/8", "192.0.2.1": "192.0.2.1/32", "::1": "::1/128", "2001:db8::/32": "2001:db8::/32",
		"::ffff:10.0.0.1": "10.0.0.1/32", "::ffff:10.0.0.0/104": "10.0.0.0/8", "0.0.0.0/0": "0.0.0.0/0",
	} {
		if got, err := ParsePrefix(text); err != nil || got.String() != want {
			t.Errorf("ParsePrefix(%q) = %v, %v; want %s", text, got, err, want)
		}
	}
}

func TestWrongUnitsAreExplained(t *testing.T) {
	parsers := map[string]func(string) error{
		"duration": func(s string) error { return new(Duration).UnmarshalText([]byte(s)) },
		"size":     func(s string) error { return new(Size).UnmarshalText([]byte(s)) },
		"rate":     func(s string) error { return new(Rate).UnmarshalText([]byte(s)) },
		"percent":  func(s string) error { return new(Percent).UnmarshalText([]byte(s)) },
		"prefix":   func(s string) error { return new(Prefix).UnmarshalText([]byte(s)) },
	}
	for kind, texts := range map[string][]string{
		"duration": {"", "30", "s", "30 s", "1.2.3s", ".s", "5 minutes", "1h-30m", "-1s", "1e3s", "9999999d", "١s", "1h 30m", "1hh"},
		"size":     {"", "1", "KiB", "1kib", "64k", "1 MiB", "-1B", "1.0001B", "9e9GB", "99999999TiB", "1PB"},
		"rate":     {"", "50", "/s", "50/", "50/x", "50/s/s", "-1/s", "0/s", "NaN/s", "Inf/s", "1e400/s", "2000000000/s"},
		"percent":  {"", "%", "-1%", "101%", "20", "NaN", "1e-3", "half", "20 %", "Inf"},
		"prefix":   {"", "localhost", "10.0.0.0/33", "10.0.0/8", "fe80::1%eth0", "fe80::1%eth0/64", "10.0.0.0/08", "::ffff:0:0/90", "1.2.3.4/"},
	} {
		for _, text := range texts {
			err := parsers[kind](text)
			why, ok := errors.AsType[*valueError](err)
			if !ok || why.Message == "" || why.Hint == "" {
				t.Errorf("%s %q: error %v, want one with a hint", kind, text, err)
			}
		}
	}
}

// What a unit writes it reads as the same value.
func FuzzUnitsRoundTrip(f *testing.F) {
	for _, s := range []string{"1h30m", "14d", "64KiB", "10GB", "50/s", "1000/h", "20%", "0.333", "10.0.0.0/8", "::1", "1.5GiB", "7/d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := ParseDuration(text); err == nil {
			if again, err := ParseDuration(d.String()); d < 0 || err != nil || again != d {
				t.Errorf("duration %q: %d, then %q: %d, %v", text, d, d, again, err)
			}
		}
		if s, err := ParseSize(text); err == nil && s < 1<<53 { // a float64 holds no more
			if again, err := ParseSize(s.String()); s < 0 || err != nil || again != s {
				t.Errorf("size %q: %d, then %q: %d, %v", text, s, s, again, err)
			}
		}
		if r, err := ParseRate(text); err == nil {
			if again, err := ParseRate(r.String()); err != nil || math.Abs(float64(again-r)) > 1e-9*float64(r) {
				t.Errorf("rate %q: %v, then %q: %v, %v", text, float64(r), r, float64(again), err)
			}
		}
		if p, err := ParsePercent(text); err == nil && !strings.Contains(p.String(), "e-") {
			if again, err := ParsePercent(p.String()); p < 0 || p > 1 || err != nil || math.Abs(float64(again-p)) > 1e-11 {
				t.Errorf("share %q: %v, then %q: %v, %v", text, float64(p), p, float64(again), err)
			}
		}
		if p, err := ParsePrefix(text); err == nil {
			if again, err := ParsePrefix(p.String()); err != nil || again != p || p != (Prefix{p.Masked()}) {
				t.Errorf("network %q: %v, then %v, %v", text, p, again, err)
			}
		}
	})
}
