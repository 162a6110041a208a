package conf

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// valueError is a text that is no value of its type: what is wrong, and what
// would be right. It never holds more of the text than Message quotes.
type valueError struct {
	Message string
	Hint    string
}

func (e *valueError) Error() string { return e.Message + "; " + e.Hint }

// Duration is a length of time written as 30s, 5m, 1h, 14d or 1h30m. It is
// never negative.
type Duration time.Duration

// Day is the longest unit of a [Duration]: 24 hours, whatever the calendar says.
const Day = Duration(24 * time.Hour)

var durationUnits = []struct {
	name string
	unit time.Duration
}{
	{"d", time.Duration(Day)}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second},
	{"ms", time.Millisecond}, {"us", time.Microsecond}, {"ns", time.Nanosecond}, {"µs", time.Microsecond},
}

// ParseDuration reads numbers with the units d, h, m, s, ms, us and ns, such as
// 14d or 1h30m. The longest is about 292 years. A bare 0 needs no unit.
func ParseDuration(text string) (Duration, error) {
	if text == "0" {
		return 0, nil
	}
	if number, ok := leadingNumber(text); ok && number == text {
		return 0, &valueError{fmt.Sprintf("%q has no unit", text), fmt.Sprintf("write %ss, %[1]sm or %[1]sh for seconds, minutes or hours", text)}
	}
	wrong := &valueError{fmt.Sprintf("%q is not a duration", text), "write a number with a unit, such as 500ms, 30s, 5m, 1h30m or 14d"}
	if strings.HasPrefix(text, "-") {
		return 0, &valueError{fmt.Sprintf("%q is negative", text), "write a duration of 0s or more"}
	}
	var total float64
	for rest := text; ; {
		number, ok := leadingNumber(rest)
		if !ok {
			return 0, wrong
		}
		rest = rest[len(number):]
		end := strings.IndexAny(rest, "0123456789.")
		if end < 0 {
			end = len(rest)
		}
		unit, ok := durationUnit(rest[:end])
		if !ok {
			if short := durationWord(rest[:end]); short != "" && end == len(rest) {
				wrong.Hint = "write " + text[:len(text)-len(rest)] + short
			}
			return 0, wrong
		}
		value, err := strconv.ParseFloat(number, 64)
		if err != nil {
			return 0, wrong
		}
		total += value * float64(unit)
		if total >= math.MaxInt64 {
			return 0, &valueError{fmt.Sprintf("%q is too long", text), "write less than 106751d"}
		}
		if rest = rest[end:]; rest == "" {
			return Duration(math.Round(total)), nil
		}
	}
}

// durationWord returns the unit that people write as word, or "".
func durationWord(word string) string {
	switch strings.TrimSuffix(strings.ToLower(strings.TrimSpace(word)), "s") {
	case "", "sec", "second":
		return "s"
	case "min", "minute":
		return "m"
	case "hr", "hour":
		return "h"
	case "day":
		return "d"
	case "msec", "milli", "millisecond":
		return "ms"
	}
	return ""
}

func durationUnit(name string) (time.Duration, bool) {
	for _, u := range durationUnits {
		if u.name == name {
			return u.unit, true
		}
	}
	return 0, false
}

// leadingNumber returns the decimal number at the start of text.
func leadingNumber(text string) (string, bool) {
	end, digits, dots := 0, 0, 0
	for ; end < len(text); end++ {
		if text[end] == '.' {
			dots++
		} else if '0' <= text[end] && text[end] <= '9' {
			digits++
		} else {
			break
		}
	}
	return text[:end], digits > 0 && dots <= 1
}

// Std returns d as a time.Duration.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String writes d as people do: with one unit where that is exact and short, such
// as 14d, 90m or 75s, else with several.
func (d Duration) String() string {
	if d == 0 {
		return "0s"
	}
	for _, u := range durationUnits {
		if n := d.Std() / u.unit; n > 0 && n < 1000 && d.Std()%u.unit == 0 {
			return fmt.Sprintf("%d%s", n, u.name)
		}
	}
	var b strings.Builder
	rest := uint64(d)
	if d < 0 { // cannot be written in a file, but must not mislead in a message
		b.WriteByte('-')
		rest = -rest
	}
	for _, u := range durationUnits {
		if n := rest / uint64(u.unit); n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			rest -= n * uint64(u.unit)
		}
	}
	return b.String()
}

// MarshalText is String, for JSON and YAML.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is [ParseDuration].
func (d *Duration) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDuration(string(text))
	return err
}

// Size is a number of bytes written as 64KiB, 1MiB or 10GB. It is never negative.
type Size int64

// Largest first within each family, so that String finds the shortest exact form.
var sizeUnits = []struct {
	name string
	unit int64
}{
	{"TiB", 1 << 40}, {"TB", 1e12}, {"GiB", 1 << 30}, {"GB", 1e9},
	{"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"KB", 1e3}, {"kB", 1e3}, {"B", 1},
}

// ParseSize reads a number with one of the units B, KB, MB, GB, TB (powers of
// 1000) and KiB, MiB, GiB, TiB (powers of 1024). A bare 0 needs no unit.
func ParseSize(text string) (Size, error) {
	if text == "0" {
		return 0, nil
	}
	wrong := &valueError{fmt.Sprintf("%q is not a size", text), "write a number with a unit, such as 512B, 64KiB, 1MiB or 10GB"}
	if strings.HasPrefix(text, "-") {
		return 0, &valueError{fmt.Sprintf("%q is negative", text), "write a size of 0B or more"}
	}
	number, ok := leadingNumber(text)
	if !ok {
		return 0, wrong
	}
	name := text[len(number):]
	if name == "" {
		return 0, &valueError{fmt.Sprintf("%q has no unit", text), fmt.Sprintf("write %sB, %[1]sKiB or %[1]sMiB", text)}
	}
	value, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, wrong
	}
	for _, u := range sizeUnits {
		if u.name != name {
			continue
		}
		bytes := value * float64(u.unit)
		if bytes >= math.MaxInt64 {
			return 0, &valueError{fmt.Sprintf("%q is too large", text), "write less than 8388608TiB"}
		}
		if bytes != math.Trunc(bytes) {
			return 0, &valueError{fmt.Sprintf("%q is not a whole number of bytes", text), "write it in a smaller unit"}
		}
		return Size(bytes), nil
	}
	if letter := strings.ToUpper(name); len(letter) == 1 && strings.Contains("KMGT", letter) {
		return 0, &valueError{
			fmt.Sprintf("%q has an ambiguous unit", text),
			fmt.Sprintf("write %s%siB (powers of 1024) or %[1]s%[2]sB (powers of 1000)", number, letter),
		}
	}
	return 0, wrong
}

// String writes s with the largest unit that is exact.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if s != 0 && int64(s)%u.unit == 0 {
			return strconv.FormatInt(int64(s)/u.unit, 10) + u.name
		}
	}
	return "0B"
}

// MarshalText is String, for JSON and YAML.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is [ParseSize].
func (s *Size) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSize(string(text))
	return err
}

// Rate is a number of events per second, written as 50/s, 600/m or 1000/h. It
// is from one in a million seconds to one per nanosecond.
type Rate float64

var rateUnits = []struct {
	name    string
	seconds float64
}{{"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}}

// A rate is at most one event per nanosecond, the limiter's clock tick, and at
// least one in a million seconds, eleven days.
const (
	minRate = 1e-6
	maxRate = 1e9
)

// ParseRate reads a number of events per s, m, h or d.
func ParseRate(text string) (Rate, error) {
	number, unit, found := strings.Cut(text, "/")
	digits, ok := leadingNumber(number)
	if !ok || digits != number || found && unit == "" {
		return 0, &valueError{fmt.Sprintf("%q is not a rate", text), "write a number per unit of time, such as 50/s, 600/m or 1000/h"}
	}
	if !found {
		return 0, &valueError{fmt.Sprintf("%q has no unit", text), fmt.Sprintf("write %s/s, %[1]s/m or %[1]s/h", text)}
	}
	value, err := strconv.ParseFloat(number, 64)
	for _, u := range rateUnits {
		if u.name != unit || err != nil {
			continue
		}
		r := value / u.seconds
		if r < minRate || r > maxRate {
			return 0, &valueError{fmt.Sprintf("%q is out of range", text), "write from 0.1/d to 1000000000/s"}
		}
		return Rate(r), nil
	}
	return 0, &valueError{fmt.Sprintf("%q is not a rate", text), "write the unit as s, m, h or d, such as 50/s"}
}

// PerSecond returns r in events per second.
func (r Rate) PerSecond() float64 { return float64(r) }

// String writes r with the shortest unit in which it is a whole number.
func (r Rate) String() string {
	for _, u := range rateUnits {
		n := float64(r) * u.seconds
		// The relative error of the division in ParseRate is below 2^-52.
		if whole := math.Round(n); whole > 0 && math.Abs(n-whole) < whole*1e-12 {
			return strconv.FormatFloat(whole, 'f', -1, 64) + "/" + u.name
		}
	}
	return strconv.FormatFloat(float64(r), 'f', -1, 64) + "/s"
}

// MarshalText is String, for JSON and YAML.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText is [ParseRate].
func (r *Rate) UnmarshalText(text []byte) (err error) {
	*r, err = ParseRate(string(text))
	return err
}

// Percent is a share between 0 and 1, written as 20% or 0.2.
type Percent float64

// ParsePercent reads a number from 0% to 100%, or from 0 to 1.
func ParsePercent(text string) (Percent, error) {
	number, percent := strings.CutSuffix(text, "%")
	digits, ok := leadingNumber(number)
	value, err := strconv.ParseFloat(number, 64)
	if !ok || digits != number || err != nil {
		return 0, &valueError{fmt.Sprintf("%q is not a share", text), "write it from 0% to 100%, or from 0 to 1"}
	}
	if percent {
		value /= 100
	}
	if value > 1 {
		if !percent && value <= 100 {
			return 0, &valueError{fmt.Sprintf("%q is more than everything", text), fmt.Sprintf("write %s%%", number)}
		}
		return 0, &valueError{fmt.Sprintf("%q is more than everything", text), "write at most 100%"}
	}
	return Percent(value), nil
}

// String writes p in percent.
func (p Percent) String() string {
	// Twelve digits hide the error of dividing by 100 and back.
	return strconv.FormatFloat(float64(p)*100, 'g', 12, 64) + "%"
}

// MarshalText is String, for JSON and YAML.
func (p Percent) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText is [ParsePercent].
func (p *Percent) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePercent(string(text))
	return err
}

// Prefix is a network written as 10.0.0.0/8, or a single address. Once parsed
// it is masked, and an IPv4 network in IPv6 form has become plain IPv4.
type Prefix struct{ netip.Prefix }

// ParsePrefix reads a network in CIDR notation or a single address without a
// zone. Bits beyond the mask are cleared.
func ParsePrefix(text string) (Prefix, error) {
	p, err := parseUnmasked(text)
	return Prefix{p.Masked()}, err
}

func parseUnmasked(text string) (netip.Prefix, error) {
	wrong := &valueError{fmt.Sprintf("%q is not a network", text), "write it as 10.0.0.0/8, 2001:db8::/32 or a single address"}
	if !strings.Contains(text, "/") {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" {
			return netip.Prefix{}, wrong
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, wrong
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, &valueError{fmt.Sprintf("%q mixes IPv4 and IPv6", text), "write IPv4 networks as 10.0.0.0/8"}
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p, nil
}

// UnmarshalText is [ParsePrefix].
func (p *Prefix) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePrefix(string(text))
	return err
}

// Time is a point in time written as 2026-11-26T12:00:00Z (RFC 3339).
type Time struct{ time.Time }

// ParseTime reads a time with its zone.
func ParseTime(text string) (Time, error) {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return Time{}, &valueError{fmt.Sprintf("%q is not a time", text), "write it with its zone, as 2026-11-26T12:00:00Z"}
	}
	return Time{t.UTC()}, nil
}

// String writes t in UTC.
func (t Time) String() string { return t.UTC().Format(time.RFC3339) }

// MarshalText is String, for JSON and YAML.
func (t Time) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText is [ParseTime].
func (t *Time) UnmarshalText(text []byte) (err error) {
	*t, err = ParseTime(string(text))
	return err
}
