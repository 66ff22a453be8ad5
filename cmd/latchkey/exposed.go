package main

import (
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/latchkey/latchkey/config"
	"github.com/latchkey/latchkey/models"
)

// exposedFile is a file that holds secrets and that others may read or change.
type exposedFile struct {
	config.PrivateFile
	may string // read or change
}

// exposedFiles looks at every file of a deployment that holds secrets, and lists
// those that other users of this machine may reach. total is how many it looked at.
func exposedFiles(c *config.Config) (exposed []exposedFile, total int) {
	files := c.PrivateFiles()
	if path, missing := missingDatabase(c); strings.HasPrefix(c.Database.URL, "sqlite:") && !missing {
		files = append(files, config.PrivateFile{Setting: "database.url", Path: path})
	}
	for _, f := range files {
		if may := exposure(f.Path); may != "" {
			exposed = append(exposed, exposedFile{f, may})
		}
	}
	return exposed, len(files)
}

// warnAboutFiles warns about files that other users of this machine may read or
// change although they hold secrets.
func warnAboutFiles(c *config.Config, log *slog.Logger) {
	exposed, _ := exposedFiles(c)
	for _, f := range exposed {
		log.Warn("other users of this machine may "+f.may+" a file that holds secrets: chmod 600", "setting", f.Setting, "file", f.Path)
	}
}

// warnAboutNetwork warns if others on the network could read, or answer, what the
// node asks its database. It names no host: the log is read by many.
func warnAboutNetwork(c *config.Config, log *slog.Logger) {
	if hosts, err := models.InsecureHosts(c.Database.URL); err == nil && len(hosts) > 0 {
		log.Warn("the database may be reached over a network without TLS that verifies it: add sslmode=verify-full to database.url")
	}
}

// exposure is what others may do with a file, as far as the folders that lead to
// it let them; empty: nothing, or there is no such file.
func exposure(path string) string {
	if path == "" {
		return ""
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return ""
	}
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return ""
	}
	for folder := filepath.Dir(path); ; folder = filepath.Dir(folder) {
		if above, err := os.Stat(folder); err != nil || above.Mode().Perm()&0o001 == 0 {
			return ""
		}
		if folder == filepath.Dir(folder) {
			break
		}
	}
	const othersRead, othersWrite fs.FileMode = 0o004, 0o002
	switch mode := info.Mode().Perm(); {
	case mode&othersWrite != 0:
		return "change"
	case mode&othersRead != 0:
		return "read"
	}
	return ""
}
