package oauth

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/ory/fosite"
)

// This file contains every use of fosite, which provides the token endpoint: it
// authenticates the client with our strategy and passes the request to our
// grants. It has no storage, so no other part of it is used.

// newProvider returns fosite's side of the token endpoint.
func (s *Server) newProvider() *fosite.Fosite {
	return &fosite.Fosite{Config: &fosite.Config{
		ClientAuthenticationStrategy: s.authenticateTokenRequest,
		TokenEndpointHandlers:        fosite.TokenEndpointHandlers{&grantHandler{s.grants()}},
	}}
}

// grantState is what one token request carries through fosite, where it is
// called a session. It is never stored.
type grantState struct {
	fosite.DefaultSession
	call   *Call
	issue  issue // what the grant decided
	answer tokenResponse
}

// stateOf returns the state of a request.
func stateOf(request fosite.Requester) *grantState { return request.GetSession().(*grantState) }

// answerTokenRequest passes a token request through fosite.
func (s *Server) answerTokenRequest(ctx context.Context, r *http.Request, call *Call) (tokenResponse, error) {
	state := &grantState{call: call}
	request, err := s.provider.NewAccessRequest(ctx, r, state)
	if err != nil {
		return tokenResponse{}, err
	}
	if _, err := s.provider.NewAccessResponse(ctx, request); err != nil {
		return tokenResponse{}, err
	}
	return state.answer, nil
}

// authenticateTokenRequest implements fosite.ClientAuthenticationStrategy. The
// strategy of fosite does not detect two methods at once, and ignores a secret
// that a public client sends.
func (s *Server) authenticateTokenRequest(ctx context.Context, r *http.Request, form url.Values) (fosite.Client, error) {
	state := stateOf(ctx.Value(fosite.AccessRequestContextKey).(fosite.Requester))
	client, err := s.authenticateClient(ctx, state.call, r, form)
	if err != nil {
		return nil, err
	}
	return &fosite.DefaultClient{ID: client.ID, Public: client.Settings.Public()}, nil
}

// grantHandler is the only fosite.TokenEndpointHandler. It looks up the grant
// of a request, which decides in the handler's first phase and issues tokens in
// its second.
type grantHandler struct{ grants map[string]grant }

// CanHandleTokenEndpointRequest implements fosite.TokenEndpointHandler.
func (*grantHandler) CanHandleTokenEndpointRequest(context.Context, fosite.AccessRequester) bool {
	return true
}

// CanSkipClientAuth implements fosite.TokenEndpointHandler.
func (*grantHandler) CanSkipClientAuth(context.Context, fosite.AccessRequester) bool { return false }

// HandleTokenEndpointRequest implements fosite.TokenEndpointHandler. It takes
// the grant type from the form, because fosite splits it at spaces and RFC 6749
// does not.
func (h *grantHandler) HandleTokenEndpointRequest(ctx context.Context, request fosite.AccessRequester) (err error) {
	state, form := stateOf(request), request.GetRequestForm()
	client, name := state.call.Client, form.Get("grant_type")
	decide, ok := h.grants[name]
	if !ok {
		return refuse("unsupported_grant_type", ReasonGrantUnsupported, "Unsupported grant_type").compare(strings.Join(grantTypes, " or "), name)
	}
	if err := client.checkGrant(name); err != nil {
		return err
	}
	state.issue, err = decide(ctx, state.call, client, form)
	return err
}

// PopulateTokenEndpointResponse implements fosite.TokenEndpointHandler.
func (*grantHandler) PopulateTokenEndpointResponse(ctx context.Context, request fosite.AccessRequester, responder fosite.AccessResponder) (err error) {
	state := stateOf(request)
	if state.answer, err = state.issue(ctx); err != nil {
		return err
	}
	responder.SetAccessToken(state.answer.AccessToken)
	responder.SetTokenType(state.answer.TokenType)
	return nil
}

// fromFosite converts an error of fosite, or returns nil if err is not one. It
// keeps the code and the fixed description, but not the hint, which may repeat
// values of the request.
func fromFosite(err error) *Error {
	var rfc *fosite.RFC6749Error
	if !errors.As(err, &rfc) {
		return nil
	}
	cause := errors.New(rfc.Reason())
	if rfc.ErrorField == "invalid_client" {
		return invalidClient(cause)
	}
	return &Error{Code: rfc.ErrorField, Reason: ReasonRequestMalformed, Status: rfc.CodeField, Description: rfc.DescriptionField, Cause: cause}
}
