package telemetry

import (
	"strings"
	"testing"
)

const validTraceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestTraceparentRoundTrip(t *testing.T) {
	c, ok := ParseTraceparent(validTraceparent)
	if !ok || !c.Sampled() || c.String() != validTraceparent {
		t.Fatalf("got %v %v", c, ok)
	}
	if got := c.TraceID.String(); got != "0af7651916cd43dd8448eb211c80319c" {
		t.Errorf("trace id %s", got)
	}
	if got := c.SpanID.String(); got != "b7ad6b7169203331" {
		t.Errorf("span id %s", got)
	}
}

func TestTraceparentFlags(t *testing.T) {
	for in, want := range map[string]string{"00": "00", "01": "01", "02": "02", "03": "03", "ff": "03", "08": "00"} {
		c, ok := ParseTraceparent(validTraceparent[:53] + in)
		if got := c.String()[53:]; !ok || got != want {
			t.Errorf("flags %s are passed on as %s, want %s", in, got, want)
		}
	}
}

func TestTraceparentOfALaterVersionIsReadAsFarAsKnown(t *testing.T) {
	for _, s := range []string{"cc" + validTraceparent[2:], "01" + validTraceparent[2:] + "-what-the-future-brings"} {
		c, ok := ParseTraceparent(s)
		if !ok || c.String() != validTraceparent {
			t.Errorf("%s: %v %v", s, c, ok)
		}
	}
}

func TestTraceparentRefused(t *testing.T) {
	for name, s := range map[string]string{
		"empty":                   "",
		"short":                   validTraceparent[:54],
		"longer version 00":       validTraceparent + "-00",
		"version ff":              "ff" + validTraceparent[2:],
		"later, glued":            "01" + validTraceparent[2:] + "0",
		"upper case":              strings.ToUpper(validTraceparent),
		"upper case version":      "0A" + validTraceparent[2:],
		"no digit":                strings.Replace(validTraceparent, "0af", "0ag", 1),
		"no digit in flags":       validTraceparent[:54] + "x",
		"zero trace":              "00-00000000000000000000000000000000-b7ad6b7169203331-01",
		"zero span":               "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
		"wrong separator":         strings.Replace(validTraceparent, "-b", "_b", 1),
		"space before":            " " + validTraceparent[:54],
		"two values in one field": validTraceparent + "," + validTraceparent,
	} {
		if c, ok := ParseTraceparent(s); ok || c != (TraceContext{}) {
			t.Errorf("%s: taken as %v", name, c)
		}
	}
}

func TestChildKeepsTheTraceAndFlags(t *testing.T) {
	parent, _ := ParseTraceparent(validTraceparent)
	b, span := parent.AppendChild(nil)
	child, ok := ParseTraceparent(string(b))
	if !ok || child.TraceID != parent.TraceID || child.Flags != parent.Flags || child.SpanID != span || span == parent.SpanID {
		t.Errorf("child %s of %s", b, parent)
	}
}

func TestNewTracesDiffer(t *testing.T) {
	a, b := NewTrace(FlagSampled), NewTrace(0)
	if a.TraceID == b.TraceID || a.SpanID == b.SpanID {
		t.Error("two traces with one id")
	}
	if !a.Sampled() || b.Sampled() || a.Flags&FlagRandom == 0 {
		t.Errorf("flags %x and %x", a.Flags, b.Flags)
	}
	if _, ok := ParseTraceparent(a.String()); !ok {
		t.Errorf("%s is not valid", a)
	}
}

func FuzzParseTraceparent(f *testing.F) {
	for _, s := range []string{validTraceparent, "cc" + validTraceparent[2:] + "-x", "ff" + validTraceparent[2:], strings.ToUpper(validTraceparent), ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, ok := ParseTraceparent(s)
		if !ok {
			return
		}
		out := c.String()
		if back, ok := ParseTraceparent(out); !ok || back != c {
			t.Fatalf("%q gives %q, which gives %v", s, out, back)
		}
		if out[2:53] != s[2:53] {
			t.Fatalf("%q changed to %q", s, out)
		}
	})
}

func TestTraceAllocatesNothing(t *testing.T) {
	buf := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() {
		c, _ := ParseTraceparent(validTraceparent)
		buf, _ = c.AppendChild(buf[:0])
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}
