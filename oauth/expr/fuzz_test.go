package expr

import (
	"encoding/json"
	"testing"

	"github.com/google/cel-go/common/types"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/jws"
)

// FuzzEvaluate checks that any expression over any claims yields a value that is JSON
// within the limit, and that it yields true only if CEL does.
func FuzzEvaluate(f *testing.F) {
	envs, err := Environments()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string, payload []byte) {
		if len(payload) > jws.MaxSize || jws.CheckObject(payload) != nil {
			return
		}
		claims, err := models.ParseClaims(payload)
		if err != nil {
			return
		}
		e, err := envs.Allow.Compile(text, nil)
		if err != nil {
			return
		}
		variables := map[string]any{
			"token": claims, "client": map[string]any{"id": "web", "name": "", "public": false}, "user": map[string]any{"sub": "alice"},
		}
		value, err := e.Evaluate(variables)
		encoded, fault := json.Marshal(value)
		if fault != nil || len(encoded) > 8*MaxResult {
			t.Errorf("%s yields %d bytes of JSON, %v", text, len(encoded), fault)
		}
		verdict, failure := e.run(NewBudget(), variables)
		for optional, ok := verdict.(*types.Optional); ok && optional.HasValue(); optional, ok = verdict.(*types.Optional) {
			verdict = optional.GetValue()
		}
		if (err == nil && value == true) != (failure == nil && verdict == types.True) {
			t.Errorf("%s yields %v, %v, and CEL yields %v, %v", text, value, err, verdict, failure)
		}
	})
}
