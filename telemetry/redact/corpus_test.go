package redact

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
)

// corpus makes payloads as APIs see them, with secrets planted among values that
// are none. The seed is fixed: every run sees the same thousand.
type corpus struct {
	*rand.Rand
}

func (c corpus) pick(s ...string) string { return s[c.IntN(len(s))] }

func (c corpus) digits(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('0' + c.IntN(10))
	}
	return string(b)
}

func (c corpus) chars(alphabet string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[c.IntN(len(alphabet))]
	}
	return string(b)
}

const alnum = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// cardNumber makes a number with a valid check digit.
func (c corpus) cardNumber() string {
	p := c.pick("4", "51", "55", "2221", "37", "6011")
	n := 16
	if p == "37" {
		n = 15
	}
	body := p + c.digits(n-1-len(p))
	for check := range 10 {
		s := fmt.Sprint(body, check)
		d := make([]byte, len(s))
		for i := range s {
			d[i] = s[i] - '0'
		}
		if luhn(d) {
			switch c.IntN(3) {
			case 0:
				if n == 16 {
					return s[:4] + " " + s[4:8] + " " + s[8:12] + " " + s[12:]
				}
			case 1:
				if n == 16 {
					return s[:4] + "-" + s[4:8] + "-" + s[8:12] + "-" + s[12:]
				}
			}
			return s
		}
	}
	panic("BUG: no check digit")
}

func (c corpus) ibanNumber() string {
	country, n := c.pick("DE", "GB", "FR", "NL", "ES"), 18
	body := c.digits(n)
	if country == "GB" {
		body = "WEST" + c.digits(14)
	}
	for check := 2; check < 99; check++ {
		s := fmt.Sprintf("%s%02d%s", country, check, body)
		rem, _ := mod97(0, []byte(s[4:]))
		if rem, _ = mod97(rem, []byte(s[:4])); rem == 1 {
			if c.IntN(2) == 0 {
				var b strings.Builder
				for i, r := range s {
					if i > 0 && i%4 == 0 {
						b.WriteByte(' ')
					}
					b.WriteRune(r)
				}
				return b.String()
			}
			return s
		}
	}
	panic("BUG: no check digits")
}

func (c corpus) jwt() string {
	enc := base64.RawURLEncoding
	return enc.EncodeToString([]byte(`{"alg":"RS256","kid":"`+c.chars(alnum, 8)+`"}`)) + "." +
		enc.EncodeToString([]byte(`{"sub":"`+c.chars(alnum, 12)+`","exp":1795431600}`)) + "." + c.chars(alnum+"-_", 86)
}

// free returns a secret that a detector must know in any text.
func (c corpus) free() string {
	switch c.IntN(14) {
	case 0:
		return c.pick("anna", "bob.smith", "x+tag", "j_doe99", "o-neil") + "@" + c.pick("example.com", "mail.example.co.uk", "sub.firma.de")
	case 1:
		return "+" + c.pick("49", "44", "1", "33") + c.pick("", " ") + c.pick("30", "171", "555") + c.pick(" ", "-", "") + c.digits(7)
	case 2, 3:
		return c.cardNumber()
	case 4:
		return c.ibanNumber()
	case 5:
		return fmt.Sprintf("%d-%02d-%s", 100+c.IntN(500), 1+c.IntN(98), fmt.Sprintf("%04d", 1+c.IntN(9998)))
	case 6:
		return fmt.Sprintf("%d.%d.%d.%d", 1+c.IntN(223), c.IntN(256), c.IntN(256), c.IntN(256))
	case 7:
		return fmt.Sprintf("2001:db8:%x::%x", c.IntN(65536), 1+c.IntN(65535))
	case 8:
		return c.jwt()
	case 9:
		return c.pick("sk_live_", "ghp_", "xoxb-", "glpat-", "npm_") + c.chars(alnum, 36)
	case 10:
		return "AKIA" + c.chars("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16)
	case 11:
		return "AIza" + c.chars(alnum+"-_", 35)
	case 12:
		return hex.EncodeToString([]byte(c.chars(alnum, 20)))
	default:
		return c.chars(alnum, 40)
	}
}

// word returns a password: any text without what ends a value.
func (c corpus) word() string {
	return c.pick("hunter", "Tr0ub4dor", "s3cret", "Pa55", "qwerty") + c.pick("", "!", "$", "#1") + c.digits(4)
}

// benign returns a value that is no secret.
func (c corpus) benign() string {
	switch c.IntN(18) {
	case 0:
		return c.pick("The quick brown fox jumps over the lazy dog.", "Lieferung bis Freitag, bitte klingeln", "Quarterly report 2024, version 3.2.1", "See section 4.1 (page 12)")
	case 1:
		return fmt.Sprintf("%d", c.IntN(1_000_000))
	case 2:
		return "order-" + c.digits(8)
	case 3:
		return fmt.Sprintf("2024-%02d-%02dT%02d:%02d:%02dZ", 1+c.IntN(12), 1+c.IntN(28), c.IntN(24), c.IntN(60), c.IntN(60))
	case 4:
		return fmt.Sprintf("%s-%s-4%s-a%s-%s", c.chars("0123456789abcdef", 8), c.chars("0123456789abcdef", 4), c.chars("0123456789abcdef", 3), c.chars("0123456789abcdef", 3), c.chars("0123456789abcdef", 12))
	case 5:
		return "01J" + c.chars("0123456789ABCDEFGHJKMNPQRSTVWXYZ", 23)
	case 6:
		return c.pick("application/json", "text/html; charset=utf-8", "en-GB,en;q=0.9")
	case 7:
		return c.pick("active", "pending", "cancelled", "ORDER_CREATED", "PaymentMethodUnavailableException", "com.example.orders.OrderServiceImpl")
	case 8:
		return fmt.Sprintf("%d.%02d EUR", c.IntN(10000), c.IntN(100))
	case 9:
		return c.pick("https://www.example.com/products/blue-widget-2000?page=2&sort=asc", "/api/v1/items/42/reviews", "s3://bucket/reports/2024/q3.csv")
	case 10:
		return c.pick("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36", "curl/8.5.0", "python-requests/2.31.0")
	case 11:
		return "SKU-" + c.chars("ABCDEFGHJK", 3) + "-" + c.digits(5)
	case 12:
		return c.chars("0123456789abcdef", 24)
	case 13:
		return c.pick("1795431600", "1795431600123", "0.123456789", "-12.5", "1e10")
	case 14:
		return c.pick("10115 Berlin", "221B Baker Street", "Apt. 4, 1600 Pennsylvania Ave", "Zürich 8004")
	case 15:
		return c.pick("A-12/2024", "v1.27.3", "sha1", "3x4x5 cm", "12:30-14:00", "DE-BY", "RFC 9110 §9.2.2")
	case 16:
		return c.pick("getUserPreferencesByAccountIdAndRegion2", "a-rather-long-slug-for-a-post-about-2024", "MAX_UPLOAD_SIZE_IN_MEGABYTES_V2", "spring_boot_starter_data_jpa_3")
	}
	return c.pick("token bucket algorithm", "basic authentication is not supported", "the bearer of this letter", "password is required", "a key result of the quarter", "secret santa list")
}

var (
	secretKeys = []string{"password", "api_key", "accessToken", "client_secret", "X-Auth-Token", "cvv", "pin", "ssn", "refresh_token", "cookie", "privateKey", "passwd"}
	plainKeys  = []string{"title", "status", "createdAt", "ref", "notes", "description", "amount", "itemId", "url", "category", "kind", "label", "address", "userAgent", "path", "unit"}
)

// payload is a body with what must go and what must stay.
type payload struct {
	kind, body string
	gone, kept []string
}

func (c corpus) payload() payload {
	var p payload
	type pair struct{ k, v string }
	var pairs []pair
	for range 3 + c.IntN(8) {
		switch c.IntN(5) {
		case 0:
			s := c.free()
			p.gone = append(p.gone, s)
			pairs = append(pairs, pair{c.pick(plainKeys...), c.pick("", "see ", "is: ", "by ") + s + c.pick("", ".", ", thanks", " (new)")})
		case 1:
			s := c.word()
			p.gone = append(p.gone, s)
			pairs = append(pairs, pair{c.pick(secretKeys...), s})
		default:
			s := c.benign()
			p.kept = append(p.kept, s)
			pairs = append(pairs, pair{c.pick(plainKeys...), s})
		}
	}
	quote := func(s string) string {
		b, err := json.Marshal(s)
		if err != nil {
			panic(err)
		}
		return string(b)
	}
	var b strings.Builder
	switch c.IntN(5) {
	case 0, 1: // JSON, part of it nested
		p.kind = "application/json"
		b.WriteByte('{')
		depth := 0
		for i, f := range pairs {
			if i > 0 {
				b.WriteByte(',')
			}
			if c.IntN(4) == 0 {
				fmt.Fprintf(&b, "%q:{", c.pick("data", "user", "items"))
				depth++
			}
			if c.IntN(6) == 0 {
				fmt.Fprintf(&b, "%s:[%s]", quote(f.k), quote(f.v))
			} else {
				fmt.Fprintf(&b, "%s:%s", quote(f.k), quote(f.v))
			}
		}
		b.WriteString(strings.Repeat("}", depth+1))
		for i, s := range p.kept { // as JSON writes them
			q := quote(s)
			p.kept[i] = q[1 : len(q)-1]
		}
	case 2: // form
		p.kind = "application/x-www-form-urlencoded"
		for i, f := range pairs {
			if i > 0 {
				b.WriteByte('&')
			}
			b.WriteString(url.QueryEscape(f.k) + "=" + url.QueryEscape(f.v))
		}
		for i, s := range p.kept {
			p.kept[i] = url.QueryEscape(s)
		}
	case 3: // text
		p.kind = "text/plain"
		for _, f := range pairs {
			b.WriteString(f.k + ": " + f.v + "\n")
		}
	case 4:
		p.kind = "multipart/form-data; boundary=xYzZy"
		for _, f := range pairs {
			fmt.Fprintf(&b, "--xYzZy\r\nContent-Disposition: form-data; name=%q\r\n\r\n%s\r\n", f.k, f.v)
		}
		b.WriteString("--xYzZy--\r\n")
	}
	p.body = b.String()
	return p
}

// A thousand payloads: nothing that is secret is left, and of what is not, less
// than one value in a hundred goes.
func TestCorpus(t *testing.T) {
	r := mustNew(t, Options{})
	c := corpus{rand.New(rand.NewPCG(2026, 11))}
	secrets, leaked, plain, lost := 0, 0, 0, 0
	for range 1000 {
		p := c.payload()
		got := string(r.Body(nil, p.kind, []byte(p.body)))
		text, err := url.QueryUnescape(got)
		if err != nil || p.kind != "application/x-www-form-urlencoded" {
			text = got
		}
		for _, s := range p.gone {
			if secrets++; strings.Contains(text, s) || strings.Contains(got, s) {
				leaked++
				t.Errorf("%s: %q is still there:\n%s", p.kind, s, got)
			}
		}
		for _, s := range p.kept {
			if plain++; !strings.Contains(got, s) {
				lost++
				t.Logf("%s: %q has gone", p.kind, s)
			}
		}
		if p.kind == "application/json" && !json.Valid([]byte(got)) {
			t.Errorf("no JSON any more: %s", got)
		}
	}
	t.Logf("%d secrets, %d left; %d other values, %d gone (%.2f %%)", secrets, leaked, plain, lost, 100*float64(lost)/float64(plain))
	if lost*100 >= plain {
		t.Errorf("%d of %d harmless values have gone, want less than 1 %%", lost, plain)
	}
	if secrets < 1000 || plain < 1000 {
		t.Errorf("the corpus has only %d secrets and %d other values", secrets, plain)
	}
}
