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
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	resp, err := requestListener(ctx, c.Listen, c.TLS.CertFile != "", "/healthz", "")
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("/healthz returned %s", resp.Status)
	}
	return nil
}

// requestListener requests a path from a listener of this machine. It accepts a
// certificate for any host. The Host header is the address, unless host is given.
func requestListener(ctx context.Context, address string, secure bool, path, host string) (*http.Response, error) {
	name, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(name); name == "" || ip != nil && ip.IsUnspecified() {
		name = "127.0.0.1"
	}
	scheme := "http"
	if secure {
		scheme = "https"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+net.JoinHostPort(name, port)+path, nil)
	if err != nil {
		return nil, err
	}
	req.Host = host
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	return client.Do(req)
}
