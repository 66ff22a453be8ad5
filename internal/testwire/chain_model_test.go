package testwire

import (
	"database/sql"
	"flag"
	"fmt"
	"maps"
	"net"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/latchkey/latchkey/internal/testdb"
	"github.com/latchkey/latchkey/internal/testserver"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

// Limits of the client under test.
const (
	chainGrace    = 10 * time.Second
	chainIdle     = time.Hour
	chainAbsolute = 4 * time.Hour
)

// Thirty runs on each engine usually find a planted fault; `make soak` does thousands.
// The flag -rapid.checks overrides the number.
func init() {
	if err := flag.Set("rapid.checks", "30"); err != nil {
		panic(err)
	}
}

// TestRefreshChainAgreesWithItsModel drives one session through any
// interleaving of refresh, retry, late retry, replay of any generation, step-ups
// by either token, revocation, passing time, a wrong client, garbage, lost commits, restarts and
// a change of the root secret, and compares every response with a model of a few
// lines.
func TestRefreshChainAgreesWithItsModel(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		w := newChainDeployment(t, url)
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
				"refreshNine":   m.refreshNine,
				"loseAnswer":    m.loseResponse,
				"restart":       m.restart,
				"stepUp":        m.stepUp,
			})
		})
	})
}

// chainDeployment is shared by all runs of the model: two nodes over one database, one
// before and one after a change of the root secret.
type chainDeployment struct {
	clock  *testserver.Clock
	issuer *testserver.Issuer
	t      *testing.T
	nodes  []*testserver.Server
	since  []time.Time // when each node's contact with the database began
	tenant settings.TenantSpec
	db     *sql.DB
	url    string
	users  int
}

// chainIssuer is the issuer of both nodes, regardless of their addresses.
const chainIssuer = "http://localhost:4711"

func newChainDeployment(t *testing.T, url string) *chainDeployment {
	w := &chainDeployment{t: t, clock: testserver.NewClock(), url: url, nodes: make([]*testserver.Server, 2), since: make([]time.Time, 2)}
	w.issuer = testserver.NewIssuer(t, w.clock)
	client := testserver.Web()
	ttl, idle, absolute, grace := settings.Duration(time.Minute), settings.Duration(chainIdle), settings.Duration(chainAbsolute), settings.Duration(chainGrace)
	client.AccessTokenTTL, client.InactivityTimeout, client.AbsoluteLifetime, client.RefreshGrace = &ttl, &idle, &absolute, &grace
	client.SessionToken, client.AllowPublicSessionToken = true, true
	other := client
	other.ID = "other"
	issued := w.issuer.Entry()
	issued.Audiences = []string{chainIssuer}
	w.tenant = settings.TenantSpec{ID: "default", TrustedIssuers: []settings.IssuerSpec{issued}, Clients: []settings.ClientSpec{client, other, testserver.Backend()}}
	for n := range w.nodes {
		w.start(n)
	}
	w.db = testserver.OpenDatabase(t, url)
	return w
}

// start starts or restarts a node, which has no state except the database. The second
// node issues with a later root secret.
func (w *chainDeployment) start(n int) {
	roots := []string{testserver.RootSecret, testserver.NextRoot}
	if n == 1 {
		slices.Reverse(roots)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	s := testserver.New(w.t, testserver.Options{DatabaseURL: w.url, Clock: w.clock, Roots: roots, Issuer: chainIssuer, Listener: listener})
	s.URL = "http://" + listener.Addr().String()
	s.Apply(w.tenant)
	w.nodes[n], w.since[n] = s, w.clock.Now()
}

// chainToken is a token in the model. Its lineage identifies its secret:
// that of its parent and the root that its parent was written under, because a
// successor is derived under the root of the presented token.
type chainToken struct {
	text       string
	generation int
	lineage    string
}

func (k chainToken) successor() string { return k.lineage + "." + k.root() }

// root returns the fingerprint of the root secret of the token.
func (k chainToken) root() string { return k.text[len("lk_rt_"):][:5] }

// chainState is the state that a rotation or a step-up changes.
type chainState struct {
	current    chainToken
	rotatedAt  time.Time
	lastActive time.Time
	late       chainLate
	steppedUp  int          // the generation that the last step-up created; 0: none
	replaced   map[int]bool // generations that step-ups replaced unseen
	session    string       // the session token
	row        []any        // the database row, for restoring it
}

// chainLate is the state of the last late retry.
type chainLate struct {
	generation int // generation of the returned successor; 0: none
	at         time.Time
	repeats    int
}

// chain is the model of one session.
type chain struct {
	*chainDeployment
	node    int
	sub     string
	sid     string
	created time.Time
	ended   bool
	chainState
	history []chainState // before each rotation, for lost commits
	known   []chainToken // every returned token
	access  string       // the latest access token
	until   time.Time    // expiry of access
}

func (w *chainDeployment) begin(rt *rapid.T) *chain {
	w.users++
	m := &chain{chainDeployment: w, node: rapid.IntRange(0, 1).Draw(rt, "node"), created: w.clock.Now(), sub: fmt.Sprintf("user-%d", w.users)}
	a := m.server().Exchange("", "web", m.proof())
	if a.Status != 200 {
		rt.Fatalf("exchange: %d %s", a.Status, a.Body)
	}
	m.sid, m.session, m.lastActive = a.Text("session_id"), a.Text("session_token"), m.created
	m.current = chainToken{text: a.Text("refresh_token"), lineage: "0"}
	m.known = []chainToken{m.current}
	m.keep(a)
	return m
}

// proof is a client token that proves the user's second factor now.
func (m *chain) proof() string {
	return m.issuer.Token(chainIssuer, m.sub, map[string]any{"amr": []string{"otp"}, "auth_time": m.clock.Now().Unix()})
}

func (m *chain) server() *testserver.Server { return m.nodes[m.node] }

func (m *chain) over() bool {
	now := m.clock.Now()
	return m.ended || !now.Before(m.created.Add(chainAbsolute)) || !now.Before(m.lastActive.Add(chainIdle))
}

// keep stores a response's access token.
func (m *chain) keep(a *testserver.Answer) {
	m.access, m.until = a.Text("access_token"), m.clock.Now().Add(time.Minute)
	if end := m.created.Add(chainAbsolute); end.Before(m.until) {
		m.until = end
	}
}

// check introspects the latest access token after every step.
func (m *chain) check(rt *rapid.T) {
	a := m.server().Introspect("", m.access)
	if want := !m.over() && m.clock.Now().Before(m.until.Truncate(time.Second)); a.Status != 200 || a.JSON["active"] != want {
		rt.Fatalf("introspection: %d %s, want active %t", a.Status, a.Body, want)
	}
}

// refresh uses the current token.
func (m *chain) refresh(rt *rapid.T) { m.present(rt, m.current) }

// replay presents any token that was ever returned.
func (m *chain) replay(rt *rapid.T) {
	m.present(rt, rapid.SampledFrom(m.known).Draw(rt, "token"))
}

// within reports whether less than d has passed since a moment, or since the node
// regained contact with the database, if that is later. An outage extends the time to
// at most a quarter of an hour.
func (m *chain) within(d time.Duration, since time.Time) bool {
	now := m.clock.Now()
	if now.Sub(since) >= 15*time.Minute {
		return false
	}
	if began := m.since[m.node]; began.After(since) {
		since = began
	}
	return now.Sub(since) < d
}

// expected is the model: it returns the expected outcome for a presented token.
func (m *chain) expected(k chainToken) string {
	switch ahead := m.current.generation - k.generation; {
	case m.over():
		return "refused"
	case ahead == 0 && k.lineage == m.current.lineage:
		return "rotated"
	case ahead == -1 && k.lineage == m.current.successor():
		return "rotated" // the database has lost its last commit
	case ahead >= 1 && m.replaced[k.generation]:
		return "refused"
	case ahead == 0, ahead == -1, ahead == 1 && k.successor() != m.current.lineage:
		return "refused" // a branch from before a lost commit and a change of the root secret
	case ahead == 1 && m.steppedUp == m.current.generation && m.within(chainGrace, m.rotatedAt):
		return "before the step-up"
	case ahead == 1 && m.steppedUp == m.current.generation:
		return "ended"
	case ahead == 1 && m.within(chainGrace, m.rotatedAt):
		return "retried"
	case ahead == 1:
		return m.expectedLate()
	case ahead == 2 && m.clock.Now().Sub(m.rotatedAt) < chainGrace:
		return "refused"
	default: // too old, or ahead of the database by too much
		return "ended"
	}
}

// expectedLate is the model of a retry after the window.
func (m *chain) expectedLate() string {
	switch late := m.late; {
	case late.generation == m.current.generation && m.within(time.Minute, late.at):
		return "retried"
	case late.generation == m.current.generation && late.repeats < 3:
		return "retried late"
	case late.generation != 0 && m.current.generation <= late.generation+8:
		return "ended"
	default:
		return "retried late"
	}
}

// noteLate records a late retry, as the row does.
func (m *chain) noteLate() {
	if m.late.generation == m.current.generation {
		m.late.repeats++
		return
	}
	m.late = chainLate{generation: m.current.generation, at: m.clock.Now()}
}

func (m *chain) present(rt *rapid.T, k chainToken) {
	want, before := m.expected(k), m.snapshot(rt)
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
	case "retried", "retried late":
		m.expect(rt, a, 200)
		if want == "retried late" {
			m.noteLate()
		}
		if got := a.Text("refresh_token"); got != m.current.text {
			rt.Fatalf("a retry got another successor: %s, want %s", got, m.current.text)
		}
		m.keep(a)
	case "before the step-up":
		m.expect(rt, a, 200)
		if a.JSON["refresh_token"] != nil {
			rt.Fatalf("a refresh token that a step-up used got another one: %s", a.Body)
		}
		m.keep(a)
	case "ended":
		m.expectRefusal(rt, a)
		m.ended = true
	default:
		m.expectRefusal(rt, a)
	}
}

// stepUp does one or more step-ups, sometimes with a refresh between them, and later
// presents one of the earlier refresh tokens.
func (m *chain) stepUp(rt *rapid.T) {
	var before []chainToken
	for range rapid.IntRange(1, 3).Draw(rt, "step-ups") {
		before = append(before, m.current)
		m.stepUpOnce(rt)
		if rapid.Bool().Draw(rt, "refresh") {
			m.present(rt, m.current)
		}
	}
	m.clock.Advance(rapid.SampledFrom([]time.Duration{0, chainGrace - time.Microsecond, chainGrace, time.Minute}).Draw(rt, "wait"))
	m.present(rt, rapid.SampledFrom(before).Draw(rt, "token"))
}

// stepUpOnce does a step-up with the refresh token, or with the session token, which
// replaces the refresh token without presenting it.
func (m *chain) stepUpOnce(rt *rapid.T) {
	unseen := rapid.Bool().Draw(rt, "unseen")
	named, want, before := m.current.text, m.over(), m.snapshot(rt)
	if unseen {
		named = m.session
	}
	a := m.server().Exchange("", "web", m.proof(), "latchkey_session_token", named)
	if want {
		m.expect(rt, a, 400)
		return
	}
	m.expect(rt, a, 200)
	m.history = append(m.history, before)
	next := chainToken{a.Text("refresh_token"), m.current.generation + 1, m.current.successor()}
	if unseen {
		next.lineage = "step-up " + next.text
		m.replaced = maps.Clone(m.replaced)
		if m.replaced == nil {
			m.replaced = map[int]bool{}
		}
		m.replaced[m.current.generation] = true
	}
	m.current, m.steppedUp = next, next.generation
	m.rotatedAt, m.lastActive = m.clock.Now(), m.clock.Now()
	m.known, m.session = append(m.known, next), a.Text("session_token")
	m.keep(a)
}

// refreshNine loses a response, refreshes about as often as necessary before another
// late retry is allowed, and loses another response.
func (m *chain) refreshNine(rt *rapid.T) {
	m.loseLate(rt)
	for range rapid.IntRange(6, 9).Draw(rt, "refreshes") {
		m.present(rt, m.current)
	}
	m.loseLate(rt)
}

func (m *chain) loseLate(rt *rapid.T) {
	lost := m.current
	m.present(rt, lost)
	m.clock.Advance(chainGrace)
	m.present(rt, lost)
}

// loseResponse refreshes, and later presents the same token again.
func (m *chain) loseResponse(rt *rapid.T) {
	lost := m.current
	m.present(rt, lost)
	for range rapid.IntRange(1, 5).Draw(rt, "retries") {
		m.clock.Advance(rapid.SampledFrom([]time.Duration{0, chainGrace, time.Minute, 20 * time.Minute}).Draw(rt, "wait"))
		m.present(rt, lost)
	}
}

// restart restarts the node, sometimes between a refresh and its retry, whose window
// then begins again.
func (m *chain) restart(rt *rapid.T) {
	if rapid.IntRange(0, 3).Draw(rt, "luck") > 0 { // a restart is slow
		return
	}
	lost := m.current
	m.present(rt, lost)
	m.clock.Advance(rapid.SampledFrom([]time.Duration{chainGrace, time.Minute, 15 * time.Minute}).Draw(rt, "outage"))
	m.start(m.node)
	m.clock.Advance(rapid.SampledFrom([]time.Duration{0, chainGrace - time.Microsecond, chainGrace}).Draw(rt, "wait"))
	for range 2 {
		m.present(rt, lost)
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

// foreign presents the current token as another client.
func (m *chain) foreign(rt *rapid.T) {
	m.expectRefusal(rt, m.server().Refresh("", "other", m.current.text))
}

// garbage presents a token with one changed character.
func (m *chain) garbage(rt *rapid.T) {
	text := []byte(m.current.text)
	at := rapid.IntRange(len("lk_rt_"), len(text)-1).Draw(rt, "at")
	text[at] = map[bool]byte{true: 'B', false: 'A'}[text[at] == 'A']
	m.expectRefusal(rt, m.server().Refresh("", "web", string(text)))
}

// revoke revokes any token of the session.
func (m *chain) revoke(rt *rapid.T) {
	if rapid.IntRange(0, 4).Draw(rt, "luck") > 0 {
		return // rarely, so that chains become long
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

// changeRoot switches to the other node, which issues with another root secret.
func (m *chain) changeRoot(*rapid.T) { m.node = 1 - m.node }

func (m *chain) id(rt *rapid.T) models.SessionID {
	id, err := models.ParseSessionID(m.sid)
	if err != nil {
		rt.Fatal(err)
	}
	return id
}

const historyColumns = ", late_retry_generation, late_retried_at, late_retry_repeats, previous_root_version" +
	", step_up_generation, step_up_tokens, step_up_before, superseded_from, superseded_to, superseded_earlier" +
	", session_token_generation, session_token_digest, session_token_next_digest, session_token_root_version, session_token_rotated_at"

func (m *chain) snapshot(rt *rapid.T) chainState {
	state := m.chainState
	state.row = make([]any, 22)
	into := make([]any, len(state.row))
	for i := range into {
		into[i] = &state.row[i]
	}
	id := m.id(rt)
	if err := m.db.QueryRow("SELECT "+testserver.ChainColumns+historyColumns+" FROM sessions WHERE id = $1", id[:]).Scan(into...); err != nil {
		rt.Fatal(err)
	}
	return state
}

// loseCommits undoes some rotations in the database, like a failover to an asynchronous
// standby or a restored backup.
func (m *chain) loseCommits(rt *rapid.T) {
	if len(m.history) == 0 || m.ended || rapid.IntRange(0, 2).Draw(rt, "luck") > 0 {
		return
	}
	n := rapid.IntRange(1, min(len(m.history), 3)).Draw(rt, "commits")
	back := m.history[len(m.history)-n]
	m.history = m.history[:len(m.history)-n]
	id := m.id(rt)
	done, err := m.db.Exec("UPDATE sessions SET ("+testserver.ChainColumns+historyColumns+") = ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22) WHERE id = $23",
		append(back.row, id[:])...)
	if err != nil {
		rt.Fatal(err)
	}
	if rows, _ := done.RowsAffected(); rows != 1 {
		rt.Fatalf("%d rows", rows)
	}
	m.chainState = back
}
