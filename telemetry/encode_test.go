package telemetry

import (
	"encoding/json"
	"math"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"sluice/telemetry/redact"
)

var testTime = time.Date(2026, 11, 23, 14, 57, 33, 45e6, time.UTC)

func fullRecord() *Record {
	return &Record{
		Time:         testTime,
		RequestID:    "01JD0000000000000000000000",
		TraceID:      TraceID{0x0a, 0xf7, 15: 0x9c},
		SpanID:       SpanID{0xb7, 7: 0x31},
		Client:       netip.MustParseAddr("203.0.113.7"),
		Peer:         netip.MustParseAddr("10.0.0.2"),
		Protocol:     "HTTP/1.1",
		TLS:          "TLS 1.3",
		Method:       "GET",
		Host:         "api.acme.example",
		Path:         "/api/items/17",
		Route:        "/api/items/*",
		Service:      "items",
		Upstream:     "127.0.0.1:8000",
		Attempts:     1,
		Status:       200,
		Origin:       "upstream",
		Duration:     18617 * time.Microsecond,
		Wait:         18400 * time.Microsecond,
		Overhead:     217 * time.Microsecond,
		BytesIn:      0,
		BytesOut:     1024,
		Tenant:       "acme",
		TenantSource: "claim",
		Tier:         "standard",
		Subject:      "auth0|5f7c8ec7c33c6c004bbafe82",
		Auth:         AuthJWT,
		KeyID:        "slc_live_ab12",
		Limit:        "tenant-hour",
		LimitResult:  LimitAdmit,
		Zone:         ZoneGreen,
		Remaining:    417,
		WAF:          &WAFRecord{Action: WAFDetect, Score: 5, Limit: "depth", Rules: []int{942100, 942190}, Parts: []string{"ARGS:q"}, Shapes: []string{"9' aa 9=9"}},
		UserAgent:    "curl/8.5.0",
		Error:        "connection reset by peer",
	}
}

func encodeLine(r *Record) string {
	e := newEncoder("gw-1", 2, nil)
	return string(e.append(nil, r))
}

func TestLineHasEveryFieldInOrder(t *testing.T) {
	want := `{"time":"2026-11-23T14:57:33.045Z","request_id":"01JD0000000000000000000000",` +
		`"trace_id":"0af7000000000000000000000000009c","span_id":"b700000000000031",` +
		`"client_ip":"203.0.113.7","peer_ip":"10.0.0.2","protocol":"HTTP/1.1","tls":"TLS 1.3","method":"GET",` +
		`"host":"api.acme.example","path":"/api/items/17","route":"/api/items/*","service":"items",` +
		`"upstream":"127.0.0.1:8000","attempts":1,"status":200,"origin":"upstream","duration_ms":18.617,` +
		`"upstream_ms":18.400,"overhead_ms":0.217,"bytes_in":0,"bytes_out":1024,"tenant":"acme",` +
		`"tenant_source":"claim","tier":"standard","subject":"auth0|5f7c8ec7c33c6c004bbafe82","auth":"jwt",` +
		`"key_id":"slc_live_ab12","limit":"tenant-hour","remaining":417,"limit_result":"admit","zone":"green",` +
		`"waf":{"action":"detect","score":5,"limit":"depth","rules":[942100,942190],"part":"ARGS:q","match":"9' aa 9=9"},` +
		`"user_agent":"curl/8.5.0","error":"connection reset by peer","node":"gw-1","generation":2}` + "\n"
	if got := encodeLine(fullRecord()); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}

func TestLineLeavesOutWhatIsNotKnown(t *testing.T) {
	e := newEncoder("", 0, nil)
	got := string(e.append(nil, &Record{Time: testTime, Status: 404, Origin: "route", Duration: -time.Second}))
	want := `{"time":"2026-11-23T14:57:33.045Z","request_id":"","client_ip":"","protocol":"","method":"","host":"",` +
		`"path":"","status":404,"origin":"route","duration_ms":0.000,"overhead_ms":0.000,"bytes_in":0,"bytes_out":0}` + "\n"
	if got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}

// Invariant 2: a line fits MaxLine and is JSON, whatever the fields hold.
func TestLineNeverExceedsMaxLine(t *testing.T) {
	for _, filler := range []string{"x", "\x01", "\xff", `"`, "\u0085", "世"} {
		r := fullRecord()
		v := reflect.ValueOf(r).Elem()
		for i := range v.NumField() {
			switch f := v.Field(i); f.Kind() {
			case reflect.String:
				f.SetString(strings.Repeat(filler, 5000))
			case reflect.Int, reflect.Int64:
				f.SetInt(math.MinInt64)
				if f.Type() == reflect.TypeFor[time.Duration]() {
					f.SetInt(math.MaxInt64)
				}
			}
		}
		long := strings.Repeat(filler, 5000)
		r.WAF = &WAFRecord{Action: WAFDetect, Score: math.MaxInt32, Limit: long, Parts: []string{long}, Shapes: []string{long}}
		for range 30 {
			r.WAF.Rules = append(r.WAF.Rules, 9999999)
		}
		r.Client = netip.MustParseAddr("2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff")
		r.Peer = netip.MustParseAddr("fe80:aaaa:aaaa:bbbb:cccc:dddd:eeee:ffff%eth0")
		e := newEncoder(strings.Repeat(filler, 5000), math.MaxInt, nil)
		line := e.append(nil, r)
		if len(line) > MaxLine {
			t.Errorf("filled with %q: %d bytes, want at most %d", filler, len(line), MaxLine)
		}
		if !json.Valid(line) || !utf8.Valid(line) {
			t.Errorf("filled with %q: not JSON: %s", filler, line)
		}
	}
}

// Invariant 2: nothing that a client sends ends the line, closes the text or
// reaches a terminal as a command.
func TestTextIsEscaped(t *testing.T) {
	for in, want := range map[string]string{
		``:                                 ``,
		`plain`:                            `plain`,
		`a"b\c`:                            `a\"b\\c`,
		"a\r\n\t{\"status\":200}":          `a\r\n\t{\"status\":200}`,
		"nul\x00esc\x1b[31m":               `nul\u0000esc\u001b[31m`,
		"del\x7f c1\u009b31m":              `del\u007f c1\u009b31m`,
		"Grüße, 世界 🌍":                      "Grüße, 世界 🌍",
		"bad\xff\xc3":                      "bad\uFFFD\uFFFD",
		"surrogate\xed\xa0\x80":            "surrogate\uFFFD\uFFFD\uFFFD",
		strings.Repeat("x", 60):            strings.Repeat("x", 60),
		strings.Repeat("x", 61):            strings.Repeat("x", 57) + "…",
		strings.Repeat("世", 21):            strings.Repeat("世", 19) + "…",
		strings.Repeat("x", 55) + "\x01yz": strings.Repeat("x", 55) + "…",
	} {
		if got := string(appendText(nil, in, 60)); got != want {
			t.Errorf("appendText(%q) = %s, want %s", in, got, want)
		}
	}
}

func FuzzText(f *testing.F) {
	for _, s := range []string{"", "plain", "a\"b\\c\n", "\xff\u009b世", strings.Repeat("é", 40)} {
		f.Add(s, 32)
	}
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = max(3, min(limit, 1000))
		got := appendText(nil, s, limit)
		if len(got) > limit {
			t.Fatalf("%d bytes of %q, want at most %d", len(got), s, limit)
		}
		var back string
		if err := json.Unmarshal([]byte(`"`+string(got)+`"`), &back); err != nil {
			t.Fatalf("%q gives %q: %v", s, got, err)
		}
		want := strings.ToValidUTF8(s, "") // compare what was valid to begin with
		if utf8.ValidString(s) && !strings.HasSuffix(back, ellipsis) && back != want {
			t.Fatalf("%q came back as %q", s, back)
		}
		for _, c := range got {
			if c < 0x20 || c == 0x7f {
				t.Fatalf("control %#x in %q", c, got)
			}
		}
	})
}

func TestTimeIsRememberedBySecond(t *testing.T) {
	e := newEncoder("", 0, nil)
	zone := time.FixedZone("", 2*3600)
	for _, at := range []time.Time{testTime, testTime.Add(time.Millisecond), testTime.Add(time.Hour).In(zone), testTime, time.Unix(0, 0), time.Unix(-1, 5e6)} {
		want := at.UTC().Format("2006-01-02T15:04:05.000Z")
		if got := string(e.appendTime(nil, at)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// Paths, user agents, subjects, hosts and errors are looked through; what identifies
// the request stays.
func TestLinesAreRedacted(t *testing.T) {
	e := newEncoder("gw-1", 2, redact.Default())
	r := fullRecord()
	r.Path = "/users/bob@example.com/cards/4111111111111111"
	r.UserAgent = "agent password=hunter2"
	r.Subject = "anna@example.com"
	r.Host = "ghp_16C7e42F292c6912E7710c838347Ae178B4a.example.com"
	r.Error = "dial tcp 10.0.0.1:8000: Authorization: Bearer abcdef123"
	for range 2 { // the second time from memory
		line := string(e.append(nil, r))
		for _, gone := range []string{"bob@", "4111", "hunter2", "anna@", "ghp_16", "abcdef123"} {
			if strings.Contains(line, gone) {
				t.Errorf("%s is still in %s", gone, line)
			}
		}
		for _, kept := range []string{`"path":"/users/b***@example.com/cards/[redacted:card]"`, "dial tcp 10.0.0.1:8000", r.RequestID, r.Client.String(), r.Tenant} {
			if !strings.Contains(line, kept) {
				t.Errorf("%s is gone from %s", kept, line)
			}
		}
	}
	r = fullRecord()
	with, without := e.append(nil, r), encodeLine(r)
	if string(with) != without {
		t.Errorf("a harmless line becomes\n%s\ninstead of\n%s", with, without)
	}
}
