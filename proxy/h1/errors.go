package h1

import "net/http"

// Error is a message that breaks the rules of HTTP/1.1, or exceeds a [Limits].
// All values are shared and must not be changed.
//
// A message that is answered with an Error must be the last one of its
// connection: nothing that follows it can be trusted to be where it seems.
type Error struct {
	// Status is what a server answers: 400, 413, 414, 431, 501 or 505. A client
	// that meets an Error in a response has a bad upstream (502), whatever it says.
	Status int
	// Reason is one sentence for the other end: no input is quoted in it.
	Reason string
}

// Error returns the reason, prefixed with the protocol.
func (e *Error) Error() string { return "http/1.1: " + e.Reason }

func bad(reason string) *Error { return &Error{http.StatusBadRequest, reason} }

var (
	// Lines and sizes.
	errBareLF        = bad("a line ends without a carriage return")
	errHeadTooLarge  = &Error{http.StatusRequestHeaderFieldsTooLarge, "the header section is too large"}
	errTargetTooLong = &Error{http.StatusRequestURITooLong, "the request line is too long"}
	errManyFields    = &Error{http.StatusRequestHeaderFieldsTooLarge, "there are too many header fields"}
	errManyEmpty     = bad("empty lines precede the request line")
	errIncomplete    = bad("the header section is not complete")

	// Request line.
	errRequestLine = bad("the request line is malformed")
	errMethod      = bad("the method is malformed")
	errTarget      = bad("the request target is malformed")
	errAsterisk    = bad("the request target * is for OPTIONS only")
	errVersion     = bad("the HTTP version is malformed")
	errVersionNot  = &Error{http.StatusHTTPVersionNotSupported, "the HTTP version is not supported"}
	errConnect     = &Error{http.StatusNotImplemented, "CONNECT is not supported"}

	// Status line.
	errStatusLine = bad("the status line is malformed")
	errStatus     = bad("the status code is malformed")

	// Fields.
	errFold       = bad("a header field is folded over several lines")
	errNoColon    = bad("a header field has no colon")
	errFieldName  = bad("a header field name is malformed")
	errFieldValue = bad("a header field value has a control character")

	// Host.
	errNoHost       = bad("the Host header field is missing")
	errManyHosts    = bad("there is more than one Host header field")
	errHost         = bad("the Host header field is malformed")
	errHostDisagree = bad("the Host header field disagrees with the request target")

	// Framing.
	errLength          = bad("the Content-Length header field is malformed")
	errManyLengths     = bad("there is more than one Content-Length")
	errLengthAndTE     = bad("Content-Length and Transfer-Encoding are both present")
	errCoding          = bad("the Transfer-Encoding header field is malformed")
	errCodingNotLast   = bad("chunked is not the final transfer coding")
	errCodingNot       = &Error{http.StatusNotImplemented, "the transfer coding is not supported"}
	errCodingInHTTP10  = bad("Transfer-Encoding is not part of HTTP/1.0")
	errChunkSize       = bad("a chunk size is malformed")
	errChunkSizeLarge  = bad("a chunk size is too large")
	errChunkExtension  = bad("a chunk extension is malformed")
	errChunkLineLong   = bad("a chunk line is too long")
	errChunkOverhead   = bad("the chunks carry too little data for their number")
	errChunkEnd        = bad("a chunk is longer than its size")
	errTrailerTooLarge = &Error{http.StatusRequestHeaderFieldsTooLarge, "the trailer section is too large"}
)
