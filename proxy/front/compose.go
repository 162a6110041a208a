package front

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"sluice/proxy/h1"
)

// composeFields writes the status line and the handler's fields to out, at the
// time of WriteHeader: what the handler changes later is not sent. Fields that say how
// the message is framed wait for composeHead.
func (w *response) composeFields() {
	w.out = h1.AppendStatusLine(w.out[:0], w.minor, w.status)
	f := &w.fields
	for name, values := range w.header {
		switch name {
		case "Content-Length":
			w.declare(values)
			continue
		case "Transfer-Encoding":
			if len(values) > 0 && values[0] != "" {
				f.coding, f.identity = true, values[0] == "identity"
			}
			continue
		case "Connection":
			f.connection = values
			continue
		case "Content-Type":
			f.contentType = true
			if w.status == http.StatusNotModified {
				continue
			}
		case "Content-Encoding":
			f.contentEncoding = len(values) > 0 && values[0] != ""
		case "Date":
			f.date = true
		case "Upgrade":
			f.upgrade = true
		case "Trailer":
			f.trailer = true
			w.announce(values)
		default:
			if strings.HasPrefix(name, http.TrailerPrefix) {
				f.trailer = true
				continue
			}
			if !h1.ValidName(name) {
				continue
			}
		}
		for _, value := range values {
			w.out = h1.AppendField(w.out, name, value)
		}
	}
}

// declare takes the handler's Content-Length.
func (w *response) declare(values []string) {
	if len(values) == 0 || values[0] == "" {
		return
	}
	n, err := strconv.ParseInt(values[0], 10, 64)
	if err != nil || n < 0 {
		w.x.conn.server.logf("invalid Content-Length of %q", values[0])
		delete(w.header, "Content-Length")
		return
	}
	w.declared = n
}

// announce takes the names in the handler's Trailer field.
func (w *response) announce(values []string) {
	for _, value := range values {
		for name := range h1.Tokens(value) {
			if name = http.CanonicalHeaderKey(name); h1.TrailerAllowed(name) {
				w.trailers = append(w.trailers, name)
			}
		}
	}
}

// composeHead completes the head. first is the begin of the body, as far as it
// is not in w.body; it is looked at, not written.
func (w *response) composeHead(first []byte) {
	w.wire = true
	f := &w.fields
	closing := w.x.conn.server.closing.Load()
	allowed := h1.StatusAllowsBody(w.status)
	length := w.declared

	// The handler is done and everything it wrote is here: the length is known.
	// For HEAD, nothing written may mean that the handler left the body out.
	if w.done && length < 0 && !f.coding && !f.trailer && allowed && (!w.isHead || len(w.body) > 0) {
		length = int64(len(w.body) + len(first))
	}

	keep10 := w.keepAlive10 && (w.isHead || length >= 0 || !allowed)
	switch {
	case w.minor == 0 && !keep10, closing, w.handlerCloses():
		w.closeAfter = true
	}
	tooLarge := !w.settleBody()

	if w.declared >= 0 && f.coding && !f.identity {
		w.x.conn.server.logf("both Transfer-Encoding and a Content-Length of %d are set", w.declared)
		length, w.declared = -1, -1
	}
	switch {
	case !allowed:
		length = -1
	case w.isHead || length >= 0:
	case w.minor == 0 || f.identity:
		w.closeAfter = true
	default:
		w.chunking = true
		w.out = append(w.out, "Transfer-Encoding: chunked\r\n"...)
	}
	if length >= 0 {
		w.out = h1.AppendLength(w.out, length)
	}
	if body := w.sniffable(first); allowed && !f.contentType && !f.contentEncoding && !f.coding && len(body) > 0 {
		w.out = h1.AppendField(w.out, "Content-Type", http.DetectContentType(body))
	}
	if !f.date {
		w.out = append(w.out, w.x.conn.server.date.Load().line...)
	}
	w.composeConnection(keep10, closing || tooLarge)
	w.out = append(w.out, "\r\n"...)
}

// handlerCloses reports whether the handler has set Connection: close.
func (w *response) handlerCloses() bool {
	return len(w.fields.connection) > 0 && w.fields.connection[0] == "close"
}

// sniffable returns the begin of the body.
func (w *response) sniffable(first []byte) []byte {
	if len(w.body) > 0 {
		return w.body
	}
	return first
}

// composeConnection writes the Connection field: the handler's, unless the
// connection ends and its field does not say so. A switch of protocols keeps its own.
func (w *response) composeConnection(keep10, override bool) {
	own := w.fields.connection
	switching := w.status == http.StatusSwitchingProtocols && w.fields.upgrade && h1.HasToken(own, "upgrade")
	if w.closeAfter && !switching && (override || len(own) == 0 || !h1.HasToken(own[:1], "close")) {
		if w.minor > 0 {
			w.out = append(w.out, "Connection: close\r\n"...)
		}
		return
	}
	if keep10 && own == nil && !w.closeAfter {
		w.out = append(w.out, "Connection: keep-alive\r\n"...)
	}
	for _, value := range own {
		w.out = h1.AppendField(w.out, "Connection", value)
	}
}

// settleBody reads what is left of the request's body, within bounds, before
// the response begins: a client that sends all of it before it reads anything
// would wait for us, and we for it. It returns false when there is too much, and the
// connection has to end.
func (w *response) settleBody() bool {
	x := w.x
	if x.handle == nil || w.fullDuplex {
		return true
	}
	if !x.handle.mu.TryLock() {
		return true // it is being read: full duplex, whether declared or not
	}
	defer x.handle.mu.Unlock()
	if x.body.Done() {
		return true
	}
	if w.closeAfter || w.expects {
		w.closeAfter = true
		return true
	}
	if x.drainLocked() {
		// As in net/http: a body that has been read for the handler is no longer the handler's.
		x.handle.closed = true
		x.takeTrailer()
		return true
	}
	w.closeAfter = true
	return false
}

// finalTrailers returns what goes behind a chunked body, nil for nothing.
func (w *response) finalTrailers() http.Header {
	var trailer http.Header
	add := func(name string, values []string) {
		if trailer == nil {
			trailer = make(http.Header)
		}
		trailer[name] = append(trailer[name], values...)
	}
	for name, values := range w.header {
		if name, found := strings.CutPrefix(name, http.TrailerPrefix); found {
			add(name, values)
		}
	}
	slices.Sort(w.trailers)
	for _, name := range slices.Compact(w.trailers) {
		if values := w.header[name]; len(values) > 0 {
			add(name, values)
		}
	}
	return trailer
}
