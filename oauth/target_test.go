package oauth

import (
	"net/url"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

func clientWith(settings settings.ClientSettings) *Client {
	return &Client{Client: models.Client{TenantID: "default", ID: "web", Settings: settings}, tenant: &Tenant{}}
}

func TestGrantTargetsComparesTargetsAsStrings(t *testing.T) {
	c := clientWith(settings.ClientSettings{Audiences: []string{"https://h/v1", "https://api.example.com", "urn:a:x", "files", "https://a", "https://b", "https://c", "https://h/f#x"}})
	for _, row := range []struct {
		name, form string
		want       string // audiences; empty: invalid_target
	}{
		{"nothing requested: the client itself", "", "web"},
		{"an allowed resource", "resource=https://h/v1", "https://h/v1"},
		{"an audience that is a URI", "audience=https://h/v1", "https://h/v1"},
		{"an audience that is a name", "audience=files", "files"},
		{"a resource that is a URN", "resource=urn:a:x", "urn:a:x"},
		{"its own id", "audience=web", "web"},
		{"resource and audience together", "resource=https://h/v1&audience=files&audience=web", "files https://h/v1 web"},
		{"the same target twice", "resource=https://h/v1&audience=https://h/v1", "https://h/v1"},
		{"five targets", "audience=files&audience=web&audience=https://a&audience=https://b&audience=https://c", "files https://a https://b https://c web"},

		{"six targets", "audience=files&audience=web&audience=https://a&audience=https://b&audience=https://c&audience=https://h/v1", ""},
		{"a path that leads to another one", "resource=https://h/v1/../admin", ""},
		{"a path that leads back to the allowed one", "resource=https://h/v1/../v1", ""},
		{"a path below", "resource=https://h/v1/users", ""},
		{"an additional slash", "resource=https://h/v1/", ""},
		{"a prefix", "resource=https://h/", ""},
		{"user information", "resource=https://evil@h/v1", ""},
		{"the host as user information", "resource=https://h@evil/v1", ""},
		{"a query", "resource=https://h/v1?x", ""},
		{"an empty query", "resource=https://h/v1?", ""},
		{"a fragment", "resource=https://h/v1%23f", ""},
		{"a fragment, even in an allowed audience", "resource=https://h/f%23x", ""},
		{"an empty fragment", "resource=https://h/v1%23", ""},
		{"another case of the host", "resource=https://H/v1", ""},
		{"another case of the scheme", "resource=HTTPS://h/v1", ""},
		{"the default port", "resource=https://h:443/v1", ""},
		{"percent-encoding", "resource=https://h/%2576%2531", ""},
		{"a longer host", "resource=https://h.evil/v1", ""},
		{"another URN", "resource=urn:b:y", ""},
		{"a URN below", "resource=urn:a:x:y", ""},
		{"a URN of another case", "resource=urn:A:x", ""},
		{"a name as resource", "resource=files", ""},
		{"its own id as resource", "resource=web", ""},
		{"a path alone", "resource=/v1", ""},
		{"no host", "resource=https://", ""},
		{"no scheme", "resource=//h/v1", ""},
		{"a resource that is not a URI", "resource=%3A", ""},
		{"a space", "resource=https://h/v1+https://api.example.com", ""},
		{"another client", "audience=ios", ""},
		{"its own id in capitals", "audience=WEB", ""},
		{"an allowed target and a forbidden one", "resource=https://h/v1&resource=https://evil", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			form, err := url.ParseQuery(row.form)
			if err != nil {
				t.Fatal(err)
			}
			got, err := grantTargets(c, form)
			if row.want == "" && refusal(err) != "400 invalid_target" || strings.Join(got, " ") != row.want {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func TestNarrowTargetsReturnsNoMoreThanWasGranted(t *testing.T) {
	c := clientWith(settings.ClientSettings{Audiences: []string{"a", "b", "c"}})
	for _, row := range []struct {
		name, granted, form, want string
	}{
		{"nothing requested: what was granted", "a b", "", "a b"},
		{"a part", "a b", "audience=b", "b"},
		{"a target that the session was not granted", "a b", "audience=c", ""},
		{"its own id, if it was not granted", "a b", "audience=web", ""},
		{"its own id, if it was granted", "a web", "audience=web", "web"},
		{"a target that the client has lost is left out", "a gone", "", "a"},
		{"all targets of the session are lost", "gone", "", ""},
		{"the requested target is lost", "a gone", "audience=gone", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			form, _ := url.ParseQuery(row.form)
			got, err := narrowTargets(c, strings.Fields(row.granted), form)
			if row.want == "" && refusal(err) != "400 invalid_target" || strings.Join(got, " ") != row.want {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}
