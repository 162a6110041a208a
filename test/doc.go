// Package test runs the built binary against what it meets in production: a
// FastAPI service on uvicorn, real clients, broken peers. Its files carry the
// build tag integration; make integration runs them.
//
// A program that is missing fails a test; it never skips one.
package test
