// Tenants of every tier at once, each asking for more than its quota. Passes
// when each gets exactly its quota (with several nodes: at least 99 % of it, and
// never more) and then 429 with what a client needs to wait, and when the holder of the super admin permission is never refused.
//
//   k6 run -e DEMO=/path/to/demo.json tenants.js
//
//   OVER   requests above the quota, of each tenant (default 100)
//   VUS    virtual users of each tenant (default 8)
import http from 'k6/http';
import { check } from 'k6';
import { Counter } from 'k6/metrics';
import { gateways, header, newRun, token } from './lib/demo.js';

const OVER = Number(__ENV.OVER || 100);
const VUS = Number(__ENV.VUS || 8);
const WINDOW = 3600; // seconds

const quotas = { standard: 1000, premium: 5000, enterprise: 10000 };
// In the standard tier, but exempt.
const exempt = { name: 'admin', tier: 'standard', permissions: 'platform:admin', requests: quotas.standard + OVER };

const admitted = new Counter('admitted');
const refused = new Counter('refused');
const other = new Counter('other');

const scenario = (name, iterations) => ({
  executor: 'shared-iterations',
  exec: 'ask',
  vus: VUS,
  iterations,
  maxDuration: '5m',
  env: { TENANT: name },
  tags: { tenant: name },
});

const scenarios = { [exempt.name]: scenario(exempt.name, exempt.requests) };
const thresholds = {
  checks: ['rate==1'],
  'admitted{tenant:admin}': [`count==${exempt.requests}`],
  'refused{tenant:admin}': ['count==0'],
};
for (const [tier, quota] of Object.entries(quotas)) {
  scenarios[tier] = scenario(tier, quota + OVER);
  // The last rights of a quota may lie at a node that is not the one asked.
  const least = gateways.length > 1 ? Math.floor(quota * 0.99) : quota;
  thresholds[`admitted{tenant:${tier}}`] = [`count<=${quota}`, `count>=${least}`];
  thresholds[`refused{tenant:${tier}}`] = [`count>=${OVER}`, `count<=${OVER + quota - least}`];
}
for (const name of Object.keys(scenarios)) {
  thresholds[`other{tenant:${name}}`] = ['count==0'];
}

export const options = {
  scenarios,
  thresholds,
  discardResponseBodies: true,
  summaryTrendStats: ['med', 'p(99)', 'max'],
};

export function setup() {
  const run = newRun();
  const tokens = {
    [exempt.name]: token({ tenant: `k6-admin-${run}`, tier: exempt.tier, permissions: exempt.permissions }),
  };
  for (const tier of Object.keys(quotas)) {
    tokens[tier] = token({ tenant: `k6-${tier}-${run}`, tier });
  }
  return { run, tokens };
}

let asked = 0;

export function ask({ run, tokens }) {
  const name = __ENV.TENANT;
  const base = gateways[asked++ % gateways.length];
  const response = http.get(`${base}/api/quota`, {
    headers: { Authorization: `Bearer ${tokens[name]}` },
    responseCallback: http.expectedStatuses(200, 429),
    responseType: 'text',
  });
  // k6 thresholds count a metric only when it was added to, hence the zeros.
  admitted.add(response.status === 200 ? 1 : 0);
  refused.add(response.status === 429 ? 1 : 0);
  other.add(response.status === 200 || response.status === 429 ? 0 : 1);
  if (name === exempt.name) {
    check(response, { 'admin: never refused': (r) => r.status === 200 });
  } else if (response.status === 200) {
    checkAdmitted(response, quotas[name], `k6-${name}-${run}`);
  } else if (response.status === 429) {
    checkRefused(response, quotas[name], `k6-${name}-${run}`);
  }
}

function checkAdmitted(response, quota, tenant) {
  const remaining = Number(header(response, 'X-RateLimit-Remaining'));
  check(response, {
    '200: X-RateLimit-Limit is the quota': (r) => header(r, 'X-RateLimit-Limit') === String(quota),
    '200: X-RateLimit-Remaining is below it': () => remaining >= 0 && remaining < quota,
    '200: X-RateLimit-Reset lies within the window': resetWithinWindow,
    '200: RateLimit and RateLimit-Policy': hasStandardFields,
    '200: X-Request-ID': (r) => Boolean(header(r, 'X-Request-ID')),
    '200: the service sees the tenant': (r) => r.json('tenant') === tenant,
  });
}

function checkRefused(response, quota, tenant) {
  const wait = Number(header(response, 'Retry-After'));
  check(response, {
    '429: Retry-After lies within the window': () => Number.isInteger(wait) && wait >= 1 && wait <= WINDOW,
    '429: X-RateLimit-Limit is the quota': (r) => header(r, 'X-RateLimit-Limit') === String(quota),
    '429: X-RateLimit-Remaining is 0': (r) => header(r, 'X-RateLimit-Remaining') === '0',
    '429: X-RateLimit-Reset lies within the window': resetWithinWindow,
    '429: RateLimit and RateLimit-Policy': hasStandardFields,
    '429: problem details': (r) =>
      header(r, 'Content-Type') === 'application/problem+json' &&
      r.json('status') === 429 &&
      r.json('tenant') === tenant &&
      r.json('limit') === quota &&
      r.json('remaining') === 0 &&
      r.json('retry_after') === wait &&
      r.json('request_id') === header(r, 'X-Request-ID'),
  });
}

function resetWithinWindow(response) {
  const seconds = Number(header(response, 'X-RateLimit-Reset')) - Date.now() / 1000;
  return seconds > -2 && seconds <= WINDOW + 2; // rounding and the request's own time
}

function hasStandardFields(response) {
  return /;w=3600\b/.test(header(response, 'RateLimit-Policy')) && /;r=\d+;t=\d+/.test(header(response, 'RateLimit'));
}
