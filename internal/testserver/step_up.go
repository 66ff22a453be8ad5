package testserver

// Proof returns a new client token of a user who has just authenticated with the methods
// of amr.
func (d *Deployment) Proof(sub string, amr ...string) string {
	return d.Issuer.Token(d.URL, sub, map[string]any{"amr": amr, "auth_time": d.Clock.Now().Unix()})
}

// SignInBy signs in at the public client with the methods of amr.
func (d *Deployment) SignInBy(sub string, amr ...string) *Answer {
	d.T.Helper()
	return d.Want(200, "", d.Exchange("", "web", d.Proof(sub, amr...)))
}

// StepUp sends a step-up of the session at the public client.
func (d *Deployment) StepUp(session, proof string, extra ...string) *Answer {
	return d.Exchange("", "web", proof, append([]string{"latchkey_session_token", session}, extra...)...)
}

// TypeSession is the token type of session tokens.
const TypeSession = "urn:latchkey:params:oauth:token-type:session"

// ExchangeSession exchanges a session token at the secret client.
func (d *Deployment) ExchangeSession(token string, extra ...string) *Answer {
	return d.Post("/token", append([]string{"grant_type", GrantTokenExchange, "subject_token_type", TypeSession, "subject_token", token}, extra...), AsBackend())
}
