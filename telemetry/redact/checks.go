package redact

// luhn reports whether the digits, each 0 to 9, have the check digit of ISO/IEC 7812-1.
func luhn(d []byte) bool {
	sum := 0
	for i := range d {
		n := int(d[len(d)-1-i])
		if i%2 == 1 {
			if n *= 2; n > 9 {
				n -= 9
			}
		}
		sum += n
	}
	return sum%10 == 0
}

// mod97 returns the number that the digits and letters (A is 10) write, modulo 97
// (ISO 7064); ok is false when there is another character.
func mod97(rem int, s []byte) (_ int, ok bool) {
	for _, c := range s {
		switch {
		case '0' <= c && c <= '9':
			rem = (rem*10 + int(c-'0')) % 97
		case 'A' <= c && c <= 'Z':
			rem = (rem*100 + int(c-'A') + 10) % 97
		case c == ' ':
		default:
			return 0, false
		}
	}
	return rem, true
}

// isCard reports whether the digits are a card's: an industry of payments, a length
// that is issued, and the check digit.
func isCard(d []byte) bool {
	if len(d) < 13 || len(d) > 19 || !luhn(d) {
		return false
	}
	two, four := int(d[0])*10+int(d[1]), int(d[0])*1000+int(d[1])*100+int(d[2])*10+int(d[3])
	switch {
	case d[0] == 4:
		return len(d) == 13 || len(d) == 16 || len(d) == 19
	case two >= 51 && two <= 55, four >= 2221 && four <= 2720:
		return len(d) == 16
	case two == 34 || two == 37:
		return len(d) == 15
	case two == 36 || two == 38 || two == 30 || two == 39:
		return len(d) >= 14 && len(d) <= 19
	case two == 35 || two == 60 || two == 62 || two == 64 || two == 65 || two == 81 || two == 50 || two == 56 || two == 57 || two == 58 || two == 63 || two == 67 || two == 22:
		return len(d) >= 16
	}
	return false
}

// verhoeffD and verhoeffP are the tables of Verhoeff's code (dihedral group D5).
var (
	verhoeffD = [10][10]byte{
		{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, {1, 2, 3, 4, 0, 6, 7, 8, 9, 5}, {2, 3, 4, 0, 1, 7, 8, 9, 5, 6}, {3, 4, 0, 1, 2, 8, 9, 5, 6, 7},
		{4, 0, 1, 2, 3, 9, 5, 6, 7, 8}, {5, 9, 8, 7, 6, 0, 4, 3, 2, 1}, {6, 5, 9, 8, 7, 1, 0, 4, 3, 2}, {7, 6, 5, 9, 8, 2, 1, 0, 4, 3},
		{8, 7, 6, 5, 9, 3, 2, 1, 0, 4}, {9, 8, 7, 6, 5, 4, 3, 2, 1, 0},
	}
	verhoeffP = [8][10]byte{
		{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, {1, 5, 7, 6, 2, 8, 3, 0, 9, 4}, {5, 8, 0, 3, 7, 9, 6, 1, 4, 2}, {8, 9, 1, 6, 0, 4, 3, 5, 2, 7},
		{9, 4, 5, 3, 1, 2, 6, 8, 7, 0}, {4, 2, 8, 6, 5, 7, 3, 9, 0, 1}, {2, 7, 9, 3, 8, 0, 6, 4, 1, 5}, {7, 0, 4, 6, 9, 1, 3, 2, 5, 8},
	}
)

func verhoeff(d []byte) bool {
	c := byte(0)
	for i := range d {
		c = verhoeffD[c][verhoeffP[i%8][d[len(d)-1-i]]]
	}
	return c == 0
}

// isDate reports whether the digits are a month and a day.
func isDate(month, day int) bool { return month >= 1 && month <= 12 && day >= 1 && day <= 31 }

func two(d []byte) int { return int(d[0])*10 + int(d[1]) }

// isPESEL checks Poland's PESEL: a date with its century in the month, and
// weights 1 3 7 9.
func isPESEL(d []byte) bool {
	if len(d) != 11 || !isDate(two(d[2:])%20, two(d[4:])) {
		return false
	}
	sum := 0
	for i, w := range [...]int{1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1} {
		sum += w * int(d[i])
	}
	return sum%10 == 0
}

// isSteuerID checks Germany's tax id: of the first ten digits one comes two or
// three times, the first is not 0, and ISO 7064 mod 11,10.
func isSteuerID(d []byte) bool {
	if len(d) != 11 || d[0] == 0 {
		return false
	}
	var count [10]int
	for _, c := range d[:10] {
		count[c]++
	}
	repeated := 0
	for _, n := range count {
		if n > 3 {
			return false
		}
		if n > 1 {
			repeated++
		}
	}
	if repeated != 1 {
		return false
	}
	p := 10
	for _, c := range d[:10] {
		s := (int(c) + p) % 10
		if s == 0 {
			s = 10
		}
		p = s * 2 % 11
	}
	return (11-p)%10 == int(d[10])
}

// isNIR checks France's social security number: sex, year, month, and the key,
// which is 97 less the rest by 97.
func isNIR(d []byte) bool {
	if len(d) != 15 || d[0] < 1 || d[0] > 2 || two(d[3:]) < 1 || two(d[3:]) > 12 {
		return false
	}
	n := 0
	for _, c := range d[:13] {
		n = (n*10 + int(c)) % 97
	}
	return 97-n == two(d[13:])
}

// isCPF checks Brazil's CPF: two check digits modulo 11.
func isCPF(d []byte) bool {
	if len(d) != 11 {
		return false
	}
	same := true
	for n := 9; n < 11; n++ {
		sum := 0
		for i := range n {
			sum += int(d[i]) * (n + 1 - i)
			same = same && d[i] == d[0]
		}
		if sum*10%11%10 != int(d[n]) {
			return false
		}
	}
	return !same
}

// isAHV checks Switzerland's AHV number: country 756 and the check digit of EAN-13.
func isAHV(d []byte) bool {
	if len(d) != 13 || d[0] != 7 || d[1] != 5 || d[2] != 6 {
		return false
	}
	sum := 0
	for i, c := range d {
		sum += int(c) * (1 + i%2*2)
	}
	return sum%10 == 0
}

// isBelgian checks Belgium's national number: 97 less the rest of the first nine
// digits, of those born since 2000 with a 2 before them.
func isBelgian(d []byte) bool {
	if len(d) != 11 {
		return false
	}
	n := 0
	for _, c := range d[:9] {
		n = n*10 + int(c)
	}
	key := two(d[9:])
	return 97-n%97 == key || 97-(n+2_000_000_000)%97 == key
}

// isSSN checks the numbers that the United States give out.
func isSSN(d []byte) bool {
	area := int(d[0])*100 + int(d[1])*10 + int(d[2])
	return len(d) == 9 && area != 0 && area != 666 && area < 900 && two(d[3:]) != 0 && (two(d[5:]) != 0 || two(d[7:]) != 0)
}

// isChinese checks China's resident id: a date of birth, and ISO 7064 mod 11-2.
func isChinese(d []byte, last byte) bool {
	if len(d) != 17 || (two(d[6:]) != 19 && two(d[6:]) != 20) || !isDate(two(d[10:]), two(d[12:])) {
		return false
	}
	sum := 0
	for i, w := range [...]int{7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2} {
		sum += w * int(d[i])
	}
	return "10X98765432"[sum%11] == last&^0x20 || "10X98765432"[sum%11] == last
}

// isDNI checks Spain's DNI and NIE: a number modulo 23 gives the letter.
func isDNI(w []byte) bool {
	if len(w) != 9 {
		return false
	}
	n := 0
	for i, c := range w[:8] {
		switch {
		case i == 0 && c >= 'X' && c <= 'Z':
			n = int(c - 'X')
		case c >= '0' && c <= '9':
			n = n*10 + int(c-'0')
		default:
			return false
		}
	}
	return "TRWAGMYFPDXBNJZSQVHLCKE"[n%23] == w[8]
}

// isFiscalCode checks Italy's codice fiscale: its form and its check letter.
func isFiscalCode(w []byte) bool {
	const form = "AAAAAA00A00A000A"
	if len(w) != len(form) {
		return false
	}
	odd := [...]int{1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23}
	sum := 0
	for i, c := range w {
		digit := c >= '0' && c <= '9'
		if digit != (form[i] == '0') || !digit && (c < 'A' || c > 'Z') {
			return false
		}
		if i == 15 {
			break
		}
		n := int(c - '0')
		if !digit {
			n = int(c - 'A')
		}
		if i%2 == 0 {
			n = odd[n]
		}
		sum += n
	}
	return byte('A'+sum%26) == w[15]
}

// isNINO checks the form of the United Kingdom's national insurance number,
// without blanks.
func isNINO(w []byte) bool {
	if len(w) != 9 {
		return false
	}
	for i, c := range w {
		letter := i < 2 || i == 8
		if letter && (c < 'A' || c > 'Z') || !letter && (c < '0' || c > '9') {
			return false
		}
	}
	bad := func(c byte, s string) bool {
		for i := range len(s) {
			if s[i] == c {
				return true
			}
		}
		return false
	}
	return !bad(w[0], "DFIQUV") && !bad(w[1], "DFIOQUV") && w[8] <= 'D'
}

// isHETU checks Finland's personal identity code, such as 131052-308T.
func isHETU(w []byte) bool {
	if len(w) != 11 || (w[6] != '-' && w[6] != '+' && (w[6] < 'A' || w[6] > 'Y')) {
		return false
	}
	n := 0
	for i, c := range w[:10] {
		if i == 6 {
			continue
		}
		if c < '0' || c > '9' {
			return false
		}
		n = n*10 + int(c-'0')
	}
	return "0123456789ABCDEFHJKLMNPRSTUVWXY"[n%31] == w[10]
}
