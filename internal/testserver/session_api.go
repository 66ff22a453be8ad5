package testserver

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/settings"
)

// SupportSecret is the secret of the client support of SessionTenant.
const SupportSecret = "the-secret-of-a-back-end-that-manages-sessions"

// SessionTenant is the tenant default with the clients web (with custom claims
// and sessions that can be extended), tv, backend, and support, which may
// manage sessions.
func SessionTenant(issuer *Issuer) settings.TenantSpec {
	web, tv := Web(), Web()
	web.Claims = map[string]string{"email": "user.email", "app": "session.app", "none": "user.none"}
	web.MaxLifetime = Duration(60 * 24 * time.Hour)
	tv.ID, tv.Origins = "tv", nil
	support := settings.ClientSpec{ID: "support", Secret: SupportSecret, ClientSettings: settings.ClientSettings{Auth: settings.AuthSecret, ManageSessions: true}}
	tenant := Tenant("default", issuer, web, tv, Backend(), support)
	tenant.TrustedIssuers[0].UserAttributes = map[string]string{"email": "token.email"}
	tenant.TrustedIssuers[0].SessionAttributes = map[string]string{"app": "token.app"}
	return tenant
}

// NewSessionDeployment starts a deployment of SessionTenant.
func NewSessionDeployment(t *testing.T, o Options) *Deployment {
	d := NewDeployment(t, o)
	d.Apply(SessionTenant(d.Issuer))
	return d
}

// SignInAt exchanges a new client token at a public client.
func (d *Deployment) SignInAt(client, sub string, extra ...string) *Answer {
	d.T.Helper()
	return d.Want(200, "", d.Exchange("", client, d.Issuer.Token(d.URL, sub, nil), extra...))
}

// AsBearer authorizes a request with the access token of a response.
func AsBearer(a *Answer) Option {
	return Authorization("Bearer " + a.Text("access_token"))
}

// AsSupport authenticates the client support.
func AsSupport() Option { return Basic("support", SupportSecret) }

// Delete sends a DELETE request.
func (d *Deployment) Delete(path string, opts ...Option) *Answer {
	d.T.Helper()
	return d.Do(http.MethodDelete, path, nil, opts...)
}

// Request sends a request without a body, given as method and path: "GET /session".
func (d *Deployment) Request(request string, opts ...Option) *Answer {
	d.T.Helper()
	method, path, _ := strings.Cut(request, " ")
	return d.Do(method, path, nil, opts...)
}
