package console

import (
	"encoding/json"
	"strings"

	"github.com/latchkey/latchkey/handlers/admin"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/settings"
)

func issuerRoutes() []route {
	const issuer = "/t/:tenant/issuers/:issuer"
	return []route{
		page("/t/:tenant/issuers", "list-trusted-issuers", (*visit).issuers),
		page("/t/:tenant/issuers/new", "put-trusted-issuer", (*visit).newIssuer),
		form("/t/:tenant/issuers/new", "put-trusted-issuer", (*visit).createIssuer),
		page(issuer, "get-trusted-issuer", (*visit).showIssuer),
		form(issuer, "patch-trusted-issuer", (*visit).saveIssuer),
		form(issuer+"/document", "put-trusted-issuer", (*visit).saveIssuerDocument),
		form(issuer+"/check", "check-trusted-issuer", (*visit).checkIssuer),
		page(issuer+"/suspend", "suspend-trusted-issuer", (*visit).suspendIssuer),
		form(issuer+"/suspend", "suspend-trusted-issuer", (*visit).suspendIssuer),
		form(issuer+"/resume", "resume-trusted-issuer", (*visit).resumeIssuer),
		page(issuer+"/delete", "delete-trusted-issuer", (*visit).deleteIssuer),
		form(issuer+"/delete", "delete-trusted-issuer", (*visit).deleteIssuer),
		page("/t/:tenant/explain", "explain", (*visit).explainForm),
		form("/t/:tenant/explain", "explain", (*visit).explain),
	}
}

// issuerPage is the content of the pages of one trusted issuer.
type issuerPage struct {
	*admin.Issuer
	Form     settings.IssuerSettings
	NewID    string
	Keys     string // where its keys come from
	Fields   []field
	Editable bool
	Document document
	Sources  []choice // of new keys
	KeyText  string   // as typed; never a secret
	Check    *admin.IssuerCheck
}

// Field returns a setting of the form.
func (p *issuerPage) Field(name string) *field { return named(p.Fields, name) }

// issuerFields returns the settings that have a field. The keys have choices of their
// own.
func issuerFields() []field {
	const checks, proof, users, ends, state = "Checks of its tokens", "How its users signed in", "Who may sign in", "What it may end", "Network and state"
	return []field{
		{Name: "issuer", Label: "Issuer", Kind: textField, Hint: "The exact iss of its tokens, such as https://auth.example.com."},
		{Name: "token_type", Label: "Its tokens are", Kind: pickField, Options: []choice{
			{Value: settings.TokenTypeJWT, Label: "client tokens: short-lived JWTs for one use"},
			{Value: settings.TokenTypeIDToken, Label: "ID tokens of an OpenID provider"},
		}},
		{Name: "audiences", Label: "Audiences", Kind: linesField, Hint: "Every aud of a token must be listed, one a line. Without any: the issuer URL of this tenant. Required for ID tokens."},
		{Name: "algorithms", Label: "Algorithms", Kind: wordsField, Hint: "Separated by spaces. Without any: RS256, or HS256 with a shared secret."},
		{Name: "max_age", Label: "Oldest token", Kind: textField, Placeholder: "5m", Hint: "The longest time since iat."},
		{Name: "max_token_lifetime", Label: "Longest lifetime", Kind: textField, Placeholder: "10m", Hint: "The longest exp − iat; 24h for ID tokens."},
		{Name: "subject", Label: "The user's id", Kind: textField, Placeholder: "token.sub", Hint: "A CEL expression over token."},
		{Name: "subject_prefix", Label: "Prefix of its users", Kind: textField, Hint: "A change renames its users."},
		{Name: "user_attributes", Label: "Attributes of the user", Kind: pairsField, Hint: "One a line: name = CEL expression over token, such as email = token.email."},
		{Name: "session_attributes", Label: "Attributes of the session", Kind: pairsField, Hint: "The same, for one session only."},
		{Name: "clients", Label: "Only for these clients", Kind: wordsField, Hint: "Separated by spaces. Without any: all clients."},
		{Name: "may_revoke", Label: "It may sign its users out", Kind: flagField, Hint: "By global token revocation or security events."},
		{Name: "backchannel_logout", Label: "It may end its sessions", Kind: flagField, Hint: "By OpenID Connect Back-Channel Logout."},

		{Name: "typ", Group: checks, Label: "Another accepted type", Kind: textField, Hint: "A typ of its tokens, in addition to JWT and none."},
		{Name: "leeway", Group: checks, Label: "Tolerance for clocks", Kind: textField, Placeholder: "30s", Hint: "How far its clock may differ."},
		{Name: "amr", Group: proof, Label: "How the user signed in", Kind: textField, Placeholder: "token.amr", Hint: "A CEL expression over token that yields a list of methods."},
		{Name: "asserts", Group: proof, Label: "Claims about it that count", Kind: wordsField, None: "None of them counts", Placeholder: "amr auth_time", Hint: "amr, auth_time and acr, separated by spaces."},
		{Name: "max_acr", Group: proof, Label: "Highest class of assurance", Kind: textField, Placeholder: "no bound", Hint: "Its factors count up to this class of the tenant."},
		{Name: "public_clients", Group: users, Label: "Public clients may exchange its tokens", Kind: boolField, Default: "true", Options: yesOrNo},
		{Name: "create_users", Group: users, Label: "The first sign-in creates the user", Kind: boolField, Default: "true", Options: yesOrNo},
		{Name: "share_subjects", Group: users, Label: "Other issuers may sign in the same users", Kind: flagField, Hint: "Those with the same prefix that have this setting, too."},
		{Name: "revocation_typ", Group: ends, Label: "Type of its revocation tokens", Kind: textField, Hint: "The typ, such as global-token-revocation+jwt. Required if it may sign its users out."},
		{Name: "revocation_callers", Group: ends, Label: "Senders of revocations", Kind: wordsField, Placeholder: "nobody", Hint: "The sub values that those tokens may have, separated by spaces."},
		{Name: "revocation_email_attribute", Group: ends, Label: "Attribute with the email address", Kind: textField, Hint: "It finds the user if a revocation names an email address. One of the tenant's searchable attributes."},
		{Name: "security_event_audience", Group: ends, Label: "Audience of its security events", Kind: textField, Hint: "The aud. Left empty: the address that receives them."},
		{Name: "untyped_logout_tokens", Group: ends, Label: "Accept logout tokens without a type of their own", Kind: flagField, Hint: "Their typ is JWT or absent, not logout+jwt."},
		{Name: "allow_private_addresses", Group: state, Label: "Its keys may be at a private address", Kind: flagField, Owner: true, Hint: "For development. They may also be fetched over http. Only an owner can set this."},
		{Name: "disabled", Group: state, Label: "Disabled", Kind: flagField, Hint: "Its tokens are rejected. Uncheck this to enable it."},
	}
}

// keySources are where the keys of an issuer can come from.
var keySources = []choice{
	{Value: "discovery", Label: "Its discovery document", Hint: "Nothing to enter."},
	{Value: "jwks_uri", Label: "A key set at an address", Hint: "Enter its URL."},
	{Value: "pem", Label: "Public keys", Hint: "Enter PEM."},
	{Value: "jwks", Label: "A key set", Hint: "Enter its JSON."},
	{Value: "shared_secret", Label: "A shared secret (HS256)", Hint: "Enter at least 32 bytes."},
	{Value: "internal", Label: "This tenant itself", Hint: "Its back ends mint client tokens for users that they have signed in. Its issuer is known: leave it empty above."},
}

// keysOf describes where the keys of an issuer come from.
func keysOf(i *admin.Issuer, s settings.IssuerSettings) string {
	switch {
	case s.Keys.Discovery:
		return "discovery document"
	case s.Keys.JWKSURI != "":
		return s.Keys.JWKSURI
	case s.Keys.Internal:
		return "minted by this tenant"
	case s.Keys.PEM != "" || s.Keys.JWKS != nil:
		return "public keys in the settings"
	case i.Status.SharedSecret:
		return "shared secret"
	}
	return "none"
}

// issuerList is the content of the page Trusted issuers.
type issuerList struct {
	Query string
	Rows  []issuerRow
	pager
}

type issuerRow struct {
	admin.Issuer
	URL, Keys, Href string
}

func (v *visit) issuers() error {
	p, err := admin.NewPage(v.query("cursor"), 50, v.query("q"))
	if err != nil {
		return err
	}
	list, err := v.Admin.Issuers(v.ctx(), v.Caller, v.Tenant, p)
	if err != nil {
		return err
	}
	data := issuerList{Query: v.query("q"), pager: v.pager(list.NextCursor)}
	for _, i := range list.Items {
		var s settings.IssuerSettings
		if err := i.Settings.Decode(&s); err != nil {
			return err
		}
		data.Rows = append(data.Rows, issuerRow{i, s.Issuer, keysOf(&i, s), v.at("issuers", i.ID)})
	}
	return v.render("issuers", "Trusted issuers", data)
}

func (v *visit) issuerPage() (*issuerPage, error) {
	i, err := v.Admin.Issuer(v.ctx(), v.Caller, v.Tenant, v.param("issuer"))
	if err != nil {
		return nil, err
	}
	p := &issuerPage{Issuer: i, Editable: v.May("patch-trusted-issuer") && i.Status.ManagedBy == nil}
	p.Fields = inForm(shown(issuerFields(), i.Settings), true, p.Editable, v.owner())
	if err := i.Settings.Decode(&p.Form); err != nil {
		return nil, err
	}
	if p.Document, err = newDocument(i.Settings, v.at("issuers", i.ID, "document")); err != nil {
		return nil, err
	}
	p.Keys = keysOf(i, p.Form)
	p.Sources = append([]choice{{Value: "", Label: "Keep: " + p.Keys, On: true}}, keySources...)
	return p, nil
}

func (v *visit) showIssuer() error {
	p, err := v.issuerPage()
	if err != nil {
		return err
	}
	return v.render("issuer", p.ID, p)
}

// typedKeys returns the member keys of the body, or nil if the keys stay.
func (v *visit) typedKeys(p *issuerPage, sources []choice) (map[string]any, error) {
	source, text := v.form("keys"), strings.TrimSpace(v.form("key_text"))
	p.Sources = nil
	for _, s := range sources {
		s.On = s.Value == source
		p.Sources = append(p.Sources, s)
	}
	if source != "shared_secret" {
		p.KeyText = text
	}
	var value any = text
	switch source {
	case "":
		return nil, nil
	case "discovery", "internal":
		value = true
	case "jwks":
		if !json.Valid([]byte(text)) {
			return nil, &admin.Problem{Status: 400, Errors: []admin.Fault{{Pointer: "/keys", Detail: "is not valid JSON"}}}
		}
		value = json.RawMessage(text)
	case "jwks_uri", "pem", "shared_secret":
	default:
		return nil, &admin.Problem{Status: 400, Errors: []admin.Fault{{Pointer: "/keys", Detail: "must be one of the choices"}}}
	}
	return map[string]any{source: value}, nil
}

func (v *visit) saveIssuer() error {
	p, err := v.issuerPage()
	if err != nil {
		return err
	}
	fields, patch, err := changes(p.Fields, p.Settings, v.g.PostFormArray)
	if err != nil {
		return err
	}
	p.Fields, p.Version = fields, v.form("version") // another operator's change stays noticed
	keys, err := v.typedKeys(p, p.Sources)
	if err != nil {
		return v.renderProblem("issuer", p.ID, p, err)
	}
	if keys != nil {
		whole := map[string]any{}
		for _, s := range keySources {
			whole[s.Value] = nil
		}
		for name, value := range keys {
			whole[name] = value
		}
		patch["keys"] = whole
	}
	if len(patch) == 0 {
		return v.redirect(v.at("issuers", p.ID), "Nothing was changed.")
	}
	body, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	if _, err = v.Admin.PatchIssuer(v.ctx(), v.Caller, v.Tenant, p.ID, body, admin.IfVersion(v.form("version"))); err != nil {
		return v.renderProblem("issuer", p.ID, p, err)
	}
	return v.redirect(v.at("issuers", p.ID), "Saved. The next token of the issuer is checked by the new settings.")
}

func (v *visit) newIssuer() error {
	p := &issuerPage{Fields: inForm(shown(issuerFields(), settings.Document{"token_type": json.RawMessage(`"jwt"`)}), true, true, v.owner()), Sources: append([]choice{}, keySources...)}
	p.Sources[0].On = true
	return v.render("issuer-new", "Trust an issuer", p)
}

func (v *visit) createIssuer() error {
	p := &issuerPage{NewID: v.form("id")}
	body := map[string]any{}
	for _, f := range inForm(issuerFields(), true, true, v.owner()) {
		typed, value := f.typed(v.g.PostFormArray)
		p.Fields = append(p.Fields, typed)
		if value != nil {
			f.put(body, value)
		}
	}
	keys, err := v.typedKeys(p, keySources)
	if err == nil && p.NewID == "" {
		err = &admin.Problem{Status: 400, Errors: []admin.Fault{{Pointer: "/id", Detail: "is missing"}}}
	}
	if err != nil {
		return v.renderProblem("issuer-new", "Trust an issuer", p, err)
	}
	if keys != nil {
		body["keys"] = keys
	}
	if _, given := body["issuer"]; !given && keys["internal"] != nil {
		body["issuer"] = v.tenant.Status.Issuer + settings.ClientTokensPath
	}
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	_, _, err = v.Admin.PutIssuer(v.ctx(), v.Caller, v.Tenant, p.NewID, text, admin.Precondition{IfNoneMatch: "*"})
	if err != nil && admin.ProblemOf(err).Status == 412 {
		err = &admin.Problem{Status: 409, Errors: []admin.Fault{{Pointer: "/id", Detail: "is the id of another trusted issuer"}}}
	}
	if err != nil {
		return v.renderProblem("issuer-new", "Trust an issuer", p, err)
	}
	return v.redirect(v.at("issuers", p.NewID), "The issuer is trusted. Check its keys now.")
}

// checkIssuer fetches the metadata and the keys of an issuer, and shows the result.
func (v *visit) checkIssuer() error {
	p, err := v.issuerPage()
	if err != nil {
		return err
	}
	if p.Check, err = v.Admin.CheckIssuer(v.ctx(), v.Caller, v.Tenant, p.ID); err != nil {
		return err
	}
	return v.render("issuer", p.ID, p)
}

func (v *visit) issuerRef() models.Ref {
	return models.Ref{Kind: models.KindIssuer, Tenant: v.Tenant, ID: v.param("issuer")}
}

func (v *visit) suspendIssuer() error {
	id := v.param("issuer")
	return v.suspend(v.issuerRef(), confirmation{
		Heading: "Suspend the trusted issuer " + id + "?", What: "the issuer's id", Back: v.at("issuers", id),
		Text: []string{"Its tokens are refused until an operator lifts the suspension. This also works if the server's file names the issuer."},
	}, "The issuer is suspended, and the sessions that began with it have ended.")
}

func (v *visit) resumeIssuer() error {
	if _, err := v.Admin.Resume(v.ctx(), v.Caller, v.issuerRef(), nil); err != nil {
		return err
	}
	return v.redirect(v.at("issuers", v.param("issuer")), "The suspension is lifted. Its users can sign in again.")
}

func (v *visit) deleteIssuer() error {
	p, err := v.issuerPage()
	if err != nil {
		return err
	}
	ending, err := v.sessionsEnding(v.issuerRef())
	if err != nil {
		return err
	}
	c := confirmation{
		Heading: "Delete the trusted issuer " + p.ID + "?", What: "the issuer's id", Word: p.ID, Button: "Delete the issuer", Back: v.at("issuers", p.ID),
		Text: []string{"This ends " + ending + ". Its users cannot sign in until another issuer vouches for them.", "It cannot be undone."},
	}
	if ok, err := v.confirmed(c, nil); !ok {
		return err
	}
	if err := v.Admin.DeleteIssuer(v.ctx(), v.Caller, v.Tenant, p.ID, admin.Precondition{}); err != nil {
		_, err = v.confirmed(c, err)
		return err
	}
	return v.redirect(v.at("issuers"), "The trusted issuer "+p.ID+" is deleted.")
}

// explainPage is the content of the page Explain.
type explainPage struct {
	Client, Token string
	IDToken       bool
	Clients       []string
	Result        *admin.Explanation
	Checks        []explainedCheck
	Verdict       string
	Dev           bool
	Issuer        string
}

type explainedCheck struct {
	admin.Check
	Title, Icon, Class, Word string
}

// checkTitles name the checks of an exchange.
var checkTitles = map[string]string{
	"grant": "The client may exchange tokens", "format": "It is a JWT", "issuer": "A trusted issuer", "audience": "Its audience", "client": "The client may use this issuer",
	"typ": "Its type", "times": "Its times", "client_id": "It was issued to this client", "signature": "Its signature", "assertions": "How the user signed in",
	"jti": "It can be used once", "subject": "The user it is about", "allow": "The client's rule allows it", "targets": "The APIs asked for", "scope": "The scope asked for",
	"assurance": "Strong enough", "unspent": "It was not used before", "enabled": "Tenant, client and issuer are enabled", "user": "The user may sign in",
	"signed_out": "Issued after the last sign-out everywhere", "session_limit": "One more session is allowed",
}

// explainedChecks returns the checks of an exchange as pages show them.
func explainedChecks(checks []admin.Check) (list []explainedCheck) {
	for _, c := range checks {
		e := explainedCheck{Check: c, Title: checkTitles[c.Name], Icon: "open", Class: "not-reached", Word: "not reached"}
		if e.Title == "" {
			e.Title = c.Name
		}
		switch c.Outcome {
		case "passed":
			e.Icon, e.Class, e.Word = "good", "passed", "passed"
		case "failed":
			e.Icon, e.Class, e.Word = "bad", "failed", "failed"
		}
		list = append(list, e)
	}
	return list
}

// failedCheck returns the check that failed, or nil.
func failedCheck(checks []explainedCheck) *explainedCheck {
	for i := range checks {
		if checks[i].Outcome == "failed" {
			return &checks[i]
		}
	}
	return nil
}

// recordedChecks returns the checks that the event of a refused client token contains.
func recordedChecks(details map[string]any) []explainedCheck {
	recorded, _ := details["checks"].([]any)
	var checks []admin.Check
	for _, item := range recorded {
		c, _ := item.(map[string]any)
		text := func(name string) string { s, _ := c[name].(string); return s }
		checks = append(checks, admin.Check{Name: text("name"), Outcome: text("outcome"), Detail: text("detail"), Expected: text("expected"), Received: text("received")})
	}
	return explainedChecks(checks)
}

func (v *visit) newExplainPage() (*explainPage, error) {
	clients, err := v.Admin.Clients(v.ctx(), v.Caller, v.Tenant, "", models.Page{Limit: 50})
	if err != nil {
		return nil, err
	}
	p := &explainPage{Dev: v.Dev && v.Tenant == settings.DefaultTenant, Issuer: v.tenant.Status.Issuer}
	for _, c := range clients.Items {
		p.Clients = append(p.Clients, c.ID)
	}
	return p, nil
}

func (v *visit) explainForm() error {
	p, err := v.newExplainPage()
	if err != nil {
		return err
	}
	p.Client = v.query("client")
	return v.render("explain", "Explain a token", p)
}

// explain shows each check of an exchange. The token is in the body of the request, so
// that neither an address nor a log contains it.
func (v *visit) explain() error {
	p, err := v.newExplainPage()
	if err != nil {
		return err
	}
	p.Client, p.Token, p.IDToken = strings.TrimSpace(v.form("client")), strings.TrimSpace(v.form("token")), v.form("type") == settings.TokenTypeIDToken
	kind := settings.TokenTypeJWT
	if p.IDToken {
		kind = settings.TokenTypeIDToken
	}
	body, err := json.Marshal(map[string]string{"client_id": p.Client, "subject_token": p.Token, "subject_token_type": kind})
	if err != nil {
		return err
	}
	if p.Result, err = v.Admin.Explain(v.ctx(), v.Caller, v.Tenant, body); err != nil {
		return v.renderProblem("explain", "Explain a token", p, err)
	}
	p.Verdict, p.Checks = "This token would open a session.", explainedChecks(p.Result.Checks)
	if c := failedCheck(p.Checks); c != nil {
		p.Verdict = "This token would be refused: " + strings.TrimPrefix(c.Detail, "subject_token rejected: ")
	}
	return v.render("explain", "Explain a token", p)
}
