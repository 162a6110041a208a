package store

import (
	"bytes"
	"encoding/json"
	"testing"
)

// A snapshot that is damaged is refused as a whole; one that is read holds what
// can be written again.
func FuzzReadSnapshot(f *testing.F) {
	f.Add([]byte(`{"revision":3,"objects":1}` + "\n" + `{"kind":"tenant","id":"acme","revision":3,"body":{"tier":"premium"},"updated_ms":1,"updated_by":"ann"}` + "\n"))
	f.Add([]byte(`{"revision":3,"objects":2}` + "\n" + `{"kind":"tenant","id":"acme","revision":3,"body":{}}`))
	f.Add([]byte(`{"objects":1}{"kind":"key","id":"x","body":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		objects, err := readSnapshot(bytes.NewReader(data))
		if err != nil {
			if objects != nil {
				t.Error("a damaged snapshot gives objects")
			}
			return
		}
		for _, o := range objects {
			if _, err := json.Marshal(o); err != nil {
				t.Error(err)
			}
		}
	})
}

// Bodies that somebody wrote into the database by hand must be errors, not panics.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"tier":"premium","limit":{"requests":5,"per":"1h","burst":{"rate":"5/s"}},"raise":{"limit":{"requests":1},"until":"2026-01-01T00:00:00Z"}}`))
	f.Add([]byte(`{"requests":5,"hash":"AAAA","addresses":["192.0.2.0/24"],"rotated":{"hash":"AA==","until":"2026-01-01T00:00:00Z"}}`))
	f.Add([]byte(`{"action":"deny","networks":["192.0.2.0/24","2001:db8::/32"],"route":"export","reason":"x"}`))
	f.Add([]byte(`{"rule":942100,"argument":"json.note","tenant":"acme","reason":"x"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		o := Object{ID: "x", Body: body, Revision: 7}
		if v, err := ParseTenant(o); err == nil && (v.ID != "x" || v.Revision != 7) {
			t.Errorf("%+v", v)
		}
		if v, err := ParseTier(o); err == nil && (v.Name != "x" || v.Revision != 7) {
			t.Errorf("%+v", v)
		}
		if v, err := ParseKey(o); err == nil && (v.ID != "x" || v.Revision != 7) {
			t.Errorf("%+v", v)
		}
		if v, err := ParseAddressList(o); err == nil && (v.Name != "x" || v.Revision != 7) {
			t.Errorf("%+v", v)
		}
		if v, err := ParseSecurityRule(o); err == nil && (v.Name != "x" || v.Revision != 7) {
			t.Errorf("%+v", v)
		}
	})
}
