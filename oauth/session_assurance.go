package oauth

import (
	"slices"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth/expr"
	"github.com/latchkey/latchkey/session"
)

// sessionAssurance is what a session proves, as far as the tenant's issuer
// entries vouch for it now.
type sessionAssurance struct {
	factors    []session.Factor // those that count
	proofs     session.Proofs
	lapsed     []session.Factor // those that no longer count: their entry does not vouch for them any longer
	reduced    bool             // some factors count for less than when they were proved
	signedInAt time.Time        // when the user signed in; stated if the session reaches no class
}

// sessionAssurance evaluates the row of a session. What the tenant's own rules
// decided is valid until the next step-up, unless an entry no longer vouches
// for a factor as it did. In that case the rules run again over the remaining
// factors, as of the time of the decision. Their result can only remove
// classes, never add any.
func (t *Tenant) sessionAssurance(row *models.Session) sessionAssurance {
	a := sessionAssurance{signedInAt: row.AuthTime}
	if row.CreatedAt.Before(a.signedInAt) {
		a.signedInAt = row.CreatedAt // in rows of an earlier release, step-ups moved auth_time
	}
	classes := t.classes()
	if row.StoredACR == nil {
		classes = session.DefaultClasses
	}
	for _, f := range row.Factors {
		counted, counts := t.currentFactor(classes, f)
		if !counts {
			a.lapsed = append(a.lapsed, f)
			continue
		}
		a.reduced = a.reduced || counted != f
		a.factors = append(a.factors, counted)
	}
	a.reduced = a.reduced || len(a.lapsed) > 0
	switch {
	case row.StoredACR == nil:
		a.proofs, _ = classes.Proofs(time.Time{}, a.factors)
	case a.reduced:
		decided := storedDecision(row)
		again, _ := classes.Proofs(decided.At, a.factors)
		a.proofs = decided.Proofs.LimitedTo(again)
	default:
		a.proofs = storedDecision(row).Proofs
	}
	return a
}

// storedDecision returns what the tenant's own rules decided about the session.
// A row of an earlier release has only the class. The time of the oldest factor
// is then taken as the time at which the class was proved.
func storedDecision(row *models.Session) session.Decision {
	if !row.Decided.At.IsZero() || *row.StoredACR == "" {
		return row.Decided
	}
	p := session.Proof{ACR: *row.StoredACR, At: row.AuthTime}
	for _, f := range row.Factors {
		if f.AuthTime.Before(p.At) {
			p.At = f.AuthTime
		}
	}
	return session.Decision{At: row.LastActiveAt, Proofs: session.Proofs{p}}
}

// currentFactor returns a factor as its entry vouches for it now. This may be
// less than when the factor was proved, but never more. The factor does not
// count if its entry is disabled or removed, has been disabled since the factor
// was added, or may not assert amr.
func (t *Tenant) currentFactor(classes session.Classes, f session.Factor) (_ session.Factor, counts bool) {
	if f.Entry == "" {
		return f, true
	}
	entry := t.issuerRows[f.Entry]
	added := f.AddedAt
	if added.IsZero() {
		added = f.AuthTime
	}
	if entry == nil || !entry.Enabled() || added.Before(entry.SessionsValidFrom.Time) || !entry.Settings.MayAssert("amr") {
		return f, false
	}
	if !entry.Settings.MayAssert("acr") {
		f.ACR = ""
	}
	f.Dated = f.Dated && entry.Settings.MayAssert("auth_time")
	if most := entry.Settings.MaxACR; classes.Lists(most) {
		f.MaxACR = classes.Lower(f.MaxACR, most)
	}
	return f, true
}

// statement is what a token or a response states about how the user
// authenticated: one class and when it was last proved in full, and the time
// for each class that the session reaches.
type statement struct {
	amr      []string
	acr      string // empty: no class
	authTime int64
	times    map[string]int64
}

// statement returns the statement of one of the session's classes. The zero
// Proof states no class.
func (a sessionAssurance) statement(stated session.Proof) statement {
	s := statement{amr: session.AMR(a.factors), acr: stated.ACR, authTime: stated.At.Unix(), times: make(map[string]int64, len(a.proofs))}
	if s.acr == "" {
		s.authTime = a.signedInAt.Unix()
	}
	for _, p := range a.proofs {
		s.times[p.ACR] = p.At.Unix()
	}
	return s
}

// best returns the statement of the strongest class.
func (a sessionAssurance) best() statement { return a.statement(a.proofs.Best()) }

// addTo writes the statement into the claims of a token or the members of a
// response. A statement without methods has no class either.
func (s statement) addTo(claims map[string]any) {
	claims["auth_time"], claims["acr_times"] = s.authTime, s.times
	if len(s.amr) > 0 {
		claims["amr"] = s.amr
	}
	if s.acr != "" {
		claims["acr"] = s.acr
	}
}

// withdrawLapsed removes from the claims of an access token what its session no
// longer proves because an issuer entry has been disabled since. Everything
// else stays as it was when the token was issued (RFC 9068 §2.2.1).
func (o *ownToken) withdrawLapsed(row *models.Session) {
	a := o.client.tenant.sessionAssurance(row)
	if !a.reduced {
		return
	}
	stated, _ := o.claims["acr_times"].(map[string]any)
	rest := statement{amr: o.remainingAMR(a), authTime: a.signedInAt.Unix(), times: map[string]int64{}}
	for _, p := range a.proofs {
		at, _, err := numericDate(stated[p.ACR])
		if err != nil || at.IsZero() {
			continue
		}
		rest.times[p.ACR] = min(at.Unix(), p.At.Unix())
		if rest.acr != o.claims["acr"] { // the class that it stated, or else the strongest remaining one
			rest.acr, rest.authTime = p.ACR, rest.times[p.ACR]
		}
	}
	for _, name := range []string{"amr", "acr", "auth_time", "acr_times"} {
		delete(o.claims, name)
	}
	rest.addTo(o.claims)
	for name := range o.client.claims {
		delete(o.claims, name)
	}
	addCustomClaims(expr.NewBudget(), o.client, row, rest, o.claims)
}

// remainingAMR returns the methods of the token for which a factor still
// counts.
func (o *ownToken) remainingAMR(a sessionAssurance) (amr []string) {
	stated, _ := stringOrList(o.claims["amr"])
	for _, method := range session.AMR(a.factors) {
		if slices.Contains(stated, method) {
			amr = append(amr, method)
		}
	}
	return amr
}
