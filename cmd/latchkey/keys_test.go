package main

import (
	"encoding/base64"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
)

func TestKeysAreListedAnnouncedAndPublished(t *testing.T) {
	t.Parallel()
	d := newRaceDeployment(t, testdb.Postgres(t))
	s, other := d.serve(), d.serve()
	first := s.kids()
	row := regexp.MustCompile(`(?m)^(\S+) +(\S+) +(\S+) +\S+Z +\S+Z *$`)
	list := func() (rows [][]string) {
		text := d.run("keys", "list")
		if !regexp.MustCompile(`^KID +ALGORITHM +STATE +CREATED +SIGNS FROM\n`).MatchString(text) {
			t.Errorf("keys list has no head:\n%s", text)
		}
		for _, match := range row.FindAllStringSubmatch(text, -1) {
			rows = append(rows, match[1:])
		}
		return rows
	}
	if rows := list(); len(first) != 1 || len(rows) != 1 || strings.Join(rows[0], " ") != first[0]+" ES256 active" {
		t.Fatalf("published %v, listed %v", first, rows)
	}
	printed := regexp.MustCompile(`^Announced (\S+) \(ES256\)\. It signs from \S+Z\.\n$`).FindStringSubmatch(d.run("keys", "rotate"))
	if printed == nil {
		t.Fatal("keys rotate does not name the key")
	}
	if rows := list(); len(rows) != 2 || strings.Join(rows[1], " ") != printed[1]+" ES256 announced" || rows[0][2] != "active" {
		t.Errorf("listed %v", rows)
	}
	for _, node := range []*server{s, other} {
		eventually(t, "the announced key is published", func() bool { return len(node.kids()) == 2 })
		if kids := node.kids(); kids[0] != printed[1] || kids[1] != first[0] {
			t.Errorf("published %v", kids)
		}
	}
	for _, args := range [][]string{{"keys", "list"}, {"keys", "rotate"}} {
		d.rejects(append(args, "--tenant", "nobody"), `there is no tenant "nobody"`)
	}
}

func TestARetiredKeyIsReplacedAtOnce(t *testing.T) {
	t.Parallel()
	d := newRaceDeployment(t, testdb.Postgres(t))
	s, other := d.serve(), d.serve()
	session := d.signIn(s, "alice")
	old := kidOf(t, session)
	printed := regexp.MustCompile(`^Retired (\S+)\. Servers reject the tokens that it signed within 5 seconds\. (\S+) signs now\.\n$`).FindStringSubmatch(d.run("keys", "retire", old))
	if printed == nil || printed[1] != old {
		t.Fatalf("keys retire prints %q", printed)
	}
	for _, node := range []*server{s, other} {
		eventually(t, "the token is rejected", func() bool { return node.introspect(session.text("access_token")).is(false) })
		eventually(t, "only the new key is published", func() bool { return slices.Equal(node.kids(), printed[2:]) })
	}
	if next := other.refresh(session.text("refresh_token")); next.status != 200 || kidOf(t, next) != printed[2] {
		t.Errorf("refresh: %d %s", next.status, next.body)
	}
	if text := d.run("keys", "list"); !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(old) + ` +ES256 +retired `).MatchString(text) {
		t.Errorf("listed:\n%s", text)
	}
	d.rejects([]string{"keys", "retire", old}, "no key", "in service")
	d.rejects([]string{"keys", "retire", old, "--tenant", "nobody"}, `there is no tenant "nobody"`)
}

// An announced key is made to sign in a moment instead of ten minutes. No token is
// rejected before or after that moment.
func TestNodesAcceptEachOthersTokensDuringAKeyRotation(t *testing.T) {
	t.Parallel()
	url := testdb.Postgres(t)
	d := newRaceDeployment(t, url)
	a, b := d.serve(), d.serve()
	first := d.signIn(a, "alice")
	d.run("keys", "rotate")
	statement(t, url, "UPDATE signing_keys SET activates_at = (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + 3000000 WHERE activates_at > created_at")
	statement(t, url, "UPDATE tenants SET revision = revision + 1")

	before, session := kidOf(t, first), first
	signed := map[string]bool{}
	eventually(t, "both nodes sign with the new key", func() bool {
		taken := 0
		for _, nodes := range [][2]*server{{a, b}, {b, a}} {
			session = nodes[0].refresh(session.text("refresh_token"))
			if seen := nodes[1].introspect(session.text("access_token")); !seen.is(true) {
				t.Fatalf("a token signed with %s, at the other node: %d %s", kidOf(t, session), seen.status, seen.body)
			}
			if signed[kidOf(t, session)] = true; kidOf(t, session) != before {
				taken++
			}
		}
		return taken == 2
	})
	if !signed[before] || len(signed) != 2 {
		t.Errorf("tokens were signed with %v, at first with %s", signed, before)
	}
	for _, s := range []*server{a, b} {
		if seen := s.introspect(first.text("access_token")); !seen.is(true) {
			t.Errorf("a token of the key before: %d %s", seen.status, seen.body)
		}
		if kids := s.kids(); len(kids) != 2 {
			t.Errorf("published %v", kids)
		}
	}
}

// kidOf returns the id of the key that signed the access token of a response.
func kidOf(t *testing.T, a *response) string {
	t.Helper()
	text, _, _ := strings.Cut(a.text("access_token"), ".")
	raw, err := base64.RawURLEncoding.DecodeString(text)
	must(t, err)
	var header struct{ Kid string }
	must(t, json.Unmarshal(raw, &header))
	return header.Kid
}
