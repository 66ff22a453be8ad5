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
		{"no scope is none", "", "", false},
		{"reads one", "profile", "profile", false},
		{"reads several in order", "b a c", "b a c", false},
		{"counts a repeated one once", "a b a", "a b", false},
		{"keeps cases apart", "admin ADMIN", "admin ADMIN", false},
		{"takes every character that it may", "!#$%&'()*+,-./:;<=>?@[]^_`{|}~", "!#$%&'()*+,-./:;<=>?@[]^_`{|}~", false},
		{"takes a hundred", numbered(100), numbered(100), false},
		{"takes a hundred, some repeated", numbered(100) + " 1 2 3", numbered(100), false},
		{"refuses a hundred and one", numbered(101), "", true},
		{"ignores a second space", "a  b", "a b", false},
		{"ignores spaces before and after", "  a b ", "a b", false},
		{"takes spaces alone for no scope", "  ", "", false},
		{"refuses a tab", "a\tb", "", true},
		{"refuses a newline", "a\nb", "", true},
		{"refuses a quotation mark", `a"b`, "", true},
		{"refuses a backslash", `a\b`, "", true},
		{"refuses DEL", "a\x7f", "", true},
		{"refuses what is not ASCII", "é", "", true},
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
			t.Error("it is taken")
		}
	})
	// The list of all is 192 KiB; keeping them as well takes as much again.
	if spent > 256<<10 {
		t.Errorf("%d bytes allocated", spent)
	}
}

func TestGrantScopeIsNeverSilentlyLess(t *testing.T) {
	c := clientWith(settings.ClientSettings{Scopes: []string{"profile", "orders:read", "orders:write"}, DefaultScopes: &[]string{"profile"}})
	for _, row := range []struct{ name, asked, want string }{
		{"nothing asked for: the default", "", "profile"},
		{"all of it", "orders:write profile orders:read", "orders:write profile orders:read"},
		{"one that is not a default", "orders:read", "orders:read"},
		{"one that it may not have", "admin", "!"},
		{"one that it may not have beside one that it may", "profile admin", "!"},
		{"another case", "PROFILE", "!"},
		{"a part of a name", "orders", "!"},
		{"extra spaces", " profile  orders:read ", "profile orders:read"},
		{"spaces alone: the default", "  ", "profile"},
		{"extra spaces around one that it may not have", "profile  admin ", "!"},
		{"bad syntax", "profile\torders:read", "!"},
	} {
		got, err := grantScope(c, row.asked)
		if (row.want == "!") != (refusal(err) == "400 invalid_scope") || err == nil && strings.Join(got, " ") != row.want {
			t.Errorf("%s: %q, %v", row.name, got, err)
		}
	}
	if got, err := grantScope(clientWith(settings.ClientSettings{}), ""); err != nil || len(got) != 0 {
		t.Errorf("a client without scopes: %q, %v", got, err)
	}
}

func TestNarrowScopeGivesNoMoreThanWasGranted(t *testing.T) {
	c := clientWith(settings.ClientSettings{Scopes: []string{"a", "b", "c"}})
	for _, row := range []struct{ name, granted, asked, want string }{
		{"nothing asked for: what was granted", "a b", "", "a b"},
		{"a part", "a b", "b", "b"},
		{"one that the session was not granted", "a b", "c", "!"},
		{"one that was taken from the client is left out silently", "a gone", "", "a"},
		{"also when it is asked for", "a gone", "a gone", "a"},
		{"extra spaces", "a b", " b ", "b"},
		{"spaces alone: what was granted", "a b", " ", "a b"},
		{"extra spaces around one that was not granted", "a b", "a  c", "!"},
		{"bad syntax", "a b", "a\tb", "!"},
	} {
		got, err := narrowScope(c, strings.Fields(row.granted), row.asked)
		if (row.want == "!") != (refusal(err) == "400 invalid_scope") || err == nil && strings.Join(got, " ") != row.want {
			t.Errorf("%s: %q, %v", row.name, got, err)
		}
	}
}
