// What the gateway adds to the latency of a request: the same request at the
// same constant arrival rate, straight to the upstream and through the gateway
// with authentication, limits, metrics and access log, in alternating rounds,
// so that whatever else the machine does falls on both. What was added is the
// median of the rounds' differences: a burst of other work spoils one of them.
//
//   k6 run -e DEMO=/path/to/demo.json baseline.js
//
//   RATE      requests per second (default 300)
//   ROUNDS    rounds of each way (default 5)
//   DURATION  seconds of a round (default 5)
//   WARMUP    seconds before the first, of both (default 3)
//   MAX_P50   most that the gateway may add to the median, ms (default 1)
//   MAX_P99   most that it may add to the 99th percentile, ms (default 5)
//   OUT       file for the result as JSON
//
// k6's thresholds judge errors and arrival rate. The added latency is a
// difference of two metrics, which a threshold cannot express: it is judged in
// the summary, in the last line and in the member "passed" of OUT.
import http from 'k6/http';
import { check } from 'k6';
import { Trend } from 'k6/metrics';
import { demo, gateways, newRun, token } from './lib/demo.js';

const env = (name, value) => Number(__ENV[name] || value);
const RATE = env('RATE', 300);
const ROUNDS = env('ROUNDS', 5);
const DURATION = env('DURATION', 5);
const WARMUP = env('WARMUP', 3);
const MAX_P50 = env('MAX_P50', 1);
const MAX_P99 = env('MAX_P99', 5);
const PAUSE = 1; // between rounds, for requests under way

const ways = ['direct', 'gateway'];
const latency = new Trend('latency', true);

const scenario = (way, round, start, seconds) => ({
  executor: 'constant-arrival-rate',
  exec: 'request',
  rate: RATE,
  timeUnit: '1s',
  duration: `${seconds}s`,
  startTime: `${start}s`,
  gracefulStop: `${PAUSE}s`,
  preAllocatedVUs: 100, // a third of a second of requests may be under way
  maxVUs: 300,
  env: { WAY: way },
  tags: { way, round: String(round) },
});

const scenarios = {};
let start = 0;
if (WARMUP > 0) {
  for (const way of ways) {
    scenarios[`warmup_${way}`] = scenario(way, 0, start, WARMUP);
  }
  start += WARMUP + PAUSE;
}
for (let round = 1; round <= ROUNDS; round++) {
  // Whoever comes first in one round comes second in the next.
  for (const way of round % 2 ? ways : [...ways].reverse()) {
    scenarios[`${way}_${round}`] = scenario(way, round, start, DURATION);
    start += DURATION + PAUSE;
  }
}

const thresholds = {
  checks: ['rate==1'],
  http_req_failed: ['rate==0'],
  dropped_iterations: [`count<${0.01 * 2 * RATE * ROUNDS * DURATION}`], // the rate was kept
};
const submetric = (way, round) => `latency{way:${way},round:${round}}`;
for (let round = 1; round <= ROUNDS; round++) {
  for (const way of ways) {
    // A threshold that cannot fail makes k6 keep this round apart.
    thresholds[submetric(way, round)] = ['max>=0'];
  }
}

export const options = {
  scenarios,
  thresholds,
  discardResponseBodies: true,
  summaryTrendStats: ['count', 'min', 'avg', 'p(50)', 'p(90)', 'p(99)', 'p(99.9)', 'max'],
};

export function setup() {
  // Exempt from limits, or the quota would end the test; its requests are
  // verified, charged to nobody, counted and logged like any other.
  return { bearer: `Bearer ${token({ tenant: `k6-baseline-${newRun()}`, permissions: 'platform:admin' })}` };
}

export function request({ bearer }) {
  const base = __ENV.WAY === 'direct' ? demo.upstream : gateways[0];
  const response = http.get(`${base}/api/baseline`, {
    headers: { Authorization: bearer },
    tags: { name: __ENV.WAY },
  });
  check(response, { 'status is 200': (r) => r.status === 200 });
  latency.add(response.timings.duration);
}

const STATS = ['p(50)', 'p(90)', 'p(99)', 'p(99.9)'];

const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[Math.floor((sorted.length - 1) / 2)] + sorted[Math.ceil((sorted.length - 1) / 2)]) / 2;
};

// over applies f to each round and returns the median for each statistic.
const over = (rounds, f) => Object.fromEntries(STATS.map((stat) => [stat, median(rounds.map((round) => f(round, stat)))]));

export function handleSummary(data) {
  const rounds = [];
  for (let round = 1; round <= ROUNDS; round++) {
    const [direct, gateway] = ways.map((way) => data.metrics[submetric(way, round)].values);
    rounds.push({ direct, gateway });
  }
  const direct = over(rounds, (round, stat) => round.direct[stat]);
  const gateway = over(rounds, (round, stat) => round.gateway[stat]);
  const added = over(rounds, (round, stat) => round.gateway[stat] - round.direct[stat]);
  const requests = (way) => rounds.reduce((sum, round) => sum + round[way].count, 0);

  const broken = Object.entries(data.metrics)
    .filter(([, metric]) => Object.values(metric.thresholds || {}).some((threshold) => !threshold.ok))
    .map(([name]) => name);
  const expected = RATE * ROUNDS * DURATION;
  if (Math.min(requests('direct'), requests('gateway')) < 0.99 * expected) {
    broken.push(`fewer than ${expected} requests each way`);
  }
  if (added['p(50)'] > MAX_P50) {
    broken.push(`added p50 above ${MAX_P50} ms`);
  }
  if (added['p(99)'] > MAX_P99) {
    broken.push(`added p99 above ${MAX_P99} ms`);
  }
  const passed = broken.length === 0;

  const row = (name, values) =>
    `  ${name.padEnd(10)}${STATS.map((stat) => values[stat].toFixed(3).padStart(10)).join('')}`;
  const text = [
    '',
    `  ${RATE} requests/s, ${ROUNDS} rounds of ${DURATION} s each way, alternating; ms, median of the rounds`,
    '',
    '                   p50       p90       p99     p99.9',
    row('direct', direct),
    row('gateway', gateway),
    row('added', added),
    '',
    `  requests: ${requests('direct')} direct, ${requests('gateway')} through the gateway`,
    passed ? '  passed' : `  FAILED: ${broken.join('; ')}`,
    '',
  ].join('\n');
  const files = { stdout: text };
  if (__ENV.OUT) {
    const result = { rate: RATE, seconds: DURATION, rounds, direct, gateway, added, broken, passed };
    files[__ENV.OUT] = `${JSON.stringify(result, null, 2)}\n`;
  }
  return files;
}
