package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	latchkey "github.com/latchkey/latchkey/sdk/go"
	"github.com/latchkey/latchkey/sdk/go/admin"
)

// maxKeyFile bounds a file with an admin key.
const maxKeyFile = 4 << 10

// remoteHelp is the part of a help text about working over the admin API.
const remoteHelp = `

With --server, the command works over the admin API of a running server, and needs
nothing but an admin key: in LATCHKEY_ADMIN_KEY, or in the file of --key-file.`

// addRemote adds the flags with which a command, or a group of commands, works over
// the admin API.
func (s *sharedFlags) addRemote(cmd *cobra.Command) {
	flags := cmd.PersistentFlags()
	flags.StringVar(&s.server, "server", os.Getenv("LATCHKEY_SERVER"), "URL of the admin API, such as https://admin.example.com; default: work on the database of the configuration")
	flags.StringVar(&s.keyFile, "key-file", "", "file with the admin key, or - for standard input; default: the key in LATCHKEY_ADMIN_KEY")
}

// remote returns a client of the admin API, or nil for a command that works on the
// database.
func (s *sharedFlags) remote(cmd *cobra.Command) (*admin.Client, error) {
	if s.server == "" {
		if s.keyFile != "" {
			return nil, errors.New("--key-file needs --server")
		}
		return nil, nil
	}
	key := os.Getenv("LATCHKEY_ADMIN_KEY")
	if s.keyFile != "" {
		text, err := readFile(cmd, s.keyFile, maxKeyFile)
		if err != nil {
			return nil, fmt.Errorf("read the admin key: %w", err)
		}
		key = strings.TrimSpace(text)
	}
	if key == "" {
		return nil, errors.New("no admin key: set LATCHKEY_ADMIN_KEY, or name a file with --key-file")
	}
	client, err := admin.New(admin.Config{Server: s.server, Key: key})
	return client, readable(err)
}

// either runs a command over the admin API, or on the database.
func (s *sharedFlags) either(cmd *cobra.Command, remote func(*admin.Client) error, local func() error) error {
	client, err := s.remote(cmd)
	switch {
	case err != nil:
		return err
	case client == nil:
		return local()
	}
	return readable(remote(client))
}

// readFile reads a file of at most limit bytes, or standard input for "-".
func readFile(cmd *cobra.Command, path string, limit int64) (string, error) {
	from := cmd.InOrStdin()
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return "", err
		}
		defer file.Close()
		from = file
	}
	text, err := io.ReadAll(io.LimitReader(from, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("%s is larger than %d KiB", path, limit>>10)
	}
	return string(text), err
}

// readable returns an error of the admin API as an operator reads it: its sentence,
// and a line for each member of the request that is wrong.
func readable(err error) error {
	var refusal *latchkey.Error
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &refusal):
		return plainError{err}
	case len(refusal.Faults) == 0:
		return errors.New(refusal.Description)
	}
	lines := make([]string, len(refusal.Faults))
	for i, f := range refusal.Faults {
		lines[i] = f.String()
	}
	return fmt.Errorf("the request is not valid:\n%s", strings.Join(lines, "\n"))
}

// plainError is an error of the SDK without the name that main prints before it.
type plainError struct{ error }

// Error implements error.
func (e plainError) Error() string { return strings.TrimPrefix(e.error.Error(), "latchkey: ") }

// Unwrap returns the error itself.
func (e plainError) Unwrap() error { return e.error }

// hasStatus reports whether the admin API refused a request with a status.
func hasStatus(err error, status int) bool {
	var refusal *latchkey.Error
	return errors.As(err, &refusal) && refusal.StatusCode == status
}

// hasCode reports whether the admin API refused a request with a code.
func hasCode(err error, code string) bool {
	var refusal *latchkey.Error
	return errors.As(err, &refusal) && refusal.Code == code
}

// absent replaces the error for what does not exist.
func (s *sharedFlags) absent(err error, format string, args ...any) error {
	switch {
	case !hasStatus(err, 404):
		return err
	case s.server != "":
		format += ", or the admin key is not for the tenant"
	}
	return fmt.Errorf(format, args...)
}
