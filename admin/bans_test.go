package admin

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"sluice/waf/bans"
)

// oneNodeFacts is a store of facts without gossip.
type oneNodeFacts struct{ book *bans.Book }

func (s *oneNodeFacts) Set(kind, key string, value []byte, expires time.Time) error {
	s.book.Apply([]bans.Fact{{Kind: kind, Key: key, Value: value, Expires: expires}})
	return nil
}

func (s *oneNodeFacts) Delete(kind, key string) error {
	s.book.Apply([]bans.Fact{{Kind: kind, Key: key, Gone: true}})
	return nil
}

func newBook() *bans.Book {
	s := new(oneNodeFacts)
	s.book = bans.NewBook(s, nil)
	return s.book
}

func fileBans() []*bans.Entry {
	return []*bans.Entry{bans.FromFile(bans.Target{Kind: bans.Country, Value: "KP"}, bans.Block, "sanctions", time.Now().Add(time.Hour))}
}

func TestBansAreMadeListedAndEnded(t *testing.T) {
	s, _ := newServer(t, new(bool))
	const asOperator, asViewer = "Bearer oidc-operator", "Bearer oidc-viewer"
	journal := s.deps.Audit.(*journal)
	book := s.deps.Bans.(*bans.Book)

	w := send(t, s, "POST", "/api/v1/bans?dry_run=true", asOperator, `{"target":"203.0.113.77/24","for":"1h","reason":"scan"}`)
	if w.Code != http.StatusOK || len(book.Entries(bans.Banned)) != 0 {
		t.Fatalf("a dry run: %d %s", w.Code, w.Body)
	}
	for _, body := range []string{
		`{"target":"203.0.113.77/24","for":"1h","reason":"scan"}`,
		`{"target":"path=/api/export/*","for":"7d","reason":"leak","action":"challenge"}`,
		`{"target":"tenant=acme","until":"` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + `","reason":"unpaid"}`,
	} {
		if w := send(t, s, "POST", "/api/v1/bans", asOperator, body); w.Code != http.StatusCreated {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
	}
	if e := journal.last(t); e.Kind != "ban" || e.ID != "tenant=acme" || e.Reason != "unpaid" {
		t.Errorf("audit: %+v", e)
	}
	targets := func(query string) string {
		w := ask(t, s, "GET", "/api/v1/bans?"+query, asViewer)
		var page struct{ Items []Ban }
		if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil || w.Code != http.StatusOK {
			t.Fatal(w.Code, w.Body)
		}
		var names []string
		for _, b := range page.Items {
			names = append(names, b.Target)
		}
		return strings.Join(names, " ")
	}
	for query, want := range map[string]string{
		"": "203.0.113.0/24 country=KP path=/api/export/* tenant=acme", "kind=address": "203.0.113.0/24", "source=file": "country=KP",
		"sort=-until&kind=path": "path=/api/export/*", "sort=hits&limit=1": "203.0.113.0/24", "sort=since&kind=tenant": "tenant=acme",
	} {
		if got := targets(query); got != want {
			t.Errorf("%q: got %s, want %s", query, got, want)
		}
	}
	if w := ask(t, s, "GET", "/api/v1/bans?kind=house", asViewer); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("an unknown kind: %d", w.Code)
	}
	for target, want := range map[string]int{
		"203.0.113.0/24": 204, "203.0.113.0/25": 404, "path=/api/export/*": 204, "country=KP": 409, "house=7": 422,
	} {
		if w := ask(t, s, "DELETE", "/api/v1/bans/"+url.PathEscape(target)+"?reason=over", asOperator); w.Code != want {
			t.Errorf("end %s: %d, want %d: %s", target, w.Code, want, w.Body)
		}
	}
	if got := targets("source=operator"); got != "tenant=acme" {
		t.Errorf("left: %s", got)
	}
	if w := send(t, s, "POST", "/api/v1/bans", asViewer, `{"target":"203.0.113.7","for":"1h","reason":"scan"}`); w.Code != http.StatusForbidden {
		t.Errorf("a viewer bans: %d", w.Code)
	}
}

func TestABanNeedsAReasonAndAnEnd(t *testing.T) {
	s, _ := newServer(t, new(bool))
	for body, pointer := range map[string]string{
		`{"target":"203.0.113.7","for":"1h"}`:                                             "#",
		`{"target":"203.0.113.7","for":"1h","reason":" "}`:                                "#/target",
		`{"target":"203.0.113.7","reason":"r"}`:                                           "#/for",
		`{"target":"203.0.113.7","for":"soon","reason":"r"}`:                              "#/for",
		`{"target":"203.0.113.7","for":"0s","reason":"r"}`:                                "#/for",
		`{"target":"203.0.113.7","for":"1h","until":"2999-01-01T00:00:00Z","reason":"r"}`: "#/until",
		`{"target":"203.0.113.7","until":"2020-01-01T00:00:00Z","reason":"r"}`:            "#/target",
		`{"target":"203.0.113.7","until":"2999-01-01T00:00:00Z","reason":"r"}`:            "#/target",
		`{"target":"nobody","for":"1h","reason":"r"}`:                                     "#/target",
		`{"target":"203.0.113.7","for":"1h","reason":"r","action":"nuke"}`:                "#/action",
	} {
		w := send(t, s, "POST", "/api/v1/bans", "Bearer oidc-operator", body)
		if w.Code != http.StatusUnprocessableEntity || !strings.Contains(w.Body.String(), `"pointer": "`+pointer+`"`) && !strings.Contains(w.Body.String(), `"pointer":"`+pointer) {
			t.Errorf("%s: %d %s, want a fault at %s", body, w.Code, w.Body, pointer)
		}
	}
}

func TestAllowancesAreForWhoCanBeVerified(t *testing.T) {
	s, _ := newServer(t, new(bool))
	const asOperator = "Bearer oidc-operator"
	if w := send(t, s, "POST", "/api/v1/allowances", asOperator, `{"target":"tenant=acme","for":"1h","reason":"VIP"}`); w.Code != http.StatusCreated {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := send(t, s, "POST", "/api/v1/allowances?dry_run=true", asOperator, `{"target":"198.51.100.7","for":"1h","reason":"office"}`); w.Code != http.StatusOK {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := send(t, s, "POST", "/api/v1/allowances", asOperator, `{"target":"agent=curl","for":"1h","reason":"r"}`); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("anybody can say to be curl: %d", w.Code)
	}
	if w := ask(t, s, "GET", "/api/v1/allowances", "Bearer oidc-viewer"); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "tenant=acme") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for _, want := range []int{204, 404} {
		if w := ask(t, s, "DELETE", "/api/v1/allowances/tenant=acme", asOperator); w.Code != want {
			t.Errorf("%d, want %d", w.Code, want)
		}
	}
}
