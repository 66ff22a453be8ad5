package testserver

import (
	"database/sql"
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/settings"
)

// The grant and the token types of RFC 8693.
const (
	GrantTokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	TypeJWT            = "urn:ietf:params:oauth:token-type:jwt"
	TypeIDToken        = "urn:ietf:params:oauth:token-type:id_token"
)

// Exchanger is a running server to which a test presents subject tokens. It
// counts the rows that they leave in the database.
type Exchanger struct {
	*Server
	T      *testing.T
	Issuer *Issuer
	rows   *sql.DB
}

// NewExchanger starts an exchanger; see Reconfigure.
func NewExchanger(t *testing.T, url string, change ...func(*settings.TenantSpec)) *Exchanger {
	t.Helper()
	clock := NewClock()
	d := &Exchanger{T: t, Issuer: NewIssuer(t, clock)}
	d.Server = New(t, Options{DatabaseURL: url, Clock: clock})
	d.Reconfigure(change...)
	d.rows = OpenDatabase(t, url)
	return d
}

// Reconfigure applies the tenant default, with its issuer and the clients web
// (public) and backend (secret), after the given changes to it.
func (d *Exchanger) Reconfigure(change ...func(*settings.TenantSpec)) {
	d.T.Helper()
	tenant := Tenant("default", d.Issuer, Web(), Backend())
	for _, fn := range change {
		fn(&tenant)
	}
	d.Apply(tenant)
}

// Count counts the rows of a table; a WHERE clause may follow its name.
func (d *Exchanger) Count(of string) (n int) {
	d.T.Helper()
	if err := d.rows.QueryRow("SELECT count(*) FROM " + of).Scan(&n); err != nil {
		d.T.Fatal(err)
	}
	return n
}

// Written counts everything that an exchange may write.
func (d *Exchanger) Written() [4]int {
	d.T.Helper()
	return [4]int{d.Count("sessions"), d.Count("users"), d.Count("spent_tokens"), d.Count("events WHERE type NOT IN ('config_changed', 'key_rotated')")}
}

// Present presents a token of the given type at the public client.
func (d *Exchanger) Present(tokenType, token string, extra ...string) *Answer {
	d.T.Helper()
	return d.Post("/token", append([]string{
		"grant_type", GrantTokenExchange, "client_id", "web", "subject_token_type", tokenType, "subject_token", token,
	}, extra...))
}

// WantSubjectRejected checks the response to an invalid subject token. Only its
// description and the name of the reason depend on the reason.
func WantSubjectRejected(t *testing.T, a *Answer) {
	t.Helper()
	if a.Status != http.StatusBadRequest || a.Error() != "invalid_request" || len(a.JSON) != 3 || a.Text("latchkey_reason") == "" || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("status %d %s", a.Status, a.Body)
	}
}

// WantRejected presents a token, which must be rejected without a change in the
// database.
func (d *Exchanger) WantRejected(t *testing.T, tokenType, token string, extra ...string) {
	t.Helper()
	before := d.Written()
	a := d.Present(tokenType, token, extra...)
	WantSubjectRejected(t, a)
	if len(token) > 20 && strings.Contains(string(a.Body), token[:20]) {
		t.Errorf("the response quotes the token: %s", a.Body)
	}
	if after := d.Written(); after != before {
		t.Errorf("sessions, users, spent tokens, events: %v, before %v", after, before)
	}
}

// WantAccepted presents a token, which must be exchanged for a session.
func (d *Exchanger) WantAccepted(t *testing.T, tokenType, token string, extra ...string) *Answer {
	t.Helper()
	a := d.Present(tokenType, token, extra...)
	if a.Status != http.StatusOK || a.Text("access_token") == "" {
		t.Errorf("status %d %s", a.Status, a.Body)
	}
	return a
}

// TokenWith returns a valid token with some claims replaced.
func (d *Exchanger) TokenWith(claims map[string]any) string {
	return d.Issuer.Token(d.URL, "alice", claims)
}
