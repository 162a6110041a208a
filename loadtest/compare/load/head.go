package load

import (
	"bytes"
	"errors"
	"strconv"
)

// head is what the load needs to know of a response head.
type head struct {
	status int
	length int64 // of the body
}

// errHead is a response head that is not understood.
var errHead = errors.New("response without a status or a Content-Length")

// parseHead reads the response head at the start of data and returns how many
// bytes it takes; 0 while it is not whole. Only what the responder sends is
// understood: a proxy that changes its framing to chunked is an error, because
// it was asked to do something else than the others.
func parseHead(data []byte) (h head, size int, err error) {
	end := bytes.Index(data, []byte("\r\n\r\n"))
	if end < 0 {
		return head{}, 0, nil
	}
	line, rest, _ := bytes.Cut(data[:end+2], []byte("\r\n"))
	version, line, _ := bytes.Cut(line, []byte(" "))
	if !bytes.HasPrefix(version, []byte("HTTP/1.")) || len(line) < 3 {
		return head{}, 0, errHead
	}
	if h.status, err = strconv.Atoi(string(line[:3])); err != nil {
		return head{}, 0, errHead
	}
	h.length = -1
	for len(rest) > 0 {
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		name, value, _ := bytes.Cut(line, []byte(":"))
		if len(name) == len("Content-Length") && bytes.EqualFold(name, []byte("Content-Length")) {
			if h.length, err = strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64); err != nil {
				return head{}, 0, errHead
			}
		}
	}
	if h.length < 0 {
		return head{}, 0, errHead
	}
	return h, end + 4, nil
}
