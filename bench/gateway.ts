/**
 * What the HTTP edge costs by itself: small POSTs a second against a control plane that accepts everything at once. The load generator is
 * a process of its own. `node bench/gateway.ts [connections]`.
 */
import { createGateway } from "../src/gateway/gateway.ts";
import { runIdOf } from "../src/lib/ids.ts";
import type { ControlPlane } from "../src/protocol/control-plane.ts";
import { load } from "./lib/http-load.ts";
import { machineLine } from "./lib/machine.ts";
import { figure, markdownTable } from "./lib/table.ts";

const connections = Number(process.argv[2] ?? 64);

let ordinal = 0;
const instant = {
  start: () => Promise.resolve({ id: runIdOf(++ordinal), existing: false }),
  result: (id: string) => Promise.resolve({ id, status: "completed", value: '{"total":42,"currency":"EUR"}' }),
} as unknown as ControlPlane;

const order = JSON.stringify({ input: { order: "8f2c1", items: [{ sku: "A-1", quantity: 2 }], total: 42.5 } });
const large = JSON.stringify({
  input: { lines: Array.from({ length: 100 }, (_, i) => ({ sku: `A-${i}`, quantity: i, note: "as agreed" })) },
});
const accepted = { status: 202, body: /"id":"run_/ };

const cases = [
  { name: "start", path: "/v1/functions/pay/calls", body: order, expect: accepted },
  { name: "start, with an API key", path: "/v1/functions/pay/calls", body: order, expect: accepted, apiKey: "a-key-of-the-bench" },
  {
    name: "start and result (?wait=30s)",
    path: "/v1/functions/pay/calls?wait=30s",
    body: order,
    expect: { status: 200, body: /"total":42/ },
  },
  { name: "start with 5 KB of input", path: "/v1/coordinators/booking/runs", body: large, expect: accepted },
  { name: "expression", path: "/v1/expressions", body: '{"expression":"((3+5)*(4/2))"}', expect: accepted },
];

const rows: string[][] = [];
for (const { name, apiKey, ...request } of cases) {
  const gateway = await createGateway(instant, { port: 0, ...(apiKey === undefined ? {} : { apiKey }) });
  const headers: Record<string, string> = apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` };
  const startedAt = performance.now();
  const cpuBefore = process.cpuUsage();
  const result = await load({ port: gateway.port, connections, request: () => ({ ...request, headers }) });
  const cpu = process.cpuUsage(cpuBefore);
  const cores = (cpu.user + cpu.system) / 1_000 / (performance.now() - startedAt);
  await gateway.close();
  if (result.errors > 0) throw new Error(`${name}: ${result.errors} errors, such as ${result.errorSamples.join("; ")}`);
  rows.push([name, figure(result.perSecond), figure(result.perSecond / cores), figure(result.p50Ms), figure(result.p99Ms), figure(cores)]);
}

console.log(`${machineLine()} · ${connections} connections\n`);
console.log(markdownTable(["request", "per second", "per second of CPU", "p50 ms", "p99 ms", "cores used"], rows));
