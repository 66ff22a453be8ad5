package main

import (
	"strings"
	"syscall"
	"testing"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
)

func TestAWrongRootSecretIsRejectedBeforeAnyWrite(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, url string) {
		d := newDeployment(t, url)
		d.run("apply")
		before := d.run("keys", "list")
		d.write("root-secret", testserver.NextRoot)
		d.edit("id: web", "id: other") // a start would write it, and digest the back end's secret again
		for _, args := range [][]string{{"serve"}, {"apply"}, {"apply", "--dry-run"}, {"keys", "list"}, {"keys", "rotate"}} {
			d.rejects(args, "the root secret does not match this database", "fingerprint")
		}
		d.write("root-secret", testserver.RootSecret)
		if after := d.run("keys", "list"); after != before {
			t.Errorf("keys before\n%safter\n%s", before, after)
		}
		difference := d.run("apply", "--dry-run")
		if !strings.Contains(difference, "+ default/client other") || strings.Contains(difference, "backend") {
			t.Errorf("something was written:\n%s", difference)
		}
	})
}

// A root secret is replaced in two roll-outs: accept it everywhere, then put it first.
func TestARootSecretIsReplacedWithoutInterruption(t *testing.T) {
	t.Parallel()
	d := newRaceDeployment(t, testdb.Postgres(t))
	text := d.text()
	d.write("latchkey.yaml", text+"      - { id: idle, auth: secret, secret_file: backend-secret, grants: [client-credentials] }\n")
	before := d.serve()
	d.write("latchkey.yaml", text) // the client stays, and no start digests its secret again
	session := d.signIn(before, "alice")
	d.write("root-secret", testserver.RootSecret+"\n"+testserver.NextRoot)
	accepting := d.serve()
	d.wantStatus("the next root secret. When every server accepts it, put it first.")
	d.write("root-secret", testserver.NextRoot+"\n"+testserver.RootSecret)
	issuing := d.serve()

	for _, s := range []*server{issuing, accepting, issuing} {
		next := s.refresh(session.text("refresh_token"))
		retried := accepting.refresh(session.text("refresh_token"))
		if next.status != 200 || retried.text("refresh_token") != next.text("refresh_token") {
			t.Fatalf("refresh: %d %s, retried at another node: %d %s", next.status, next.body, retried.status, retried.body)
		}
		if seen := accepting.introspect(next.text("access_token")); !seen.is(true) {
			t.Errorf("introspection: %d %s", seen.status, seen.body)
		}
		session = next
	}
	for _, s := range []*server{before, accepting} {
		s.signal(syscall.SIGTERM)
		s.wait()
	}
	d.wantStatus("client secrets move when they are used or applied from a file: default/idle\n")
	machine := issuing.post("/token", []string{"grant_type", "client_credentials", "client_id", "idle", "client_secret", testserver.ClientSecret})
	if machine.status != 200 {
		t.Fatalf("client credentials: %d %s", machine.status, machine.body)
	}
	// The last refresh at the accepting node issued a token under the old root. It may
	// be retried while its successor is unused.
	if status := d.run("secret", "status"); strings.Contains(status, "nothing depends on it") {
		t.Errorf("a late retry may need the old root:\n%s", status)
	}
	if session = issuing.refresh(session.text("refresh_token")); session.status != 200 {
		t.Fatalf("refresh: %d %s", session.status, session.body)
	}
	d.wantStatus("nothing depends on it. Remove it from the configuration")

	d.write("root-secret", testserver.NextRoot)
	alone := d.serve()
	if next := alone.refresh(session.text("refresh_token")); next.status != 200 {
		t.Errorf("refresh without the old root: %d %s", next.status, next.body)
	}
	d.write("root-secret", testserver.RootSecret)
	d.rejects([]string{"serve"}, "the root secret does not match this database")
}

// wantStatus checks the output of secret status about a root secret that does not issue.
func (d *deployment) wantStatus(sentence string) {
	d.t.Helper()
	if status := d.run("secret", "status"); !strings.Contains(status, sentence) {
		d.t.Errorf("secret status does not contain %q but\n%s", sentence, status)
	}
}

func TestANodeWhoseSigningKeyDoesNotOpenIsNotReady(t *testing.T) {
	t.Parallel()
	url := testdb.Postgres(t)
	d := newRaceDeployment(t, url)
	s := d.serve()
	session := d.signIn(s, "alice")
	statement(t, url, `UPDATE signing_keys SET sealed = sealed || '\x00'`)
	statement(t, url, "UPDATE tenants SET revision = revision + 1")
	eventually(t, "rejected tokens", func() bool { return s.refresh(session.text("refresh_token")).status == 500 })
	eventually(t, "a node that is not ready", func() bool { // readiness is cached for a second
		ready := s.get("/readyz")
		return ready.status == 503 && ready.text("status") == "unavailable"
	})
	if alive := s.get("/healthz"); alive.status != 200 {
		t.Errorf("liveness: %d %s", alive.status, alive.body)
	}
	if !strings.Contains(s.err.String(), "cannot be decrypted") {
		t.Errorf("the log does not give the reason: %s", tail(s.err.String()))
	}
}
