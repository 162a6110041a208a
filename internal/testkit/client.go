package testkit

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// requestTimeout bounds one request of a Client; above sluice's own time-outs,
// so that a test sees the gateway's answer and not its own impatience.
const requestTimeout = 60 * time.Second

// Client makes requests and fails the test when there is no response. It
// follows no redirects, keeps no cookies, decodes no content encoding and has
// connections of its own, which end with the test.
type Client struct {
	HTTP *http.Client
	t    testing.TB
	base string
}

// NewClient returns a client of the service at base, a URL without path.
func NewClient(t testing.TB, base string) *Client {
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	return &Client{
		HTTP: &http.Client{
			Transport:     transport,
			Timeout:       requestTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		t:    t,
		base: strings.TrimSuffix(base, "/"),
	}
}

// In returns the client for a subtest, which then is the one that fails.
func (c *Client) In(t testing.TB) *Client {
	in := *c
	in.t = t
	return &in
}

// Response is a response that was read to its end.
type Response struct {
	Status  int
	Proto   string
	Header  http.Header
	Trailer http.Header
	Body    []byte
	t       testing.TB
}

// Option changes a request.
type Option func(*http.Request)

// Header sets a field; Host sets the request's host.
func Header(name, value string) Option {
	return func(r *http.Request) {
		if http.CanonicalHeaderKey(name) == "Host" {
			r.Host = value
			return
		}
		r.Header.Set(name, value)
	}
}

// Bearer sets the access token.
func Bearer(token string) Option { return Header("Authorization", "Bearer "+token) }

// JSON makes v the body.
func JSON(v any) Option {
	return func(r *http.Request) {
		text, err := json.Marshal(v)
		if err != nil {
			panic("BUG: testkit.JSON of what has no JSON: " + err.Error())
		}
		Body("application/json", text)(r)
	}
}

// Body makes text the body.
func Body(contentType string, text []byte) Option {
	return func(r *http.Request) {
		r.Header.Set("Content-Type", contentType)
		r.ContentLength = int64(len(text))
		r.Body = io.NopCloser(bytes.NewReader(text))
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text)), nil }
	}
}

// Get is Do with GET.
func (c *Client) Get(path string, options ...Option) *Response {
	c.t.Helper()
	return c.Do(http.MethodGet, path, options...)
}

// Post is Do with POST.
func (c *Client) Post(path string, options ...Option) *Response {
	c.t.Helper()
	return c.Do(http.MethodPost, path, options...)
}

// Do makes a request and reads the response.
func (c *Client) Do(method, path string, options ...Option) *Response {
	c.t.Helper()
	resp, err := c.Try(method, path, options...)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp
}

// Try is Do for requests that may fail. A response whose body ends early is
// returned with the error.
func (c *Client) Try(method, path string, options ...Option) (*Response, error) {
	resp, err := c.open(context.Background(), method, path, options)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return &Response{
		Status: resp.StatusCode, Proto: resp.Proto, Header: resp.Header, Trailer: resp.Trailer, Body: body, t: c.t,
	}, err
}

// Stream makes a request and leaves the response's body to the caller; it is
// closed at the end of the test at the latest.
func (c *Client) Stream(ctx context.Context, method, path string, options ...Option) *http.Response {
	c.t.Helper()
	resp, err := c.open(ctx, method, path, options)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	c.t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func (c *Client) open(ctx context.Context, method, path string, options []Option) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, nil)
	if err != nil {
		return nil, err
	}
	for _, option := range options {
		option(req)
	}
	return c.HTTP.Do(req)
}

// JSON decodes the body into v.
func (r *Response) JSON(v any) {
	r.t.Helper()
	if err := json.Unmarshal(r.Body, v); err != nil {
		r.t.Fatalf("response %d %q: %v", r.Status, r.Body, err)
	}
}

// Want fails the test when the status is another.
func (r *Response) Want(status int) *Response {
	r.t.Helper()
	if r.Status != status {
		r.t.Fatalf("status %d, want %d; header %v; body %.2048s", r.Status, status, r.Header, r.Body)
	}
	return r
}

// Raw sends bytes to an address, as no client library would, and returns what
// comes back until the other side closes or is silent for a while.
func Raw(t testing.TB, addr, request string, silence time.Duration) string {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetWriteDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatalf("send to %s: %v", addr, err)
	}
	var response bytes.Buffer
	buf := make([]byte, 32<<10)
	for {
		if err := conn.SetReadDeadline(time.Now().Add(silence)); err != nil {
			t.Fatal(err)
		}
		n, err := conn.Read(buf)
		response.Write(buf[:n])
		if err != nil { // end, reset or silence: what came is the answer
			return response.String()
		}
	}
}
