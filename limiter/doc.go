// Package limiter decides how much each caller may do.
package limiter
