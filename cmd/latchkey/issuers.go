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
	"github.com/latchkey/latchkey/oauth/keys"
	"github.com/latchkey/latchkey/settings"
)

// issuerTimeout bounds how long apply waits for the issuers of a file.
const issuerTimeout = 5 * time.Second

// warnAboutIssuers fetches the keys of the tenants' trusted issuers, and prints a
// warning for each issuer whose tokens cannot be verified. This never makes apply
// fail: an issuer may be set up later, or be unreachable from this machine.
func warnAboutIssuers(ctx context.Context, out io.Writer, tenants []settings.TenantSpec, c *config.Config, store *models.Store, roots *keys.Roots) error {
	server, err := newServer(c, store, roots, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	var entries []settings.IssuerSettings
	for _, t := range tenants {
		for _, i := range t.TrustedIssuers {
			entries = append(entries, i.IssuerSettings)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, issuerTimeout)
	defer cancel()
	for _, check := range server.CheckIssuers(ctx, entries) {
		switch {
		case check.Err == nil:
		case errors.Is(check.Err, oauth.ErrIssuerMisconfigured):
			fmt.Fprintf(out, "Warning: trusted issuer %s: %v. Until this is corrected, every exchange of its tokens fails with status 500.\n", check.Issuer, check.Err)
		default:
			fmt.Fprintf(out, "Note: trusted issuer %s was not checked: %v\n", check.Issuer, check.Err)
		}
	}
	return nil
}

// checkIssuers fetches the keys of every trusted issuer at start, so that the log
// reports a misconfigured issuer before a user is affected. The node already serves
// at that time.
func (n *node) checkIssuers(ctx context.Context) {
	entries, err := n.oauth.TrustedIssuers(ctx)
	if err != nil {
		n.log.Info("the trusted issuers were not checked", "cause", err.Error())
		return
	}
	for _, check := range n.oauth.CheckIssuers(ctx, entries) {
		switch {
		case check.Err == nil, ctx.Err() != nil:
		case errors.Is(check.Err, oauth.ErrIssuerMisconfigured): // already logged
		default:
			n.log.Info("the keys of a trusted issuer cannot be fetched yet; its first token triggers another attempt", "issuer", check.Issuer, "cause", check.Err.Error())
		}
	}
}

// reportUnsetClaims logs the custom claims that nothing in the configuration yields.
// This is not a warning, because the API may have set the attributes.
func (n *node) reportUnsetClaims(ctx context.Context) {
	unset, err := n.oauth.UnsetClaims(ctx, n.config.Tenants)
	if err != nil {
		n.log.Info("the custom claims were not checked", "cause", err.Error())
	}
	for _, u := range unset {
		n.log.Info("a custom claim is in no token unless its attribute is set over the API: no trusted issuer maps it, and no user of the file has it",
			"tenant", u.Tenant, "client", u.Client, "claim", u.Claim, "attribute", "user."+u.Attribute)
	}
}
