// What the scripts know about a running `sluice demo`: its demo.json, and its
// token issuer.
import http from 'k6/http';
import { fail } from 'k6';

if (!__ENV.DEMO) {
  throw new Error('Set DEMO to the absolute path of demo.json: k6 run -e DEMO="$PWD/demo-data/demo.json" …');
}

export const demo = JSON.parse(open(__ENV.DEMO));

const url = (address) => (address.includes('://') ? address : `http://${address}`);

// The base URL of every gateway node.
export const gateways =
  demo.nodes && demo.nodes.length > 0 ? demo.nodes.map((node) => url(node.address)) : [demo.gateway];

// A tag for the tenants of this run, so that their quotas are whole.
export const newRun = () => Date.now().toString(36);

// token asks the demo's issuer for an access token.
export function token(claims) {
  const query = Object.entries(claims)
    .map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
    .join('&');
  const response = http.post(`${demo.issuer}/token?${query}`, null, { responseType: 'text', tags: { name: 'issuer' } });
  if (response.status !== 200) {
    fail(`the issuer answered ${response.status}: ${response.body || response.error}`);
  }
  return response.json('access_token');
}

// header returns a response header whatever its case, or undefined.
export function header(response, name) {
  const wanted = name.toLowerCase();
  for (const [key, value] of Object.entries(response.headers)) {
    if (key.toLowerCase() === wanted) {
      return value;
    }
  }
  return undefined;
}
