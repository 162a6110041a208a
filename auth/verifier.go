package auth

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// MaxToken is the longest token that is looked at, in bytes. Tokens of Auth0 are
// around 1 KB; what is longer does not fit into most servers' headers either.
const MaxToken = 16 << 10

// Verifier verifies tokens by one configuration. It is immutable but for the
// tokens it remembers, and safe for concurrent use; a configuration snapshot
// holds one for as long as it lives.
type Verifier struct {
	keys        *KeyStore
	settings    settings
	issuers     map[string][]*trustedIssuer // by iss; several differ in their audience
	order       []*trustedIssuer            // as configured
	header      string                      // tenant header, canonical
	trustHeader bool
	cache       *tokenCache
}

// KeySets are the JWKS URLs of the verifier's issuers, for [KeyStore.Use].
func (v *Verifier) KeySets() []string {
	var urls []string
	for _, is := range v.order {
		if !slices.Contains(urls, is.keys) {
			urls = append(urls, is.keys)
		}
	}
	return urls
}

// Flush forgets every remembered token, also one that is being verified now.
func (v *Verifier) Flush() { v.cache.flush() }

// Verify returns the identity that a token proves at a time, or an *Error.
//
// A token that was verified before costs a hash and a look into a table. It may
// wait for keys, rarely and briefly: see [KeyStoreOptions].Wait. The token may
// share memory with a request; nothing of it is kept.
func (v *Verifier) Verify(token string, now time.Time) (*Identity, error) {
	if len(token) > MaxToken {
		return nil, refuse(ReasonTooLarge, "The token is too long", nil)
	}
	s := v.cache.scratch.Get().(*scratch)
	v.cache.hash(s, token)
	seconds := now.Unix()
	if e := v.cache.lookup(&s.sum, seconds); e != nil {
		e.tally.hit(s.stripe)
		v.cache.scratch.Put(s)
		return e.identity, nil
	}
	sum, stripe := s.sum, s.stripe
	v.cache.scratch.Put(s)

	generation := v.cache.generation.Load() // before a key is looked at: a flush from here on counts
	proof, err := v.verify(token, now)
	if proof.issuer != nil {
		proof.issuer.tally.miss(stripe)
	}
	if err != nil {
		return nil, err
	}
	v.cache.insert(&cacheEntry{
		sum:        sum,
		until:      cacheUntil(proof.identity.Expires, proof.issuer.leeway),
		generation: generation,
		key:        proof.key,
		identity:   proof.identity,
		tally:      proof.issuer.tally,
	}, seconds)
	return proof.identity, nil
}

// proof is what a verification has found out so far.
type proof struct {
	issuer   *trustedIssuer // whom the token claims to be from
	key      *publicKey     // that it names
	identity *Identity
}

// parser decodes and checks signatures. It leaves the claims to a validator,
// because issuer, audience and leeway are known only once it has decoded.
var parser = jwt.NewParser(
	jwt.WithValidMethods(acceptable), // never none, never HS*: RFC 8725 §3.1
	jwt.WithStrictDecoding(),
	jwt.WithoutClaimsValidation(),
)

// verify does it without memory. The order of the checks is: form, algorithm,
// issuer, key, signature, claims. Before the signature everything is hearsay and
// serves only to find the key.
func (v *Verifier) verify(token string, now time.Time) (p proof, err error) {
	if !b64token(token) {
		return p, &Error{Code: CodeInvalidRequest, Description: "The token has characters that none may have", Reason: ReasonMalformed}
	}
	claims := jwt.MapClaims{}
	_, err = parser.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) {
		refusal := v.choose(t.Header, claims, &p)
		if refusal != nil {
			return nil, refusal
		}
		return p.key.public, nil
	})
	if err != nil {
		return p, classify(err, p.key != nil)
	}
	if refusal := p.issuer.check(claims, now); refusal != nil {
		return p, refusal
	}
	identity, refusal := p.issuer.identify(claims)
	if refusal != nil {
		return p, refusal
	}
	if admin := v.settings.superAdmin; admin != "" {
		identity.SuperAdmin = identity.Has(admin)
	}
	p.identity = identity
	return p, nil
}

// choose finds the issuer and the key of a token whose signature is not checked
// yet. Of the header it believes alg and kid, and those only as far as the
// configuration and the key agree; a key, or where to find one, that the token
// brings along (jwk, jku, x5u, x5c) is not looked at (RFC 8725 §3.10).
func (v *Verifier) choose(header, claims map[string]any, p *proof) *Error {
	if _, critical := header["crit"]; critical {
		// RFC 7515 §4.1.11: what is not understood must be refused, and no
		// extension is understood here.
		return refuse(ReasonCritical, "The token needs a header extension that is not supported", nil)
	}
	if !tokenType(header["typ"]) {
		return refuse(ReasonTokenType, "The token is not an access token", nil)
	}
	iss, _ := claims["iss"].(string)
	candidates := v.issuers[iss]
	if len(candidates) == 0 {
		return refuse(ReasonUnknownIssuer, "The token's issuer is not accepted", nil)
	}
	p.issuer = candidates[0]
	for _, is := range candidates[1:] {
		if !hasAudience(claims, p.issuer.audience) && hasAudience(claims, is.audience) {
			p.issuer = is
		}
	}
	algorithm, _ := header["alg"].(string)
	if !slices.Contains(p.issuer.algorithms, algorithm) {
		return refuse(ReasonAlgorithm, "The token's signature algorithm is not accepted", nil)
	}
	id, named := header["kid"]
	kid, text := id.(string)
	if named && !text || len(kid) > maxKeyID {
		return malformed("The token's kid is not a short text")
	}
	source := (*v.keys.live.Load())[p.issuer.keys]
	if source == nil {
		return keysUnavailable(errors.New("the key set is not in use"))
	}
	key, absence := source.key(kid, named)
	switch absence {
	case keyUnknown:
		return refuse(ReasonUnknownKey, "The token's key is not known", nil)
	case keysMissing:
		return keysUnavailable(source.lastError())
	}
	pinned := key.algorithm
	if pinned == "" {
		pinned = p.issuer.rsaAlgorithm
	}
	if pinned != algorithm {
		return refuse(ReasonAlgorithm, "The token's signature algorithm is not that of its key", nil)
	}
	p.key = key
	return nil
}

// tokenType accepts JWT and at+jwt (RFC 9068 §2.1), with or without application/,
// in any case (RFC 7515 §4.1.9), and no typ at all. Other types are other things:
// a logout token, a DPoP proof.
func tokenType(typ any) bool {
	if typ == nil {
		return true
	}
	text, ok := typ.(string)
	if !ok {
		return false
	}
	text = strings.TrimPrefix(strings.ToLower(text), "application/")
	return text == "jwt" || text == "at+jwt"
}

func hasAudience(claims jwt.MapClaims, audience string) bool {
	list, err := claims.GetAudience()
	return err == nil && slices.Contains(list, audience)
}

// check validates the registered claims of a token whose signature holds.
func (is *trustedIssuer) check(claims jwt.MapClaims, now time.Time) *Error {
	if refusal := checkDates(claims); refusal != nil {
		return refusal
	}
	checks := append(slices.Clip(is.checks), jwt.WithTimeFunc(func() time.Time { return now }))
	err := jwt.NewValidator(checks...).Validate(claims)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jwt.ErrInvalidType):
		return &Error{CodeInvalidToken, "A registered claim has the wrong type", ReasonMalformed, nil, err}
	case !hasAudience(claims, is.audience):
		return refuse(ReasonWrongAudience, "The token is for another audience", err)
	case errors.Is(err, jwt.ErrTokenExpired):
		return refuse(ReasonExpired, "The token has expired", err)
	case errors.Is(err, jwt.ErrTokenNotValidYet), errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return refuse(ReasonNotYetValid, "The token is not valid yet", err)
	}
	return &Error{CodeInvalidToken, "The token lacks a required claim", ReasonMalformed, nil, err}
}

// identify reads who the caller is from verified claims.
func (is *trustedIssuer) identify(claims jwt.MapClaims) (*Identity, *Error) {
	id := &Identity{Issuer: is.name, Method: MethodJWT}
	var refusal *Error
	if id.Tenant, refusal = wordClaim(claims, is.tenantClaim, maxTenant); refusal != nil {
		return nil, refusal
	}
	if id.Tenant != "" {
		id.TenantSource = TenantFromClaim
	}
	if id.Tier, refusal = wordClaim(claims, is.tierClaim, maxTier); refusal != nil {
		return nil, refusal
	}
	if id.Subject, refusal = subjectClaim(claims); refusal != nil {
		return nil, refusal
	}
	if id.Permissions, refusal = permissionsClaim(claims, is.permissionsClaim); refusal != nil {
		return nil, refusal
	}
	expires, err := claims.GetExpirationTime()
	if err != nil || expires == nil {
		panic("BUG: a token without exp passed the validator")
	}
	id.Expires = expires.Time
	return id, nil
}

// classify turns an error of the parser into ours.
func classify(err error, keyFound bool) *Error {
	if refusal, ok := errors.AsType[*Error](err); ok {
		return refusal
	}
	switch {
	case errors.Is(err, jwt.ErrTokenMalformed):
		return refuse(ReasonMalformed, "The token cannot be read", err)
	case keyFound:
		return refuse(ReasonBadSignature, "The token's signature does not hold", err)
	}
	return refuse(ReasonAlgorithm, "The token's signature algorithm is not accepted", err)
}

func refuse(reason, description string, cause error) *Error {
	return &Error{Code: CodeInvalidToken, Description: description, Reason: reason, Cause: cause}
}

func keysUnavailable(cause error) *Error {
	return &Error{
		Code:        CodeUnavailable,
		Description: "The issuer's keys cannot be obtained at the moment",
		Reason:      ReasonKeysUnavailable,
		Cause:       cause,
	}
}
