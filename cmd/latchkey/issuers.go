package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/latchkey/latchkey/config"
	"github.com/latchkey/latchkey/models"
	"github.com/latchkey/latchkey/oauth"
	"github.com/latchkey/latchkey/settings"
)

// issuerPatience bounds how long apply waits for the issuers of a file.
const issuerPatience = 5 * time.Second

// warnAboutIssuers asks the trusted issuers of tenants for their keys, and
// prints what keeps their tokens from being verified. None of it is a fault of
// applying: an issuer may be set up later, or be out of reach from here.
func warnAboutIssuers(ctx context.Context, out io.Writer, tenants []settings.TenantSpec, c *config.Config, store *models.Store, keys *oauth.Keys) error {
	server, err := newServer(c, store, keys, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	var entries []settings.IssuerSettings
	for _, t := range tenants {
		for _, i := range t.TrustedIssuers {
			entries = append(entries, i.IssuerSettings)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, issuerPatience)
	defer cancel()
	for _, check := range server.CheckIssuers(ctx, entries) {
		switch {
		case check.Err == nil:
		case errors.Is(check.Err, oauth.ErrIssuerMisconfigured):
			fmt.Fprintf(out, "Warning: trusted issuer %s: %v. Its tokens are answered 500 until this is corrected.\n", check.Issuer, check.Err)
		default:
			fmt.Fprintf(out, "Note: trusted issuer %s was not checked: %v\n", check.Issuer, check.Err)
		}
	}
	return nil
}

// checkIssuers has the node fetch the keys of every trusted issuer when it starts,
// so that a misconfigured one shows in the log before a user meets it. The node
// serves meanwhile.
func (n *node) checkIssuers(ctx context.Context) {
	entries, err := n.oauth.TrustedIssuers(ctx)
	if err != nil {
		n.log.Info("the trusted issuers were not checked", "cause", err.Error())
		return
	}
	for _, check := range n.oauth.CheckIssuers(ctx, entries) {
		switch {
		case check.Err == nil, ctx.Err() != nil:
		case errors.Is(check.Err, oauth.ErrIssuerMisconfigured): // in the log already
		default:
			n.log.Info("the keys of a trusted issuer cannot be fetched yet; the first token of it tries again", "issuer", check.Issuer, "cause", check.Err.Error())
		}
	}
}
