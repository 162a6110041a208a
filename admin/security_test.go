package admin

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAddressListsAreDecided(t *testing.T) {
	s, _ := newServer(t, new(bool))
	const path, body = "/api/v1/address-lists/scanners", `{"action":"deny","networks":["203.0.113.0/24","2001:db8::/32"],"reason":"ticket 7"}`
	expect(t, send(t, s, "PUT", path, asOperator, body), 403)
	expect(t, send(t, s, "PUT", path+"?dry_run=true", asAdmin, body), 200)
	expect(t, ask(t, s, "GET", path, asViewer), 404)
	w := send(t, s, "PUT", path, asAdmin, body)
	expect(t, w, 201)
	tag := w.Header().Get("ETag")
	if got := expect(t, ask(t, s, "GET", path, asViewer), 200); !strings.Contains(got, `"2001:db8::/32"`) || !strings.Contains(got, `"updated_by": "the admin"`) {
		t.Error(got)
	}
	expect(t, with(t, s, "PUT", path, asAdmin, strings.Replace(body, "deny", "allow", 1), "If-Match: "+tag), 200)
	expect(t, with(t, s, "PUT", path, asAdmin, body, "If-Match: "+tag), 412)
	if got := expect(t, ask(t, s, "GET", "/api/v1/address-lists?q=TICKET", asViewer), 200); !strings.Contains(got, `"allow"`) {
		t.Error(got)
	}
	if got := expect(t, ask(t, s, "GET", "/api/v1/address-lists?q=nothing", asViewer), 200); strings.Contains(got, "scanners") {
		t.Error(got)
	}
	if got := expect(t, ask(t, s, "GET", "/api/v1/audit?kind=address-list&id=scanners", asViewer), 200); strings.Count(got, `"before"`) != 1 {
		t.Error(got)
	}
	expect(t, with(t, s, "DELETE", path, asAdmin, "", "If-Match: "+tag), 412)
	expect(t, ask(t, s, "DELETE", path+"?reason=over", asAdmin), 204)
	expect(t, ask(t, s, "DELETE", path, asAdmin), 404)
}

func TestSecurityRulesAreDecided(t *testing.T) {
	s, _ := newServer(t, new(bool))
	expect(t, send(t, s, "PUT", "/api/v1/security-rules/notes", asAdmin, `{"route":"export","rule":942100,"argument":"json.note","reason":"a forum about SQL"}`), 201)
	expect(t, send(t, s, "PUT", "/api/v1/security-rules/lab", asAdmin, `{"tenant":"lab","mode":"detect","reason":"they test"}`), 201)
	expect(t, ask(t, s, "GET", "/api/v1/security-rules/notes", asViewer), 200)
	if got := expect(t, ask(t, s, "GET", "/api/v1/security-rules?sort=-updated", asViewer), 200); strings.Index(got, "lab") > strings.Index(got, "notes") {
		t.Error(got)
	}
	expect(t, ask(t, s, "DELETE", "/api/v1/security-rules/lab", asOperator), 403)
	expect(t, ask(t, s, "DELETE", "/api/v1/security-rules/lab", asAdmin), 204)
}

func TestFaultsOfSecurityArePointedAt(t *testing.T) {
	s, _ := newServer(t, new(bool))
	for _, c := range []struct{ path, body, want string }{
		{"address-lists/x", `{"action":"drop","networks":["nonsense"],"reason":""}`, "#/action #/networks/0 #/reason"},
		{"address-lists/x", `{"action":"deny","networks":[],"reason":"r"}`, "#/networks"},
		{"address-lists/x", `{"action":"deny","networks":["203.0.113.7/24"],"route":"nowhere","reason":"r"}`, "#/networks/0 #/route"},
		{"address-lists/x%27;%20DROP", `{"action":"deny","networks":["203.0.113.0/24"],"reason":"r"}`, "name"},
		{"security-rules/x", `{"reason":"r"}`, "#/rule"},
		{"security-rules/x", `{"reason":"r","rule":4711}`, "#/rule"},
		{"security-rules/x", `{"reason":"r","rule":1,"tag":"t"}`, "#/tag"},
		{"security-rules/x", `{"reason":"r","rule":1,"mode":"off"}`, "#/mode"},
		{"security-rules/x", `{"reason":"r","mode":"off","argument":"a","tenant":"a,b"}`, "#/argument #/tenant"},
		{"security-rules/x", `{"reason":"r","mode":"loud","threshold":0}`, "#/mode #/threshold"},
	} {
		if got := faults(t, send(t, s, "PUT", "/api/v1/"+c.path, asAdmin, c.body)); !sameWords(got, c.want) {
			t.Errorf("%s %s: %s, want %s", c.path, c.body, got, c.want)
		}
	}
}

func TestThereAreOnlySoManyRules(t *testing.T) {
	s, _ := newServer(t, new(bool))
	put := func(name string) *httptest.ResponseRecorder {
		return with(t, s, "PUT", "/api/v1/address-lists/"+name, asAdmin, `{"action":"deny","networks":["203.0.113.0/24"],"reason":"r"}`, "If-None-Match: *")
	}
	for i := range maxAddressLists {
		expect(t, put(fmt.Sprint("n", i)), 201)
	}
	expect(t, put("more"), 409)
	expect(t, put("n0"), 412)
}

// What PUT replaces, its caller has seen; what changes a part needs no revision, and
// holds to one that is given.
func TestEveryChangeHoldsToItsRevision(t *testing.T) {
	s, _ := newServer(t, new(bool))
	for path, body := range map[string]string{
		"tenants/acme":     `{"notes":"x"}`,
		"tiers/gold":       `{"requests":5}`,
		"address-lists/a":  `{"action":"deny","networks":["203.0.113.0/24"],"reason":"r"}`,
		"security-rules/a": `{"mode":"detect","reason":"r"}`,
	} {
		path = "/api/v1/" + path
		expect(t, with(t, s, "PUT", path, asAdmin, body, "If-Match: *"), 412)
		expect(t, with(t, s, "PUT", path, asAdmin, body, `If-Match: "1"`), 412)
		first := send(t, s, "PUT", path, asAdmin, body)
		expect(t, first, 201)
		if got := expect(t, send(t, s, "PUT", path, asAdmin, body), 428); !strings.Contains(got, "If-Match: "+strings.ReplaceAll(first.Header().Get("ETag"), `"`, `\"`)) {
			t.Errorf("%s: %s", path, got)
		}
		expect(t, with(t, s, "PUT", path, asAdmin, body, "If-None-Match: *"), 412)
		expect(t, with(t, s, "PUT", path, asAdmin, body, "If-Match: *"), 200)
		expect(t, with(t, s, "PUT", path, asAdmin, body, "If-Match: "+first.Header().Get("ETag")), 412)
		now := ask(t, s, "GET", path, asViewer).Header().Get("ETag")
		expect(t, with(t, s, "PUT", path, asAdmin, body, "If-Match: "+now), 200)
		expect(t, with(t, s, "DELETE", path, asAdmin, "", "If-Match: "+now), 412)
	}
	for verb, body := range map[string]string{"suspend": `{"reason":"r"}`, "resume": "", "raise": `{"limit":{"requests":9},"for":"1h","reason":"r"}`} {
		expect(t, with(t, s, "POST", "/api/v1/tenants/acme/suspend", asOperator, `{"reason":"r"}`), 200)
		expect(t, with(t, s, "POST", "/api/v1/tenants/acme/"+verb, asOperator, body, `If-Match: "1"`), 412)
		now := ask(t, s, "GET", "/api/v1/tenants/acme", asViewer).Header().Get("ETag")
		expect(t, with(t, s, "POST", "/api/v1/tenants/acme/"+verb, asOperator, body, "If-Match: "+now), 200)
	}
}
