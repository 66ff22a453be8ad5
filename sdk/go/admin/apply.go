package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
)

// ApplyOptions configure [Client.Apply].
type ApplyOptions struct {
	DryRun  bool // change nothing, and report the difference
	Replace bool // set the settings that the document leaves out to their defaults
	Prune   bool // remove what the document does not name, within the tenants of the key
	YAML    bool // the document is YAML; otherwise it is JSON
}

// Applied is the difference that applying a document made, or would make.
type Applied struct {
	DryRun  bool     `json:"dry_run"`
	Changes []Change `json:"changes"`
}

// Change is one difference between a document and the stored configuration.
type Change struct {
	Change string        `json:"change"` // created, changed or removed
	Kind   string        `json:"kind"`   // tenant, client, issuer or user; file: the stored revision
	Tenant string        `json:"tenant,omitempty"`
	ID     string        `json:"id,omitempty"`
	Fields []FieldChange `json:"fields,omitempty"`
	Notes  []string      `json:"notes,omitempty"` // warnings: what loosens security, renames users, stays looser than the default, or has no effect
}

// FieldChange is a setting that changes, with its previous and its new value. nil means
// the default. Both are nil for a secret.
type FieldChange struct {
	Name string          `json:"name"`
	From json.RawMessage `json:"from,omitempty"`
	To   json.RawMessage `json:"to,omitempty"`
}

// Apply applies a document: the sections tenants and revision of a configuration
// file. The server rejects members that name files, such as secret_file.
func (c *Client) Apply(ctx context.Context, document []byte, o ApplyOptions) (*Applied, error) {
	r := request{method: http.MethodPost, path: []string{"apply"}, query: url.Values{}, kind: jsonType, body: document, repeat: o.DryRun}
	if o.YAML {
		r.kind = yamlType
	}
	for name, on := range map[string]bool{"dry_run": o.DryRun, "replace": o.Replace, "prune": o.Prune} {
		if on {
			r.query.Set(name, "true")
		}
	}
	done := &Applied{}
	if _, err := c.c.call(ctx, r, nil, done); err != nil {
		return nil, err
	}
	return done, nil
}

// ExportOptions configure [Client.Export].
type ExportOptions struct {
	Tenants        []string // default: all tenants of the key
	Users          bool     // include the users that a file or an operator has named
	ForNewDatabase bool     // name a file in place of each secret
	YAML           bool     // as YAML; otherwise as JSON
}

// Export returns the configuration as a document that Apply accepts, without
// secrets.
func (c *Client) Export(ctx context.Context, o ExportOptions) ([]byte, error) {
	v := url.Values{}
	setParam(v, "tenant", strings.Join(o.Tenants, ","))
	for name, on := range map[string]bool{"users": o.Users, "for_new_database": o.ForNewDatabase} {
		if on {
			v.Set(name, "true")
		}
	}
	kind := jsonType
	if o.YAML {
		kind = yamlType
	}
	text, _, err := c.c.send(ctx, request{method: http.MethodGet, path: []string{"export"}, query: v, header: http.Header{"Accept": {kind}}, repeat: true})
	return text, err
}
