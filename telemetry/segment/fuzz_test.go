package segment

import (
	"bytes"
	"context"
	"path/filepath"
	"slices"
	"testing"
)

// FuzzIndex: a damaged index never panics, and one that is taken is encoded as it was.
func FuzzIndex(f *testing.F) {
	var z bytes.Buffer
	x, err := Write(&z, bytes.NewReader([]byte(`{"time":"2026-11-25T08:00:00.000Z","tenant":"acme","status":503}`+"\n")))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(x)
	f.Add([]byte(indexMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := decodeIndex(b)
		if err != nil {
			return
		}
		if !bytes.Equal(x.encode(), b) {
			t.Error("encoded differently")
		}
		for i := range x.blocks {
			x.blocks[i].filter.has(1)
		}
	})
}

// FuzzSearch: whatever lines are, a search of the compressed text finds what one of
// the text finds.
func FuzzSearch(f *testing.F) {
	f.Add([]byte("{\"time\":\"2026-11-25T08:00:00.000Z\",\"request_id\":\"a\",\"status\":503,\"tenant\":\"acme\"}\nx\n"), "a", "acme", "", "5xx", "x")
	f.Add([]byte(`{"tenant":"a\"b","route":"/x","status":20`), "", `a"b`, "/x", "", "")
	f.Fuzz(func(t *testing.T, text []byte, id, tenant, route, status, grep string) {
		q := Query{RequestID: id, Tenant: tenant, Route: route, Status: status, Grep: grep, Limit: 1 << 20}
		if _, err := compile(&q, quote); err != nil {
			return
		}
		path := filepath.Join(t.TempDir(), "access.log")
		write(t, path, text)
		plain, _ := look(t, path, q)
		rotate(t, path, day, true)
		packed, err := []string(nil), error(nil)
		_, err = Search(context.Background(), path, q, quote, func(l []byte) bool { packed = append(packed, string(l)); return true })
		if err != nil || !slices.Equal(plain, packed) {
			t.Errorf("%+v: %q in the text, %q in the compressed one, %v", q, plain, packed, err)
		}
	})
}
