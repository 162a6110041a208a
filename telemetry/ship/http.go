package ship

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// HTTPOptions say where a log is pushed to over HTTP.
type HTTPOptions struct {
	URL                string
	Headers            map[string]string
	Username, Password string // basic authentication, when not empty
	Token              string // bearer, when not empty
	Stream             string // the log's name
	Node               string
	Labels             map[string]string // Loki and OTLP
	Index              string            // Elasticsearch
}

// encoding is how lines become the body of a request.
type encoding struct {
	contentType string
	encode      func(dst []byte, lines []byte) []byte
	// inspect looks into a body of a status of 2xx. It returns the lines to send
	// again, and how many were refused for good.
	inspect func(body []byte, lines []byte) (again []byte, refused int, err error)
}

// httpPush delivers by POST.
type httpPush struct {
	o      HTTPOptions
	form   encoding
	client *http.Client
	body   []byte
}

func newHTTPPush(o HTTPOptions, form encoding) *httpPush {
	return &httpPush{o: o, form: form, client: &http.Client{
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			MaxIdleConnsPerHost: 1,
			IdleConnTimeout:     90 * time.Second,
			TLSHandshakeTimeout: 10 * time.Second,
			ForceAttemptHTTP2:   true,
		},
		// A redirect would carry the credentials to another place.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// NewJSON pushes JSON lines as they are: VictoriaLogs' /insert/jsonline and others.
func NewJSON(o HTTPOptions) Protocol {
	return newHTTPPush(o, encoding{
		contentType: "application/x-ndjson",
		encode:      func(dst, lines []byte) []byte { return append(dst, lines...) },
	})
}

// NewLoki pushes to Loki's /loki/api/v1/push.
func NewLoki(o HTTPOptions) Protocol {
	labels := map[string]string{"job": "sluice", "node": o.Node, "stream": o.Stream}
	for name, value := range o.Labels {
		labels[name] = value
	}
	head, err := json.Marshal(labels)
	if err != nil {
		panic("BUG: labels do not marshal: " + err.Error())
	}
	return newHTTPPush(o, encoding{
		contentType: "application/json",
		encode: func(dst, lines []byte) []byte {
			dst = append(append(append(dst, `{"streams":[{"stream":`...), head...), `,"values":[`...)
			for i, line := range each(lines) {
				if i > 0 {
					dst = append(dst, ',')
				}
				dst = append(dst, `["`...)
				dst = fmt.Appendf(dst, "%d", lineTime(line).UnixNano())
				dst = append(dst, `","`...)
				dst = appendEscaped(dst, line)
				dst = append(dst, `"]`...)
			}
			return append(dst, "]}]}"...)
		},
	})
}

// NewElasticsearch pushes to the bulk API of Elasticsearch or OpenSearch. Each
// line becomes a document with an @timestamp, created in INDEX-STREAM, which may be
// a data stream.
func NewElasticsearch(o HTTPOptions) Protocol {
	action, err := json.Marshal(map[string]any{"create": map[string]string{"_index": o.Index + "-" + o.Stream}})
	if err != nil {
		panic("BUG: an index does not marshal: " + err.Error())
	}
	action = append(action, '\n')
	if !strings.HasSuffix(strings.SplitN(o.URL, "?", 2)[0], "/_bulk") {
		o.URL = strings.TrimSuffix(o.URL, "/") + "/_bulk"
	}
	return newHTTPPush(o, encoding{
		contentType: "application/x-ndjson",
		encode: func(dst, lines []byte) []byte {
			for _, line := range each(lines) {
				dst = append(dst, action...)
				dst = append(dst, `{"@timestamp":"`...)
				dst = lineTime(line).UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z")
				dst = append(dst, '"')
				if len(line) > 2 {
					dst = append(dst, ',')
				}
				dst = append(append(dst, line[1:]...), '\n')
			}
			return dst
		},
		inspect: inspectBulk,
	})
}

// inspectBulk finds the documents that a bulk request did not create: those that
// met a full queue are sent again, the others were refused.
func inspectBulk(body, lines []byte) (again []byte, refused int, err error) {
	var answer struct {
		Errors bool `json:"errors"`
		Items  []map[string]struct {
			Status int `json:"status"`
			Error  struct {
				Type, Reason string
			} `json:"error"`
		} `json:"items"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, 0, fmt.Errorf("the answer is no bulk answer: %w", err)
	}
	if !answer.Errors {
		return nil, 0, nil
	}
	for i, line := range each(lines) {
		if i >= len(answer.Items) {
			break
		}
		for _, item := range answer.Items[i] {
			switch {
			case item.Status < 300:
			case item.Status == http.StatusTooManyRequests || item.Status >= 500:
				again = append(append(again, line...), '\n')
			default:
				refused++
				err = fmt.Errorf("document refused with %d: %s: %s", item.Status, item.Error.Type, item.Error.Reason)
			}
		}
	}
	return again, refused, err
}

func (p *httpPush) Deliver(ctx context.Context, lines []byte) error {
	refused, why := 0, error(nil)
	for {
		body, err := p.post(ctx, lines)
		if err != nil {
			return err
		}
		if p.form.inspect == nil {
			return nil
		}
		again, n, err := p.form.inspect(body, lines)
		refused += n
		if err != nil {
			why = err
		}
		if len(again) > 0 {
			lines = again
			select {
			case <-ctx.Done():
				// Those that were taken are sent once more: twice is better than never.
				return errors.New("the receiver is too busy for some of the lines")
			case <-time.After(firstPause):
			}
			continue
		}
		if refused > 0 {
			return &Refused{refused, why}
		}
		return why
	}
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 4 << 20

func (p *httpPush) post(ctx context.Context, lines []byte) (body []byte, err error) {
	p.body = p.form.encode(p.body[:0], lines)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.o.URL, bytes.NewReader(p.body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", p.form.contentType)
	r.Header.Set("User-Agent", "sluice")
	for name, value := range p.o.Headers {
		r.Header.Set(name, value)
	}
	switch {
	case p.o.Token != "":
		r.Header.Set("Authorization", "Bearer "+p.o.Token)
	case p.o.Username != "":
		r.SetBasicAuth(p.o.Username, p.o.Password)
	}
	answer, err := p.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err = io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	switch s := answer.StatusCode; {
	case s >= 200 && s < 300:
		return body, err
	case s == http.StatusBadRequest, s == http.StatusRequestEntityTooLarge, s == http.StatusUnprocessableEntity, s == http.StatusUnsupportedMediaType:
		return nil, &Refused{Why: statusError(s, body)}
	default: // also 401, 403 and 404: somebody will mend the configuration of one of us
		return nil, statusError(s, body)
	}
}

func statusError(status int, body []byte) error {
	return fmt.Errorf("the receiver answers %d: %s", status, bytes.TrimSpace(body[:min(len(body), 200)]))
}

func (p *httpPush) Close() error {
	p.client.CloseIdleConnections()
	return nil
}
