package bans

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Kind is what a target names.
type Kind uint8

// The kinds. Their words stand in the API, on the command line and in the file.
const (
	Address Kind = iota // an address or a network
	Country             // ISO 3166-1 alpha-2
	ASN                 // number of an autonomous system
	Tenant
	Subject // the sub of a token, whoever issued it
	Key     // the public part of an API key
	Route   // a route's name
	Path    // pattern of the path as it is matched: * is any run of bytes
	Agent   // part of the User-Agent, in any case; * is any run of bytes
	numKinds
)

var kindWords = [numKinds]string{"address", "country", "asn", "tenant", "subject", "key", "route", "path", "agent"}

func (k Kind) String() string {
	if k < numKinds {
		return kindWords[k]
	}
	return "unknown"
}

// Kinds returns the words of all kinds.
func Kinds() []string { return kindWords[:] }

// ParseKind reads a kind's word.
func ParseKind(word string) (Kind, error) {
	if i := slices.Index(kindWords[:], word); i >= 0 {
		return Kind(i), nil
	}
	return 0, fmt.Errorf("%q is no kind of target; the kinds are %s", word, strings.Join(kindWords[:], ", "))
}

// MarshalText is String, for JSON and YAML.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText is [ParseKind].
func (k *Kind) UnmarshalText(text []byte) (err error) {
	*k, err = ParseKind(string(text))
	return err
}

// Target is whom or what an entry is about. Make it with [NewTarget], which
// gives equal targets equal texts.
type Target struct {
	Kind  Kind   `json:"kind"`
	Value string `json:"value"`
}

func (t Target) String() string {
	if t.Kind == Address {
		return t.Value
	}
	return t.Kind.String() + "=" + t.Value
}

// maxValue bounds a target's text, in bytes: it is part of a fact's key.
const maxValue = 240

// NewTarget checks value and writes it in its one normal form: a network without
// bits behind its mask, a country in capitals, a number without AS.
func NewTarget(kind Kind, value string) (Target, error) {
	value = strings.TrimSpace(value)
	switch {
	case kind >= numKinds:
		return Target{}, fmt.Errorf("there is no such kind of target")
	case value == "":
		return Target{}, fmt.Errorf("%s: the value is empty", kind)
	case len(value) > maxValue:
		return Target{}, fmt.Errorf("%s: the value is longer than %d bytes", kind, maxValue)
	case !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl):
		return Target{}, fmt.Errorf("%s: the value holds a control character or is no UTF-8", kind)
	}
	switch kind {
	case Address:
		p, err := parseNetwork(value)
		if err != nil {
			return Target{}, err
		}
		value = networkText(p)
	case Country:
		value = strings.ToUpper(value)
		if len(value) != 2 || strings.Trim(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
			return Target{}, fmt.Errorf("country: %q is no ISO 3166 code; write two letters, such as KP", value)
		}
	case ASN:
		digits := strings.TrimPrefix(strings.ToUpper(value), "AS")
		n, err := strconv.ParseUint(digits, 10, 32)
		if err != nil || n == 0 {
			return Target{}, fmt.Errorf("asn: %q is no number of an autonomous system; write it as 64496 or AS64496", value)
		}
		value = strconv.FormatUint(n, 10)
	case Path:
		if !strings.HasPrefix(value, "/") && !strings.HasPrefix(value, "*") {
			return Target{}, fmt.Errorf("path: %q does not begin with / or *", value)
		}
	case Agent:
		value = strings.ToLower(value)
		if strings.Trim(value, "*") == "" {
			return Target{}, fmt.Errorf("agent: %q names every user agent", value)
		}
	}
	return Target{kind, value}, nil
}

// ParseTarget reads a target as people write it: an address or a network, or
// kind=value.
func ParseTarget(text string) (Target, error) {
	if word, value, found := strings.Cut(text, "="); found {
		kind, err := ParseKind(word)
		if err != nil {
			return Target{}, err
		}
		return NewTarget(kind, value)
	}
	t, err := NewTarget(Address, text)
	if err != nil {
		return t, fmt.Errorf("%w, or KIND=VALUE, the kinds being %s", err, strings.Join(kindWords[:], ", "))
	}
	return t, nil
}

func parseNetwork(text string) (netip.Prefix, error) {
	wrong := fmt.Errorf("%q is no address; write it as 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32", text)
	if !strings.Contains(text, "/") {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, wrong
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, wrong
	}
	if a := p.Addr(); a.Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, fmt.Errorf("%q mixes IPv4 and IPv6; write IPv4 networks as 10.0.0.0/8", text)
		}
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

// networkText writes a network of one address as the address.
func networkText(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// key is the target's in the store.
func (t Target) key() string { return t.Kind.String() + ":" + t.Value }

func parseKey(key string) (Target, error) {
	word, value, found := strings.Cut(key, ":")
	if !found {
		return Target{}, fmt.Errorf("bans: %q is no key", key)
	}
	kind, err := ParseKind(word)
	if err != nil {
		return Target{}, err
	}
	t, err := NewTarget(kind, value)
	if err == nil && t.Value != value {
		err = fmt.Errorf("bans: %q is not in its normal form", key)
	}
	return t, err
}
