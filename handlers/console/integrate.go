package console

import (
	"embed"
	"strings"
	"text/template"

	"github.com/latchkey/latchkey/settings"
)

//go:embed snippets
var snippetFiles embed.FS

var snippetTemplates = template.Must(template.New("").Funcs(template.FuncMap{"shell": shellQuoted}).ParseFS(snippetFiles, "snippets/*"))

// snippet is code for one client, which works as pasted.
type snippet struct{ ID, Title, Text, Code string }

// snippetValues are the values of the client.
type snippetValues struct {
	Issuer, ID, Auth, Audience string
	API                        string // an API that its tokens may be for; empty: none
	Secret, Refresh, Machine   bool
	Dev                        bool // the server issues client tokens for anybody
}

// shellQuoted returns text as one word of a shell.
func shellQuoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// integrateClient shows how to use a client.
func (v *visit) integrateClient() error {
	p, err := v.clientPage("integrate")
	if err != nil {
		return err
	}
	values := snippetValues{
		Issuer: v.tenant.Status.Issuer, ID: p.ID, Auth: `-d "client_id=` + p.ID + `"`, Audience: p.ID, Secret: p.Confidential(),
		Refresh: p.Form.HasGrant(settings.GrantRefresh), Machine: p.Form.HasGrant(settings.GrantClientCredentials), Dev: v.Dev && v.Tenant == settings.DefaultTenant,
	}
	if values.Secret {
		values.Auth = `-u "` + p.ID + `:$CLIENT_SECRET"`
	}
	if len(p.Form.Audiences) > 0 {
		values.API = p.Form.Audiences[0]
	}
	var files []snippet
	if p.HasUsers() {
		files = append(files, snippet{"app.sh", "curl", "A session from its first to its last request.", ""})
		if !values.Secret {
			files = append(files, snippet{"app.mjs", "TypeScript: @latchkey/sdk", "Keeps the user signed in over reloads, tabs and lost responses. docs/sdk-js.md has how to install it, and pages to try.", ""})
		}
		files = append(files,
			snippet{"app.go.txt", "Go: Latchkey's SDK", "In a back end. docs/sdk-go.md has how to install it. CLIENT_TOKEN is a client token.", ""},
			snippet{"library.go.txt", "Go: golang.org/x/oauth2", "Any OAuth library works; docs/integrations.md has Node, Python and Ruby.", ""})
	}
	if values.Secret {
		files = append(files,
			snippet{"api.sh", "curl, as an API", "Whether a token is valid at this moment.", ""},
			snippet{"api.go.txt", "Go: an API that checks tokens", "Without a request for each token, and within a second of a sign-out.", ""})
	}
	files = append(files, snippet{"gateway.conf", "A gateway in front of an API", "It lets tokens for this client pass. docs/gateways.md has nginx and HAProxy, and introspection.", ""})
	for _, s := range files {
		var b strings.Builder
		if err := snippetTemplates.ExecuteTemplate(&b, s.ID, values); err != nil {
			return err
		}
		s.ID, s.Code = "code-"+strings.ReplaceAll(s.ID, ".", "-"), strings.TrimSpace(b.String())
		p.Snippets = append(p.Snippets, s)
	}
	return v.render("client-integrate", p.Name, p)
}
