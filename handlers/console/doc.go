// Package console is the management console: pages for operators, on top of the
// operations of the admin API.
package console
