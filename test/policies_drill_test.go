//go:build integration && drills

package test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/auth"
	"sluice/conf"
	"sluice/internal/testkit"
	"sluice/store"
)

// TestHundredThousandTenants measures a node with 100,000 tenants and as many API
// keys: its start, its memory, a page of the list, a change. It prints what the
// documentation says.
func TestHundredThousandTenants(t *testing.T) {
	const many = 100_000
	file := filepath.Join(t.TempDir(), "sluice.db")
	s, err := store.Open(store.Options{URL: "sqlite://" + file})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Record(t.Context(), store.Entry{Time: time.Now()}); err != nil { // migrates
		t.Fatal(err)
	}
	s.Close()
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	insert := func(kind, id string, n int, body any) {
		text, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec("INSERT INTO objects VALUES ($1, $2, $3, $4, $5, 'drill')", kind, id, n+10, string(text), time.Now().UnixMilli()); err != nil {
			t.Fatal(err)
		}
	}
	text := ""
	for i := range many {
		insert(store.KindTenant, fmt.Sprintf("tenant-%06d", i), 2*i, store.Tenant{Name: fmt.Sprint("Tenant ", i), Tier: "premium", Limit: &store.Limit{Requests: int64(1000 + i), Per: conf.Duration(time.Hour)}})
		id := auth.NewKeyID()
		text = auth.NewKey("slc", id)
		hash := auth.HashKey(text)
		insert(store.KindKey, id, 2*i+1, store.Key{Name: "drill", Tenant: fmt.Sprintf("tenant-%06d", i), Hash: hash[:]})
	}
	if _, err := tx.Exec("UPDATE sequence SET n = $1", 2*many+10); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	db.Close()

	vars := map[string]any{"Name": "gw-1", "Store": "sqlite://" + file, "Issuer": "http://127.0.0.1:9/", "Upstream": "http://127.0.0.1:9"}
	began := time.Now()
	g := testkit.StartGateway(t, strings.Replace(policyConfig, "  issuers: [{issuer: \"{{.Issuer}}\", audience: "+audience+"}]\n", "", 1), vars)
	t.Logf("ready after %v", time.Since(began).Round(10*time.Millisecond))
	t.Logf("RSS %d MiB", rss(t, g.PID()))

	ask := func(method, path, body string) (*http.Response, time.Duration) {
		r, err := http.NewRequestWithContext(t.Context(), method, g.AdminURL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer operator-0123456789abcdef")
		began := time.Now()
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode > 299 {
			t.Fatalf("%s %s: %s", method, path, resp.Status)
		}
		return resp, time.Since(began)
	}
	for _, path := range []string{"/api/v1/tenants", "/api/v1/tenants?sort=-updated", "/api/v1/tenants?q=tenant-099999", "/api/v1/keys?limit=1000"} {
		var took []time.Duration
		for range 11 {
			_, d := ask(http.MethodGet, path, "")
			took = append(took, d)
		}
		slices.Sort(took)
		t.Logf("GET %s: median %v", path, took[5].Round(10*time.Microsecond))
	}
	began = time.Now()
	ask(http.MethodPut, "/api/v1/tenants/tenant-000001", `{"suspended":"drill"}`)
	wrote := time.Since(began)
	_ = wrote
	var key struct{ Key string }
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.AdminURL+"/api/v1/keys", strings.NewReader(`{"name":"x","tenant":"tenant-000001"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer operator-0123456789abcdef")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(resp.Body).Decode(&key); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	began = time.Now()
	testkit.Eventually(t, 10*time.Second, func() error {
		r := testkit.NewClient(t, g.URL).Get("/items/1", testkit.Header("X-API-Key", key.Key))
		if r.Status != http.StatusForbidden {
			return fmt.Errorf("status %d", r.Status)
		}
		return nil
	})
	t.Logf("a change takes %v to be written, and holds %v after that", wrote.Round(100*time.Microsecond), time.Since(began).Round(100*time.Microsecond))
	t.Logf("RSS %d MiB", rss(t, g.PID()))
}

// rss is the resident memory of a process, in MiB.
func rss(t *testing.T, pid int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return n >> 10
		}
	}
	t.Fatal("no VmRSS")
	return 0
}
