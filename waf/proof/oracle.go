package proof

import (
	"strings"
	"sync"

	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/experimental/plugins"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
)

// captureOperator is the operator by which the engine is asked what a value
// has become: it matches nothing and keeps what it is shown.
const captureOperator = "sluiceCapture"

type capture struct{}

// captured maps a transaction's id to what its rule saw.
var captured sync.Map

func (capture) Evaluate(tx plugintypes.TransactionState, value string) bool {
	captured.Store(tx.ID(), strings.Clone(value))
	return false
}

var registerCapture = sync.OnceFunc(func() {
	plugins.RegisterOperator(captureOperator, func(plugintypes.OperatorOptions) (plugintypes.Operator, error) { return capture{}, nil })
})

// oracle returns what the engine's own transformations make of s. It is slow;
// tables and tests are made with it.
func oracle(chain []string, s string) string { return newOracle(chain)(s) }

// newOracle returns the engine's own chain of transformations.
func newOracle(chain []string) func(string) string {
	registerCapture()
	actions := "id:1,phase:1,pass,nolog,t:none"
	for _, t := range chain {
		actions += ",t:" + t
	}
	w, err := coraza.NewWAF(coraza.NewWAFConfig().WithDirectives(
		"SecRuleEngine On\n" + `SecRule REQUEST_METHOD "@` + captureOperator + `" "` + actions + `"`))
	if err != nil {
		panic("BUG: the engine refuses a rule with " + strings.Join(chain, ", ") + ": " + err.Error())
	}
	return func(s string) string {
		tx := w.NewTransaction()
		defer func() { _ = tx.Close() }()
		tx.ProcessURI("/", s, "HTTP/1.1")
		tx.ProcessRequestHeaders()
		out, _ := captured.LoadAndDelete(tx.ID())
		return out.(string)
	}
}
