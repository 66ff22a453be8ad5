package main

import (
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/latchkey/latchkey/config"
)

// warnAboutFiles warns about files that other users of this machine may read or
// change although they hold secrets.
func warnAboutFiles(c *config.Config, configFile string, log *slog.Logger) {
	files := map[string]string{"tls.key_file": c.TLS.KeyFile}
	if path, ok := strings.CutPrefix(c.Database.URL, "sqlite:"); ok {
		path, _, _ = strings.Cut(strings.TrimPrefix(path, "file:"), "?")
		files["database.url"] = path
	}
	if name := c.SecretFile; name != "" {
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(configFile), name)
		}
		files["secret_file"] = name
	}
	for _, variable := range []string{"LATCHKEY_SECRET_FILE", "LATCHKEY_DATABASE_URL_FILE"} {
		files[variable] = os.Getenv(variable)
	}
	for setting, path := range files {
		if may := exposure(path); may != "" {
			log.Warn("other users of this machine may "+may+" a file that holds secrets: chmod 600", "setting", setting, "file", path)
		}
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
