package admin_test

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/sdk/go/admin"
)

func TestEveryOperationSendsItsRequest(t *testing.T) {
	const at = "/admin/v1/tenants/acme"
	moment := time.Date(2026, 11, 30, 12, 0, 0, 0, time.FixedZone("", 3600))
	settings := admin.Settings{"name": "Web"}
	for want, call := range map[string]func(ctx context.Context, c *admin.Client) error{
		"GET /admin/v1/tenants?limit=2&q=a": func(ctx context.Context, c *admin.Client) error {
			_, err := c.Tenants.Page(ctx, admin.ListQuery{Query: "a", Limit: 2})
			return err
		},
		"GET " + at: func(ctx context.Context, c *admin.Client) error {
			_, err := c.Tenants.Get(ctx, "acme")
			return err
		},
		"PUT " + at + ` {"name":"Web"}`: func(ctx context.Context, c *admin.Client) error {
			_, err := c.Tenants.Put(ctx, "acme", settings)
			return err
		},
		"PATCH " + at + ` {}`: func(ctx context.Context, c *admin.Client) error {
			_, err := c.Tenants.Patch(ctx, "acme", nil)
			return err
		},
		"DELETE " + at + "?confirm=acme": func(ctx context.Context, c *admin.Client) error { return c.Tenants.Delete(ctx, "acme", "acme") },
		"GET " + at + "/clients?cursor=c&state=disabled": func(ctx context.Context, c *admin.Client) error {
			_, err := c.Clients.Page(ctx, "acme", admin.ListQuery{Cursor: "c", State: "disabled"})
			return err
		},
		"GET " + at + "/clients/web": func(ctx context.Context, c *admin.Client) error {
			_, err := c.Clients.Get(ctx, "acme", "web")
			return err
		},
		"PUT " + at + `/clients/web {}`: func(ctx context.Context, c *admin.Client) error {
			_, err := c.Clients.Put(ctx, "acme", "web", nil)
			return err
		},
		"PATCH " + at + `/clients/web {"preset":null}`: func(ctx context.Context, c *admin.Client) error {
			_, err := c.Clients.Patch(ctx, "acme", "web", admin.Settings{"preset": nil})
			return err
		},
		"DELETE " + at + "/clients/web": func(ctx context.Context, c *admin.Client) error { return c.Clients.Delete(ctx, "acme", "web") },
		"POST " + at + `/clients/web/secret {"previous_until":"1d"}`: func(ctx context.Context, c *admin.Client) error {
			_, err := c.Clients.NewSecret(ctx, "acme", "web", "1d")
			return err
		},
		"GET " + at + "/trusted-issuers": func(ctx context.Context, c *admin.Client) error {
			_, err := c.TrustedIssuers.Page(ctx, "acme", admin.ListQuery{})
			return err
		},
		"GET " + at + "/trusted-issuers/a": func(ctx context.Context, c *admin.Client) error {
			_, err := c.TrustedIssuers.Get(ctx, "acme", "a")
			return err
		},
		"PUT " + at + `/trusted-issuers/a {"name":"Web"}`: func(ctx context.Context, c *admin.Client) error {
			_, err := c.TrustedIssuers.Put(ctx, "acme", "a", settings)
			return err
		},
		"PATCH " + at + `/trusted-issuers/a {"name":"Web"}`: func(ctx context.Context, c *admin.Client) error {
			_, err := c.TrustedIssuers.Patch(ctx, "acme", "a", settings)
			return err
		},
		"DELETE " + at + "/trusted-issuers/a": func(ctx context.Context, c *admin.Client) error { return c.TrustedIssuers.Delete(ctx, "acme", "a") },
		"POST " + at + "/trusted-issuers/a/check": func(ctx context.Context, c *admin.Client) error {
			_, err := c.TrustedIssuers.Check(ctx, "acme", "a")
			return err
		},
		"POST " + at + `/client-tokens {"sub":"al","amr":["hwk"]}`: func(ctx context.Context, c *admin.Client) error {
			_, err := c.Users.MintClientToken(ctx, "acme", admin.ClientTokenParams{Sub: "al", AMR: []string{"hwk"}})
			return err
		},
		"GET " + at + "/users?issuer=i&q=al": func(ctx context.Context, c *admin.Client) error {
			_, err := c.Users.Page(ctx, "acme", admin.UserQuery{Prefix: "al", Issuer: "i"})
			return err
		},
		"GET " + at + "/users/a%2Fb%20%C3%A9%3F": func(ctx context.Context, c *admin.Client) error {
			_, err := c.Users.Get(ctx, "acme", "a/b é?")
			return err
		},
		"GET " + at + "/users/%2E%2E": func(ctx context.Context, c *admin.Client) error {
			_, err := c.Users.Get(ctx, "acme", "..")
			return err
		},
		"PUT " + at + `/users/al {"attributes":{"plan":"pro"},"disabled":true}`: func(ctx context.Context, c *admin.Client) error {
			_, err := c.Users.Put(ctx, "acme", "al", admin.UserSettings{Attributes: map[string]any{"plan": "pro"}, Disabled: true})
			return err
		},
		"PATCH " + at + `/users/al {"attributes":{"plan":null}}`: func(ctx context.Context, c *admin.Client) error {
			_, err := c.Users.Patch(ctx, "acme", "al", admin.Settings{"attributes": map[string]any{"plan": nil}})
			return err
		},
		"DELETE " + at + "/users/al": func(ctx context.Context, c *admin.Client) error {
			_, err := c.Users.Delete(ctx, "acme", "al")
			return err
		},
		"DELETE " + at + "/users/al/sessions": func(ctx context.Context, c *admin.Client) error {
			_, err := c.Users.EndSessions(ctx, "acme", "al")
			return err
		},
		"GET " + at + "/sessions?active_before=2026-11-30T11%3A00%3A00Z&client=web&ip=::1&issuer=i&state=active&user=al": func(ctx context.Context, c *admin.Client) error {
			_, err := c.Sessions.Page(ctx, "acme", admin.SessionQuery{User: "al", Client: "web", Issuer: "i", State: "active", IP: "::1", ActiveBefore: moment})
			return err
		},
		"GET " + at + "/sessions/s": func(ctx context.Context, c *admin.Client) error {
			_, err := c.Sessions.Get(ctx, "acme", "s")
			return err
		},
		"PATCH " + at + `/sessions/s {"attributes":{"a":1}}`: func(ctx context.Context, c *admin.Client) error {
			_, err := c.Sessions.Patch(ctx, "acme", "s", map[string]any{"a": 1})
			return err
		},
		"POST " + at + `/sessions/s/extend {"expires_in":"24h0m0s"}`: func(ctx context.Context, c *admin.Client) error {
			_, err := c.Sessions.Extend(ctx, "acme", "s", 24*time.Hour)
			return err
		},
		"DELETE " + at + "/sessions/s": func(ctx context.Context, c *admin.Client) error { return c.Sessions.End(ctx, "acme", "s") },
		"DELETE " + at + "/sessions?client=web&confirm=3&user=al": func(ctx context.Context, c *admin.Client) error {
			_, err := c.Sessions.EndAll(ctx, "acme", "al", "web", 3)
			return err
		},
		"GET " + at + "/keys": func(ctx context.Context, c *admin.Client) error {
			_, err := c.SigningKeys.List(ctx, "acme")
			return err
		},
		"POST " + at + "/keys/rotate": func(ctx context.Context, c *admin.Client) error {
			_, err := c.SigningKeys.Rotate(ctx, "acme")
			return err
		},
		"POST " + at + "/keys/k/retire": func(ctx context.Context, c *admin.Client) error {
			_, err := c.SigningKeys.Retire(ctx, "acme", "k")
			return err
		},
		"GET " + at + "/events?type=session.,key.rotated": func(ctx context.Context, c *admin.Client) error {
			_, err := c.Events.Page(ctx, "acme", admin.EventQuery{Types: []string{"session.", "key.rotated"}})
			return err
		},
		"GET /admin/v1/events": func(ctx context.Context, c *admin.Client) error {
			_, err := c.Events.Page(ctx, "", admin.EventQuery{})
			return err
		},
		"GET /admin/v1/stats?tenant=a,b": func(ctx context.Context, c *admin.Client) error {
			_, err := c.Stats(ctx, "a", "b")
			return err
		},
		"GET /admin/v1/nodes": func(ctx context.Context, c *admin.Client) error {
			_, err := c.Nodes(ctx)
			return err
		},
		"GET /admin/v1/self": func(ctx context.Context, c *admin.Client) error {
			_, err := c.Self(ctx)
			return err
		},
		"GET /admin/v1/admin-keys?limit=9": func(ctx context.Context, c *admin.Client) error {
			_, err := c.AdminKeys.Page(ctx, 9, "")
			return err
		},
		`POST /admin/v1/admin-keys {"name":"n","role":"viewer","tenants":["acme"],"expires_at":"90d"}`: func(ctx context.Context, c *admin.Client) error {
			_, err := c.AdminKeys.Create(ctx, admin.NewAdminKey{Name: "n", Role: "viewer", Tenants: []string{"acme"}, ExpiresAt: "90d"})
			return err
		},
		"DELETE /admin/v1/admin-keys/k?descendants=true": func(ctx context.Context, c *admin.Client) error {
			_, err := c.AdminKeys.Revoke(ctx, "k", true)
			return err
		},
		"POST " + at + `/suspend {"reason":"r"}`: func(ctx context.Context, c *admin.Client) error {
			_, err := c.Suspend(ctx, admin.Target{Kind: admin.KindTenant, Tenant: "acme"}, admin.SuspendOptions{Reason: "r"})
			return err
		},
		"POST " + at + `/trusted-issuers/https:%2F%2Fa.example/suspend {"dry_run":true}`: func(ctx context.Context, c *admin.Client) error {
			_, err := c.Suspend(ctx, admin.Target{Kind: admin.KindTrustedIssuer, Tenant: "acme", ID: "https://a.example"}, admin.SuspendOptions{DryRun: true})
			return err
		},
		"GET /admin/v1/suspensions?limit=500&tenant=acme": func(ctx context.Context, c *admin.Client) error {
			for _, err := range c.Suspensions(ctx, "acme") {
				return err
			}
			return nil
		},
		"POST " + at + "/users/al/resume": func(ctx context.Context, c *admin.Client) error {
			_, err := c.Resume(ctx, admin.Target{Kind: admin.KindUser, Tenant: "acme", ID: "al"})
			return err
		},
		"POST " + at + `/explain {"client_id":"web","subject_token":"t"}`: func(ctx context.Context, c *admin.Client) error {
			_, err := c.Explain(ctx, "acme", admin.ExplainParams{ClientID: "web", SubjectToken: "t"})
			return err
		},
		"POST " + at + `/clients/web/preview {"claims":{"plan":"user.plan"},"sub":"al"}`: func(ctx context.Context, c *admin.Client) error {
			_, err := c.PreviewClient(ctx, "acme", "web", admin.PreviewParams{Claims: map[string]string{"plan": "user.plan"}, Sub: "al"})
			return err
		},
		"POST /admin/v1/apply?dry_run=true&prune=true&replace=true tenants: []": func(ctx context.Context, c *admin.Client) error {
			_, err := c.Apply(ctx, []byte("tenants: []"), admin.ApplyOptions{DryRun: true, Replace: true, Prune: true, YAML: true})
			return err
		},
		"GET /admin/v1/export?for_new_database=true&tenant=a,b&users=true": func(ctx context.Context, c *admin.Client) error {
			_, err := c.Export(ctx, admin.ExportOptions{Tenants: []string{"a", "b"}, Users: true, ForNewDatabase: true})
			return err
		},
	} {
		t.Run(want, func(t *testing.T) {
			s := newFakeServer(t, answer(200, "{}"))
			if err := call(t.Context(), s.client); err != nil {
				t.Fatal(err)
			}
			// A comma and a colon mean the same in a query, escaped or not.
			got := strings.NewReplacer("%2C", ",", "ip=%3A%3A1", "ip=::1").Replace(s.seen()[0])
			if got != want {
				t.Errorf("sent %s", got)
			}
			if s.header(0, "Authorization") != "Bearer "+key {
				t.Error("without the key")
			}
			method, _, _ := strings.Cut(want, " ")
			_, _, hasBody := strings.Cut(strings.TrimPrefix(want, method+" "), " ")
			kind := map[bool]string{false: "", true: "application/json"}[hasBody]
			if method == "PATCH" {
				kind = "application/merge-patch+json"
			}
			if strings.Contains(want, "/apply?") {
				kind = "application/yaml"
			}
			if s.header(0, "Content-Type") != kind {
				t.Errorf("Content-Type %q, want %q", s.header(0, "Content-Type"), kind)
			}
		})
	}
}

func TestAnEmptyIDSendsNothing(t *testing.T) {
	s := newFakeServer(t, answer(200, "{}"))
	if _, err := s.client.Clients.Get(t.Context(), "acme", ""); err == nil || !strings.Contains(err.Error(), "an id is empty") {
		t.Errorf("%v", err)
	}
	if _, err := s.client.Resume(t.Context(), admin.Target{Kind: "clients", Tenant: "acme", ID: "web"}); err == nil || !strings.Contains(err.Error(), `invalid Kind "clients"`) {
		t.Errorf("%v", err)
	}
	if got := s.seen(); len(got) > 0 {
		t.Errorf("sent %q", got)
	}
}

// Put sends back the settings of a later release unchanged.
func TestSettingsAreSentBackAsTheyWereRead(t *testing.T) {
	const stored = `{"id":"web","later":{"deep":[9007199254740993,null]},"max_sessions_per_user":{"limit":10},"name":"Web","status":{"enabled":true,"secret":true,"effective":{"late_retry":"once"},"later":1}}`
	s := newFakeServer(t, answer(200, stored, `ETag: "1"`), answer(200, stored, `ETag: "2"`))
	client, err := s.client.Clients.Get(t.Context(), "default", "web")
	if err != nil {
		t.Fatal(err)
	}
	if client.ID != "web" || client.ETag != `"1"` || !client.Status.Secret || client.Status.Effective.LateRetry != "once" {
		t.Errorf("%+v", client)
	}
	var known struct {
		Name               string
		MaxSessionsPerUser struct{ Limit int } `json:"max_sessions_per_user"`
	}
	if err := client.Settings.Decode(&known); err != nil || known.Name != "Web" || known.MaxSessionsPerUser.Limit != 10 {
		t.Errorf("%+v, %v", known, err)
	}
	client.Settings["name"] = "App"
	changed, err := s.client.Clients.Put(t.Context(), "default", "web", client.Settings, admin.IfMatch(client.ETag))
	if err != nil || changed.ETag != `"2"` {
		t.Fatalf("%+v, %v", changed, err)
	}
	if want := `PUT /admin/v1/tenants/default/clients/web {"later":{"deep":[9007199254740993,null]},"max_sessions_per_user":{"limit":10},"name":"App"}`; s.seen()[1] != want {
		t.Errorf("sent %s", s.seen()[1])
	}
	if s.header(1, "If-Match") != `"1"` {
		t.Errorf("If-Match %q", s.header(1, "If-Match"))
	}
	text, err := client.MarshalJSON()
	if err != nil || !strings.HasPrefix(string(text), `{"id":"web","later":`) {
		t.Errorf("%s, %v", text, err)
	}
}

// Put must not send a generated secret back.
func TestAGeneratedSecretIsNotASetting(t *testing.T) {
	s := newFakeServer(t, answer(201, `{"id":"api","auth":"secret","secret":"made","status":{"secret":true}}`))
	client, err := s.client.Clients.Put(t.Context(), "default", "api", admin.Settings{"auth": "secret"})
	if err != nil {
		t.Fatal(err)
	}
	if _, has := client.Settings["secret"]; has || client.Secret != "made" || client.Settings["auth"] != "secret" {
		t.Errorf("secret %q, settings %v", client.Secret, client.Settings)
	}
}

func TestACreationCanBeRequired(t *testing.T) {
	s := newFakeServer(t, problem(412, "precondition_failed"))
	if _, err := s.client.Users.Put(t.Context(), "default", "alice", admin.UserSettings{}, admin.IfAbsent()); err == nil || s.header(0, "If-None-Match") != "*" {
		t.Errorf("%v, If-None-Match %q", err, s.header(0, "If-None-Match"))
	}
}

func TestListsFollowTheirCursors(t *testing.T) {
	pages := []string{`{"items":[{"id":"a"},{"id":"b"}],"next_cursor":"2"}`, `{"items":[],"next_cursor":"3"}`, `{"items":[{"id":"c"}]}`}
	s := newFakeServer(t, answer(200, pages[0]), answer(200, pages[1]), answer(200, pages[2]))
	var got []string
	for session, err := range s.client.Sessions.List(t.Context(), "default", admin.SessionQuery{User: "alice", Limit: 2}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, session.ID)
	}
	const at = "GET /admin/v1/tenants/default/sessions?"
	if want := []string{at + "limit=2&user=alice", at + "cursor=2&limit=2&user=alice", at + "cursor=3&limit=2&user=alice"}; !reflect.DeepEqual(got, []string{"a", "b", "c"}) || !reflect.DeepEqual(s.seen(), want) {
		t.Errorf("read %q by %q", got, s.seen())
	}
}

func TestAListEnds(t *testing.T) {
	for name, c := range map[string]struct {
		page  string
		items int
		want  string
	}{
		"when its caller stops":     {`{"items":[{"id":"a"},{"id":"stop"},{"id":"c"}],"next_cursor":"2"}`, 2, ""},
		"when a cursor is repeated": {`{"items":[{"id":"a"}],"next_cursor":"1"}`, 2, "does not advance"},
		"with an invalid response":  {`{"items":7}`, 0, "invalid JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newFakeServer(t, answer(200, c.page))
			items, failure := 0, ""
			for tenant, err := range s.client.Tenants.List(t.Context(), admin.ListQuery{}) {
				if err != nil {
					failure = err.Error()
					continue
				}
				if items++; tenant.ID == "stop" {
					break
				}
			}
			if items != c.items || !strings.Contains(failure, c.want) || (c.want == "") != (failure == "") {
				t.Errorf("%d items, %q", items, failure)
			}
		})
	}
}
