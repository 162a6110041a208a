package redact

import (
	"encoding/json"
	"strings"
	"testing"
)

func mustNew(t testing.TB, o Options) *Redactor {
	t.Helper()
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const (
	testJWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
)

func TestText(t *testing.T) {
	r := mustNew(t, Options{})
	for _, c := range [][2]string{
		{"mail bob.smith+x@example.co.uk now", "mail b***@example.co.uk now"},
		{"bob%40example.com", "[redacted:email]"},
		{"card 4111 1111 1111 1111, exp 12/28", "card [redacted:card], exp 12/28"},
		{"4111-1111-1111-1111", "[redacted:card]"},
		{"4111111111111111", "[redacted:card]"},
		{"4111111111111112", "4111111111111112"},
		{"order 12 5555 5555 5555 4444 ok", "order 12 [redacted:card] ok"},
		{"amex 3782 822463 10005", "amex [redacted:card]"},
		{"pay DE89 3704 0044 0532 0130 00 please", "pay [redacted:iban] please"},
		{"GB82WEST12345698765432", "[redacted:iban]"},
		{"GB82WEST12345698765433", "GB82WEST12345698765433"},
		{"ssn 123-45-6789", "ssn [redacted:id]"},
		{"dni 12345678Z", "dni [redacted:id]"},
		{"nino QQ123456C AB 12 34 56 C", "nino QQ123456C [redacted:id]"},
		{"cf RSSMRA85T10A562S", "cf [redacted:id]"},
		{"hetu 131052-308T", "hetu [redacted:id]"},
		{"ahv 756.9217.0769.85", "ahv [redacted:id]"},
		{"cpf 529.982.247-25", "cpf [redacted:id]"},
		{"pesel 44051401359", "pesel [redacted:id]"},
		{"steuer 86095742719", "steuer [redacted:id]"},
		{"nir 255081416802538", "nir [redacted:id]"},
		{"aadhaar 2341 2341 2346", "aadhaar [redacted:id]"},
		{"cn 11010519491231002X", "cn [redacted:id]"},
		{"rn 85.07.30-033.28", "rn [redacted:id]"},
		{"pn 811218-9876", "pn [redacted:id]"},
		{"from 203.0.113.7:443", "from [redacted:ip]:443"},
		{"v6 2001:db8::1 and fe80::1%eth0", "v6 [redacted:ip] and [redacted:ip]%eth0"},
		{"::1", "[redacted:ip]"},
		{"Chrome/120.0.0.0 Safari/537.36", "Chrome/120.0.0.0 Safari/537.36"},
		{"at 12:34:56 or 10:20", "at 12:34:56 or 10:20"},
		{"call +49 30 1234567 or (555) 123-4567 or 555-123-4567", "call [redacted:phone] or [redacted:phone] or [redacted:phone]"},
		{"020 7946 0958", "[redacted:phone]"},
		{"2024-01-02 10:11:12", "2024-01-02 10:11:12"},
		{"unix 1795431600 id 1234567890", "unix 1795431600 id 1234567890"},
		{"jwt " + testJWT + ".", "jwt [redacted:jwt]"},
		{"Authorization: Bearer abc.def", "Authorization: [redacted:field]"},
		{"uses Bearer Ab3dEf6hIj9kLmN to call", "uses Bearer [redacted:key] to call"},
		{"key sk_live_4eC39HqLyjWDarjtT1zdp7dc", "key [redacted:key]"},
		{"AKIAIOSFODNN7EXAMPLE", "[redacted:key]"},
		{"ghp_16C7e42F292c6912E7710c838347Ae178B4a", "[redacted:key]"},
		{"password=hunter2&x=1", "password=[redacted:field]&x=1"},
		{"my password is hunter2 ok", "my password is [redacted:field] ok"},
		{"password is required", "password is required"},
		{`"password" : "a b c"`, `"password" : "[redacted:field]"`},
		{`<password>hunter2</password>`, `<password>[redacted:field]</password>`},
		{"postgres://app:s3cr3t@db:5432/x", "postgres://app:[redacted:password]@db:5432/x"},
		{"GET /a?token=abc123&page=2", "GET /a?token=[redacted:field]&page=2"},
		{"wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY", "[redacted:entropy]"},
		{"d41d8cd98f00b204e9800998ecf8427e", "[redacted:entropy]"},
		{"01JDCN3K5T8V7XQ2M4B6A9WZ0E", "01JDCN3K5T8V7XQ2M4B6A9WZ0E"},
		{"123e4567-e89b-12d3-a456-426614174000", "123e4567-e89b-12d3-a456-426614174000"},
		{"InternationalizationConfigurationProvider2", "InternationalizationConfigurationProvider2"},
		{"a-long-slug-with-many-words-2024-in-it", "a-long-slug-with-many-words-2024-in-it"},
		{"-----BEGIN PRIVATE KEY-----\nMIIEvQ\nabc\n-----END PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----[redacted:key]-----END PRIVATE KEY-----"},
	} {
		if got := string(r.Text(nil, []byte(c[0]))); got != c[1] {
			t.Errorf("%s\n got %s\nwant %s", c[0], got, c[1])
		}
	}
}

func TestJSON(t *testing.T) {
	r := mustNew(t, Options{})
	for _, c := range [][2]string{
		{`{"password":"x","a":1}`, `{"password":"[redacted:field]","a":1}`},
		{`{"user":{"apiKey":"k","tags":["a","b@c.de"]}}`, `{"user":{"apiKey":"[redacted:field]","tags":["a","b***@c.de"]}}`},
		{`{"credentials":{"a":[1,{"b":2}]},"x":true}`, `{"credentials":"[redacted:field]","x":true}`},
		{`{"card":4111111111111111,"n":12345}`, `{"card":"[redacted:card]","n":12345}`},
		{`{"m":"bob@example.com"}`, `{"m":"b***@example.com"}`},
		{`{"passw\u006frd":"x"}`, `{"passw\u006frd":"[redacted:field]"}`},
		{`{"note":"line\nquote \" ok"}`, `{"note":"line\nquote \" ok"}`},
		{`{"j":"{\"token\":\"abc\"}"}`, `{"j":"{\"token\":\"[redacted:field]\"}"}`},
		{`{"email":"bob@example.com","phone":"123"}`, `{"email":"b***@example.com","phone":"[redacted:field]"}`},
		{`{"max_tokens":512,"tokens":7}`, `{"max_tokens":512,"tokens":7}`},
		{`{"name":"password","value":"hunter"}`, `{"name":"password","value":"[redacted:field]"}`},
		{`{"state":"active","code":"E12"}`, `{"state":"active","code":"E12"}`},
		{`{"password":null,"mobile":true}`, `{"password":null,"mobile":true}`},
		{`[{"pin":"1234"},{"x":"y"}]`, `[{"pin":"[redacted:field]"},{"x":"y"}]`},
		{`{"password":"unterm`, `{"password":"[redacted:field]`},
		{`not json password=x`, `not json password=[redacted:field]`},
		{`{"className":"a","classname":"b"}`, `{"className":"a","classname":"b"}`},
	} {
		if got := string(r.JSON(nil, []byte(c[0]))); got != c[1] {
			t.Errorf("%s\n got %s\nwant %s", c[0], got, c[1])
		}
	}
}

func TestQueriesPathsHeadersAndForms(t *testing.T) {
	r := mustNew(t, Options{})
	got := func(f func(dst, src []byte) []byte) func(string) string {
		return func(s string) string { return string(f(nil, []byte(s))) }
	}
	header := func(name string) func(string) string {
		return func(s string) string { return string(r.Header(nil, name, []byte(s))) }
	}
	for _, c := range []struct {
		what     string
		f        func(string) string
		in, want string
	}{
		{"query", got(r.Query), "page=2&access_token=abc&q=hello+world", "page=2&access_token=[redacted:field]&q=hello+world"},
		{"query", got(r.Query), "e=bob%40example.com&p%61ssword=x", "e=b***@example.com&p%61ssword=[redacted:field]"},
		{"query", got(r.Query), "code=SplxlOBeZQQYbYS6WxSbIA&state=xyz", "code=[redacted:field]&state=xyz"},
		{"query", got(r.Query), "c=4111%201111%201111%201111", "c=[redacted:card]"},
		{"query", got(r.Query), "c=4111%25201111%25201111%25201111", "c=[redacted:card]"},
		{"path", got(r.Path), "/api/items/42", "/api/items/42"},
		{"path", got(r.Path), "/users/bob@example.com/x", "/users/b***@example.com/x"},
		{"path", got(r.Path), "/users/bob%40example.com", "/users/b***@example.com"},
		{"path", got(r.Path), "/reset/token/a1b2c3d4", "/reset/token/[redacted:field]"},
		{"path", got(r.Path), "/token/refresh", "/token/refresh"},
		{"path", got(r.Path), "/hook/" + testJWT, "/hook/[redacted:jwt]"},
		{"path", got(r.Path), "/card/4111111111111111", "/card/[redacted:card]"},
		{"path", got(r.Path), "/id/123-45-6789", "/id/[redacted:id]"},
		{"url", got(r.URL), "https://u:p@h/a?sig=abcdef12&b=1#access_token=zz", "https://u:[redacted:password]@h/a?sig=[redacted:field]&b=1#access_token=[redacted:field]"},
		{"header", header("Authorization"), "Bearer abc", "[redacted:field]"},
		{"header", header("Cookie"), "a=b; c=d", "[redacted:field]"},
		{"header", header("X-Acme-Token"), "abc", "[redacted:field]"},
		{"header", header("Accept"), "text/html", "text/html"},
		{"header", header("Referer"), "https://h/a?token=abc", "https://h/a?token=[redacted:field]"},
	} {
		if got := c.f(c.in); got != c.want {
			t.Errorf("%s %s\n got %s\nwant %s", c.what, c.in, got, c.want)
		}
	}
}

func TestMultipart(t *testing.T) {
	r := mustNew(t, Options{})
	body := strings.ReplaceAll(`--b
Content-Disposition: form-data; name="password"

hunter2
more
--b
Content-Disposition: form-data; name="note"

mail bob@example.com
--b
Content-Disposition: form-data; name="f"; filename="x.png"
Content-Type: image/png

PNG123
--b--
`, "\n", "\r\n")
	got := string(r.Body(nil, "multipart/form-data; boundary=b", []byte(body)))
	for _, gone := range []string{"hunter2", "more", "bob@", "PNG123"} {
		if strings.Contains(got, gone) {
			t.Errorf("%q is still there:\n%s", gone, got)
		}
	}
	for _, kept := range []string{`name="note"`, "mail b***@example.com", "[binary]", "--b--"} {
		if !strings.Contains(got, kept) {
			t.Errorf("%q is gone:\n%s", kept, got)
		}
	}
}

func TestModes(t *testing.T) {
	in := []byte("a bob@example.com b bob@example.com c eve@example.com")
	if got := string(mustNew(t, Options{Mode: Drop}).Text(nil, in)); got != "a  b  c " {
		t.Errorf("drop: %q", got)
	}
	key := []byte("key")
	one := string(mustNew(t, Options{Mode: Hash, HashKey: key}).Text(nil, in))
	f := strings.Fields(one)
	if f[1] != f[3] || f[1] == f[5] || !strings.HasPrefix(f[1], "[email:") {
		t.Errorf("hash: %q", one)
	}
	if again := string(mustNew(t, Options{Mode: Hash, HashKey: key}).Text(nil, in)); again != one {
		t.Errorf("the same key gives %q and %q", one, again)
	}
	if other := string(mustNew(t, Options{Mode: Hash, HashKey: []byte("k2")}).Text(nil, in)); other == one {
		t.Error("another key gives the same hashes")
	}
}

func TestOptions(t *testing.T) {
	r := mustNew(t, Options{
		Fields: []string{"Kunden-Nr"}, Safe: []string{"order"}, Patterns: map[string]string{"badge": `EMP-\d{4}`}, Off: []string{"ip", "entropy"},
	})
	in := `{"kundennr":"1","order":"4111111111111111","x":"EMP-1234 at 10.0.0.1 d41d8cd98f00b204e9800998ecf8427e"}`
	want := `{"kundennr":"[redacted:field]","order":"4111111111111111","x":"[redacted:pattern] at 10.0.0.1 d41d8cd98f00b204e9800998ecf8427e"}`
	if got := string(r.JSON(nil, []byte(in))); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	for _, o := range []Options{
		{Off: []string{"nose"}}, {Patterns: map[string]string{"p": "("}}, {Patterns: map[string]string{"p": "x*"}}, {Mode: 9},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
}

// Invariant 1: the piece sizes in which a body comes change nothing.
func TestPiecesMakeNoDifference(t *testing.T) {
	r := mustNew(t, Options{})
	bodies := map[string]string{
		"application/json":                  `{"password":"x\"y","a":[1,2,4111111111111111],"e":"bob@example.com","n":{"token":{"deep":"x"}},"z":"line 2"}`,
		"application/x-www-form-urlencoded": "a=1&password=x%20y&e=bob%40example.com",
		"text/plain":                        "one bob@example.com\ncard 4111 1111 1111 1111\n-----BEGIN PRIVATE KEY-----\nMIIEvQ\nabc\n-----END PRIVATE KEY-----\nlast password=x",
		"multipart/form-data; boundary=b":   "--b\r\nContent-Disposition: form-data; name=\"pin\"\r\n\r\n1234\r\n--b--\r\n",
	}
	for kind, body := range bodies {
		want := string(r.Body(nil, kind, []byte(body)))
		for size := 1; size < len(body); size++ {
			s := r.Stream(kind, 1<<20)
			for rest := body; rest != ""; {
				n := min(size, len(rest))
				s.Write([]byte(rest[:n]))
				rest = rest[n:]
			}
			got, n, all := s.Finish(true)
			if string(got) != want || n != int64(len(body)) || !all {
				t.Fatalf("%s in pieces of %d: %d %v\n got %s\nwant %s", kind, size, n, all, got, want)
			}
			s.Release()
		}
	}
}

// Invariant 2: what is cut within a value goes as a whole.
func TestACutBodyShowsNoHalfSecret(t *testing.T) {
	r := mustNew(t, Options{})
	s := r.Stream("application/json", 1<<20)
	s.Write([]byte(`{"a":"b","c":"4111 1111 1111 11`))
	got, _, all := s.Finish(false)
	if strings.Contains(string(got), "4111") || all {
		t.Errorf("got %s, %v", got, all)
	}
	s.Release()
}

// Invariant 4.
func TestAnEndlessUnitGoesAsAWhole(t *testing.T) {
	r := mustNew(t, Options{})
	long := strings.Repeat("secret ", maxUnit)
	for kind, body := range map[string]string{
		"application/json":                  `{"a":"` + long + `","b":"after"}`,
		"application/x-www-form-urlencoded": "a=" + long + "&b=after",
		"text/plain":                        long + "\nb after\n",
	} {
		s := r.Stream(kind, 1<<20)
		for rest := body; rest != ""; {
			n := min(1000, len(rest))
			s.Write([]byte(rest[:n]))
			rest = rest[n:]
			if len(s.pend) > 2*maxUnit {
				t.Fatalf("%s: %d bytes are held", kind, len(s.pend))
			}
		}
		got, _, _ := s.Finish(true)
		if strings.Contains(string(got), "secret") || !strings.Contains(string(got), "[redacted:long]") || !strings.Contains(string(got), "after") {
			t.Errorf("%s: %.200s", kind, got)
		}
		s.Release()
	}
}

func TestLimit(t *testing.T) {
	s := mustNew(t, Options{}).Stream("text/plain", 10)
	s.Write([]byte("one\ntwo\nthree\nfour\n"))
	s.Write([]byte("five\n"))
	got, size, all := s.Finish(true)
	if string(got) != "one\ntwo\nth" || size != 24 || all {
		t.Errorf("%q %d %v", got, size, all)
	}
	s.Release()
}

func contains(s, sub string) bool { return strings.Contains(s, sub) }

func valid(s string) bool { return json.Valid([]byte(s)) }
