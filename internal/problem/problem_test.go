package problem

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestAppendIsJSONWhateverTheText(t *testing.T) {
	for _, s := range []string{"", "plain", `q"b\`, "a\x00b\x1f\x7f", "<script>&", "\u2028\u2029", "caf\u00e9 \U0001f680", "bad\xffutf8"} {
		p := Problem{Type: DocsURL + "x", Title: s, Status: 400, Detail: s, RequestID: s, Limit: &Limit{Policy: s, Tenant: s}}
		var got map[string]any
		if err := json.Unmarshal(p.Append(nil), &got); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		want := string([]rune(s)) // invalid UTF-8 becomes U+FFFD
		if got["title"] != want {
			t.Errorf("title %q, want %q", got["title"], want)
		}
	}
}

func TestWriteReplacesWhatDescribedAnotherBody(t *testing.T) {
	w := httptest.NewRecorder()
	w.Header().Set("Content-Encoding", "gzip")
	w.Header().Set("Content-Length", "1")
	w.Header().Set("X-Kept", "yes")
	p := Problem{Type: QuotaExceeded, Title: "Request quota exceeded", Status: http.StatusTooManyRequests,
		Limit: &Limit{Policy: "tenant", Tenant: "acme", Limit: 1000, RetryAfter: 41}}
	n := p.Write(w, false)
	h := w.Header()
	if w.Code != 429 || h.Get("Content-Type") != ContentType || h.Get("Content-Encoding") != "" || h.Get("X-Kept") != "yes" || n != w.Body.Len() {
		t.Fatalf("got %d %v, %d bytes counted of %d", w.Code, h, n, w.Body.Len())
	}
	want := `{"type":"` + QuotaExceeded + `","title":"Request quota exceeded","status":429,"violated-policies":["tenant"],"tenant":"acme","limit":1000,"remaining":0,"retry_after":41}` + "\n"
	if w.Body.String() != want {
		t.Errorf("got  %s\nwant %s", w.Body, want)
	}
}

func TestWriteSendsNoBodyToHEAD(t *testing.T) {
	w := httptest.NewRecorder()
	if n := (&Problem{Type: "t", Title: "x", Status: 404}).Write(w, true); n != 0 || w.Body.Len() != 0 {
		t.Errorf("wrote %d bytes", w.Body.Len())
	}
}

func TestFaultsSayWhereTheyAre(t *testing.T) {
	p := Problem{Type: "t", Title: "x", Status: 422, Faults: []Fault{{Pointer: "#/a", Detail: "is \"b\""}, {Parameter: "limit", Detail: "c"}}}
	want := `{"type":"t","title":"x","status":422,"errors":[{"detail":"is \"b\"","pointer":"#/a"},{"detail":"c","parameter":"limit"}]}` + "\n"
	if got := string(p.Append(nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
