package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/latchkey/latchkey/sdk/go/admin"
	"github.com/latchkey/latchkey/settings"
)

func newExplain(s *sharedFlags) *cobra.Command {
	var p admin.ExplainParams
	var tenant, file string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "explain [TOKEN]",
		Short: "Explain why a client token is accepted or rejected",
		Long: `Makes the checks of an exchange of a client token and prints each of them, with
what was expected and what was received if it failed. Nothing is spent or written:
the token can still be exchanged afterwards.

The token comes from --token-file, or from standard input. Given as an argument, it
is visible to other users of the machine. The exit code is 0 whether the exchange
would succeed or not.` + remoteHelp,
		Example: `  latchkey explain --client web --token-file token.jwt
  latchkey explain --client web --tenant acme < token.jwt
  latchkey explain --client web --json --server https://admin.example.com --key-file admin-key < token.jwt`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			switch {
			case p.ClientID == "":
				return errors.New("--client is missing: the id of the client that would exchange the token")
			case len(args) == 1 && file != "":
				return errors.New("give the token either as an argument or with --token-file")
			case len(args) == 1:
				p.SubjectToken = args[0]
			case file == "" && s.server != "" && s.keyFile == "-":
				return errors.New("standard input cannot hold both the key and the token: use --token-file")
			default:
				if file == "" {
					file = "-"
				}
				if p.SubjectToken, err = readToken(cmd, file); err != nil {
					return fmt.Errorf("read the client token: %w", err)
				}
			}
			if p.SubjectToken == "" {
				return errors.New("the client token is empty")
			}
			return s.manage(cmd, func(m management) error {
				e, err := m.explain(cmd.Context(), tenant, p)
				switch {
				case err != nil:
					return s.absent(err, "there is no tenant %q", tenant)
				case asJSON:
					return printJSON(cmd, e)
				}
				return printExplanation(cmd.OutOrStdout(), e)
			})
		},
	}
	s.addRemote(cmd)
	cmd.Flags().StringVar(&tenant, "tenant", settings.DefaultTenant, "id of the tenant")
	cmd.Flags().StringVar(&p.ClientID, "client", "", "id of the client that would exchange the token (required)")
	cmd.Flags().StringVar(&p.SubjectTokenType, "type", "", "jwt or id_token; default: jwt")
	cmd.Flags().StringVar(&file, "token-file", "", "file with the client token, or - for standard input (the default)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

func printExplanation(out io.Writer, e *admin.Explanation) error {
	signs := map[string]string{"passed": "+", "failed": "!", "not_reached": " "}
	for _, c := range e.Checks {
		fmt.Fprintf(out, "%s %s: %s\n", signs[c.Outcome], c.Name, map[bool]string{true: "not reached", false: c.Outcome}[c.Outcome == "not_reached"])
		for _, detail := range []struct{ name, text string }{
			{"", c.Detail}, {"cause: ", c.Cause}, {"expected: ", c.Expected}, {"received: ", c.Received}, {"reason: ", c.Reason},
		} {
			if detail.text != "" {
				fmt.Fprintf(out, "    %s%s\n", detail.name, printable(detail.text))
			}
		}
	}
	fmt.Fprintln(out)
	if e.Allowed {
		fmt.Fprintln(out, "The exchange would succeed.")
	} else {
		fmt.Fprintln(out, "The exchange would be rejected.")
	}
	if e.User != "" {
		fmt.Fprintf(out, "The token is of user %s, by trusted issuer %s.\n", printable(e.User), orDash(e.Issuer))
	}
	for _, group := range []struct {
		title  string
		values map[string]any
	}{
		{"Claims of the client token", e.TokenClaims}, {"Attributes that the user gets", e.UserAttributes},
		{"Attributes that the session gets", e.SessionAttributes}, {"Claims of the access token", e.AccessToken},
	} {
		if len(group.values) > 0 {
			fmt.Fprintf(out, "%s:\n", group.title)
		}
		for _, name := range slices.Sorted(maps.Keys(group.values)) {
			fmt.Fprintf(out, "  %s: %s\n", printable(name), printable(asText(group.values[name])))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.LeftOut)) {
		fmt.Fprintf(out, "! %s is left out: %s\n", printable(name), printable(e.LeftOut[name]))
	}
	if e.Masked {
		fmt.Fprintln(out, "The role of the admin key may not see the values of claims and attributes.")
	}
	return nil
}
