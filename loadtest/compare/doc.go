// Compare measures sluice side by side with other proxies, on this machine, and
// prints a Markdown table that anyone can make again: make compare.
//
//	           CPU 1                     CPU 0                  CPU 1
//	wrk, or a constant rate ──▶ one proxy at a time ──▶ a responder that does nothing else
//
//	go run ./loadtest/compare          the tables
//	go run ./loadtest/compare soak     memory and goroutines under load over time
//	go run ./loadtest/compare idle     memory of idle connections and of WebSockets
//
// The figure that counts is CPU time per request: user and system time of the
// proxy's whole process tree, divided by the requests answered. It does not
// depend on how fast the load is, and it is what an operator pays for.
//
// Invariants
//  1. Every proxy answers the same requests from the same upstream, has one CPU,
//     one worker, and keeps connections alive on both sides.
//  2. Before a proxy is measured it has shown that it does its duties: it
//     refuses a missing, an expired and a forged token, counts the tenant's
//     requests down, writes its log. What it claims in the table, it does.
//  3. Rounds are interleaved and their order changes; ratios are taken within a
//     round. A row with one failed request shows no figures.
//  4. Everything listens on loopback, on ports found free, with configurations in
//     a temporary directory; every process is stopped by its PID.
//
// The configurations are in configs/, one file for each program.
//
// It does not measure TLS, HTTP/2 or many cores, and it is no limit test: quotas
// are set so high that nobody is refused.
package main
