//go:build integration && drills

package test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"sluice/internal/issuer"
)

// TestABanHoldsOnTenNodes measures how long it takes from the request to one node
// that shuts a tenant out until all ten refuse the tenant.
func TestABanHoldsOnTenNodes(t *testing.T) {
	const rounds = 50
	f := startFleet(t, 10, false, "strict")
	operator, err := os.ReadFile(filepath.Join(f.nodes[0].dir, "data/admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	var took []time.Duration
	for i := range rounds {
		tenant := fmt.Sprintf("spread-%d", i)
		bearer := "Bearer " + token(t, f.issuer, issuer.Claims{Tenant: tenant, Tier: "calm", Subject: "s"})
		for _, m := range f.nodes {
			if status, err := ask(m, bearer); status == http.StatusForbidden || err != nil {
				t.Fatalf("%s: %d, %v before it is banned", m.name, status, err)
			}
		}
		began := time.Now()
		body := fmt.Sprintf(`{"target": %q, "for": "1m", "reason": "measured"}`, "tenant="+tenant)
		req, err := http.NewRequest(http.MethodPost, f.nodes[0].admin+"/api/v1/bans", bytes.NewReader([]byte(body)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+string(bytes.TrimSpace(operator)))
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusCreated {
			t.Fatalf("POST /api/v1/bans: %s", resp.Status)
		}
		var all sync.WaitGroup
		for _, m := range f.nodes {
			all.Go(func() {
				for {
					status, err := ask(m, bearer)
					if err == nil && status == http.StatusForbidden {
						return
					}
					if time.Since(began) > patience {
						t.Errorf("%s still answers %d, %v after %v", m.name, status, err, patience)
						return
					}
					time.Sleep(time.Millisecond)
				}
			})
		}
		all.Wait()
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.Logf("a ban holds on all ten nodes after %v (p50), %v (p99), %v (slowest)", took[rounds/2], took[rounds*99/100], took[rounds-1])
}

// ask makes one request to a node.
func ask(m *member, bearer string) (status int, err error) {
	req, err := http.NewRequest(http.MethodGet, m.url+"/", nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", bearer)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	return resp.StatusCode, nil
}
