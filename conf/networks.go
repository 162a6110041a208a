package conf

import "net/netip"

// NetPrefixes returns the networks of list as the standard library's type.
func NetPrefixes(list []Prefix) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, p := range list {
		out[i] = p.Prefix
	}
	return out
}
