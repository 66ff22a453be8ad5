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

// exposedFile is a file with secrets that other users may read or change.
type exposedFile struct {
	config.PrivateFile
	may string // read or change
}

// exposedFiles returns the files with secrets that other users of this machine may
// read or change. total is the number of files that it checked.
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

// warnAboutFiles logs a warning for each file with secrets that other users of
// this machine may read or change.
func warnAboutFiles(c *config.Config, log *slog.Logger) {
	exposed, _ := exposedFiles(c)
	for _, f := range exposed {
		log.Warn("other users of this machine can "+f.may+" a file with secrets: run chmod 600 on it", "setting", f.Setting, "file", f.Path)
	}
}

// warnAboutNetwork logs a warning if others on the network could read or forge the
// traffic with the database. It names no host, because many people read the log.
func warnAboutNetwork(c *config.Config, log *slog.Logger) {
	if hosts, err := models.InsecureHosts(c.Database.URL); err == nil && len(hosts) > 0 {
		log.Warn("the connection to the database may cross a network without verified TLS: add sslmode=verify-full to database.url")
	}
}

// exposure returns what other users may do with a file: change, read, or nothing
// (empty). It considers the folders that lead to the file. A file that does not
// exist is not exposed.
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
