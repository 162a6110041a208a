package redact

import "bytes"

// Classes of bytes.
const (
	cDigit  = 1 << iota
	cUpper  // A–Z
	cLower  // a–z
	cJoin   // _ and -
	cToken  // with letters, digits and joins: what credentials are written with
	cLocal  // what the local part of a mailbox takes besides
	cStart  // where something that a detector knows may begin
	cLetter = cUpper | cLower
	cAlnum  = cDigit | cLetter
	cWord   = cAlnum | cJoin
)

var class = func() (t [256]uint8) {
	for c := '0'; c <= '9'; c++ {
		t[c] = cDigit | cStart
	}
	for c := 'A'; c <= 'Z'; c++ {
		t[c] = cUpper | cStart
		t[c+0x20] = cLower | cStart
	}
	t['_'], t['-'] = cJoin, cJoin
	for _, c := range "._-+/=~" {
		t[c] |= cToken
	}
	for _, c := range "._-+%'!#$&*/=?^`{|}~" {
		t[c] |= cLocal
	}
	for _, c := range "+(:_" {
		t[c] |= cStart
	}
	return t
}()

// Text appends src, a text of any kind, redacted.
func (r *Redactor) Text(dst, src []byte) []byte { return r.text(dst, src, r.on) }

// Secrets appends src without credentials, cards, accounts and mailboxes, but with
// the numbers, addresses and ids that an operator needs to find a fault: for
// messages of errors and for what a program says of itself.
func (r *Redactor) Secrets(dst, src []byte) []byte {
	return r.text(dst, src, r.on&^(1<<IP|1<<Phone|1<<ID))
}

// text appends src redacted by the detectors in on and the operator's patterns.
func (r *Redactor) text(dst, src []byte, on kinds) []byte {
	if len(r.patterns) == 0 {
		return r.scan(dst, src, on)
	}
	return r.custom(dst, src, on, r.patterns)
}

// custom takes out what the first pattern matches, and redacts what is between by
// the others.
func (r *Redactor) custom(dst, src []byte, on kinds, ps []pattern) []byte {
	if len(ps) == 0 {
		return r.scan(dst, src, on)
	}
	for {
		at := ps[0].re.FindIndex(src)
		if at == nil || at[1] == at[0] {
			return r.custom(dst, src, on, ps[1:])
		}
		dst = r.custom(dst, src[:at[0]], on, ps[1:])
		dst = r.mark(dst, Custom, src[at[0]:at[1]])
		src = src[at[1]:]
	}
}

// scan walks over the places where something may begin that a detector knows.
func (r *Redactor) scan(dst, src []byte, on kinds) []byte {
	copied := 0
	for i := 0; i < len(src); {
		if class[src[i]]&cStart == 0 {
			i++
			continue
		}
		// from and end are what goes; next is where to go on.
		k, from, end, next := r.at(src, i, on)
		if end > from {
			dst = append(dst, src[copied:from]...)
			dst = r.mark(dst, k, src[from:end])
			copied = end
			next = max(next, end)
		}
		i = max(next, i+1)
	}
	return append(dst, src[copied:]...)
}

// at looks at what begins at src[i], which no letter or digit precedes.
func (r *Redactor) at(src []byte, i int, on kinds) (k Kind, from, end, next int) {
	c := src[i]
	if class[c]&cDigit != 0 || c == '+' || c == '(' {
		if k, end, ok := r.number(src, i, on); ok {
			return k, i, end, end
		}
		if c == '+' || c == '(' {
			return 0, 0, 0, i + 1
		}
	}
	if c == ':' {
		if k, from, end, ok := userinfo(src, i); ok && on.has(Password) {
			return k, from, end, end
		}
		if on.has(IP) {
			if end := ipv6(src, i); end > 0 {
				return IP, i, end, end
			}
		}
		return 0, 0, 0, i + 1
	}
	word := i + 1
	for word < len(src) && class[src[word]]&cWord != 0 {
		word++
	}
	if k, from, end, ok := r.named(src, i, word, on); ok {
		return k, from, end, end
	}
	token, plain := word, word
	for token < len(src) && class[src[token]]&(cWord|cToken) != 0 {
		token++
	}
	if on.has(Email) {
		if end := mailbox(src, i, word); end > 0 {
			return Email, i, end, end
		}
	}
	if on.has(JWT) {
		if end := jwt(src, i, token); end > 0 {
			return JWT, i, end, end
		}
	}
	if on.has(Key) {
		if from, end := key(src, i, word, token); end > 0 {
			return Key, from, end, end
		}
	}
	if on.has(IBAN) {
		if end := iban(src, i); end > 0 {
			return IBAN, i, end, end
		}
	}
	if on.has(ID) {
		if end := idWord(src, i, word); end > 0 {
			return ID, i, end, end
		}
	}
	if on.has(IP) && plain < len(src) && src[plain] == ':' {
		if end := ipv6(src, i); end > 0 {
			return IP, i, end, end
		}
	}
	if on.has(Entropy) || on.has(ident) {
		if from, end := random(src, i, token, on.has(ident)); end > 0 {
			return Entropy, from, end, end
		}
	}
	return 0, 0, 0, plain
}

// named finds the value of a name that src[i:word] is, if it is a secret's:
// password=…, "token": …, Authorization: …, <secret>…, password is ….
func (r *Redactor) named(src []byte, i, word int, on kinds) (k Kind, from, end int, ok bool) {
	if !on.has(Field) && !on.has(Password) {
		return 0, 0, 0, false
	}
	at, sep := separator(src, word)
	if sep == 0 || at >= len(src) {
		return 0, 0, 0, false
	}
	name := src[i:word]
	v := r.names.of(name)
	if v != secret && v != doubtful {
		return 0, 0, 0, false
	}
	from, end = value(src, at, sep, wordy(name))
	if end == from || v == doubtful && !couldBeCredential(src[from:end]) {
		return 0, 0, 0, false
	}
	if v == secret && src[from] == '[' && bytes.HasPrefix(src[from:], []byte("[redacted")) {
		return 0, 0, 0, false // it has gone already
	}
	switch sep {
	case 'i': // "password is too short" tells nothing
		if !wordy(name) || !mixed(src[from:end]) {
			return 0, 0, 0, false
		}
	case ':': // "token: unexpected" in a message neither
		if !wordy(name) && v == secret && src[at-1] == ' ' && !mixed(src[from:end]) {
			return 0, 0, 0, false
		}
	}
	return Field, from, end, true
}

// mixed reports whether a word is none of a language: it has a digit, or a
// capital after a small letter, or a sign.
func mixed(w []byte) bool {
	for i, c := range w {
		if class[c]&cDigit != 0 || class[c]&cUpper != 0 && i > 0 && class[w[i-1]]&cLower != 0 {
			return true
		}
		if c < 0x80 && class[c]&cAlnum == 0 && c != '-' && c != '.' && c != ',' && c != ' ' && c != '\'' && c != '!' && c != '?' {
			return true
		}
	}
	return false
}

// wordy reports whether the value of that name may be several words: a passphrase,
// or a header with a scheme.
func wordy(name []byte) bool {
	for _, s := range [...]string{"pass", "pwd", "uthorization", "ookie", "mnemonic", "phrase", "PASS"} {
		if bytes.Contains(name, []byte(s)) {
			return true
		}
	}
	return false
}

// separator returns where the value begins whose name ends at i, and what parts them:
// =, :, > of a tag, i of "is", or 0.
func separator(src []byte, i int) (at int, sep byte) {
	blank := false
	for n := 0; i < len(src) && n < 4; n++ {
		switch src[i] {
		case '"', '\'', '\\', ']':
			i++
		case ' ', '\t':
			blank = true
			i++
		case '=', ':':
			sep = src[i]
			for i++; i < len(src) && (src[i] == ' ' || src[i] == '\t' || src[i] == '=' || src[i] == '>'); i++ {
			}
			return i, sep
		case '>':
			if blank {
				return 0, 0
			}
			return i + 1, '>'
		case 'i':
			if blank && i+2 < len(src) && src[i+1] == 's' && src[i+2] == ' ' {
				return i + 3, 'i'
			}
			return 0, 0
		default:
			return 0, 0
		}
	}
	return 0, 0
}

// value returns the bounds of the value that begins at i. One in quotes ends
// with them; another where a list goes on or, when it may not have blanks, at one.
func value(src []byte, i int, sep byte, blanks bool) (from, end int) {
	if i < len(src) && src[i] == '\\' {
		i++
	}
	if i < len(src) && (src[i] == '"' || src[i] == '\'' || src[i] == '`') {
		quote := src[i]
		for end = i + 1; end < len(src) && src[end] != quote; end++ {
			if src[end] == '\\' && quote == '"' {
				if end+1 < len(src) && src[end+1] == quote && src[i-1] == '\\' {
					break // the value's quotes are escaped themselves
				}
				end++
			}
		}
		return i + 1, min(end, len(src))
	}
	for end = i; end < len(src); end++ {
		switch c := src[end]; {
		case c == '\n' || c == '\r' || c == '<':
			return i, end
		case sep == '>':
		case c == '"' || c == '}' && sep == ':':
			return i, end
		case c == '&':
			return i, end
		case (c == ',' || c == ';' || c == ' ' || c == '\t') && !blanks:
			return i, end
		case (c == ' ' || c == '\t') && sep != ':':
			return i, end
		}
	}
	return i, end
}

// userinfo finds the password in scheme://user:password@host; src[i] is the colon.
func userinfo(src []byte, i int) (k Kind, from, end int, ok bool) {
	if i+3 >= len(src) || src[i+1] != '/' || src[i+2] != '/' {
		return 0, 0, 0, false
	}
	colon := 0
	for j := i + 3; j < len(src); j++ {
		switch c := src[j]; {
		case c == ':' && colon == 0:
			colon = j + 1
		case c == '@':
			// What looks like the end may be a part of the password: take the last.
			last := j
			for m := j + 1; m < len(src) && src[m] > ' ' && src[m] != '/' && src[m] != '"' && src[m] != '?'; m++ {
				if src[m] == '@' {
					last = m
				}
			}
			if colon == 0 {
				return 0, 0, 0, false
			}
			return Password, colon, last, last > colon
		case c <= ' ' || c == '/' || c == '"' || c == '<' || c == '>' || c == '?' || c == '#':
			return 0, 0, 0, false
		}
	}
	return 0, 0, 0, false
}

// mailbox returns the end of the email address whose local part begins at i, or 0.
// word is how far letters, digits and joins go.
func mailbox(src []byte, i, word int) int {
	at := word
	for at < len(src) && class[src[at]]&(cWord|cLocal) != 0 {
		at++
	}
	switch {
	case at < len(src) && src[at] == '@':
		at++
	case at < len(src) && at-i <= 64 && at > i+3 && (bytes.HasPrefix(src[at:], []byte("%40"))):
		at += 3
	default:
		// A percent sign belongs to a local part, so %40 is found within it.
		p := bytes.Index(src[i:at], []byte("%40"))
		if p <= 0 {
			return 0
		}
		at = i + p + 3
	}
	dot, end := 0, at
	for end < len(src) && (class[src[end]]&cAlnum != 0 || src[end] == '-' || src[end] == '.' || src[end] >= 0x80) {
		if src[end] == '.' {
			if end == at || end+1 >= len(src) || class[src[end+1]]&cAlnum == 0 && src[end+1] < 0x80 {
				break
			}
			dot = end
		}
		end++
	}
	if dot == 0 || end-dot < 3 || class[src[dot+1]]&cLetter == 0 && src[dot+1] < 0x80 {
		return 0
	}
	return end
}
