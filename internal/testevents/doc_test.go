// Package testevents tests how events reach event destinations, through the running
// server and receivers that verify with the libraries of the standards.
package testevents
