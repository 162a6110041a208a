package crs

import (
	"net/http"
	"net/netip"
	"strings"
)

// Request is what is inspected. It is only read.
type Request struct {
	Client netip.Addr
	Method string
	Target string // request-target as received, in origin form
	Proto  string // HTTP/1.1, HTTP/2.0…
	Host   string
	Header http.Header     // without Host
	Body   []byte          // whole; empty when its type is not inspected
	Gone   <-chan struct{} // closed when nobody waits for the verdict any more; nil: never
}

// Kind is how a body is read.
type Kind uint8

// The kinds of bodies.
const (
	KindNone Kind = iota // not inspected
	KindJSON
	KindForm
	KindMultipart
	KindXML
	KindText // no structure: inspected as the engine inspects an unknown type
)

// KindOf returns how a body of this content type is read. The media type is
// compared as a whole, without case and white space, so that a type that a
// service would accept is not overlooked. A body without a type is inspected.
func KindOf(contentType string) Kind {
	media, _, _ := strings.Cut(contentType, ";")
	media = strings.ToLower(strings.TrimSpace(media))
	major, minor, _ := strings.Cut(media, "/")
	switch {
	case media == "application/x-www-form-urlencoded":
		return KindForm
	case media == "multipart/form-data":
		return KindMultipart
	case minor == "json" || strings.HasSuffix(minor, "+json") || minor == "x-json" || media == "application/csp-report":
		return KindJSON
	case minor == "xml" || strings.HasSuffix(minor, "+xml"):
		return KindXML
	case media == "", major == "text", minor == "graphql", minor == "x-ndjson", minor == "javascript", minor == "ndjson", minor == "yaml", minor == "x-yaml", minor == "sql":
		return KindText
	case major == "image", major == "audio", major == "video", major == "font", binary[media], strings.HasPrefix(minor, "grpc"):
		return KindNone
	}
	return KindText // an unknown type may be read as anything
}

// binary are types whose bodies hold no text that rules could judge.
var binary = map[string]bool{
	"application/octet-stream": true, "application/protobuf": true, "application/x-protobuf": true, "application/msgpack": true,
	"application/x-msgpack": true, "application/cbor": true, "application/pdf": true, "application/zip": true, "application/gzip": true,
	"application/x-gzip": true, "application/zstd": true, "application/x-tar": true, "application/wasm": true, "application/avro": true,
	"application/vnd.google.protobuf": true, "application/vnd.apache.parquet": true,
}

// processors are the engine's names for the kinds.
var processors = [...]string{KindJSON: "JSON", KindForm: "URLENCODED", KindMultipart: "MULTIPART", KindXML: "XML", KindText: "URLENCODED"}
