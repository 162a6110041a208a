package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sluice/conf"
	"sluice/internal/problem"
)

// adminFlags say which gateway a command talks to, and as whom. By default it is
// the one that runs with sluice.yaml on this machine.
type adminFlags struct {
	config, admin, token string
}

// addAdminFlags adds --config, --admin and --token to cmd and its subcommands.
func addAdminFlags(cmd *cobra.Command) *adminFlags {
	f := new(adminFlags)
	flags := cmd.PersistentFlags()
	flags.StringVarP(&f.config, "config", "c", "sluice.yaml", "configuration file of the running gateway")
	flags.StringVar(&f.admin, "admin", "", "base URL or host:port of the admin listener; default: as configured")
	flags.StringVar(&f.token, "token", "", "operator's token, or @FILE with it; default: $SLUICE_ADMIN_TOKEN, then as configured")
	if err := cmd.MarkPersistentFlagFilename("config", "yaml", "yml"); err != nil {
		panic("BUG: " + err.Error())
	}
	return f
}

// client finds the gateway. The configuration is read only for what the flags
// do not say.
func (f *adminFlags) client() (*adminClient, error) {
	token, err := f.givenToken()
	if err != nil {
		return nil, err
	}
	if f.admin != "" && token != "" {
		return newAdminClient(f.admin, token)
	}
	doc, err := loadToAsk(f.config)
	if err != nil {
		return nil, err
	}
	if token == "" {
		if token, err = knownToken(doc); err != nil {
			return nil, err
		}
	}
	return newAdminClient(cmp.Or(f.admin, reachable(doc.Admin.Address)), token)
}

func (f *adminFlags) givenToken() (conf.Secret, error) {
	path, inFile := strings.CutPrefix(f.token, "@")
	if !inFile {
		return conf.Secret(cmp.Or(f.token, os.Getenv("SLUICE_ADMIN_TOKEN"))), nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read the operator's token: %w", err)
	}
	return conf.Secret(strings.TrimSpace(string(text))), nil
}

// adminClient calls the admin API of one gateway.
type adminClient struct {
	base  string // without a closing slash
	token conf.Secret
}

func newAdminClient(address string, token conf.Secret) (*adminClient, error) {
	base := strings.TrimSuffix(address, "/")
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, usageError{fmt.Errorf("%q is not the address of an admin listener, such as 127.0.0.1:9090", address)}
	}
	return &adminClient{base, token}, nil
}

// apiError is an answer that is no success.
type apiError struct {
	Status int
	Title  string
	Detail string
	Errors []struct{ Pointer, Parameter, Detail string }
}

func (e *apiError) Error() string {
	lines := []string{cmp.Or(e.Detail, e.Title)}
	for _, f := range e.Errors {
		lines = append(lines, fmt.Sprintf("  %s%s: %s", strings.TrimPrefix(f.Pointer, "#/"), f.Parameter, f.Detail))
	}
	return strings.Join(lines, "\n")
}

// callOption changes a request before it is sent.
type callOption func(*http.Request)

// ifMatch makes the change one of the revision that the tag names.
func ifMatch(etag string) callOption {
	return func(r *http.Request) {
		if etag != "" {
			r.Header.Set("If-Match", etag)
		}
	}
}

// call asks for resource, with body as JSON unless it is nil, and decodes a
// success into answer, unless that is nil. An answer that is no success is a
// *apiError.
func (c *adminClient) call(ctx context.Context, method, resource string, body, answer any, options ...callOption) (http.Header, error) {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(text)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, c.base+resource, content)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, o := range options {
		o(r)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, fmt.Errorf("the gateway does not answer on %s; is it running with this configuration? (%w)", c.base, errors.Unwrap(err))
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 256<<20))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", c.base, err)
	}
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		return resp.Header, fmt.Errorf("the gateway on %s refused the operator's token: it runs with another admin.token or data directory", c.base)
	case resp.StatusCode >= 300:
		e := &apiError{Status: resp.StatusCode, Title: resp.Status}
		if resp.Header.Get("Content-Type") == problem.ContentType {
			_ = json.Unmarshal(text, e) // what is not understood is told by its status
		} else if json.Unmarshal(text, answer) != nil {
			e.Detail = fmt.Sprintf("the gateway on %s answered %s: %.200s", c.base, resp.Status, text)
		}
		return resp.Header, e
	case answer == nil || len(text) == 0:
		return resp.Header, nil
	}
	if raw, ok := answer.(*[]byte); ok {
		*raw = text
		return resp.Header, nil
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return resp.Header, fmt.Errorf("%s %s: the gateway's answer is not understood: %w", method, resource, err)
	}
	return resp.Header, nil
}

// listAll collects the items of all pages of a list. query holds filters and
// the order.
func listAll[T any](ctx context.Context, c *adminClient, resource string, query url.Values) ([]T, error) {
	all := []T{}
	for after := ""; ; {
		q := url.Values{"limit": {"1000"}}
		for name, values := range query {
			q[name] = values
		}
		if after != "" {
			q.Set("after", after)
		}
		var page struct {
			Items []T    `json:"items"`
			Next  string `json:"next"`
		}
		if _, err := c.call(ctx, http.MethodGet, resource+"?"+q.Encode(), nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if after = page.Next; after == "" {
			return all, nil
		}
	}
}
