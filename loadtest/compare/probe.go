package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"
)

// probe sees that a contestant does what the table says of it: invariant 2.
func probe(ctx context.Context, run *running, refused map[string]string) error {
	p := prober{ctx: ctx, run: run, client: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableCompression: true}}}
	defer p.client.CloseIdleConnections()
	for path, body := range bodies() {
		if got, err := p.get(path, run.tokens[0]); err != nil {
			return err
		} else if got.status != http.StatusOK || !bytes.Equal(got.body, body) {
			return fmt.Errorf("%s: GET %s: status %d, %d bytes; want the upstream's %d", run.name, path, got.status, len(got.body), len(body))
		}
	}
	for what, token := range refused {
		if run.verifies || run.identifies && what != forgedToken {
			if err := p.refuses(what, token); err != nil {
				return err
			}
		}
	}
	if run.identifies {
		if err := p.refuses("missing", ""); err != nil {
			return err
		}
	}
	if run.limits {
		if err := p.counts(); err != nil {
			return err
		}
	}
	if run.logs {
		return p.writesLog()
	}
	return nil
}

type prober struct {
	ctx    context.Context
	run    *running
	client *http.Client
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

func (p *prober) get(path, token string) (answer, error) {
	req, err := http.NewRequestWithContext(p.ctx, http.MethodGet, "http://"+p.run.site.Address+path, nil)
	if err != nil {
		return answer{}, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := p.client.Do(req)
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w", p.run.name, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, body}, err
}

// refuses sees that a bad token is answered with 401.
func (p *prober) refuses(what, token string) error {
	got, err := p.get(smallPath, token)
	if err != nil {
		return err
	}
	if got.status != http.StatusUnauthorized {
		return fmt.Errorf("%s: a token that is %s is answered with %d, want 401", p.run.name, what, got.status)
	}
	return nil
}

// counts sees that the remaining quota goes down from request to request.
func (p *prober) counts() error {
	var left [2]int
	for i := range left {
		got, err := p.get(smallPath, p.run.tokens[0])
		if err != nil {
			return err
		}
		if left[i], err = strconv.Atoi(got.header.Get("X-RateLimit-Remaining")); err != nil {
			return fmt.Errorf("%s: X-RateLimit-Remaining: %w", p.run.name, err)
		}
		if limit := got.header.Get("X-RateLimit-Limit"); limit != strconv.Itoa(quota) {
			return fmt.Errorf("%s: X-RateLimit-Limit is %q, want %d", p.run.name, limit, quota)
		}
	}
	if left[1] >= left[0] {
		return fmt.Errorf("%s: remaining quota %d, then %d: requests are not counted", p.run.name, left[0], left[1])
	}
	return nil
}

// writesLog sees that the access log gets lines of JSON; logs are buffered.
func (p *prober) writesLog() error {
	err := errors.New("stays empty")
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if ctxErr := p.ctx.Err(); ctxErr != nil {
			return ctxErr
		}
		var text []byte
		if text, err = os.ReadFile(p.run.site.Log); err != nil {
			continue
		}
		line, _, whole := bytes.Cut(text, []byte("\n"))
		var record map[string]any
		if !whole {
			err = errors.New("stays empty")
		} else if err = json.Unmarshal(line, &record); err == nil {
			return nil
		} else {
			err = fmt.Errorf("is no JSON: %w: %s", err, line)
		}
	}
	return fmt.Errorf("%s: access log: %w", p.run.name, err)
}
