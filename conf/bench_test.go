package conf

import (
	"fmt"
	"strings"
	"testing"
)

// largeDocument is a gateway of a thousand routes, with a fault at its end if so.
func largeDocument(fault string) []byte {
	var b strings.Builder
	b.WriteString("services:\n")
	for i := range 100 {
		fmt.Fprintf(&b, "  s%d: {upstreams: [\"http://10.0.0.%d:8000\"], timeout: {request: 10s}, retry: {attempts: 3}}\n", i, i)
	}
	b.WriteString("routes:\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "  - {path: \"/svc%d/{id}/*\", service: s%d, auth: none, methods: [GET, POST], limit: {requests: 100, per: 1m}}\n", i, i%100)
	}
	return []byte(b.String() + fault)
}

func BenchmarkParse(b *testing.B) {
	data := largeDocument("")
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if d, ps := Parse("f", data, nil); d == nil {
			b.Fatal(ps.Err())
		}
	}
}

// Finding where a large file stops being YAML takes many readings of it.
func BenchmarkLocateSyntax(b *testing.B) {
	for name, fault := range map[string]string{"bracket": "  - {path: /x, service: [s1\n", "quote": "  - {path: \"/x, service: s1}\n", "escape": "  - {path: \"\\q\"}\n", "indent": "   x: y\n"} {
		b.Run(name, func(b *testing.B) {
			data := largeDocument(fault)
			for b.Loop() {
				if d, _ := Parse("f", data, nil); d != nil {
					b.Fatal("accepted")
				}
			}
		})
	}
}
