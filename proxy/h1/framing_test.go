package h1

import "testing"

// Invariant 1, RFC 9112 §6.3.
func TestRequestFraming(t *testing.T) {
	tests := []struct {
		name           string
		minor          int
		coding, length []string
		want           Framing
		status         int
	}{
		{"neither", 1, nil, nil, noBody, 0},
		{"length", 1, nil, []string{"5"}, Framing{Sized, 5}, 0},
		{"length of zero", 1, nil, []string{"0"}, noBody, 0},
		{"leading zeros", 1, nil, []string{"007"}, Framing{Sized, 7}, 0},
		{"length in HTTP/1.0", 0, nil, []string{"5"}, Framing{Sized, 5}, 0},
		{"chunked", 1, []string{"chunked"}, nil, chunked, 0},
		{"chunked in capitals", 1, []string{"CHUNKED"}, nil, chunked, 0},

		{"empty length", 1, nil, []string{""}, noBody, 400},
		{"plus sign", 1, nil, []string{"+5"}, noBody, 400},
		{"minus sign", 1, nil, []string{"-5"}, noBody, 400},
		{"hexadecimal", 1, nil, []string{"0x5"}, noBody, 400},
		{"space inside", 1, nil, []string{"5 5"}, noBody, 400},
		{"list of one value", 1, nil, []string{"5, 5"}, noBody, 400},
		{"list of two values", 1, nil, []string{"5, 6"}, noBody, 400},
		{"repeated", 1, nil, []string{"5", "5"}, noBody, 400},
		{"repeated differently", 1, nil, []string{"5", "6"}, noBody, 400},
		{"overflow", 1, nil, []string{"9223372036854775808"}, noBody, 400},
		{"both", 1, []string{"chunked"}, []string{"5"}, noBody, 400},
		{"both, length malformed", 1, []string{"chunked"}, []string{"x"}, noBody, 400},
		{"HTTP/1.0 and chunked", 0, []string{"chunked"}, nil, noBody, 400},
		{"two lines", 1, []string{"chunked", "chunked"}, nil, noBody, 400},
		{"two lines, one unknown", 1, []string{"gzip", "chunked"}, nil, noBody, 400},
		{"chunked twice", 1, []string{"chunked, chunked"}, nil, noBody, 400},
		{"chunked not last", 1, []string{"chunked, gzip"}, nil, noBody, 400},
		{"gzip then chunked", 1, []string{"gzip, chunked"}, nil, noBody, 501},
		{"gzip alone", 1, []string{"gzip"}, nil, noBody, 400},
		{"identity", 1, []string{"identity"}, nil, noBody, 400},
		{"empty", 1, []string{""}, nil, noBody, 400},
		{"empty element", 1, []string{", chunked"}, nil, noBody, 400},
		{"parameter", 1, []string{"chunked;a=b"}, nil, noBody, 400},
		{"quoted", 1, []string{`"chunked"`}, nil, noBody, 400},
		{"vertical tab", 1, []string{"\vchunked"}, nil, noBody, 400},
		{"Kelvin sign", 1, []string{"chun\u212aed"}, nil, noBody, 400}, // Unicode folds it to a k
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := RequestFraming(tt.minor, tt.coding, tt.length)
			if tt.status == 0 {
				if err != nil || got != tt.want {
					t.Errorf("got %v, %v, want %v", got, err, tt.want)
				}
				return
			}
			if e, ok := err.(*Error); !ok || e.Status != tt.status {
				t.Errorf("got %v, %v, want an error of status %d", got, err, tt.status)
			}
		})
	}
}

func TestResponseFraming(t *testing.T) {
	five := []string{"5"}
	chunks := []string{"chunked"}
	tests := []struct {
		name           string
		method         string
		status, minor  int
		coding, length []string
		want           Framing
		bad            bool
	}{
		{"length", "GET", 200, 1, nil, five, Framing{Sized, 5}, false},
		{"chunked", "GET", 200, 1, chunks, nil, chunked, false},
		{"neither", "GET", 200, 1, nil, nil, untilClose, false},
		{"neither in HTTP/1.0", "GET", 200, 0, nil, nil, untilClose, false},
		{"HEAD with length", "HEAD", 200, 1, nil, five, noBody, false},
		{"HEAD chunked", "HEAD", 200, 1, chunks, nil, noBody, false},
		{"HEAD with neither", "HEAD", 200, 1, nil, nil, noBody, false},
		{"204", "GET", 204, 1, nil, nil, noBody, false},
		{"304 with length", "GET", 304, 1, nil, five, noBody, false},
		{"100", "POST", 100, 1, nil, nil, noBody, false},
		{"101", "GET", 101, 1, nil, nil, noBody, false},
		{"205 has a body", "GET", 205, 1, nil, five, Framing{Sized, 5}, false},
		{"both", "GET", 200, 1, chunks, five, noBody, true},
		{"both to HEAD", "HEAD", 200, 1, chunks, five, noBody, true},
		{"malformed length of a 304", "GET", 304, 1, nil, []string{"x"}, noBody, true},
		{"gzip", "GET", 200, 1, []string{"gzip"}, nil, noBody, true},
		{"HTTP/1.0 and chunked", "GET", 200, 0, chunks, nil, noBody, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ResponseFraming(tt.method, tt.status, tt.minor, tt.coding, tt.length)
			if (err != nil) != tt.bad || err == nil && got != tt.want {
				t.Errorf("got %v, %v, want %v, error %v", got, err, tt.want, tt.bad)
			}
		})
	}
}
