package front

import (
	"bufio"
	"io"
	"net"
	"time"
)

// hijack gives the connection to the handler, with what has been received and not read.
func (c *conn) hijack(w *response) (net.Conn, *bufio.ReadWriter, error) {
	w.hijacked, c.given = true, true
	c.enter(phaseClosed) // the sweeper has no more business with it
	c.server.registry.remove(c)
	if err := c.sock.SetDeadline(time.Time{}); err != nil {
		return nil, nil, err
	}
	early := string(c.in.Buffered())
	c.in.Discard(len(early))
	c.in.Reset(nil)
	br := bufio.NewReaderSize(&replayed{Conn: c.sock, seen: early}, max(hijackBytes, len(early)))
	if early != "" {
		// Into its buffer, where callers look for what came early.
		if _, err := br.Peek(len(early)); err != nil && err != io.EOF {
			return nil, nil, err
		}
	}
	return c.sock, bufio.NewReadWriter(br, bufio.NewWriterSize(c.sock, hijackBytes)), nil
}

// hijackBytes is the size of the buffers that a hijacker gets.
const hijackBytes = 4 << 10
