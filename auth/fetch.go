package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// newClient makes the client that fetches key sets. A key set is fetched some
// times an hour, so a connection kept for the next time would only grow stale.
func newClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true
	return &http.Client{
		Transport: transport,
		CheckRedirect: func(next *http.Request, via []*http.Request) error {
			if len(via) > 3 {
				return errors.New("more than three redirects")
			}
			// Whoever can answer plain HTTP in between could hand us their keys.
			if via[0].URL.Scheme == "https" && next.URL.Scheme != "https" {
				return errors.New("a redirect away from https")
			}
			return nil
		},
	}
}

// fetch reads the key set once. maxAge is what the issuer allows it to be kept
// for, 0 for not at all, and the middle of our bounds when it does not say.
func (s *source) fetch(ctx context.Context) (body []byte, maxAge time.Duration, err error) {
	u, err := url.Parse(s.url)
	if err != nil {
		return nil, 0, errors.New("not a URL")
	}
	if u.Scheme == "file" {
		f, err := os.Open(u.Path)
		if err != nil {
			return nil, 0, err
		}
		defer f.Close()
		body, err = readBounded(f)
		return body, 0, err
	}

	o := &s.store.opts
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return nil, 0, err
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	request.Header.Set("User-Agent", "sluice")
	response, err := o.Client.Do(request)
	if err != nil {
		return nil, 0, err // it names the URL without its password
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("%s answers %d", s.name, response.StatusCode)
	}
	body, err = readBounded(response.Body)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", s.name, err)
	}
	maxAge, said := freshness(response.Header)
	if !said {
		maxAge = middle(o.MinRefresh, o.MaxRefresh)
	}
	return body, maxAge, nil
}

func readBounded(r io.Reader) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, maxKeySetBytes+1))
	if err == nil && len(body) > maxKeySetBytes {
		err = fmt.Errorf("a key set of more than %d bytes", maxKeySetBytes)
	}
	return body, err
}

// freshness reads Cache-Control (RFC 9111 §5.2.2) as far as it says how long the
// answer may be kept.
func freshness(h http.Header) (maxAge time.Duration, said bool) {
	for _, line := range h["Cache-Control"] {
		for directive := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
			switch strings.ToLower(name) {
			case "no-store", "no-cache":
				return 0, true
			case "max-age":
				// RFC 9111 §1.2.2: a number too large is a very long time.
				seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 64)
				if err == nil || errors.Is(err, strconv.ErrRange) {
					maxAge, said = time.Duration(min(seconds, 365*24*3600))*time.Second, true
				}
			}
		}
	}
	return maxAge, said
}

// middle is the geometric middle, to about a quarter: between 1m and 1h, 8m.
func middle(low, high time.Duration) time.Duration {
	for low < high/2 {
		low, high = low*2, high/2
	}
	return low
}
