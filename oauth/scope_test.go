package oauth

import (
	"fmt"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/settings"
)

func numbered(n int) string {
	var scopes []string
	for i := range n {
		scopes = append(scopes, fmt.Sprint(i))
	}
	return strings.Join(scopes, " ")
}

func TestParseScope(t *testing.T) {
	for _, row := range []struct {
		name, text, want string
		refused          bool
	}{
		{"accepts no scope", "", "", false},
		{"parses one name", "profile", "profile", false},
		{"keeps the order of several names", "b a c", "b a c", false},
		{"counts a repeated name once", "a b a", "a b", false},
		{"distinguishes names by case", "admin ADMIN", "admin ADMIN", false},
		{"accepts every allowed character", "!#$%&'()*+,-./:;<=>?@[]^_`{|}~", "!#$%&'()*+,-./:;<=>?@[]^_`{|}~", false},
		{"accepts a hundred names", numbered(100), numbered(100), false},
		{"accepts a hundred names, some of them repeated", numbered(100) + " 1 2 3", numbered(100), false},
		{"rejects a hundred and one names", numbered(101), "", true},
		{"ignores a second space", "a  b", "a b", false},
		{"ignores spaces before and after", "  a b ", "a b", false},
		{"treats spaces alone as no scope", "  ", "", false},
		{"rejects a tab", "a\tb", "", true},
		{"rejects a newline", "a\nb", "", true},
		{"rejects a quotation mark", `a"b`, "", true},
		{"rejects a backslash", `a\b`, "", true},
		{"rejects DEL", "a\x7f", "", true},
		{"rejects a character that is not ASCII", "é", "", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := parseScope(row.text)
			if row.refused != (refusal(err) == "400 invalid_scope") || strings.Join(got, " ") != row.want {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func TestParseScopeStopsAtTheLimit(t *testing.T) {
	flood := numbered(12_000) // as a body of 64 KiB may hold
	spent := allocated(func() {
		if _, err := parseScope(flood); err == nil {
			t.Error("accepted")
		}
	})
	// The split list alone is 192 KiB; keeping every name would double that.
	if spent > 256<<10 {
		t.Errorf("%d bytes allocated", spent)
	}
}

func TestGrantScopeNeverSilentlyGrantsLess(t *testing.T) {
	c := clientWith(settings.ClientSettings{Scopes: []string{"profile", "orders:read", "orders:write"}, DefaultScopes: &[]string{"profile"}})
	for _, row := range []struct{ name, requested, want string }{
		{"nothing requested: the default", "", "profile"},
		{"all of it", "orders:write profile orders:read", "orders:write profile orders:read"},
		{"a scope that is not a default", "orders:read", "orders:read"},
		{"a scope that the client may not have", "admin", "!"},
		{"a forbidden scope beside an allowed one", "profile admin", "!"},
		{"another case", "PROFILE", "!"},
		{"a part of a name", "orders", "!"},
		{"extra spaces", " profile  orders:read ", "profile orders:read"},
		{"spaces alone: the default", "  ", "profile"},
		{"extra spaces around a forbidden scope", "profile  admin ", "!"},
		{"bad syntax", "profile\torders:read", "!"},
	} {
		got, err := grantScope(c, row.requested)
		if (row.want == "!") != (refusal(err) == "400 invalid_scope") || err == nil && strings.Join(got, " ") != row.want {
			t.Errorf("%s: %q, %v", row.name, got, err)
		}
	}
	if got, err := grantScope(clientWith(settings.ClientSettings{}), ""); err != nil || len(got) != 0 {
		t.Errorf("a client without scopes: %q, %v", got, err)
	}
}

func TestNarrowScopeReturnsNoMoreThanWasGranted(t *testing.T) {
	c := clientWith(settings.ClientSettings{Scopes: []string{"a", "b", "c"}})
	for _, row := range []struct{ name, granted, requested, want string }{
		{"nothing requested: what was granted", "a b", "", "a b"},
		{"a part", "a b", "b", "b"},
		{"a scope that the session was not granted", "a b", "c", "!"},
		{"a scope that the client has lost is silently left out", "a gone", "", "a"},
		{"a scope that the client has lost, if it is requested", "a gone", "a gone", "a"},
		{"extra spaces", "a b", " b ", "b"},
		{"spaces alone: what was granted", "a b", " ", "a b"},
		{"extra spaces around a scope that was not granted", "a b", "a  c", "!"},
		{"bad syntax", "a b", "a\tb", "!"},
	} {
		got, err := narrowScope(c, strings.Fields(row.granted), row.requested)
		if (row.want == "!") != (refusal(err) == "400 invalid_scope") || err == nil && strings.Join(got, " ") != row.want {
			t.Errorf("%s: %q, %v", row.name, got, err)
		}
	}
}
