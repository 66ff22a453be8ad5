package console

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/latchkey/latchkey/handlers/admin"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/settings"
)

func playgroundRoutes() []route {
	return []route{
		page("/t/:tenant/playground", "mint-client-token", (*visit).playgroundStart),
		form("/t/:tenant/playground", "mint-client-token", (*visit).playgroundStep),
	}
}

// playground is the content of the page Playground. The page carries the state from step
// to step, because the console stores nothing.
type playground struct {
	State   string // of the hidden field
	Clients []string
	Off     bool // the tenant mints no client tokens
	Pasted  bool // there is a field for a client token

	play
	Now *played // the last step
}

// play is the state between two steps.
type play struct {
	Client      string   `json:"client"`
	Sub         string   `json:"sub"`
	ClientToken string   `json:"client_token,omitempty"`
	Access      string   `json:"access,omitempty"`
	Refresh     []string `json:"refresh,omitempty"` // the oldest first
	Ended       bool     `json:"ended,omitempty"`
	Log         []line   `json:"log,omitempty"`
}

// line is an earlier step.
type line struct {
	Title string `json:"title"`
	Text  string `json:"text"`
	Class string `json:"class"` // good, warning or bad
}

// played is what a step sent and received.
type played struct {
	line
	Request string
	Status  int
	Answer  string
	Tokens  []decoded
}

// decoded is a token that was received.
type decoded struct{ Title, Text string }

// Longest lists of a state, so that the form stays small.
const (
	mostLines   = 20
	mostRefresh = 12
)

// The buttons of the page.
const (
	playSignIn   = "sign-in"
	playExchange = "exchange"
	playRefresh  = "refresh"
	playLost     = "lost"
	playTheft    = "theft"
	playStepUp   = "step-up"
	playCheck    = "check"
	playRevoke   = "revoke"
)

func (p *playground) CanExchange() bool { return p.ClientToken != "" }
func (p *playground) CanRefresh() bool  { return len(p.Refresh) > 0 && !p.Ended }
func (p *playground) CanLose() bool     { return len(p.Refresh) > 1 && !p.Ended }
func (p *playground) CanSteal() bool    { return len(p.Refresh) > 3 && !p.Ended }
func (p *playground) CanCheck() bool    { return p.Access != "" }

func (v *visit) newPlayground() (*playground, error) {
	list, err := v.Admin.Clients(v.ctx(), v.Caller, v.Tenant, models.Page{Limit: 200})
	if err != nil {
		return nil, err
	}
	p := &playground{}
	for _, c := range list.Items {
		s, err := clientSettings(&c)
		if err != nil {
			return nil, err
		}
		if s.Public() && s.HasGrant(settings.GrantTokenExchange) && s.HasGrant(settings.GrantRefresh) {
			p.Clients = append(p.Clients, c.ID)
		}
	}
	if p.Sub = "alice"; len(p.Clients) > 0 {
		p.Client = p.Clients[0]
	}
	return p, nil
}

func (v *visit) playgroundStart() error {
	p, err := v.newPlayground()
	if err != nil {
		return err
	}
	return v.render("playground", "Playground", p)
}

// playgroundStep takes one step and shows what it sent and received.
func (v *visit) playgroundStep() error {
	p, err := v.newPlayground()
	if err != nil {
		return err
	}
	if text, err := base64.RawURLEncoding.DecodeString(v.form("state")); err == nil && len(text) > 0 {
		if err := json.Unmarshal(text, &p.play); err != nil {
			return &admin.Problem{Status: http.StatusBadRequest, Title: "Bad request", Detail: "The state of the playground is damaged. Open the page again."}
		}
	}
	step := v.form("step")
	if step == playSignIn {
		p.play = play{Client: v.form("client"), Sub: strings.TrimSpace(v.form("sub")), Log: p.Log}
	}
	err = v.take(p, step)
	if err != nil {
		if admin.ProblemOf(err).Code != string(oauth.ReasonClientTokensOff) {
			return v.renderProblem("playground", "Playground", p, err)
		}
		p.Off = true
	}
	if p.Now != nil {
		p.Log = append(p.Log, p.Now.line)
		p.Log = p.Log[max(0, len(p.Log)-mostLines):]
	}
	p.Refresh = p.Refresh[max(0, len(p.Refresh)-mostRefresh):]
	state, err := json.Marshal(p.play)
	if err != nil {
		return err
	}
	p.State = base64.RawURLEncoding.EncodeToString(state)
	return v.render("playground", "Playground", p)
}

// take takes a step.
func (v *visit) take(p *playground, step string) error {
	last := func(n int) string { return p.Refresh[len(p.Refresh)-1-n] }
	switch {
	case step == playSignIn:
		how := v.form("how")
		token, err := v.mintFor(p.Sub, how)
		if err != nil {
			return err
		}
		p.ClientToken = token
		p.Now = &played{line: line{"Sign in", "Your authentication service vouches for " + p.Sub + " with a client token, which is valid for a minute and for one use.", "good"}}
		p.Now.decode("Client token", token)
	case step == playExchange && p.CanExchange():
		v.send(p, "Exchange", url.Values{
			"client_id": {p.Client}, "grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"},
			"subject_token_type": {oauth.TokenTypeJWT}, "subject_token": {p.ClientToken},
		})
		p.ClientToken = ""
		p.Now.Text = "The app exchanged the client token for a session: it got an access token and a refresh token."
	case step == playRefresh && p.CanRefresh():
		v.send(p, "Refresh", url.Values{"client_id": {p.Client}, "grant_type": {"refresh_token"}, "refresh_token": {last(0)}})
		p.Now.Text = "A refresh token works once: the app got a new access token and the next refresh token."
	case step == playLost && p.CanLose():
		before := last(0)
		v.send(p, "Lost answer", url.Values{"client_id": {p.Client}, "grant_type": {"refresh_token"}, "refresh_token": {last(1)}})
		if p.Now.Text = "The app lost the last answer and sent the same refresh token again. It got the same next token, and nobody was signed out."; last(0) != before {
			p.Now.Text = "The app sent the previous refresh token again and got a new next token."
		}
	case step == playTheft && p.CanSteal():
		v.send(p, "Theft", url.Values{"client_id": {p.Client}, "grant_type": {"refresh_token"}, "refresh_token": {p.Refresh[0]}})
		p.Now.Text = "Somebody sent a refresh token that was replaced several times, so it was copied. It was refused, and the session ended for everybody."
	case step == playStepUp && p.CanRefresh():
		token, err := v.mintFor(p.Sub, "hwk")
		if err != nil {
			return err
		}
		v.send(p, "Step up", url.Values{
			"client_id": {p.Client}, "grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"},
			"subject_token_type": {oauth.TokenTypeJWT}, "subject_token": {token}, "latchkey_session_token": {last(0)},
		})
		p.Now.Text = "The user proved a passkey, and the same session became stronger: see acr and amr."
	case step == playCheck && p.CanCheck():
		v.check(p)
	case step == playRevoke && p.CanRefresh():
		v.request(p, "Sign out", "/revoke", url.Values{"client_id": {p.Client}, "token": {last(0)}}, v.Admin.OAuth.Revoke)
		p.Now.Text, p.Ended = "The app revoked a token of the session, and with it the whole session (RFC 7009).", true
	default:
		return &admin.Problem{Status: http.StatusBadRequest, Title: "Bad request", Errors: []admin.Fault{{Parameter: "step", Detail: "is not possible now"}}}
	}
	if p.Now.Status >= 400 && step != playCheck {
		p.Now.refused()
	}
	return nil
}

// refused replaces the sentence of a step that the server refused.
func (n *played) refused() {
	var e struct {
		Reason      string `json:"latchkey_reason"`
		Description string `json:"error_description"`
	}
	_ = json.Unmarshal([]byte(n.Answer), &e)
	n.Class = "bad"
	if e.Reason != "refresh_reused" {
		n.Text = "The server refused it: " + e.Description
	}
	if e.Reason == "refresh_superseded" {
		n.Class = "warning"
		n.Text = "The server took it for a late copy of an old request: it was refused, and the session continues."
	}
}

// mintFor returns a client token for a user who signed in by a method.
func (v *visit) mintFor(sub, how string) (string, error) {
	if v.Mint != nil && v.Tenant == settings.DefaultTenant {
		if sub == "" {
			return "", &admin.Problem{Status: http.StatusBadRequest, Errors: []admin.Fault{{Pointer: "/sub", Detail: "is missing"}}}
		}
		return v.Mint(sub, strings.Fields(how), nil)
	}
	body, err := json.Marshal(map[string]any{"sub": sub, "amr": strings.Fields(how)})
	if err != nil {
		return "", err
	}
	minted, err := v.Admin.MintClientToken(v.ctx(), v.Caller, v.Tenant, body)
	if err != nil {
		return "", err
	}
	return minted.ClientToken, nil
}

// send sends a request to the token endpoint and keeps what it returns.
func (v *visit) send(p *playground, title string, form url.Values) {
	v.request(p, title, "/token", form, v.Admin.OAuth.Token)
	var answer struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
		Reason  string `json:"latchkey_reason"`
	}
	_ = json.Unmarshal([]byte(p.Now.Answer), &answer)
	p.Now.decode("Access token", answer.Access)
	if answer.Access != "" {
		p.Access = answer.Access
	}
	if answer.Refresh != "" && !slices.Contains(p.Refresh, answer.Refresh) {
		p.Refresh = append(p.Refresh, answer.Refresh)
	}
	p.Ended = p.Ended || answer.Reason == "refresh_reused" || answer.Reason == "session_ended"
}

// check reads the session with its access token.
func (v *visit) check(p *playground) {
	v.request(p, "Check the session", "/session", nil, v.Admin.OAuth.Session)
	p.Now.Text = "The session is alive."
	if p.Now.Status != http.StatusOK {
		p.Now.Text, p.Now.Class, p.Ended = "The session has ended, so its access token is refused at once.", "bad", true
	}
}

// request calls an endpoint of the tenant, as a request of an app over HTTP would.
func (v *visit) request(p *playground, title, path string, form url.Values, endpoint func(http.ResponseWriter, *http.Request, *oauth.Call)) {
	p.Now = &played{line: line{Title: title, Class: "good"}}
	tenant, err := v.Admin.OAuth.Tenant(v.ctx(), v.Tenant)
	if err != nil {
		p.Now.Status, p.Now.Answer = http.StatusServiceUnavailable, err.Error()
		return
	}
	method, body := http.MethodGet, ""
	if form != nil {
		method, body = http.MethodPost, form.Encode()
	}
	r, err := http.NewRequestWithContext(v.ctx(), method, tenant.Issuer+path, strings.NewReader(body))
	if err != nil {
		p.Now.Status, p.Now.Answer = http.StatusInternalServerError, err.Error()
		return
	}
	p.Now.Request = fmt.Sprintf("%s %s", method, path)
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range form {
			if !yield(name) {
				return
			}
		}
	}) {
		p.Now.Request += fmt.Sprintf("\n%s=%s", name, shortened(form.Get(name)))
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	} else {
		r.Header.Set("Authorization", "Bearer "+p.Access)
		p.Now.Request += "\nAuthorization: Bearer " + shortened(p.Access)
	}
	w := &recorder{header: http.Header{}}
	endpoint(w, r, &oauth.Call{Tenant: tenant, IP: v.Caller.IP, UserAgent: oauth.TrimUserAgent(v.g.Request.UserAgent())})
	p.Now.Status, p.Now.Answer = w.status, pretty(w.body.Bytes())
}

// recorder keeps the response of an endpoint.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *recorder) Header() http.Header { return w.header }

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *recorder) Write(text []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(text)
}

// shortened returns a value with the middle of a long one left out.
func shortened(value string) string {
	if len(value) <= 64 || strings.HasPrefix(value, "urn:") {
		return value
	}
	return value[:24] + "…" + value[len(value)-12:]
}

func pretty(text []byte) string {
	var b bytes.Buffer
	if json.Indent(&b, bytes.TrimSpace(text), "", "  ") != nil {
		return string(text)
	}
	return b.String()
}

// decode adds the claims of a JWT to what a step shows.
func (n *played) decode(title, token string) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return
	}
	if payload, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil {
		n.Tokens = append(n.Tokens, decoded{title + ", decoded", pretty(payload)})
	}
}
