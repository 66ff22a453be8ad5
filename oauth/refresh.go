package oauth

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/ory/fosite"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/session"
)

// refreshGrant rotates a session's refresh token (RFC 6749 §6; DESIGN §4). It
// implements fosite.TokenEndpointHandler.
type refreshGrant struct{ *Server }

// refresh is one refresh request.
type refresh struct {
	presented handle
	form      url.Values
	demand    session.Demand
	met       bool          // the demand was met before the token was spent
	pair      session.Proof // by this class, which the access token states
}

// conditional reports whether the request may be refused for what it asks of the
// session. The row is then read first, so that a refusal does not spend the token.
func (r *refresh) conditional() bool {
	return r.form.Has("scope") || r.form.Has("resource") || r.form.Has("audience") || !r.demand.None()
}

// CanHandleTokenEndpointRequest implements fosite.TokenEndpointHandler.
func (*refreshGrant) CanHandleTokenEndpointRequest(_ context.Context, request fosite.AccessRequester) bool {
	return isGrant(request, grantRefreshToken)
}

// CanSkipClientAuth implements fosite.TokenEndpointHandler.
func (*refreshGrant) CanSkipClientAuth(context.Context, fosite.AccessRequester) bool { return false }

// HandleTokenEndpointRequest checks the token's form and tag, and what can
// refuse without spending it.
func (g *refreshGrant) HandleTokenEndpointRequest(ctx context.Context, request fosite.AccessRequester) error {
	state, client := stateOf(request)
	r := &refresh{form: request.GetRequestForm()}
	text := r.form.Get("refresh_token")
	if text == "" {
		return invalidRequest(ReasonParameterMissing, "refresh_token is required")
	}
	var err error
	if r.presented, err = g.keys.parseHandle(client.TenantID, text); err != nil {
		return invalidGrant(ReasonRefreshUnknown, err)
	}
	if r.presented.kind != refreshToken {
		return invalidGrant(ReasonRefreshUnknown, errNotOurs)
	}
	state.call.SessionID = r.presented.session.String()
	if r.demand, err = readDemand(r.form); err != nil {
		return err
	}
	if r.conditional() {
		if err := g.askConditions(ctx, state.call, client, r); err != nil {
			return err
		}
	}
	state.refresh = r
	return nil
}

// askConditions refuses a scope or target that the session does not have, and an
// unmet demand, without spending the token. Only a token that would be answered
// is asked: what is wrong with another one comes first, and says nothing of the
// session.
func (g *refreshGrant) askConditions(ctx context.Context, call *Call, c *Client, r *refresh) error {
	row, err := g.store.SessionWithHistory(ctx, c.TenantID, r.presented.session)
	switch {
	case errors.Is(err, models.ErrNotFound):
		return invalidGrant(ReasonRefreshUnknown, err)
	case err != nil:
		return err
	}
	now := g.now()
	if !c.alive(row, now) || g.keys.place(row, r.presented) == forged {
		return nil
	}
	facts, _ := g.chainFacts(call, c, row, r.presented)
	facts.Permitted = true // the statement that spends the token asks exactly
	if !session.DecideRefresh(now, facts).Answers() {
		return nil
	}
	if _, err := narrowTargets(c, row.Audience, r.form); err != nil {
		return err
	}
	if _, err = narrowScope(c, row.Scope, r.form.Get("scope")); err != nil {
		return err
	}
	r.pair, err = g.meet(c, r.demand, row, now)
	r.met = err == nil && !r.demand.None()
	return err
}

// PopulateTokenEndpointResponse rotates the chain in one statement and signs.
// Everything that can refuse is had before the statement, but for targets that
// were all taken from the client: the token that is spent then comes back by a
// retry, like one whose answer was lost.
func (g *refreshGrant) PopulateTokenEndpointResponse(ctx context.Context, request fosite.AccessRequester, responder fosite.AccessResponder) error {
	state, client := stateOf(request)
	r := state.refresh
	if r == nil {
		return fosite.ErrUnknownRequest
	}
	release, err := g.slots.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	now := g.now()
	if _, err := client.tenant.ring.active(now); err != nil {
		return err
	}
	row, answer, err := g.rotate(ctx, state.call, client, r.presented, now)
	if err != nil {
		return err
	}
	targets, err := narrowTargets(client, row.Audience, r.form)
	if err != nil {
		return err
	}
	scope, err := narrowScope(client, row.Scope, r.form.Get("scope"))
	if err != nil {
		return err
	}
	pair := r.pair
	if !r.met {
		if pair, err = g.meet(client, r.demand, row, now); err != nil {
			return err // the row changed since it was first read; a retry recovers the token
		}
	}
	access, err := g.mintSession(client, row, pair, targets, scope, now)
	if err != nil {
		return err
	}
	g.reportClaims(ctx, row, now, access.leftOut)
	state.answer = access.response(scope)
	if answer.kind != 0 {
		state.answer.RefreshToken = g.keys.encode(client.TenantID, answer)
		state.answer.ofSession(client, row, answer.generation)
	} else {
		state.answer.ofSession(client, row, r.presented.generation)
	}
	return state.done(responder)
}

// rotate carries the good path out and, when it matched nothing, does what
// session.DecideRefresh says. It returns the session and the refresh token to
// answer with; the zero handle: none.
func (g *refreshGrant) rotate(ctx context.Context, call *Call, c *Client, presented handle, now time.Time) (*models.Session, handle, error) {
	next := g.keys.successor(c.TenantID, presented)
	agent, ip := call.device()
	step := models.Rotation{
		Tenant: c.TenantID, Client: c.ID, ID: presented.session,
		From: presented.generation, Presented: g.keys.digest(presented, presented.version), PresentedRoot: presented.version,
		To: g.keys.chain(c.TenantID, next), IdleExpiry: c.Settings.Policy().IdleExpiry(now),
		ValidFrom: c.validFrom(), UserAgent: agent, IP: ip,
	}
	step.To.RotatedAt = now
	// A row that changes between the statement and the look at it is looked at
	// again; more often than twice is another request's refresh storm.
	for range 3 {
		row, err := g.store.RotateSession(ctx, step)
		if err == nil {
			return row, next, nil
		}
		if !errors.Is(err, models.ErrNotFound) {
			return nil, handle{}, err
		}
		row, err = g.store.SessionWithHistory(ctx, c.TenantID, presented.session)
		if errors.Is(err, models.ErrNotFound) {
			return nil, handle{}, invalidGrant(ReasonRefreshUnknown, err)
		}
		if err != nil {
			return nil, handle{}, err
		}
		facts, successor, err := g.facts(ctx, call, c, row, presented)
		if err != nil {
			return nil, handle{}, err
		}
		switch outcome := session.DecideRefresh(now, facts); outcome {
		case session.RefreshRetry:
			return row, successor, g.noteRetry(ctx, call, row, now)
		case session.RefreshRetryLate:
			remembered, err := g.retryLate(ctx, call, row, facts, now)
			if err != nil || remembered {
				return row, successor, err
			}
		case session.RefreshBeforeStepUp:
			if before := row.History.StepUp.Before; before != nil {
				return row.As(before), handle{}, nil
			}
			return nil, handle{}, g.refuse(ctx, call, row, presented, session.RefreshSuperseded, now)
		case session.RefreshRecover:
			step.Recover, step.From, step.Presented = true, row.Refresh.Generation, row.Refresh.Next
		case session.RefreshRotate:
			step.Recover, step.From, step.Presented = false, row.Refresh.Generation, row.Refresh.Digest
		default:
			return nil, handle{}, g.refuse(ctx, call, row, presented, outcome, now)
		}
	}
	return nil, handle{}, unavailable(errors.New("the session keeps changing"))
}

// facts finds out what the decision needs to know.
func (g *refreshGrant) facts(ctx context.Context, call *Call, c *Client, row *models.Session, presented handle) (session.RefreshFacts, handle, error) {
	f, successor := g.chainFacts(call, c, row, presented)
	if row.CreatedAt.Before(c.validFrom()) {
		return f, successor, nil
	}
	var err error
	f.Permitted, err = g.store.Permitted(ctx, row.ID)
	return f, successor, err
}

// chainFacts compares a handle with its chain. The successor is derived under
// the row's root, so that a retry after a change of root returns the same bytes.
func (s *Server) chainFacts(call *Call, c *Client, row *models.Session, presented handle) (session.RefreshFacts, handle) {
	chain := chainOf(row, presented.kind)
	successor := s.keys.successor(c.TenantID, presented)
	successor.version = chain.RootVersion
	policy, refresh := c.Settings.Policy(), presented.kind == refreshToken
	return session.RefreshFacts{
		Session: row.Lifetime(), Generation: chain.Generation, RotatedAt: chain.RotatedAt, Presented: presented.generation,
		SameClient:         row.ClientID == c.ID,
		IsCurrent:          same(s.keys.digest(presented, chain.RootVersion), chain.Digest),
		IsNext:             same(s.keys.digest(presented, chain.RootVersion), chain.Next),
		SuccessorIsCurrent: same(s.keys.digest(successor, chain.RootVersion), chain.Digest),
		Grace:              policy.RefreshGrace,
		ContactSince:       s.store.ContactSince(),
		ByStepUp:           !refresh || row.History.StepUp.Generation == chain.Generation && chain.Generation > 0,
		Superseded:         refresh && row.History.StepUp.Superseded.Has(presented.generation),
		LateRetry:          policy.LateRetry && refresh,
		LastLate:           row.History.LateRetry,
		OtherDevice:        call.otherDevice(row),
	}, successor
}

// refuse remembers what must be remembered, commits it, and then refuses.
func (g *refreshGrant) refuse(ctx context.Context, call *Call, row *models.Session, presented handle, outcome session.RefreshOutcome, now time.Time) error {
	details := call.tell(map[string]any{"generation": presented.generation, "current_generation": row.Refresh.Generation}, row)
	var err error
	switch outcome {
	case session.RefreshReuse:
		err = g.store.EndSession(ctx, row, now, session.ReuseDetected, row.Event(now, models.EventRefreshReuse, details))
	case session.RefreshBehind:
		err = g.store.EndSession(ctx, row, now, session.Inconsistent, row.Event(now, models.EventGenerationLost, details))
	case session.RefreshDuplicate:
		err = g.store.AddEvent(ctx, row.Event(now, models.EventRefreshDuplicate, details), "generation")
	case session.RefreshMismatch:
		err = g.store.AddEvent(ctx, row.Event(now, models.EventChainMismatch, details), "generation")
	}
	if err != nil {
		return err
	}
	return g.refusedRefresh(call.Client, row, presented, outcome, now)
}

// noteRetry looks at where a retry comes from. Two parties who share a stolen
// token can hide only by answering each other inside the window: the third
// generation in a row that is retried from elsewhere raises an event.
func (s *Server) noteRetry(ctx context.Context, call *Call, row *models.Session, now time.Time) error {
	if !call.elsewhere(row) {
		return nil
	}
	return s.store.NoteSharedRefresh(ctx, row, now, call.tell(map[string]any{"generation": row.Refresh.Generation}, row))
}
