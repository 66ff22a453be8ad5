package testserver

import (
	"context"
	"database/sql"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/latchkey/latchkey/internal/testdb"
	_ "github.com/latchkey/latchkey/internal/testdb/schema"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// Deployment is a running server with the tenant "default", the issuer of its
// client tokens, and the clients web (public) and backend (secret). Its methods fail the
// test on unexpected responses.
type Deployment struct {
	*Server
	Issuer *Issuer
	T      *testing.T // the test that the deployment belongs to
}

// EachDatabase runs a test on SQLite and on PostgreSQL, each time with a new
// deployment.
func EachDatabase(t *testing.T, test func(t *testing.T, d *Deployment)) {
	testdb.Each(t, func(t *testing.T, url string) { test(t, NewDeployment(t, Options{DatabaseURL: url})) })
}

// NewDeployment starts a deployment. Clients replace the two default ones.
func NewDeployment(t *testing.T, o Options, clients ...settings.ClientSpec) *Deployment {
	if o.Clock == nil {
		o.Clock = NewClock()
	}
	d := &Deployment{Issuer: NewIssuer(t, o.Clock), T: t}
	d.Server = New(t, o)
	if clients == nil {
		clients = []settings.ClientSpec{Web(), Backend()}
	}
	d.Apply(Tenant("default", d.Issuer, clients...))
	return d
}

// SignIn exchanges a new client token at the public client, and requires success.
func (d *Deployment) SignIn(sub string, extra ...string) *Answer {
	d.T.Helper()
	return d.Want(200, "", d.Exchange("", "web", d.Issuer.Token(d.URL, sub, nil), extra...))
}

// SignInAtBackend exchanges a new client token at the client backend, which also gets a
// session token.
func (d *Deployment) SignInAtBackend(sub string) *Answer {
	d.T.Helper()
	return d.Want(200, "", d.Post("/token", []string{
		"grant_type", GrantTokenExchange, "subject_token_type", TypeJWT, "subject_token", d.Issuer.Token(d.URL, sub, nil),
	}, AsBackend()))
}

// Want requires the status and error code of a response.
func (d *Deployment) Want(status int, code string, a *Answer) *Answer {
	d.T.Helper()
	if a.Status != status || a.Error() != code {
		d.T.Fatalf("status %d %s, want %d %s", a.Status, a.Body, status, code)
	}
	return a
}

// Active reports whether introspection finds a token active.
func (d *Deployment) Active(token string) bool {
	d.T.Helper()
	return d.Want(200, "", d.Introspect("", token)).JSON["active"] == true
}

// EventTypes lists the types of a session's events, oldest first.
func (d *Deployment) EventTypes(sid string) (types []models.EventType) {
	d.T.Helper()
	id, err := models.ParseSessionID(sid)
	if err != nil {
		d.T.Fatal(err)
	}
	events, err := d.Store.SessionEvents(context.Background(), "default", id)
	if err != nil {
		d.T.Fatal(err)
	}
	for _, e := range events {
		types = append(types, e.Type)
	}
	return types
}

// Duration returns a pointer to d, for settings that distinguish unset from zero.
func Duration(d time.Duration) *settings.Duration {
	of := settings.Duration(d)
	return &of
}

// OpenDatabase opens the database at url on a separate connection.
func OpenDatabase(t testing.TB, url string) *sql.DB {
	db, err := testdb.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// JSONTime is the clock's time plus seconds, as a JSON number of Unix seconds.
func (d *Deployment) JSONTime(seconds int64) string {
	return strconv.FormatInt(d.Clock.Now().Unix()+seconds, 10)
}

// SessionRow reads a session as it is stored.
func (d *Deployment) SessionRow(tenant, sid string) *models.Session {
	d.T.Helper()
	id, err := models.ParseSessionID(sid)
	if err != nil {
		d.T.Fatal(err)
	}
	row, err := d.Store.Session(context.Background(), tenant, id)
	if err != nil {
		d.T.Fatal(err)
	}
	return row
}

// Prune applies tenants, removes everything else, and advances the clock by the five
// seconds within which every node notices.
func (d *Deployment) Prune(tenants ...settings.TenantSpec) []models.Change {
	d.T.Helper()
	for i := range tenants {
		tenants[i].SigningAlgorithm = "ES256"
	}
	d.Clock.Advance(time.Second)
	changes, err := d.Store.Apply(d.T.Context(), tenants, d.Keys, models.ApplyOptions{Replace: true, Prune: true})
	if err != nil {
		d.T.Fatal(err)
	}
	d.Clock.Advance(5 * time.Second)
	return changes
}

// Sweep advances the clock by five minutes and ends the sessions of disabled or removed
// objects.
func (d *Deployment) Sweep() {
	d.T.Helper()
	d.Clock.Advance(5 * time.Minute)
	d.SweepNow()
}

// SweepNow is Sweep at the current time.
func (d *Deployment) SweepNow() {
	d.T.Helper()
	if err := d.Store.Sweep(d.T.Context()); err != nil {
		d.T.Fatal(err)
	}
}

// AsBackend authenticates the client backend.
func AsBackend() Option { return Basic("backend", ClientSecret) }

// MachineToken obtains an access token without a session.
func (d *Deployment) MachineToken() string {
	d.T.Helper()
	return d.Want(200, "", d.Post("/token", []string{"grant_type", "client_credentials"}, AsBackend())).Text("access_token")
}

// OtherNode starts a second server with the same database and clock, for the
// same issuer URL.
func (d *Deployment) OtherNode() *Deployment {
	d.T.Helper()
	return d.OtherNodeWith(Options{})
}

// OtherNodeWith is OtherNode with more options.
func (d *Deployment) OtherNodeWith(o Options) *Deployment {
	d.T.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		d.T.Fatal(err)
	}
	o.DatabaseURL, o.Clock, o.Listener, o.Issuer = d.DatabaseURL, d.Clock, listener, d.URL
	other := *d
	other.Server = New(d.T, o)
	other.URL = "http://" + listener.Addr().String()
	return &other
}
