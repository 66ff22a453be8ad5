package testwire

import (
	"database/sql"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
)

// Limits of the client under test.
const (
	chainGrace    = 10 * time.Second
	chainIdle     = time.Hour
	chainAbsolute = 4 * time.Hour
)

// TestRefreshChainAgreesWithItsModel drives one session through any
// interleaving of refresh, retry, replay of any generation, revocation,
// passing time, a wrong client, garbage, lost commits and a change of the root
// secret, and compares every answer with a model of a few lines.
func TestRefreshChainAgreesWithItsModel(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		w := newChainWorld(t, url)
		rapid.Check(t, func(rt *rapid.T) {
			m := w.begin(rt)
			rt.Repeat(map[string]func(*rapid.T){
				"":              m.check,
				"refresh":       m.refresh,
				"replay":        m.replay,
				"foreign":       m.foreign,
				"garbage":       m.garbage,
				"revoke":        m.revoke,
				"revokeForeign": m.revokeForeign,
				"wait":          m.wait,
				"loseCommits":   m.loseCommits,
				"changeRoot":    m.changeRoot,
			})
		})
	})
}

// chainDeployment is what all runs of the model share: two nodes over one database,
// one before and one after a change of the root secret.
type chainDeployment struct {
	clock  *testserver.Clock
	issuer *testserver.Issuer
	nodes  []*testserver.Server
	db     *sql.DB
	url    string
	users  int
}

func newChainWorld(t *testing.T, url string) *chainDeployment {
	w := &chainDeployment{clock: testserver.NewClock(), url: url}
	w.issuer = testserver.NewIssuer(t, w.clock)
	issuer := "http://localhost:4711"
	for _, roots := range [][]string{{testserver.RootSecret, testserver.NextRoot}, {testserver.NextRoot, testserver.RootSecret}} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := testserver.New(t, testserver.Options{DatabaseURL: url, Clock: w.clock, Roots: roots, Issuer: issuer, Listener: listener})
		s.URL = "http://" + listener.Addr().String()
		w.nodes = append(w.nodes, s)
	}
	client := testserver.Web()
	ttl, idle, absolute, grace := models.Duration(time.Minute), models.Duration(chainIdle), models.Duration(chainAbsolute), models.Duration(chainGrace)
	client.AccessTokenTTL, client.InactivityTimeout, client.AbsoluteLifetime, client.RefreshGrace = &ttl, &idle, &absolute, &grace
	other := client
	other.ID = "other"
	issued := w.issuer.Entry()
	issued.Audiences = []string{issuer}
	for _, s := range w.nodes {
		s.Apply(models.TenantSpec{ID: "default", TrustedIssuers: []models.IssuerSpec{issued}, Clients: []models.ClientSpec{client, other, testserver.Backend()}})
	}
	w.db = testserver.OpenDatabase(t, url)
	return w
}

// chainToken is a token as the model knows it. Its lineage names its secret:
// that of its parent and the root that its parent was written under, because a
// successor is derived under the root of the presented token.
type chainToken struct {
	text       string
	generation int
	lineage    string
}

func (k chainToken) successor() string { return k.lineage + "." + k.root() }

// root is the fingerprint of the root that the token was written under.
func (k chainToken) root() string { return k.text[len("lk_rt_"):][:5] }

// chainState is what a rotation changes.
type chainState struct {
	current    chainToken
	rotatedAt  time.Time
	lastActive time.Time
	row        []any // of the database, to go back to
}

// chain is the model of one session.
type chain struct {
	*chainDeployment
	node    int
	sid     string
	created time.Time
	ended   bool
	chainState
	history []chainState // before each rotation, for lost commits
	known   []chainToken // every token that was answered
	access  string       // the latest access token
	until   time.Time    // its expiry
}

func (w *chainDeployment) begin(rt *rapid.T) *chain {
	w.users++
	m := &chain{chainDeployment: w, node: rapid.IntRange(0, 1).Draw(rt, "node"), created: w.clock.Now()}
	a := m.server().Exchange("", "web", w.issuer.Token("http://localhost:4711", fmt.Sprintf("user-%d", w.users), nil))
	if a.Status != 200 {
		rt.Fatalf("exchange: %d %s", a.Status, a.Body)
	}
	m.sid, m.lastActive = a.Text("session_id"), m.created
	m.current = chainToken{text: a.Text("refresh_token"), lineage: "0"}
	m.known = []chainToken{m.current}
	m.keep(a)
	return m
}

func (m *chain) server() *testserver.Server { return m.nodes[m.node] }

func (m *chain) over() bool {
	now := m.clock.Now()
	return m.ended || !now.Before(m.created.Add(chainAbsolute)) || !now.Before(m.lastActive.Add(chainIdle))
}

// keep remembers an answer's access token.
func (m *chain) keep(a *testserver.Answer) {
	m.access, m.until = a.Text("access_token"), m.clock.Now().Add(time.Minute)
	if end := m.created.Add(chainAbsolute); end.Before(m.until) {
		m.until = end
	}
}

// check asks about the session after every step, by its latest access token.
func (m *chain) check(rt *rapid.T) {
	a := m.server().Introspect("", m.access)
	if want := !m.over() && m.clock.Now().Before(m.until.Truncate(time.Second)); a.Status != 200 || a.JSON["active"] != want {
		rt.Fatalf("introspection: %d %s, want active %t", a.Status, a.Body, want)
	}
}

// refresh uses the current token.
func (m *chain) refresh(rt *rapid.T) { m.present(rt, m.current) }

// replay shows any token that was ever answered.
func (m *chain) replay(rt *rapid.T) {
	m.present(rt, rapid.SampledFrom(m.known).Draw(rt, "token"))
}

// answerTo is the model: what a presented token must be answered.
func (m *chain) answerTo(k chainToken) string {
	age := m.clock.Now().Sub(m.rotatedAt)
	switch ahead := m.current.generation - k.generation; {
	case m.over():
		return "refused"
	case ahead == 0 && k.lineage == m.current.lineage:
		return "rotated"
	case ahead == -1 && k.lineage == m.current.successor():
		return "rotated" // the database had lost its last commit
	case ahead == 0, ahead == -1, ahead == 1 && k.successor() != m.current.lineage:
		return "refused" // a branch that a lost commit and a change of root left behind
	case ahead == 1 && age < chainGrace:
		return "retried"
	case ahead == 2 && age < chainGrace:
		return "refused"
	default: // too old, or the database is too far behind
		return "ended"
	}
}

func (m *chain) present(rt *rapid.T, k chainToken) {
	want, before := m.answerTo(k), m.snapshot(rt)
	a := m.server().Refresh("", "web", k.text)
	switch want {
	case "rotated":
		m.expect(rt, a, 200)
		m.history = append(m.history, before)
		m.rotatedAt, m.lastActive = m.clock.Now(), m.clock.Now()
		m.current = chainToken{a.Text("refresh_token"), k.generation + 1, k.successor()}
		if !slices.Contains(m.known, m.current) {
			m.known = append(m.known, m.current)
		}
		m.keep(a)
	case "retried":
		m.expect(rt, a, 200)
		if got := a.Text("refresh_token"); got != m.current.text {
			rt.Fatalf("a retry got another successor: %s, want %s", got, m.current.text)
		}
		m.keep(a)
	case "ended":
		m.expectRefusal(rt, a)
		m.ended = true
	default:
		m.expectRefusal(rt, a)
	}
}

func (m *chain) expect(rt *rapid.T, a *testserver.Answer, status int) {
	if a.Status != status {
		rt.Fatalf("generation %d of session %s at %d: %d %s", m.current.generation, m.sid, m.node, a.Status, a.Body)
	}
}

func (m *chain) expectRefusal(rt *rapid.T, a *testserver.Answer) {
	if a.Status != 400 || a.Error() != "invalid_grant" {
		rt.Fatalf("generation %d of session %s at %d: %d %s, want invalid_grant", m.current.generation, m.sid, m.node, a.Status, a.Body)
	}
}

// foreign shows the current token as another client.
func (m *chain) foreign(rt *rapid.T) {
	m.expectRefusal(rt, m.server().Refresh("", "other", m.current.text))
}

// garbage shows a token with one character changed.
func (m *chain) garbage(rt *rapid.T) {
	text := []byte(m.current.text)
	at := rapid.IntRange(len("lk_rt_"), len(text)-1).Draw(rt, "at")
	text[at] = map[bool]byte{true: 'B', false: 'A'}[text[at] == 'A']
	m.expectRefusal(rt, m.server().Refresh("", "web", string(text)))
}

// revoke ends the session by any of its tokens.
func (m *chain) revoke(rt *rapid.T) {
	if rapid.IntRange(0, 4).Draw(rt, "luck") > 0 {
		return // seldom, or chains stay short
	}
	over := m.over()
	token := rapid.SampledFrom([]string{m.current.text, m.known[0].text}).Draw(rt, "token")
	m.expect(rt, m.server().Post("/revoke", []string{"client_id", "web", "token", token}), 200)
	m.ended = m.ended || !over
}

// revokeForeign tries to end another client's session.
func (m *chain) revokeForeign(rt *rapid.T) {
	m.expectRefusal(rt, m.server().Post("/revoke", []string{"client_id", "other", "token", m.current.text}))
}

func (m *chain) wait(rt *rapid.T) {
	d := rapid.SampledFrom([]time.Duration{
		time.Second, 9 * time.Second, chainGrace - time.Microsecond, chainGrace, time.Minute, chainIdle - time.Second, chainIdle,
	}).Draw(rt, "wait")
	if d >= chainIdle-time.Second && rapid.IntRange(0, 3).Draw(rt, "luck") > 0 {
		return
	}
	m.clock.Advance(d)
}

// changeRoot lets the other node answer from now on, whose first root secret
// is another one.
func (m *chain) changeRoot(*rapid.T) { m.node = 1 - m.node }

func (m *chain) id(rt *rapid.T) models.SessionID {
	id, err := models.ParseSessionID(m.sid)
	if err != nil {
		rt.Fatal(err)
	}
	return id
}

func (m *chain) snapshot(rt *rapid.T) chainState {
	state := m.chainState
	state.row = make([]any, 7)
	into := make([]any, 7)
	for i := range into {
		into[i] = &state.row[i]
	}
	id := m.id(rt)
	if err := m.db.QueryRow("SELECT "+testserver.ChainColumns+" FROM sessions WHERE id = $1", id[:]).Scan(into...); err != nil {
		rt.Fatal(err)
	}
	return state
}

// loseCommits takes the database back by some rotations, as a failover to an
// asynchronous standby or a restored backup does.
func (m *chain) loseCommits(rt *rapid.T) {
	if len(m.history) == 0 || m.ended || rapid.IntRange(0, 2).Draw(rt, "luck") > 0 {
		return
	}
	n := rapid.IntRange(1, min(len(m.history), 3)).Draw(rt, "commits")
	back := m.history[len(m.history)-n]
	m.history = m.history[:len(m.history)-n]
	id := m.id(rt)
	done, err := m.db.Exec(`UPDATE sessions SET generation = $1, refresh_digest = $2, next_digest = $3, root_version = $4,
		rotated_at = $5, last_active_at = $6, idle_expires_at = $7 WHERE id = $8`, append(back.row, id[:])...)
	if err != nil {
		rt.Fatal(err)
	}
	if rows, _ := done.RowsAffected(); rows != 1 {
		rt.Fatalf("%d rows", rows)
	}
	m.chainState = back
}
