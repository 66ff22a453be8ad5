package oauth

import (
	"slices"
	"time"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
)

// assured is what a session proves as far as the tenant's issuer entries vouch
// for it now.
type sessionAssurance struct {
	factors    []session.Factor // that count
	proofs     session.Proofs
	lapsed     []session.Factor // that no longer count: their entry is switched off or gone
	reduced    bool             // some count for less than when they were proved
	signedInAt time.Time        // when the user signed in, for a session that reaches no class
}

// assured judges a session's row. What the tenant's own rules decided stays as
// it is until the next step-up, unless an entry may no longer vouch for what it
// did: then the rules are asked again about the factors that remain, as of the
// moment of the decision, and take away, never add.
func (t *Tenant) sessionAssurance(row *models.Session) sessionAssurance {
	a := sessionAssurance{signedInAt: row.AuthTime}
	if row.CreatedAt.Before(a.signedInAt) {
		a.signedInAt = row.CreatedAt // an earlier release moved auth_time by step-ups
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

// decisionOf is what the tenant's own rules decided of the session. Of a row
// that an earlier release wrote only the class is known: it was proved when its
// oldest factor was, at the latest.
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

// counted is a factor as far as its entry may vouch for it now, which may be
// less than when it was proved, never more. It does not count if the entry is
// switched off or gone, was switched off since, or may not state methods.
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

// statement is what a token or an answer says of how the user proved who they
// are: a class with the moment at which it was last proved in full, and the same
// of every class that the session reaches.
type statement struct {
	amr      []string
	acr      string // empty: no class
	authTime int64
	times    map[string]int64
}

// state states one of the session's classes, or, the zero Proof, none.
func (a sessionAssurance) statement(pair session.Proof) statement {
	s := statement{amr: session.AMR(a.factors), acr: pair.ACR, authTime: pair.At.Unix(), times: make(map[string]int64, len(a.proofs))}
	if s.acr == "" {
		s.authTime = a.signedInAt.Unix()
	}
	for _, p := range a.proofs {
		s.times[p.ACR] = p.At.Unix()
	}
	return s
}

// best states the strongest class.
func (a sessionAssurance) best() statement { return a.statement(a.proofs.Best()) }

// into writes the statement into the claims of a token or the members of an
// answer. Without a method there is no class either.
func (s statement) addTo(claims map[string]any) {
	claims["auth_time"], claims["acr_times"] = s.authTime, s.times
	if len(s.amr) > 0 {
		claims["amr"] = s.amr
	}
	if s.acr != "" {
		claims["acr"] = s.acr
	}
}

// restate takes back what an access token states beyond what its session still
// proves, when an issuer entry has been switched off since. Otherwise a token
// says what it said when it was issued (RFC 9068 §2.2.1).
func (o *ownToken) withdrawLapsed(row *models.Session) {
	a := o.client.tenant.sessionAssurance(row)
	if !a.reduced {
		return
	}
	said, _ := o.claims["acr_times"].(map[string]any)
	rest := statement{amr: o.remainingAMR(a), authTime: a.signedInAt.Unix(), times: map[string]int64{}}
	for _, p := range a.proofs {
		at, _, err := numericDate(said[p.ACR])
		if err != nil || at.IsZero() {
			continue
		}
		rest.times[p.ACR] = min(at.Unix(), p.At.Unix())
		if rest.acr != o.claims["acr"] { // the class that it states, or else the strongest that is left
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
	addCustomClaims(newBudget(), o.client, row, rest, o.claims)
}

// remaining are the methods of the token for which a factor still counts.
func (o *ownToken) remainingAMR(a sessionAssurance) (amr []string) {
	said, _ := stringOrList(o.claims["amr"])
	for _, method := range session.AMR(a.factors) {
		if slices.Contains(said, method) {
			amr = append(amr, method)
		}
	}
	return amr
}
