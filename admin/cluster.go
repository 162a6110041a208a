package admin

import (
	"context"
	"encoding/json"
	"net/http"

	"sluice/conf"
)

// KeyChange is a step of a change of the gossip key; the zero value only asks.
type KeyChange struct {
	Action      string      // install, use or remove
	Secret      conf.Secret // of install
	Fingerprint string      // of use and remove
}

// Cluster answers for the cluster. Its errors are the operator's to read.
type Cluster interface {
	// Status returns what is rendered as JSON.
	Status() (any, error)
	// Keys makes the change on every member, and returns each one's keys.
	Keys(ctx context.Context, change KeyChange) (any, error)
}

func (s *Server) cluster(w http.ResponseWriter, r *http.Request) {
	answer, err := s.deps.Cluster.Status()
	s.answer(w, r, answer, err)
}

func (s *Server) clusterKeys(w http.ResponseWriter, r *http.Request) {
	answer, err := s.deps.Cluster.Keys(r.Context(), KeyChange{})
	s.answer(w, r, answer, err)
}

// changeKeys takes {"secret": …} for install and {"fingerprint": …} for the others.
func (s *Server) changeKeys(action string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Secret      string `json:"secret"`
			Fingerprint string `json:"fingerprint"`
		}
		dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&body); err != nil || (body.Secret == "") == (body.Fingerprint == "") || (body.Secret != "") != (action == "install") {
			write(w, r, http.StatusBadRequest, "bad-request", "Malformed request", `The body is {"secret": "…"} to install a key, {"fingerprint": "…"} to use or remove one.`)
			return
		}
		answer, err := s.deps.Cluster.Keys(r.Context(), KeyChange{Action: action, Secret: conf.Secret(body.Secret), Fingerprint: body.Fingerprint})
		s.answer(w, r, answer, err)
	}
}

// answer renders what a room said, or why it could not.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, value any, err error) {
	if err != nil {
		write(w, r, http.StatusConflict, "conflict", "Not possible now", err.Error())
		return
	}
	s.writeJSON(w, http.StatusOK, value)
}
