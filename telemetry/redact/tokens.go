package redact

import "bytes"

// jwt returns the end of the JSON web token that begins at i, or 0: its header is
// an object in base64url, so that it begins with eyJ, and three (JWS) or five (JWE)
// parts are joined by dots; the signature may be empty.
func jwt(src []byte, i, token int) int {
	if token-i < 20 || src[i] != 'e' || src[i+1] != 'y' || (src[i+2] != 'J' && src[i+2] != 'A') {
		return 0
	}
	dots, end := 0, i
	for end < token && (class[src[end]]&cWord != 0 || src[end] == '.' || src[end] == '=') {
		if src[end] == '.' {
			dots++
		}
		end++
	}
	if dots == 0 && end-i < 24 {
		return 0
	}
	return end
}

// keyPrefixes begin the keys of services that many use, by their first letter;
// what follows is at least so long.
var keyPrefixes = func() (t [256][]keyPrefix) {
	for _, p := range []keyPrefix{
		{"sk_live_", 10}, {"sk_test_", 10}, {"pk_live_", 10}, {"rk_live_", 10}, {"rk_test_", 10}, {"whsec_", 10}, {"sk-", 16}, {"sk-ant-", 16},
		{"ghp_", 20}, {"gho_", 20}, {"ghu_", 20}, {"ghs_", 20}, {"ghr_", 20}, {"github_pat_", 20}, {"glpat-", 16}, {"gldt-", 16},
		{"xoxb-", 10}, {"xoxp-", 10}, {"xoxa-", 10}, {"xoxr-", 10}, {"xoxs-", 10}, {"xapp-", 10}, {"AKIA", 16}, {"ASIA", 16}, {"AGPA", 16}, {"AROA", 16}, {"ABIA", 16},
		{"AIza", 30}, {"ya29.", 16}, {"GOCSPX-", 16}, {"npm_", 20}, {"pypi-", 20}, {"SG.", 20}, {"hf_", 20}, {"dop_v1_", 20}, {"shpat_", 20}, {"shpss_", 20},
		{"dckr_pat_", 16}, {"hvs.", 20}, {"hvb.", 20}, {"sntrys_", 20}, {"lin_api_", 20}, {"figd_", 16}, {"rubygems_", 20}, {"NRAK-", 16}, {"dapi", 30},
		{"slc_", 16}, {"EAAC", 20}, {"key-", 24}, {"AccountKey=", 20}, {"SK", 32}, {"AC", 32}, {"PMAK-", 20}, {"ATATT3", 20}, {"sq0atp-", 16}, {"sq0csp-", 16},
	} {
		t[p.text[0]] = append(t[p.text[0]], p)
	}
	return t
}()

type keyPrefix struct {
	text string
	min  int
}

// isCapital reports whether w is capitals and digits alone, and as long as the ids of
// AWS's keys.
func isCapital(w []byte) bool {
	for _, c := range w[:min(len(w), 20)] {
		if class[c]&(cUpper|cDigit) == 0 {
			return false
		}
	}
	return len(w) == 20 || len(w) > 20 && class[w[20]]&cAlnum == 0
}

// schemes are followed by a credential (RFC 9110 §11.1).
var schemes = [...]string{"bearer", "basic", "digest", "token", "apikey", "negotiate", "ntlm", "hawk", "dpop"}

// key returns the bounds of a credential that begins at i, or follows the word there, or
// 0, 0.
func key(src []byte, i, word, token int) (from, end int) {
	for _, p := range keyPrefixes[src[i]] {
		n := len(p.text)
		if token-i < n+p.min || string(src[i:i+n]) != p.text {
			continue
		}
		end := i + n
		digit := n == 4 && p.min == 16 && isCapital(src[i:token])
		for end < token && (class[src[end]]&cWord != 0 || src[end] == '.' || src[end] == '+' || src[end] == '/' || src[end] == '=') {
			digit = digit || class[src[end]]&cDigit != 0
			end++
		}
		// The shortest prefixes are letters of ordinary words too.
		if end-i >= n+p.min && (digit || n >= 4 && p.text[n-1] == '_') {
			return i, end
		}
	}
	if word-i <= 9 && word < len(src) && (src[word] == ' ' || src[word] == '+' || src[word] == '%') {
		if from, end := credential(src, i, word); end > 0 {
			return from, end
		}
	}
	const pem = "PRIVATE KEY-----"
	if src[i] == 'P' && bytes.HasPrefix(src[i:], []byte(pem)) {
		end := len(src)
		if n := bytes.Index(src[i+len(pem):], []byte("-----")); n >= 0 {
			end = i + len(pem) + n
		}
		return i + len(pem), end
	}
	return 0, 0
}

// credential returns the bounds of what follows the scheme src[i:word], or 0, 0.
func credential(src []byte, i, word int) (from, end int) {
	var low [9]byte
	name := low[:copy(low[:], src[i:word])]
	for n := range name {
		name[n] |= 0x20
	}
	for _, s := range schemes {
		if string(name) != s {
			continue
		}
		from = word + 1
		if src[word] == '%' { // %20
			from = min(word+3, len(src))
		}
		for from < len(src) && src[from] == ' ' {
			from++
		}
		for end = from; end < len(src) && class[src[end]]&(cWord|cToken) != 0; end++ {
		}
		// "a bearer of news", "basic auth": a language's words are none.
		if end-from >= 8 && (mixed(src[from:end]) || end-from > 24) {
			return from, end
		}
	}
	return 0, 0
}

// iban returns the end of the account number that begins at i, or 0: two capitals,
// two digits, 11 to 30 capitals and digits, in groups of four or in one, with the
// check digits of ISO 7064.
func iban(src []byte, i int) int {
	if i+15 > len(src) || class[src[i]]&cLetter == 0 || class[src[i+1]]&cLetter == 0 || class[src[i+2]]&cDigit == 0 || class[src[i+3]]&cDigit == 0 {
		return 0
	}
	var b [34]byte
	var ends [35]int // ends[n]: where n characters end
	n, end := 0, i
	for end < len(src) && n < len(b) {
		c := src[end]
		if (c == ' ' || c == '-') && n%4 == 0 && n > 0 && end+1 < len(src) && class[src[end+1]]&cAlnum != 0 {
			end++
			continue
		}
		if class[c]&cAlnum == 0 {
			break
		}
		if class[c]&cLower != 0 {
			c &^= 0x20
		}
		b[n] = c
		n++
		end++
		ends[n] = end
	}
	// The longest that is valid, as a word may follow behind a blank.
	for ; n >= 15; n-- {
		if e := ends[n]; e < len(src) && class[src[e]]&cAlnum != 0 {
			continue
		}
		rem, _ := mod97(0, b[4:n])
		if rem, ok := mod97(rem, b[:4]); ok && rem == 1 {
			return ends[n]
		}
	}
	return 0
}

// idWord returns the end of a national id that is written with letters, or 0.
func idWord(src []byte, i, word int) int {
	switch w := src[i:word]; len(w) {
	case 9:
		if isDNI(w) || isNINO(w) {
			return word
		}
	case 10: // 12345678-Z
		if w[8] == '-' {
			var b [9]byte
			copy(b[:], w[:8])
			b[8] = w[9]
			if isDNI(b[:]) {
				return word
			}
		}
	case 11:
		if isHETU(w) {
			return word
		}
	case 16:
		if isFiscalCode(w) {
			return word
		}
	case 2: // QQ 12 34 56 C
		const form = "AA 00 00 00 A"
		if i+len(form) > len(src) || i+len(form) < len(src) && class[src[i+len(form)]]&cAlnum != 0 {
			return 0
		}
		var b [9]byte
		n := 0
		for j := range len(form) {
			if (form[j] == ' ') != (src[i+j] == ' ') {
				return 0
			}
			if form[j] != ' ' {
				b[n] = src[i+j]
				n++
			}
		}
		if isNINO(b[:]) {
			return i + len(form)
		}
	}
	return 0
}

// ipv6 returns the end of the address that begins at i (RFC 4291 §2.2), or 0. It asks
// for at least two colons, and for :: or all eight groups.
func ipv6(src []byte, i int) int {
	groups, digits, colons, end := 0, 0, 0, i
	double := false
	for end < len(src) {
		c := src[end]
		switch {
		case class[c]&cDigit != 0 || c|0x20 >= 'a' && c|0x20 <= 'f':
			if digits++; digits > 4 {
				return 0
			}
			if digits == 1 {
				groups++
			}
			end++
			continue
		case c == ':':
			if end+1 < len(src) && src[end+1] == ':' {
				if double {
					return 0
				}
				double = true
				end++
				colons++
			} else if end+1 >= len(src) || class[src[end+1]]&cAlnum == 0 {
				break // the colon of the sentence
			} else if end == i {
				return 0
			}
			colons++
			digits = 0
			end++
			continue
		case c == '.' && digits > 0 && colons > 1: // ::ffff:192.0.2.1
			for end < len(src) && (class[src[end]]&cDigit != 0 || src[end] == '.' && end+1 < len(src) && class[src[end+1]]&cDigit != 0) {
				end++
			}
			return end
		}
		break
	}
	if end < len(src) && class[src[end]]&cWord != 0 || colons < 2 || groups == 0 {
		return 0
	}
	if double && groups < 8 || !double && groups == 8 {
		return end
	}
	return 0
}

// random returns the bounds of a text within src[i:token] that nobody wrote by
// hand: of 20 characters or more without a boundary, in which letters and digits change places
// as chance has it. Words that are joined do not, and ids of known form
// (UUID, ULID, an object id of 24 hexadecimal digits) are let be.
func random(src []byte, i, token int, ident bool) (from, end int) {
	if token-i < minRandom || ident && token-i < minIdent {
		return 0, 0
	}
	for from = i; from < token; from = end + 1 {
		// A path or a name with dots is looked at part by part.
		for end = from; end < token && src[end] != '/' && src[end] != '.' && src[end] != '='; end++ {
		}
		part := src[from:end]
		if isRandom(part) && !(ident && (len(part) < minIdent || len(part) == minIdent && isHex(part))) {
			return from, grow(src, end, token)
		}
	}
	// Base64 with many slashes has no long part.
	if whole := src[i:token]; bytes.IndexByte(whole, '.') < 0 && bytes.IndexByte(whole, '/') > 0 && isRandom(whole) && !ident {
		return i, token
	}
	return 0, 0
}

// grow takes what is left of the token with a part of it that is random.
func grow(src []byte, end, token int) int {
	for end < token && src[end] != '.' {
		end++
	}
	return end
}

// minRandom is the least length of a random text that goes; minIdent that of one which
// is said to be an identifier, of which a UUID
// without its dashes stays, too.
const (
	minRandom = 20
	minIdent  = 32
)

func isHex(w []byte) bool {
	for _, c := range w {
		if unhex(c) > 15 {
			return false
		}
	}
	return true
}

func isRandom(w []byte) bool {
	if len(w) < minRandom {
		return false
	}
	var upper, lower, digits, hex, joins, changes, run, longest int
	var seen [4]uint64
	distinct := 0
	last, before := uint8(0), uint8(0)
	for _, c := range w {
		k := class[c] & (cDigit | cUpper | cLower)
		switch k {
		case cDigit:
			digits++
			hex++
		case cUpper:
			upper++
			if c <= 'F' {
				hex++
			}
		case cLower:
			lower++
			if c <= 'f' {
				hex++
			}
		default:
			joins++
		}
		if k == last && k == cLower {
			if run++; run > longest {
				longest = run
			}
		} else {
			run = 1
		}
		// The capital that begins a word in camelCase is one change, not two.
		if k != 0 && last != 0 && k != last && !(k == cLower && last == cUpper && before != cUpper) {
			changes++
		}
		before, last = last, k
		if seen[c>>6]&(1<<(c&63)) == 0 {
			seen[c>>6] |= 1 << (c & 63)
			distinct++
		}
	}
	letters := upper + lower
	switch {
	case digits == 0 && (upper == 0 || lower == 0):
		return false // letters of one case
	case letters == 0, joins*4 > len(w):
		return false
	case isUUID(w), isULID(w), len(w) == 24 && hex == 24:
		return false
	case hex == len(w):
		return len(w) >= 32 && distinct >= 6
	case hex == len(w)-joins && joins > 0 && len(w) < 40:
		return false // groups of digits: a serial number, a date with a time
	}
	if distinct < 10 {
		return false
	}
	// Of random base64 four characters in ten change their class; of camelCase with
	// a number in it, one in five. A long run of small letters is a word.
	return changes*4 >= len(w) && longest <= 7 || changes*3 >= len(w)
}

// isUUID knows 8-4-4-4-12 (RFC 9562 §4).
func isUUID(w []byte) bool {
	if len(w) != 36 || w[8] != '-' || w[13] != '-' || w[18] != '-' || w[23] != '-' {
		return false
	}
	for i, c := range w {
		if i != 8 && i != 13 && i != 18 && i != 23 && class[c]&cDigit == 0 && (c|0x20 < 'a' || c|0x20 > 'f') {
			return false
		}
	}
	return true
}

// isULID knows 26 characters of Crockford's base 32 whose first is at most 7: our request ids.
func isULID(w []byte) bool {
	if len(w) != 26 || w[0] < '0' || w[0] > '7' {
		return false
	}
	for _, c := range w {
		if class[c]&cDigit == 0 && (c < 'A' || c > 'Z' || c == 'I' || c == 'L' || c == 'O' || c == 'U') {
			return false
		}
	}
	return true
}
