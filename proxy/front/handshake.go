package front

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
)

// handshake makes TLS ready, and gives the connection away when it speaks
// HTTP/2. It reports whether there is HTTP/1.1 to serve. HeaderTimeout bounds it.
func (c *conn) handshake(secured *tls.Conn) bool {
	if err := secured.HandshakeContext(context.Background()); err != nil {
		if wrong, ok := errors.AsType[tls.RecordHeaderError](err); ok && wrong.Conn != nil && looksLikeHTTP(wrong.RecordHeader) {
			_, _ = io.WriteString(wrong.Conn, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n") // it may have gone
			err = errors.New("client sent an HTTP request to an HTTPS server")
		}
		c.server.logf("TLS handshake with %s: %v", c.remote, err)
		return false
	}
	state := secured.ConnectionState()
	c.tls = &state
	if state.NegotiatedProtocol == "h2" {
		c.server.h2.take(c, "")
		return false
	}
	return true
}

// looksLikeHTTP reports whether what came instead of a TLS record begins like a request.
func looksLikeHTTP(header [5]byte) bool {
	switch string(header[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH":
		return true
	}
	return false
}
