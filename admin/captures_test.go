package admin

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"
	"time"
)

// rules is a payload log's rules in memory.
type rules struct{ made []Capture }

func (r *rules) Captures() []Capture { return r.made }

func (r *rules) StartCapture(c Capture) error {
	r.made = append(r.made, c)
	return nil
}

func (r *rules) StopCapture(name string) (bool, error) {
	n := len(r.made)
	r.made = slices.DeleteFunc(r.made, func(c Capture) bool { return c.Name == name })
	return len(r.made) < n, nil
}

func TestCapturesAreMadeAndEnd(t *testing.T) {
	s, _ := newServer(t, new(bool))
	w := send(t, s, http.MethodPost, "/api/v1/captures", "Bearer oidc-operator", `{"name":"acme","tenant":"acme","status":"5xx","for":"15m","reason":"ticket 7"}`)
	var made Capture
	if err := json.Unmarshal(w.Body.Bytes(), &made); err != nil || w.Code != http.StatusCreated {
		t.Fatal(w.Code, w.Body, err)
	}
	if left := time.Until(made.Until); left < 14*time.Minute || left > 15*time.Minute || made.Sample != 1 || made.Source != "api" || made.By == "" {
		t.Errorf("%+v", made)
	}
	if w := ask(t, s, http.MethodGet, "/api/v1/captures", "Bearer oidc-viewer"); w.Code != http.StatusOK {
		t.Error(w.Code)
	}
	for _, body := range []string{
		`{"name":"x","for":"169h","reason":"r"}`, `{"name":"x","for":"soon","reason":"r"}`, `{"name":"x","for":"1h"}`,
		`{"name":"x","for":"1h","reason":"r","status":"bad"}`, `{"name":"","for":"1h","reason":"r"}`, `{"name":"x","for":"1h","reason":"r","sample":0}`,
	} {
		if w := send(t, s, http.MethodPost, "/api/v1/captures", "Bearer oidc-operator", body); w.Code != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d", body, w.Code)
		}
	}
	if w := send(t, s, http.MethodPost, "/api/v1/captures", "Bearer oidc-viewer", `{}`); w.Code != http.StatusForbidden {
		t.Errorf("a viewer: %d", w.Code)
	}
	for _, want := range []int{http.StatusNoContent, http.StatusNotFound} {
		if w := ask(t, s, http.MethodDelete, "/api/v1/captures/acme", "Bearer oidc-operator"); w.Code != want {
			t.Errorf("delete: %d, want %d", w.Code, want)
		}
	}
}
