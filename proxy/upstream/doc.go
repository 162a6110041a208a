// Package upstream is the way to a service: balancing, health, ejection, a pool
// of connections, and an HTTP/1.1 transport in which the goroutine of a request
// itself writes the request and reads the response.
package upstream
