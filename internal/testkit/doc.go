// Package testkit runs real processes for the tests that need them: the sluice
// binary, the FastAPI example on uvicorn, anything else that speaks on loopback.
//
//	func TestMain(m *testing.M) { testkit.Main(m) }
//
//	func TestItemsAreServed(t *testing.T) {
//		api := testkit.StartFastAPI(t)
//		gw := testkit.StartGateway(t, config, map[string]any{"Upstream": api.URL})
//		got := gw.Client(t).Get("/public/info")
//		...
//	}
//
// [FaultProxy] stands before a service and makes it fail in the ways that networks
// and hosts do.
//
// # Invariants
//
//  1. A process that a test started has ended, with all its descendants, when
//     the test has: it leads a process group of its own, and the group is told to
//     stop, then killed. That holds for generations that a process left behind
//     when it upgraded itself, too. Should the test binary itself be killed,
//     the kernel kills the processes that it started.
//  2. Nothing waits for time to pass. Waiting is polling for a condition, with
//     a deadline, and it ends early when the process has ended.
//  3. What a process wrote is in the test's log when the test has failed, and
//     nowhere when it has not.
//  4. A test that lacks a program fails. It does not skip.
//
// # Concurrency
//
// All of it may be used by parallel tests. Builds are shared by the tests of
// one test binary.
//
// # What it does not do
//
// It holds no port: [FreeAddr] finds one that is free and outside the range
// that the kernel gives to outgoing connections, and whoever asked takes it. It
// is no library for unit tests: those use testing/synctest and httptest.
package testkit
