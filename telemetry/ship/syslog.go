package ship

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"sync/atomic"
)

// SyslogOptions say where syslog messages go.
type SyslogOptions struct {
	URL    string // udp://host:port, tcp://, tls:// or unix:///path
	Stream string // the log's name: the message's id
	Node   string // the message's host
	TLS    *tls.Config
}

// syslog sends each line as a message of RFC 5424: a datagram over UDP (RFC 5426)
// and to a Unix socket, with a count of its octets before it over TCP (RFC 6587
// §3.4.1) and TLS (RFC 5425).
type syslog struct {
	o        SyslogOptions
	network  string
	address  string
	datagram bool
	tail     []byte // of the header: from the host to the structured data
	conn     net.Conn
	gone     *atomic.Bool // the receiver has closed conn
	buf      []byte
}

// NewSyslog returns a sender of syslog messages.
func NewSyslog(o SyslogOptions) (Protocol, error) {
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, err
	}
	s := &syslog{o: o, network: u.Scheme, address: u.Host}
	switch u.Scheme {
	case "udp":
		s.datagram = true
	case "unix":
		s.network, s.address, s.datagram = "unixgram", u.Path, true
	case "tls":
		s.network = "tcp"
		if s.o.TLS == nil {
			s.o.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname()}
		}
	case "tcp":
	default:
		return nil, fmt.Errorf("%q is no scheme of syslog", u.Scheme)
	}
	s.tail = fmt.Appendf(nil, " %s sluice %d %s - ", printable(o.Node), os.Getpid(), printable(o.Stream))
	return s, nil
}

// printable returns s as the header takes it: printable ASCII without blanks.
func printable(s string) string {
	b := make([]byte, 0, len(s))
	for i := range len(s) {
		if s[i] > ' ' && s[i] < 0x7f {
			b = append(b, s[i])
		}
	}
	if len(b) == 0 {
		return "-"
	}
	return string(b[:min(len(b), 255)])
}

const (
	facility = 16 // local0
	// Severities (RFC 5424 §6.2.1).
	severityError, severityWarning, severityInfo = 3, 4, 6
	// maxDatagram is the most that a datagram carries.
	maxDatagram = 65000
)

func severity(line []byte) int {
	switch s := lineStatus(line); {
	case s >= 500:
		return severityError
	case s >= 400:
		return severityWarning
	}
	return severityInfo
}

func (s *syslog) appendMessage(dst, line []byte) []byte {
	dst = append(dst, '<')
	dst = strconv.AppendInt(dst, int64(facility*8+severity(line)), 10)
	dst = append(dst, ">1 "...)
	dst = lineTime(line).UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z")
	dst = append(dst, s.tail...)
	return append(dst, line...)
}

func (s *syslog) Deliver(ctx context.Context, lines []byte) error {
	if s.conn != nil && s.gone.Load() {
		_ = s.conn.Close() // it is broken already
		s.conn = nil
	}
	if s.conn == nil {
		if err := s.dial(ctx); err != nil {
			return err
		}
	}
	deadline, _ := ctx.Deadline()
	if err := s.conn.SetWriteDeadline(deadline); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = s.conn.SetWriteDeadline(deadline.Add(-1 << 40)) })
	defer stop()
	if err := s.write(lines); err != nil {
		_ = s.conn.Close()
		s.conn = nil
		return err
	}
	return nil
}

func (s *syslog) write(lines []byte) error {
	if s.datagram {
		for _, line := range each(lines) {
			s.buf = s.appendMessage(s.buf[:0], line)
			if _, err := s.conn.Write(s.buf[:min(len(s.buf), maxDatagram)]); err != nil {
				return err
			}
		}
		return nil
	}
	s.buf = s.buf[:0]
	var message []byte
	for _, line := range each(lines) {
		message = s.appendMessage(message[:0], line)
		s.buf = strconv.AppendInt(s.buf, int64(len(message)), 10)
		s.buf = append(append(s.buf, ' '), message...)
	}
	_, err := s.conn.Write(s.buf)
	return err
}

func (s *syslog) dial(ctx context.Context) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, s.network, s.address)
	if err != nil {
		return err
	}
	if s.o.TLS != nil && s.network == "tcp" {
		secure := tls.Client(conn, s.o.TLS)
		if err := secure.HandshakeContext(ctx); err != nil {
			return errors.Join(err, conn.Close())
		}
		conn = secure
	}
	s.conn, s.gone = conn, new(atomic.Bool)
	if !s.datagram {
		// A receiver says nothing. What ends this read is its end, which a write
		// would notice only one batch too late.
		gone := s.gone
		go func() { // ends with the connection
			var b [256]byte
			for {
				if _, err := conn.Read(b[:]); err != nil {
					gone.Store(true)
					return
				}
			}
		}()
	}
	return nil
}

func (s *syslog) Close() error {
	if s.conn == nil {
		return nil
	}
	return s.conn.Close()
}
