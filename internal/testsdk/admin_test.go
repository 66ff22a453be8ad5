package testsdk

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/handlers"
	handlersadmin "github.com/latchkey/latchkey/handlers/admin"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/admin"
)

// managed is a deployment with an admin API.
type managed struct {
	*testserver.Deployment
	api *httptest.Server
	t   *testing.T
}

func eachManaged(t *testing.T, test func(t *testing.T, m *managed)) {
	testserver.EachDatabase(t, func(t *testing.T, d *testserver.Deployment) {
		m := &managed{Deployment: d, t: t}
		log := slog.New(slog.DiscardHandler)
		handler, err := handlers.NewAdmin(handlers.Config{
			Issuer: d.URL, OAuth: d.OAuth, Ready: func(context.Context) error { return nil }, Metrics: handlers.NewMetrics(), Log: log,
			Admin: &handlersadmin.Service{Store: d.Store, OAuth: d.OAuth, Keys: d.Keys, BaseURL: d.URL, Log: log},
		})
		if err != nil {
			t.Fatal(err)
		}
		m.api = httptest.NewServer(handler)
		t.Cleanup(func() {
			m.api.CloseClientConnections()
			m.api.Close()
		})
		test(t, m)
	})
}

// key makes an admin key as the command does.
func (m *managed) key(role models.Role, tenants ...string) string {
	m.t.Helper()
	key, row := m.Keys.NewAdminKey()
	oauth.AdminKeySpec{Name: "test", Role: role, Tenants: tenants}.Fill(&row)
	row.CreatedBy = "cli"
	m.ok(m.Store.CreateAdminKey(m.t.Context(), &row, models.Actor{Name: "cli", Role: models.RoleMachine}))
	return key
}

func (m *managed) client(key string) *admin.Client {
	m.t.Helper()
	c, err := admin.New(admin.Config{Server: m.api.URL, Key: key})
	m.ok(err)
	return c
}

func (m *managed) ok(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// refused requires an error of the server with a code.
func (m *managed) refused(err error, code string) *latchkey.Error {
	m.t.Helper()
	var refusal *latchkey.Error
	if !errors.As(err, &refusal) || refusal.Code != code {
		m.t.Fatalf("%v, want %s", err, code)
	}
	return refusal
}

func TestAnOwnerConfiguresATenantWithTheClient(t *testing.T) {
	eachManaged(t, func(t *testing.T, m *managed) {
		ctx, owner := t.Context(), m.client(m.key(models.RoleOwner))
		self, err := owner.Self(ctx)
		m.ok(err)
		if self.Role != "owner" || self.State != "active" || self.Key != "" {
			t.Errorf("self is %v", self)
		}
		tenant, err := owner.Tenants.Put(ctx, "acme", admin.Settings{"signing_algorithm": "ES256"}, admin.IfAbsent())
		m.ok(err)
		if tenant.Status.Issuer != m.URL+"/t/acme" || tenant.ETag == "" {
			t.Errorf("%+v", tenant)
		}
		_, err = owner.Tenants.Put(ctx, "acme", nil, admin.IfAbsent())
		m.refused(err, "precondition_failed")
		_, err = owner.TrustedIssuers.Put(ctx, "acme", "auth", admin.Settings{"issuer": "https://auth.example.com", "token_type": "jwt", "keys": map[string]any{"discovery": true}, "audiences": []string{"x"}})
		m.ok(err)
		web, err := owner.Clients.Put(ctx, "acme", "web", admin.Settings{"auth": "secret", "secret": strings.Repeat("s", 32), "grants": []string{"token-exchange"}})
		m.ok(err)
		if _, shown := web.Settings["secret"]; shown || !web.Status.Secret || web.Status.Effective.AccessTokenTTL != "5m" {
			t.Errorf("%+v", web)
		}
		web.Settings["access_token_ttl"] = "10m"
		changed, err := owner.Clients.Put(ctx, "acme", "web", web.Settings, admin.IfMatch(web.ETag))
		m.ok(err)
		if !changed.Status.Secret || changed.Status.Effective.AccessTokenTTL != "10m" {
			t.Errorf("%+v", changed)
		}
		_, err = owner.Clients.Patch(ctx, "acme", "web", admin.Settings{"name": "Web"}, admin.IfMatch(web.ETag))
		m.refused(err, "precondition_failed")
		_, err = owner.Clients.Patch(ctx, "acme", "web", admin.Settings{"claims": map[string]any{"a/b": "user."}, "colour": 1})
		refusal := m.refused(err, "invalid_request")
		if len(refusal.Faults) == 0 || refusal.StatusCode != 400 || !slices.ContainsFunc(refusal.Faults, func(f latchkey.Fault) bool { return f.Pointer == "/colour" }) {
			t.Errorf("%+v", refusal)
		}
		made, err := owner.Clients.NewSecret(ctx, "acme", "web", "0s")
		m.ok(err)
		if len(made.Secret) < 32 || made.PreviousSecretUntil != nil {
			t.Errorf("a secret of %d characters until %v", len(made.Secret), made.PreviousSecretUntil)
		}
		clients := 0
		for client, err := range owner.Clients.List(ctx, "acme", admin.ListQuery{Limit: 1}) {
			m.ok(err)
			clients++
			if client.ID != "web" {
				t.Errorf("client %s", client.ID)
			}
		}
		if clients != 1 {
			t.Errorf("%d clients", clients)
		}
		document, err := owner.Export(ctx, admin.ExportOptions{Tenants: []string{"acme"}, YAML: true})
		m.ok(err)
		if !bytes.Contains(document, []byte("access_token_ttl: 10m")) || bytes.Contains(document, []byte(made.Secret)) {
			t.Errorf("exported\n%s", document)
		}
		applied, err := owner.Apply(ctx, document, admin.ApplyOptions{YAML: true})
		m.ok(err)
		if len(applied.Changes) > 0 {
			t.Errorf("an export changes %+v", applied.Changes)
		}
		applied, err = owner.Apply(ctx, []byte(`{"tenants":[{"id":"acme","clients":[{"id":"web","access_token_ttl":"5m"}]}]}`), admin.ApplyOptions{DryRun: true})
		m.ok(err)
		if c := applied.Changes; len(c) != 1 || c[0].ID != "web" || string(c[0].Fields[0].From) != `"10m"` || string(c[0].Fields[0].To) != `"5m"` {
			t.Errorf("a dry run reports %+v", c)
		}
		api, err := owner.Clients.Put(ctx, "acme", "api", admin.Settings{"auth": "secret", "grants": []string{"client-credentials"}})
		m.ok(err)
		if _, shown := api.Settings["secret"]; shown || len(api.Secret) < 32 {
			t.Errorf("a new client with a secret of %d characters and settings %v", len(api.Secret), api.Settings)
		}
		if stats, err := owner.Stats(ctx, "acme"); err != nil || stats.Minutes == nil {
			t.Errorf("%+v, %v", stats, err)
		}
		m.ok(owner.Clients.Delete(ctx, "acme", "web"))
		m.ok(owner.TrustedIssuers.Delete(ctx, "acme", "auth"))
		m.ok(owner.Tenants.Delete(ctx, "acme", "acme"))
		_, err = owner.Tenants.Get(ctx, "acme")
		m.refused(err, "not_found")
	})
}

func TestSupportEndsSessionsWithTheClient(t *testing.T) {
	eachManaged(t, func(t *testing.T, m *managed) {
		ctx := t.Context()
		support, owner := m.client(m.key(models.RoleSupport, "default")), m.client(m.key(models.RoleOwner))
		for range 3 {
			m.SignIn("alice/?%")
		}
		m.SignIn("bob")
		var ids []string
		for s, err := range support.Sessions.List(ctx, "default", admin.SessionQuery{User: "alice/?%", State: "active", Limit: 1}) {
			m.ok(err)
			ids = append(ids, s.ID)
		}
		if len(ids) != 3 {
			t.Fatalf("%d sessions", len(ids))
		}
		session, err := support.Sessions.Get(ctx, "default", ids[0])
		m.ok(err)
		if session.User != "alice/?%" || session.Attributes != nil || len(session.Events) == 0 {
			t.Errorf("%+v", session)
		}
		m.ok(support.Sessions.End(ctx, "default", ids[0]))
		m.ok(support.Sessions.End(ctx, "default", ids[0]))
		_, err = support.Sessions.EndAll(ctx, "default", "alice/?%", "", 1)
		if refusal := m.refused(err, "confirm"); !strings.HasPrefix(refusal.Description, "2 sessions would end") {
			t.Errorf("%s", refusal.Description)
		}
		if n, err := support.Sessions.EndAll(ctx, "default", "alice/?%", "web", 2); err != nil || n != 2 {
			t.Errorf("%d ended, %v", n, err)
		}
		user, err := support.Users.Get(ctx, "default", "alice/?%")
		m.ok(err)
		if user.Status.Sessions == nil || *user.Status.Sessions != 0 || !user.Status.Enabled {
			t.Errorf("%+v", user)
		}
		target := admin.Target{Kind: admin.KindUser, Tenant: "default", ID: "bob"}
		planned, err := support.Suspend(ctx, target, admin.SuspendOptions{DryRun: true})
		m.ok(err)
		if planned.Suspended || !planned.Exists || *planned.Sessions != 1 {
			t.Errorf("a dry run reports %+v", planned)
		}
		done, err := support.Suspend(ctx, target, admin.SuspendOptions{Reason: "stolen phone"})
		m.ok(err)
		if !done.Suspended || done.Already || done.Reason != "stolen phone" || *done.Sessions != 1 || done.SuspendedAt == nil {
			t.Errorf("%+v", done)
		}
		lifted, err := support.Resume(ctx, target)
		m.ok(err)
		if lifted.Suspended || lifted.Lifted == nil || lifted.Lifted.Reason != "stolen phone" {
			t.Errorf("%+v", lifted)
		}
		_, err = support.Resume(ctx, target)
		m.refused(err, "not_suspended")
		_, err = support.Users.Delete(ctx, "default", "bob")
		m.refused(err, "forbidden")
		_, err = support.Tenants.Get(ctx, "other")
		m.refused(err, "not_found")
		deleted, err := owner.Users.Delete(ctx, "default", "bob")
		m.ok(err)
		if !strings.HasPrefix(deleted.Pseudonym, "deleted-") || deleted.Suspended {
			t.Errorf("%+v", deleted)
		}
		exported := 0
		for _, err := range owner.Sessions.Export(ctx, "default", admin.SessionQuery{}) {
			m.ok(err)
			exported++
		}
		if exported != 4 {
			t.Errorf("%d sessions were exported", exported)
		}
		for _, err := range support.Sessions.Export(ctx, "default", admin.SessionQuery{}) {
			m.refused(err, "forbidden")
		}
	})
}

func TestAnAdminManagesUsersKeysAndTokensWithTheClient(t *testing.T) {
	eachManaged(t, func(t *testing.T, m *managed) {
		ctx, owner := t.Context(), m.client(m.key(models.RoleOwner))
		user, err := owner.Users.Put(ctx, "default", "carol", admin.UserSettings{Attributes: map[string]any{"seats": 9007199254740993, "plan": "pro"}})
		m.ok(err)
		user, err = owner.Users.Patch(ctx, "default", "carol", admin.Settings{"attributes": map[string]any{"plan": nil}}, admin.IfMatch(user.ETag))
		m.ok(err)
		if len(user.Attributes) != 1 || user.Status.AttributesBy["seats"] != "operator" {
			t.Errorf("%+v", user)
		}
		_, err = owner.Users.Page(ctx, "default", admin.UserQuery{Issuer: "https://none.example.com"})
		if refusal := m.refused(err, "invalid_request"); refusal.Faults[0].Parameter != "issuer" {
			t.Errorf("%+v", refusal)
		}
		page, err := owner.Users.Page(ctx, "default", admin.UserQuery{Prefix: "car"})
		m.ok(err)
		if len(page.Items) != 1 || page.Items[0].Subject != "carol" {
			t.Errorf("%+v", page)
		}
		keys, err := owner.SigningKeys.List(ctx, "default")
		m.ok(err)
		rotated, err := owner.SigningKeys.Rotate(ctx, "default")
		m.ok(err)
		_, err = owner.SigningKeys.Rotate(ctx, "default")
		m.refused(err, "key_announced")
		signs, err := owner.SigningKeys.Retire(ctx, "default", keys[0].Kid)
		m.ok(err)
		if signs != rotated.Kid {
			t.Errorf("%s signs, not %s", signs, rotated.Kid)
		}
		e, err := owner.Explain(ctx, "default", admin.ExplainParams{ClientID: "web", SubjectToken: m.Issuer.Token(m.URL, "carol", nil)})
		m.ok(err)
		if !e.Allowed || e.User != "carol" || len(e.Checks) == 0 || e.AccessToken["client_id"] != "web" {
			t.Errorf("%+v", e)
		}
		made, err := owner.AdminKeys.Create(ctx, admin.NewAdminKey{Name: "report", Role: "viewer", Tenants: []string{"default"}, ExpiresAt: "1d"})
		m.ok(err)
		viewer := m.client(made.Key)
		_, err = viewer.Users.Put(ctx, "default", "carol", admin.UserSettings{})
		m.refused(err, "forbidden")
		n := 0
		for _, err := range owner.AdminKeys.List(ctx) {
			m.ok(err)
			n++
		}
		revoked, err := owner.AdminKeys.Revoke(ctx, made.ID, true)
		m.ok(err)
		if n != 2 || !slices.Equal(revoked, []string{made.ID}) {
			t.Errorf("%d keys, revoked %q", n, revoked)
		}
		_, err = viewer.Self(ctx)
		m.refused(err, "unauthorized")
		events, err := owner.Events.Page(ctx, "", admin.EventQuery{Limit: 1})
		m.ok(err)
		if len(events.Items) != 1 {
			t.Errorf("%+v", events)
		}
	})
}

// connected receives when a stream has begun.
type connected chan struct{}

// RoundTrip implements http.RoundTripper.
func (c connected) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && strings.HasSuffix(r.URL.Path, "/events/stream") && answer.StatusCode == http.StatusOK {
		c <- struct{}{}
	}
	return answer, err
}

// No event is lost between two streams, also if the first had none.
func TestEventsAreFollowedOverBrokenConnections(t *testing.T) {
	eachManaged(t, func(t *testing.T, m *managed) {
		connections := make(connected, 100)
		client, err := admin.New(admin.Config{Server: m.api.URL, Key: m.key(models.RoleViewer), HTTPClient: &http.Client{Transport: connections}})
		m.ok(err)
		m.SignIn("before")
		m.Clock.Advance(time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		lost := make(chan error, 100)
		var users []string
		var end error
		done := make(chan struct{})
		seen := make(chan string, 100)
		go func() {
			defer close(done)
			for event, err := range client.Events.Follow(ctx, "default", admin.EventQuery{Types: []string{"session.created"}}, admin.FollowOptions{OnDisconnect: func(err error) { lost <- err }}) {
				if end = err; err == nil {
					users = append(users, event.User)
					seen <- event.User
				}
			}
		}()
		<-connections
		m.api.CloseClientConnections()
		<-lost
		m.SignIn("first")
		if got := <-seen; got != "first" {
			t.Errorf("%s", got)
		}
		<-connections
		m.api.CloseClientConnections()
		m.SignIn("second")
		m.SignIn("third")
		<-seen
		<-seen
		self, err := client.Self(ctx)
		m.ok(err)
		_, err = m.Store.RevokeAdminKey(ctx, self.ID, false, true, models.Actor{Name: "cli", Role: models.RoleMachine})
		m.ok(err)
		<-done
		slices.Sort(users)
		if !slices.Equal(users, []string{"first", "second", "third"}) {
			t.Errorf("events of %q", users)
		}
		m.refused(end, "unauthorized")
	})
}
