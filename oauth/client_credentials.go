package oauth

import (
	"context"

	"github.com/ory/fosite"
)

// clientCredentials stands before fosite's stock handler of the grant
// (RFC 6749 §4.4): it decides scope and target by our rules, mints the token
// for it, and completes the answer. It implements fosite.TokenEndpointHandler
// and oauth2.AccessTokenStrategy.
type clientCredentials struct{ *Server }

// machineGrant is a token request of a client for itself.
type machineGrant struct {
	scope, targets []string
}

// CanHandleTokenEndpointRequest implements fosite.TokenEndpointHandler.
func (*clientCredentials) CanHandleTokenEndpointRequest(_ context.Context, request fosite.AccessRequester) bool {
	return isGrant(request, grantClientCredentials)
}

// CanSkipClientAuth implements fosite.TokenEndpointHandler.
func (*clientCredentials) CanSkipClientAuth(context.Context, fosite.AccessRequester) bool {
	return false
}

// HandleTokenEndpointRequest implements fosite.TokenEndpointHandler. The stock
// handler, which comes next, finds nothing left to refuse.
func (*clientCredentials) HandleTokenEndpointRequest(_ context.Context, request fosite.AccessRequester) error {
	state, client := stateOf(request)
	form := request.GetRequestForm()
	targets, err := grantTargets(client, form)
	if err != nil {
		return err
	}
	scope, err := grantScope(client, form.Get("scope"))
	if err != nil {
		return err
	}
	state.machine = &machineGrant{scope: scope, targets: targets}
	request.SetRequestedAudience(nil)
	return nil
}

// GenerateAccessToken implements oauth2.AccessTokenStrategy.
func (g *clientCredentials) GenerateAccessToken(ctx context.Context, request fosite.Requester) (token, signature string, err error) {
	state, client := request.GetSession().(*grantState), request.GetClient().(*Client)
	release, err := g.slots.acquire(ctx)
	if err != nil {
		return "", "", err
	}
	defer release()
	now := g.now()
	expiry := now.Add(client.Settings.Policy().AccessTTL)
	m, err := g.mint(client, map[string]any{"sub": client.ID}, state.machine.targets, state.machine.scope, now, expiry, noCustomClaims)
	if err != nil {
		return "", "", err
	}
	state.answer = m.response(state.machine.scope)
	return m.token, "", nil
}

// PopulateTokenEndpointResponse implements fosite.TokenEndpointHandler; the
// stock handler populates the answer through GenerateAccessToken.
func (*clientCredentials) PopulateTokenEndpointResponse(context.Context, fosite.AccessRequester, fosite.AccessResponder) error {
	return fosite.ErrUnknownRequest
}

// AccessTokenSignature implements oauth2.AccessTokenStrategy; nothing is
// stored by it.
func (*clientCredentials) AccessTokenSignature(context.Context, string) string { return "" }

// ValidateAccessToken implements oauth2.AccessTokenStrategy; introspection
// does it (introspect.go).
func (*clientCredentials) ValidateAccessToken(context.Context, fosite.Requester, string) error {
	return fosite.ErrUnknownRequest
}
