package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/latchkey/latchkey/config"
)

func newHealthcheck(s *sharedFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "healthcheck",
		Short: "Check that the server on this machine is alive (for containers)",
		Long: `Requests /healthz at the configured address. The exit code is 0 only if the
server responds that it is alive.`,
		Example: "  latchkey healthcheck --config latchkey.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, _, err := config.Load(s.path, os.Environ())
			if err != nil {
				return err
			}
			return checkHealth(cmd.Context(), c)
		},
	}
}

// checkHealth requests /healthz from the listener itself. It accepts a certificate
// for any host.
func checkHealth(ctx context.Context, c *config.Config) error {
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	scheme := "http"
	if c.TLS.CertFile != "" {
		scheme = "https"
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+net.JoinHostPort(host, port)+"/healthz", nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("/healthz returned %s", resp.Status)
	}
	return nil
}
