package oauth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/cel-go/cel"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
)

// ruleFactor is a factor as an `acr` rule sees it.
type ruleFactor struct {
	AMR    string `cel:"amr"`
	Kind   string `cel:"kind"`
	Issuer string `cel:"issuer"`
	ACR    string `cel:"acr"` // what its entry asserted, where it may
	Age    int64  `cel:"age"` // in whole seconds
}

// classes are the tenant's own, or the default ones.
func (t *Tenant) classes() session.Classes {
	if len(t.ownClasses) == 0 {
		return session.DefaultClasses
	}
	return t.ownClasses
}

// keep writes what the tenant's own rules decided into a session's row. The
// default classes follow from its factors alone, so that a release which knows
// no other may change those.
func (t *Tenant) storeDecision(row *models.Session, now time.Time, proofs session.Proofs) {
	if len(t.ownClasses) == 0 {
		row.StoredACR, row.Decided = nil, session.Decision{}
		return
	}
	acr := proofs.Best().ACR
	row.StoredACR, row.Decided = &acr, session.Decision{At: now, Proofs: proofs}
}

// assure decides what the factors prove, and which class the access token
// states, or refuses an unmet demand. It is decided once: a rule may be about
// the factors' age.
func (x *exchangeRequest) assure(c *Client, factors []session.Factor, now time.Time) error {
	classes := c.tenant.classes()
	x.proofs, x.failed = classes.Proofs(now, factors)
	var met bool
	if x.stated, met = x.demand.Choose(classes, now, x.proofs); !met {
		return unmetDemand(x.demand, now, x.proofs).withCause(failedRules(x.failed))
	}
	return nil
}

// compileClasses compiles a tenant's rules. One that does not compile holds for
// nobody.
func compileClasses(env *cel.Env, classes []models.ACRClass, path string, faults *models.Faults) (compiled session.Classes) {
	for i, c := range classes {
		rule, err := compile(env, c.When, boolType)
		if err != nil {
			faults.Add(fmt.Sprintf("%s[%d].when", path, i), "%v", err)
		}
		compiled = append(compiled, session.Class{ACR: c.Value, Holds: func(now time.Time, factors []session.Factor) (bool, error) {
			if rule == nil {
				return false, errors.New("the rule does not compile")
			}
			return rule.holds(now, factors)
		}})
	}
	return compiled
}

// holds evaluates the rule over what was proved. Only true holds.
func (e *expression) holds(now time.Time, factors []session.Factor) (bool, error) {
	seen := make([]ruleFactor, len(factors))
	for i, f := range factors {
		age := max(now.Sub(f.AuthTime), 0) // auth_time may be ahead, by another clock
		seen[i] = ruleFactor{f.AMR, string(f.Kind()), f.Issuer, f.ACR, int64(age / time.Second)}
	}
	kinds := []string{}
	for _, k := range session.Kinds(factors) {
		kinds = append(kinds, string(k))
	}
	verdict, err := e.evaluate(map[string]any{"factors": seen, "amr": session.AMR(factors), "kinds": kinds})
	if err != nil {
		return false, err
	}
	holds, ok := verdict.(bool)
	if !ok {
		return false, errors.New("the rule does not return a boolean")
	}
	return holds, nil
}

// failedRules is why a demand may have been missed, for the log.
func failedRules(failed map[string]error) error {
	var causes []error
	for _, acr := range slices.Sorted(maps.Keys(failed)) {
		causes = append(causes, fmt.Errorf("acr rule %s: %w", acr, failed[acr]))
	}
	return errors.Join(causes...)
}

// reportRules writes the event about rules that could not be decided. What they
// were about has been done: a failure here is a line in the log.
func (s *Server) reportRules(ctx context.Context, about *models.Session, now time.Time, failed map[string]error) {
	if len(failed) == 0 {
		return
	}
	e := about.Event(now, models.EventACRRuleFailed, map[string]any{"acr": slices.Sorted(maps.Keys(failed)), "generation": about.Refresh.Generation})
	e.Cause = failedRules(failed)
	if err := s.store.AddEvent(ctx, e, "generation"); err != nil {
		s.log.Error("cannot record an event", "error", err)
	}
}
