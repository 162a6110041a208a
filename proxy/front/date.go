package front

import (
	"net/http"
	"time"
)

// dateLine is the Date field of one second.
type dateLine struct {
	second int64
	line   []byte
}

// setDate keeps the Date line up to date; the sweeper calls it several times a second.
func (s *Server) setDate(now time.Time) {
	second := now.Unix()
	if old := s.date.Load(); old != nil && old.second == second {
		return
	}
	line := now.UTC().AppendFormat([]byte("Date: "), http.TimeFormat)
	s.date.Store(&dateLine{second: second, line: append(line, "\r\n"...)})
}
