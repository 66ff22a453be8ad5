package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// The checks of an exchange, in the order in which they are made.
const (
	CheckGrant      = "grant"         // the client exists, is enabled and may exchange tokens
	CheckFormat     = "format"        // it is a JWT
	CheckIssuer     = "issuer"        // iss is that of a trusted issuer
	CheckAudience   = "audience"      // aud is one that the trusted issuer's tokens may have
	CheckClient     = "client"        // the client may use tokens of the trusted issuer
	CheckTyp        = "typ"           // it is a token for this purpose
	CheckTimes      = "times"         // exp, iat and nbf
	CheckClientID   = "client_id"     // it was issued to this client
	CheckSignature  = "signature"     // a key of the trusted issuer signed it
	CheckAssertions = "assertions"    // auth_time and amr are well-formed
	CheckJTI        = "jti"           // it has what makes it unique
	CheckSubject    = "subject"       // its user and attributes can be mapped
	CheckAllow      = "allow"         // the client's rule allows it
	CheckTargets    = "targets"       // the client may ask for the audience
	CheckScope      = "scope"         // the client may have the scope
	CheckAssurance  = "assurance"     // its factors meet what was demanded
	CheckUnspent    = "unspent"       // it was not used before
	CheckEnabled    = "enabled"       // tenant, client and trusted issuer are enabled
	CheckUser       = "user"          // the user is known, or may be created, and is enabled
	CheckSignedOut  = "signed_out"    // it was issued after the user was last signed out everywhere
	CheckLimit      = "session_limit" // the user may have one more session
)

var checkOrder = []string{
	CheckGrant, CheckFormat, CheckIssuer, CheckAudience, CheckClient, CheckTyp, CheckTimes, CheckClientID, CheckSignature, CheckAssertions,
	CheckJTI, CheckSubject, CheckAllow, CheckTargets, CheckScope, CheckAssurance, CheckUnspent, CheckEnabled, CheckUser, CheckSignedOut, CheckLimit,
}

// Outcomes of a check.
const (
	Passed     = "passed"
	Failed     = "failed"
	NotReached = "not_reached"
)

// Check is one check of an exchange.
type Check struct {
	Name     string
	Outcome  string
	Reason   Reason // of a failed one
	Problem  string // of a failed one
	Cause    string // of a failed one, beyond what the client is told
	Expected string // may be empty
	Received string // may be empty

	fails []Reason // by which a failed step of several checks is told; empty: any
}

// one returns the single check of a step.
func one(name, expected, received string) []Check {
	return []Check{{Name: name, Expected: expected, Received: received}}
}

// recorder records the checks that an exchange makes. It evaluates them only when
// somebody reads them: nobody does so of an exchange that succeeds. A nil recorder
// records nothing.
type recorder struct {
	steps  []recordedStep
	claims map[string]any // of the client token
}

// recordedStep is a step of one or more checks.
type recordedStep struct {
	refused *Error // nil: they have passed
	checks  func() []Check
}

type recorderKey struct{}

// recorderOf returns the recorder of a request, or nil.
func recorderOf(ctx context.Context) *recorder {
	rec, _ := ctx.Value(recorderKey{}).(*recorder)
	return rec
}

// step records the checks of a step that ended with err, and returns err.
func (r *recorder) step(err error, checks func() []Check) error {
	if r == nil {
		return err
	}
	var refused *Error
	if err != nil && !errors.As(err, &refused) {
		return err // a fault of the server
	}
	r.steps = append(r.steps, recordedStep{refused, checks})
	return err
}

func (r *recorder) parsed(claims map[string]any) {
	if r != nil {
		r.claims = claims
	}
}

// made returns the checks that were made. The reason of a refusal determines which check
// of its step failed; those before it have passed.
func (r *recorder) made() (list []Check) {
	if r == nil {
		return nil
	}
	for _, step := range r.steps {
		for _, c := range step.checks() {
			refused := step.refused
			if refused == nil || len(c.fails) > 0 && !slices.Contains(c.fails, refused.Reason) {
				c.Outcome = Passed
				list = append(list, c)
				continue
			}
			c.Outcome, c.Reason, c.Problem = Failed, refused.Reason, refused.Description
			if refused.Cause != nil {
				c.Cause = refused.Cause.Error()
			}
			if refused.Expected != "" || refused.Received != "" {
				c.Expected, c.Received = refused.Expected, refused.Received
			}
			list = append(list, c)
			break
		}
	}
	return list
}

// complete returns every check, including those that were not made.
func (r *recorder) complete() []Check {
	list := r.made()
	for _, name := range checkOrder {
		if !slices.ContainsFunc(list, func(c Check) bool { return c.Name == name }) {
			list = append(list, Check{Name: name, Outcome: NotReached})
		}
	}
	return list
}

// comparedInEvents lists the checks whose expected and received values an event may
// contain: they compare configuration with what a token has apart from its user. Those of
// the other checks are claims about a person.
var comparedInEvents = []string{CheckIssuer, CheckAudience, CheckClient, CheckTyp, CheckTimes, CheckClientID, CheckSignature}

// forEvent returns the checks that were made as an event contains them: each with its
// outcome, and of the last one, which failed, what was wrong. It returns nil if none
// failed. An event is kept for months, is delivered to others and belongs to no user, so
// it contains no claim about a person.
func (r *recorder) forEvent() (list []map[string]any) {
	made := r.made()
	if n := len(made); n == 0 || made[n-1].Outcome != Failed {
		return nil
	}
	for _, c := range made {
		check := map[string]any{"name": c.Name, "outcome": c.Outcome}
		if c.Outcome == Failed {
			check["detail"] = c.Problem
			if slices.Contains(comparedInEvents, c.Name) {
				for name, text := range map[string]string{"expected": c.Expected, "received": c.Received} {
					if text != "" {
						check[name] = forLog(text)
					}
				}
			}
		}
		list = append(list, check)
	}
	return list
}

// chosenIssuer returns the checks of choosing the trusted issuer.
func chosenIssuer(c *Client, entry *issuerEntry, claims map[string]any) []Check {
	iss, _ := claims["iss"].(string)
	aud, _ := stringOrList(claims["aud"])
	checks := []Check{
		{Name: CheckIssuer, Received: iss, fails: []Reason{ReasonSubjectTokenIssuer}},
		{Name: CheckAudience, Received: strings.Join(aud, " "), fails: []Reason{ReasonSubjectTokenAudience}},
		{Name: CheckClient, Received: c.ID},
	}
	if entry != nil {
		checks[0].Expected, checks[1].Expected = entry.Settings.Issuer, strings.Join(entry.audiences, " ")
	}
	return checks
}

// times describes which times the entry accepts.
func (e *issuerEntry) times() string {
	return fmt.Sprintf("exp in the future, iat at most %s ago, exp - iat at most %s, leeway %s", e.maxAge(), e.maxLifetime(), e.leeway())
}

// describeTimes shows the times of a token.
func describeTimes(claims map[string]any) string {
	var parts []string
	for _, name := range []string{"iat", "nbf", "exp"} {
		if at, has, err := numericDate(claims[name]); has && err == nil {
			parts = append(parts, name+" "+timestamp(at))
		}
	}
	return strings.Join(parts, ", ")
}

// Explanation is what an exchange of a client token would do, and why.
type Explanation struct {
	Allowed bool
	Checks  []Check
	Issuer  string         // id of the trusted issuer's entry; empty: none was chosen
	Claims  map[string]any // of the client token; nil: it is not a JWT

	// If the checks were reached that they come from:
	Subject           string
	UserAttributes    map[string]any // that the token maps
	SessionAttributes map[string]any
	TooLong           []string // names of attributes that would be left out

	AccessToken map[string]any    // the claims of the access token; nil: it would not be issued
	LeftOut     map[string]string // custom claims that would be left out, and why
}

// errExplained rolls back the exchange that is explained.
var errExplained = errors.New("explained")

// Explain makes the checks of an exchange by the code of the exchange itself, and
// reports each of them. It rolls back what the exchange writes, so that nothing is
// spent. ErrNotFound: there is no such tenant.
func (s *Server) Explain(ctx context.Context, tenantID, clientID, token, tokenType string) (*Explanation, error) {
	t, err := s.registry.tenant(ctx, tenantID)
	if err != nil {
		return nil, err
	}
	rec := &recorder{}
	out := &Explanation{}
	x := &exchangeRequest{issuedType: tokenTypeAccess}
	err = s.explain(context.WithValue(ctx, recorderKey{}, rec), t, clientID, token, tokenType, x, out)
	var refused *Error
	if err != nil && !errors.As(err, &refused) {
		return nil, err
	}
	out.Allowed, out.Checks, out.Claims = err == nil, rec.complete(), rec.claims
	if sub := x.subject; sub != nil {
		out.Issuer, out.Subject = sub.entry.EntryID, sub.sub
		out.UserAttributes, out.SessionAttributes, out.TooLong = sub.userAttributes, sub.sessionAttributes, sub.tooLong
	}
	return out, nil
}

func (s *Server) explain(ctx context.Context, t *Tenant, clientID, token, tokenType string, x *exchangeRequest, out *Explanation) error {
	rec := recorderOf(ctx)
	c := t.client(clientID)
	var refusal error
	switch {
	case c == nil:
		refusal = invalidClient(errors.New("the tenant has no client with this id"))
	case !c.enabled():
		refusal = invalidClient(errors.New("the client or the tenant is disabled or suspended"))
	default:
		refusal = c.checkGrant(grantTokenExchange)
	}
	if err := rec.step(refusal, func() []Check { return one(CheckGrant, "", clientID) }); err != nil {
		return err
	}
	if err := s.checkSubject(ctx, c, x, token, tokenType); err != nil {
		return err
	}
	if err := s.checkGranted(ctx, c, x, url.Values{}); err != nil {
		return err
	}
	now := s.now()
	n, _, _ := s.newSession(now, &Call{Tenant: t}, c, x)
	suspensions, err := s.store.SuspensionKey(ctx, s.keys)
	if err != nil {
		return err
	}
	n.UserDigest = suspensions.UserDigest(c.TenantID, x.subject.sub)
	_, err = s.store.CreateSession(ctx, n, func(created *models.Session) error {
		claims, expiry, custom := sessionClaims(c, created, x.stated, now)
		_, out.LeftOut = complete(c, claims, created.Audience, created.Scope, now, expiry, custom)
		out.AccessToken = claims
		return errExplained
	})
	if errors.Is(err, errExplained) {
		err = nil
	} else if err != nil {
		out.AccessToken, out.LeftOut = nil, nil
		err = exchangeRefusal(err)
	}
	return rec.step(err, func() []Check { return sessionChecks(c, x) })
}

// sessionChecks returns the checks of the transaction that creates a session.
func sessionChecks(c *Client, x *exchangeRequest) []Check {
	return []Check{
		{Name: CheckUnspent, fails: []Reason{ReasonSubjectTokenSpent, ReasonSubjectTokenRestored}},
		{Name: CheckEnabled, fails: []Reason{ReasonSignInDisabled}},
		{Name: CheckUser, Received: x.subject.sub, fails: []Reason{ReasonUserDisabled, ReasonUserUnknown, ReasonSubjectTokenMapping}},
		{Name: CheckSignedOut, fails: []Reason{ReasonSubjectTokenRevoked}},
		{Name: CheckLimit, Expected: describeCap(c), fails: []Reason{ReasonSessionLimit}},
	}
}

func describeCap(c *Client) string {
	if limit := c.Settings.MaxSessionsPerUser; limit != nil && limit.WhenFull == settings.Reject {
		return fmt.Sprintf("fewer than %d sessions", limit.Limit)
	}
	return ""
}
