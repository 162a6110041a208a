package redact

// names decides by the name of a value.
type names struct {
	exact map[string]verdict
	parts [256][]string // words that make a name secret wherever they stand in it, by first letter
}

type verdict uint8

const (
	unknown    verdict = iota
	secret             // the value goes
	plural             // of a secret's name: the values go, unless one is a number, which counts them
	doubtful           // the value goes when it could be a credential
	safe               // detectors leave the value alone
	opaque             // a value that is random by nature and no secret: no entropy detector
	identifier         // the same, unless it is very long
)

// secretParts make a name that contains one a secret's, once its case, dashes,
// dots, underscores and blanks are gone. They are whole words of few meanings.
var secretParts = []string{
	"password", "passwort", "passwd", "passphrase", "passcode", "motdepasse", "contrasena", "wachtwoord",
	"secret", "apikey", "accesskey", "privatekey", "secretkey", "signingkey", "encryptionkey", "sharedkey", "masterkey", "licensekey", "authkey",
	"credential", "authorization", "cookie", "sessionid", "sessionkey", "accesstoken", "refreshtoken", "idtoken", "authtoken",
	"bearertoken", "csrftoken", "xsrftoken", "sessiontoken", "resettoken", "devicetoken", "bottoken", "usertoken", "apitoken",
	"creditcard", "cardnumber", "ccnumber", "cardno", "securitycode", "cardverification", "cvv", "cvc2",
	"socialsecurity", "taxid", "taxnumber", "nationalid", "nationalinsurance", "passportn", "driverslicense", "drivinglicen", "licencenumber",
	"iban", "accountnumber", "routingnumber", "sortcode", "bankaccount", "codicefiscale", "personnummer",
	"webhookurl", "connectionstring", "mnemonic", "seedphrase", "onetimecode", "otpcode", "verificationcode", "mfacode", "totp",
	"phonenumber", "mobilenumber", "emailaddress",
}

// secretNames are secret when they are the whole name.
var secretNames = []string{
	"token", "jwt", "pwd", "pass", "pin", "otp", "pan", "cvc", "csc", "cvn", "ssn", "bsn", "cpf", "dni", "pesel",
	"nino", "aadhaar", "passport", "phone", "mobile", "telephone", "tel", "fax", "email", "mail", "dsn", "xauthtoken", "xapikey",
	"codeverifier", "samlresponse", "clientassertion",
}

// doubtfulNames are those of secrets and of harmless things: their values go when
// they look like the former.
var doubtfulNames = []string{
	"code", "state", "nonce", "key", "session", "sid", "sig", "signature", "xsignature", "xhubsignature256", "assertion", "auth", "ticket", "cert", "pem", "salt", "hmac",
}

// opaqueNames have values of high entropy that say what a thing is and authorise nothing.
var opaqueNames = []string{
	"requestid", "xrequestid", "correlationid", "traceid", "spanid", "parentid", "traceparent", "tracestate", "etag", "ifnonematch", "ifmatch", "checksum",
	"digest", "sha1", "sha256", "sha512", "md5", "hash", "commit", "contentmd5", "integrity", "boundary", "contenttype", "accept", "secchua",
}

// identifierNames are those of identifiers; so is every name that ends in id.
var identifierNames = []string{"id", "uid", "uuid", "guid", "revision", "version", "cursor", "after", "before", "kid"}

func compileNames(fields, safeNames []string) names {
	n := names{exact: make(map[string]verdict)}
	for _, s := range opaqueNames {
		n.exact[s] = opaque
	}
	for _, s := range identifierNames {
		n.exact[s] = identifier
	}
	for _, s := range doubtfulNames {
		n.exact[s] = doubtful
	}
	for _, s := range secretNames {
		n.exact[s] = secret
	}
	for _, s := range secretParts {
		n.parts[s[0]] = append(n.parts[s[0]], s)
	}
	for _, s := range safeNames {
		n.exact[foldString(s)] = safe
	}
	for _, s := range fields {
		if s = foldString(s); s != "" {
			n.exact[s] = secret
		}
	}
	return n
}

// maxName is the longest name that is looked at; of a longer one, its end.
const maxName = 64

// fold appends the letters and digits of name in lower case.
func fold(dst, name []byte) []byte {
	for _, c := range name {
		switch {
		case 'A' <= c && c <= 'Z':
			dst = append(dst, c|0x20)
		case c == '_' || c == '-' || c == '.' || c == ' ' || c == '[' || c == ']' || c == '$':
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

func foldString(s string) string { return string(fold(nil, []byte(s))) }

// of returns the verdict on a value of that name.
func (n *names) of(name []byte) verdict {
	if len(name) > maxName {
		name = name[len(name)-maxName:]
	}
	var buf [maxName]byte
	folded := fold(buf[:0], name)
	if v, ok := n.exact[string(folded)]; ok {
		return v
	}
	if l := len(folded) - 1; l > 2 && folded[l] == 's' && n.exact[string(folded[:l])] == secret {
		return plural
	}
	for i, c := range folded {
		for _, part := range n.parts[c] {
			if len(folded)-i >= len(part) && string(folded[i:i+len(part)]) == part {
				return secret
			}
		}
	}
	// user.email, billing_phone and X-Acme-Token say it with their last word.
	if w := lastWord(name); len(w) < len(name) {
		last := fold(buf[:0], w)
		switch v := n.exact[string(last)]; {
		case v == secret && lastWordSecret(last):
			return secret
		case v == opaque, v == identifier:
			return v
		}
	}
	return unknown
}

// lastWordSecret reports whether a name that ends in this word is a secret's.
// Others of secretNames mean that only by themselves: error_code, sort_key.
func lastWordSecret(word []byte) bool {
	switch string(word) {
	case "token", "jwt", "pwd", "pin", "otp", "pan", "passport", "phone", "mobile", "email", "mail", "dsn", "credentials", "cvc", "ssn", "fax", "telephone", "msisdn":
		return true
	}
	return false
}

// couldBeCredential reports whether the value of a doubtful name goes.
func couldBeCredential(value []byte) bool {
	digit := false
	for _, c := range value {
		if c <= ' ' {
			return false
		}
		digit = digit || '0' <= c && c <= '9'
	}
	return len(value) >= 8 && digit
}

// lastWord returns what follows the last dash, dot or underscore, or the last
// capital that begins a word.
func lastWord(name []byte) []byte {
	for i := len(name) - 1; i > 0; i-- {
		switch c := name[i]; {
		case c == '_' || c == '-' || c == '.' || c == '[':
			return name[i+1:]
		case c == ']':
			name = name[:i]
		case 'A' <= c && c <= 'Z' && 'a' <= name[i-1] && name[i-1] <= 'z':
			return name[i:]
		}
	}
	return name
}
