package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// adminGet asks sluice's private listener for a path.
func (run *running) adminGet(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+run.site.Admin+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+run.site.AdminToken)
	req.Close = true // leaves no connection behind to be counted
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", path, res.Status, tail(body, 300))
	}
	return body, err
}

// metrics scrapes sluice and adds up each metric over its labels.
func (run *running) metrics(ctx context.Context) (map[string]float64, error) {
	text, err := run.adminGet(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	return parseMetrics(text)
}

// parseMetrics reads the Prometheus text format and adds up the values of each
// metric name, whatever the labels.
func parseMetrics(text []byte) (map[string]float64, error) {
	sums := make(map[string]float64)
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		name, rest := line, []byte(nil)
		if open := bytes.IndexByte(line, '{'); open >= 0 {
			shut := bytes.LastIndexByte(line, '}')
			if shut < open {
				return nil, fmt.Errorf("metric without a closing brace: %q", line)
			}
			name, rest = line[:open], line[shut+1:]
		} else if space := bytes.IndexByte(line, ' '); space >= 0 {
			name, rest = line[:space], line[space:]
		}
		fields := bytes.Fields(rest) // a value, perhaps a timestamp
		if len(fields) == 0 {
			return nil, fmt.Errorf("metric without a value: %q", line)
		}
		value, err := strconv.ParseFloat(string(fields[0]), 64)
		if err != nil {
			return nil, fmt.Errorf("metric %q: %w", name, err)
		}
		sums[string(name)] += value
	}
	return sums, nil
}
