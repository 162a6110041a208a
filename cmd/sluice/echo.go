package main

import (
	"encoding/json"
	"io"
	"net/http"
)

// echo is the demo's service: it answers with what it received.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	headers := make(map[string]any, len(r.Header))
	for name, values := range r.Header {
		if len(values) == 1 {
			headers[name] = values[0]
		} else {
			headers[name] = values
		}
	}
	if _, secret := headers["Authorization"]; secret {
		headers["Authorization"] = "(present)" // a token should not end up on a screen
	}
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	enc.Encode(map[string]any{ //nolint:errcheck // a client that has gone needs no answer
		"service": "echo", "method": r.Method, "host": r.Host, "path": r.URL.Path, "query": r.URL.RawQuery,
		"tenant": r.Header.Get("X-Tenant-ID"), "tier": r.Header.Get("X-Tenant-Tier"),
		"headers": headers, "body": string(body),
	})
}
