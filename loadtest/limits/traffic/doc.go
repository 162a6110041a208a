// Package traffic makes the requests of a run: who asks which node, and when. The
// same seed makes the same requests, so that every way of limiting is given the
// same.
//
//	Flow (shape × spread × load) ──▶ Plan: requests in order ──▶ Drive ──▶ nodes, on time
//
// Loads are open: a request is sent when its time has come, whether the earlier
// ones have been answered or not.
package traffic
