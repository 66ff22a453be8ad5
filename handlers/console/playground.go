package console

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
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
	list, err := v.Admin.Clients(v.ctx(), v.Caller, v.Tenant, "", models.Page{Limit: 200})
	if err != nil {
		return nil, err
	}
	p := &playground{}
	for _, c := range list.Items {
		s, err := clientSettings(&c)
		if err != nil {
			return nil, err
		}
		if plays(s) {
			p.Clients = append(p.Clients, c.ID)
		}
	}
	if v.Mint == nil || v.Tenant != settings.DefaultTenant {
		mints, err := v.Admin.OAuth.MintsClientTokens(v.ctx(), v.Tenant)
		if err != nil {
			return nil, err
		}
		p.Off = !mints
	}
	if p.Sub = "alice"; len(p.Clients) > 0 {
		p.Client = p.Clients[0]
	}
	return p, nil
}

// plays reports whether the playground can use a client.
func plays(s settings.ClientSettings) bool {
	return s.Public() && s.HasGrant(settings.GrantTokenExchange) && s.HasGrant(settings.GrantRefresh)
}

func (v *visit) playgroundStart() error {
	p, err := v.newPlayground()
	if err != nil {
		return err
	}
	if client := v.query("client"); slices.Contains(p.Clients, client) {
		p.Client = client
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
func (v *visit) take(p *playground, step string) (err error) {
	last := func(n int) string { return p.Refresh[len(p.Refresh)-1-n] }
	switch {
	case step == playSignIn:
		if p.ClientToken, err = v.mintFor(p.Sub, v.form("how")); err != nil {
			return err
		}
		p.Now = &played{line: line{"Sign in", "Your authentication service vouches for " + p.Sub + " with a client token, which is valid for a minute and for one use.", "good"}}
		p.Now.decode("Client token", p.ClientToken)
	case step == playExchange && p.CanExchange():
		err = v.send(p, "Exchange", "The app exchanged the client token for a session: it got an access token and a refresh token.", url.Values{
			"client_id": {p.Client}, "grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"},
			"subject_token_type": {oauth.TokenTypeJWT}, "subject_token": {p.ClientToken},
		})
		p.ClientToken = ""
	case step == playRefresh && p.CanRefresh():
		err = v.refresh(p, "Refresh", "A refresh token works once: the app got a new access token and the next refresh token.", last(0))
	case step == playLost && p.CanLose():
		before := last(0)
		err = v.refresh(p, "Lost answer", "The app lost the last answer and sent the same refresh token again. It got the same next token, and nobody was signed out.", last(1))
		if err == nil && last(0) != before {
			p.Now.Text = "The app sent the previous refresh token again and got a new next token."
		}
	case step == playTheft && p.CanSteal():
		err = v.refresh(p, "Theft", "Somebody sent a refresh token that was replaced several times, so it was copied. It was refused, and the session ended for everybody.", p.Refresh[0])
	case step == playStepUp && p.CanRefresh():
		var token string
		if token, err = v.mintFor(p.Sub, "hwk"); err != nil {
			return err
		}
		err = v.send(p, "Step up", "The user proved a passkey, and the same session became stronger: see acr and amr.", url.Values{
			"client_id": {p.Client}, "grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"},
			"subject_token_type": {oauth.TokenTypeJWT}, "subject_token": {token}, "latchkey_session_token": {last(0)},
		})
	case step == playCheck && p.CanCheck():
		err = v.check(p)
	case step == playRevoke && p.CanRefresh():
		err = v.request(p, "Sign out", "The app revoked a token of the session, and with it the whole session (RFC 7009).", "/revoke", url.Values{"client_id": {p.Client}, "token": {last(0)}}, v.Admin.OAuth.Revoke)
		p.Ended = true
	default:
		return &admin.Problem{Status: http.StatusBadRequest, Title: "Bad request", Errors: []admin.Fault{{Parameter: "step", Detail: "is not possible now"}}}
	}
	if err == nil && p.Now.Status >= 400 && step != playCheck {
		p.Now.refused()
	}
	return err
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

// refresh sends a refresh token.
func (v *visit) refresh(p *playground, title, text, token string) error {
	return v.send(p, title, text, url.Values{"client_id": {p.Client}, "grant_type": {"refresh_token"}, "refresh_token": {token}})
}

// send sends a request to the token endpoint and keeps what it returns.
func (v *visit) send(p *playground, title, text string, form url.Values) error {
	if err := v.request(p, title, text, "/token", form, v.Admin.OAuth.Token); err != nil {
		return err
	}
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
	return nil
}

// check reads the session with its access token.
func (v *visit) check(p *playground) error {
	if err := v.request(p, "Check the session", "The session is alive.", "/session", nil, v.Admin.OAuth.Session); err != nil {
		return err
	}
	if p.Now.Status != http.StatusOK {
		p.Now.Text, p.Now.Class, p.Ended = "The session has ended, so its access token is refused at once.", "bad", true
	}
	return nil
}

// request calls an endpoint of the tenant, as a request of an app over HTTP would. text
// explains the step if the request is accepted.
func (v *visit) request(p *playground, title, text, path string, form url.Values, endpoint func(http.ResponseWriter, *http.Request, *oauth.Call)) error {
	tenant, err := v.Admin.OAuth.Tenant(v.ctx(), v.Tenant)
	if err != nil {
		return err
	}
	method, body := http.MethodGet, ""
	if form != nil {
		method, body = http.MethodPost, form.Encode()
	}
	r, err := http.NewRequestWithContext(v.ctx(), method, tenant.Issuer+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	p.Now = &played{line: line{title, text, "good"}}
	p.Now.Request = fmt.Sprintf("%s %s", method, path)
	for _, name := range slices.Sorted(maps.Keys(form)) {
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
	return nil
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
