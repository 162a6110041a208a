package redact

// A number is digits in groups, as people write cards, phones and ids.
type number struct {
	digits [24]byte // 0 to 9
	n      int
	sizes  [13]int  // of each group
	ends   [13]int  // where each group ends in the text
	seps   [13]byte // before each group; ( and ) together are one
	groups int
}

// parseNumber reads the digits and groups from src[i], which is a digit, + or (.
func (d *number) parse(src []byte, i int) {
	if src[i] == '+' {
		i++
	}
	sep := byte(0)
	for d.groups < len(d.sizes) && d.n < len(d.digits) {
		if i < len(src) && src[i] == '(' {
			sep = '('
			i++
		}
		start := d.n
		for i < len(src) && class[src[i]]&cDigit != 0 && d.n < len(d.digits) {
			d.digits[d.n] = src[i] - '0'
			d.n++
			i++
		}
		if d.n == start || i < len(src) && class[src[i]]&cDigit != 0 { // none, or more than any number has
			d.n = start
			return
		}
		g := d.groups
		d.sizes[g], d.ends[g], d.seps[g] = d.n-start, i, sep
		d.groups++
		if i+1 >= len(src) {
			return
		}
		switch c := src[i]; {
		case c == ')' && i+2 < len(src) && (src[i+1] == ' ' || src[i+1] == '-') && class[src[i+2]]&cDigit != 0:
			sep = ')'
			i += 2
		case c == ')' && class[src[i+1]]&cDigit != 0:
			sep = ')'
			i++
		case c == ' ' && src[i+1] == '(' && i+2 < len(src) && class[src[i+2]]&cDigit != 0:
			sep = '('
			i++
		case (c == ' ' || c == '-' || c == '.' || c == '/' || c == '+') && class[src[i+1]]&cDigit != 0:
			sep = c
			i++
		default:
			return
		}
	}
}

// uniform reports whether the first g groups are parted by the same sign.
func (d *number) uniform(g int) (sep byte, ok bool) {
	for i := 1; i < g; i++ {
		if i > 1 && d.seps[i] != sep {
			return 0, false
		}
		sep = d.seps[i]
	}
	return sep, true
}

// shape reports whether the first groups have these sizes.
func (d *number) shape(sizes ...int) bool {
	if len(sizes) > d.groups {
		return false
	}
	for i, n := range sizes {
		if d.sizes[i] != n {
			return false
		}
	}
	return true
}

// number finds the card, phone, id or address that begins at src[i], a digit, + or (.
func (r *Redactor) number(src []byte, i int, on kinds) (k Kind, end int, ok bool) {
	if i > 0 && (class[src[i-1]]&cAlnum != 0 || src[i-1] == '_') {
		return 0, 0, false
	}
	var d number
	d.parse(src, i)
	total := d.n
	for g := d.groups; g > 0; g-- {
		end = d.ends[g-1]
		follows := byte(0)
		if end < len(src) {
			follows = src[end]
		}
		k, ok := d.kind(g, d.digits[:total], src[i], follows, on)
		if ok && k == IP && i > 0 && (src[i-1] == '/' && (i < 2 || src[i-2] != '/') && class[src[max(0, i-2)]]&cLetter != 0 || src[i-1] == 'v') {
			ok = false // Chrome/120.0.0.0
		}
		if ok && !(class[follows]&cAlnum != 0 || follows == '_' || follows == '@') {
			return k, end, true
		}
		if ok && k == ID && (follows == 'X' || follows == 'x') {
			return k, end + 1, true
		}
		total -= d.sizes[g-1]
	}
	return 0, 0, false
}

// kind says what the first g groups are.
func (d *number) kind(g int, digits []byte, first, follows byte, on kinds) (Kind, bool) {
	n := len(digits)
	sep, same := d.uniform(g)
	plain := g == 1 && first != '+' && first != '('
	blanks := same && (sep == ' ' || sep == '-')
	switch {
	case n < 4:
		return 0, false
	case on.has(Card) && first != '+' && (plain || blanks && (d.shape(4, 4, 4) || d.shape(4, 6))) && isCard(digits):
		return Card, true
	case on.has(IP) && g == 4 && sep == '.' && same && first != '+' && d.isIPv4() && (g == d.groups || d.seps[g] != '.'):
		return IP, true
	case on.has(ID) && first != '+' && first != '(' && d.isID(g, digits, sep, same, follows):
		return ID, true
	case on.has(Phone) && d.isPhone(g, n, first, sep, same):
		return Phone, true
	}
	return 0, false
}

func (d *number) isIPv4() bool {
	at := 0
	for g := range 4 {
		n := 0
		for _, c := range d.digits[at : at+d.sizes[g]] {
			n = n*10 + int(c)
		}
		if d.sizes[g] > 3 || n > 255 {
			return false
		}
		at += d.sizes[g]
	}
	return true
}

// isID knows the ids that have check digits or a form of their own.
func (d *number) isID(g int, digits []byte, sep byte, same bool, follows byte) bool {
	exactly := func(sizes ...int) bool { return g == len(sizes) && d.shape(sizes...) }
	switch {
	case g == 1:
		return isPESEL(digits) || isSteuerID(digits) || isNIR(digits) || isAHV(digits) ||
			len(digits) == 18 && isChinese(digits[:17], digits[17]+'0') || (follows == 'X' || follows == 'x') && isChinese(digits, follows)
	case exactly(3, 2, 4):
		return same && sep == '-' && isSSN(digits)
	case exactly(3, 3, 3, 2):
		return isCPF(digits)
	case exactly(3, 4, 4, 2):
		return isAHV(digits)
	case exactly(4, 4, 4):
		return same && sep == ' ' && digits[0] > 1 && verhoeff(digits)
	case exactly(3, 3, 3):
		return same && (sep == ' ' || sep == '-') && digits[0] != 0 && digits[0] != 8 && luhn(digits)
	case exactly(2, 2, 2, 3, 2):
		return d.seps[1] == '.' && isBelgian(digits)
	case exactly(2, 3, 3, 3): // Germany's tax id in groups
		return same && sep == ' ' && isSteuerID(digits)
	case exactly(1, 2, 2, 2, 3, 3, 2):
		return same && sep == ' ' && isNIR(digits)
	case exactly(6, 4), exactly(8, 4):
		s := digits[len(digits)-10:]
		sweden := isDate(two(s[2:]), two(s[4:])) || isDate(two(s[2:]), two(s[4:])-60)
		denmark := isDate(two(s[2:]), two(s))
		return (sep == '-' || sep == '+') && sweden && luhn(s) || sep == '-' && denmark && g == 2 && d.sizes[0] == 6
	}
	return false
}

// isPhone knows international numbers (E.164), and national ones by the way
// they are written. Ten digits in a row are an order number as well.
func (d *number) isPhone(g, n int, first, sep byte, same bool) bool {
	switch {
	case first == '+':
		return n >= 8 && n <= 15
	case first == '(':
		return n >= 9 && n <= 12 && g >= 2
	case d.seps[1] == '(' && g >= 3:
		return n >= 9 && n <= 15
	case g == 3 && d.shape(3, 3, 4):
		return same && (sep == '-' || sep == '.')
	case g == 4 && d.shape(1, 3, 3, 4):
		return d.digits[0] == 1 && same && sep != '/'
	case d.digits[0] == 0 && d.digits[1] == 0 && g >= 2: // 0049 30 …
		return n >= 11 && n <= 16 && sep != '.'
	case d.digits[0] == 0 && g >= 2 && d.sizes[0] >= 2 && d.sizes[0] <= 5:
		return n >= 9 && n <= 12 && d.seps[1] != '.' && !d.shape(2, 2, 4)
	}
	return false
}
