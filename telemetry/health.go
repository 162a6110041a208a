package telemetry

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
)

// Health is the set of conditions that must hold before this process is sent
// traffic. Rooms do not know it: cmd declares the conditions and reports on
// them. The zero value is ready, with no conditions.
type Health struct {
	mu         sync.Mutex
	conditions map[string]error // guarded by mu; nil holds
	degraded   map[string]error // guarded by mu
}

// Reason is a condition that does not hold.
type Reason struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// Set says whether the condition name holds: nil, or the reason why not. A
// condition counts from its first Set; declare one that has not been looked at
// yet by setting it to such a reason.
func (h *Health) Set(name string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.conditions == nil {
		h.conditions = make(map[string]error)
	}
	h.conditions[name] = err
}

// Remove forgets a condition, such as one that a reload took away.
func (h *Health) Remove(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.conditions, name)
}

// Degrade says what is wrong with something that this process can serve without,
// or nil. It is shown beside the conditions and does not make it unready.
func (h *Health) Degrade(name string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.degraded == nil {
		h.degraded = make(map[string]error)
	}
	if h.degraded[name] = err; err == nil {
		delete(h.degraded, name)
	}
}

// Degraded returns what Degrade was told, by name.
func (h *Health) Degraded() []Reason {
	h.mu.Lock()
	defer h.mu.Unlock()
	return reasons(h.degraded)
}

// reasons lists what does not hold, by name.
func reasons(of map[string]error) (list []Reason) {
	for name, err := range of {
		if err != nil {
			list = append(list, Reason{name, err.Error()})
		}
	}
	slices.SortFunc(list, func(a, b Reason) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Ready reports whether every condition holds, and the reasons why not, by name.
func (h *Health) Ready() (bool, []Reason) {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := reasons(h.conditions)
	return len(list) == 0, list
}

// Readyz renders the answer of /readyz: status 200 and {"ready":true}, or 503
// with the reasons. Reasons are the words of errors: send them to operators only.
func (h *Health) Readyz() (status int, body []byte) {
	ready, reasons := h.Ready()
	status = 200
	if !ready {
		status = 503
	}
	body, err := json.Marshal(struct {
		Ready    bool     `json:"ready"`
		Reasons  []Reason `json:"reasons,omitempty"`
		Degraded []Reason `json:"degraded,omitempty"`
	}{ready, reasons, h.Degraded()})
	if err != nil {
		panic("BUG: readiness does not marshal: " + err.Error())
	}
	return status, append(body, '\n')
}

// Healthz renders the answer of /healthz, which says only that this process
// runs and answers: a node that is not ready is drained, not killed.
func (h *Health) Healthz() (status int, body []byte) {
	return 200, []byte("{\"healthy\":true}\n")
}

// Collect emits sluice_ready; pass it to [Metrics.Collect].
func (h *Health) Collect(emit Emit) {
	value := 0.0
	if ready, _ := h.Ready(); ready {
		value = 1
	}
	emit("sluice_ready", value)
	for _, r := range h.Degraded() {
		emit("sluice_degraded", 1, r.Name)
	}
}
