package oauth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/expr"
	"github.com/latchkey/latchkey/session"
	"github.com/latchkey/latchkey/settings"
)

// classes returns the tenant's own classes, or the default ones if it has none.
func (t *Tenant) classes() session.Classes {
	if len(t.ownClasses) == 0 {
		return session.DefaultClasses
	}
	return t.ownClasses
}

// storeDecision writes the outcome of the tenant's own rules into the row of a
// session. Nothing is stored for the default classes: they follow from the
// factors alone, so that a later release may change them.
func (t *Tenant) storeDecision(row *models.Session, now time.Time, proofs session.Proofs) {
	if len(t.ownClasses) == 0 {
		row.StoredACR, row.Decided = nil, session.Decision{}
		return
	}
	acr := proofs.Best().ACR
	row.StoredACR, row.Decided = &acr, session.Decision{At: now, Proofs: proofs}
}

// assure determines what the factors prove and which class the access token
// states, and rejects the request if its demand is not met. The rules run only
// once, because they may depend on the age of the factors.
func (x *exchangeRequest) assure(c *Client, factors []session.Factor, now time.Time) error {
	classes := c.tenant.classes()
	x.proofs, x.failed = classes.Proofs(now, factors)
	var met bool
	if x.stated, met = x.demand.Choose(classes, now, x.proofs); !met {
		return unmetDemand(x.demand, now, x.proofs).withCause(failedRules(x.failed))
	}
	return nil
}

// compileClasses compiles the rules of a tenant. A rule that does not compile
// holds for nobody.
func compileClasses(env *expr.Env, classes []settings.ACRClass, path string, faults *settings.Faults) (compiled session.Classes) {
	for i, c := range classes {
		rule, err := env.Compile(c.When, expr.Bool)
		if err != nil {
			faults.Add(fmt.Sprintf("%s[%d].when", path, i), "%v", err)
		}
		compiled = append(compiled, session.Class{ACR: c.Value, Holds: func(now time.Time, factors []session.Factor) (bool, error) {
			if rule == nil {
				return false, errors.New("the rule does not compile")
			}
			return ruleHolds(rule, now, factors)
		}})
	}
	return compiled
}

// ruleHolds evaluates a rule over the factors. The rule holds only if it returns
// true.
func ruleHolds(rule *expr.Expression, now time.Time, factors []session.Factor) (bool, error) {
	seen := make([]expr.Factor, len(factors))
	for i, f := range factors {
		age := max(now.Sub(f.AuthTime), 0) // auth_time may be ahead: the issuer has another clock
		seen[i] = expr.Factor{AMR: f.AMR, Kind: string(f.Kind()), Issuer: f.Issuer, ACR: f.ACR, Age: int64(age / time.Second)}
	}
	kinds := []string{}
	for _, k := range session.Kinds(factors) {
		kinds = append(kinds, string(k))
	}
	verdict, err := rule.Evaluate(map[string]any{"factors": seen, "amr": session.AMR(factors), "kinds": kinds})
	if err != nil {
		return false, err
	}
	holds, ok := verdict.(bool)
	if !ok {
		return false, errors.New("the rule does not return a boolean")
	}
	return holds, nil
}

// failedRules returns the errors of the rules that failed. They are for the
// log, since they may be why a demand is not met.
func failedRules(failed map[string]error) error {
	var causes []error
	for _, acr := range slices.Sorted(maps.Keys(failed)) {
		causes = append(causes, fmt.Errorf("acr rule %s: %w", acr, failed[acr]))
	}
	return errors.Join(causes...)
}

// reportRules records an event about rules that failed. The request has already
// succeeded, so a failure to record the event is only logged.
func (s *Server) reportRules(ctx context.Context, row *models.Session, now time.Time, failed map[string]error) {
	if len(failed) == 0 {
		return
	}
	e := row.Event(now, models.EventACRRuleFailed, map[string]any{"acr": slices.Sorted(maps.Keys(failed)), "generation": row.Refresh.Generation})
	e.Cause = failedRules(failed)
	if err := s.store.AddEvent(ctx, e, "generation"); err != nil {
		s.log.Error("cannot record an event", "error", err)
	}
}
