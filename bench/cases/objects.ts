/** Objects in the embedded store: from a PUT to the run that it starts, and PUTs under load. */
import { Agent, request } from "node:http";
import { load } from "../lib/http-load.ts";
import type { BenchPlatform } from "../lib/platform.ts";
import { summarize } from "../lib/summary.ts";
import type { Case } from "./case.ts";

const BODY = JSON.stringify({ order: 17, seats: Array.from({ length: 100 }, (_, i) => i) });
const WARM = 50;
const MEASURED = 300;
const PAGE = 50;

const now = (): number => performance.timeOrigin + performance.now();

const put = (port: number, agent: Agent, key: string): Promise<void> =>
  new Promise((resolve, reject) => {
    const path = `/v1/buckets/bench-incoming/objects/${key}`;
    const sent = request({ port, agent, path, method: "PUT", headers: { "content-type": "application/json" } }, (response) => {
      response.resume().once("end", () => (response.statusCode === 200 ? resolve() : reject(new Error(`PUT: ${response.statusCode}`))));
    });
    sent.once("error", reject);
    sent.end(BODY);
  });

interface Result {
  value: { key: string; startedAt: number };
}

const startsOf = async (platform: BenchPlatform): Promise<Map<string, number>> => {
  const starts = new Map<string, number>();
  const { runs } = await platform.get<{ runs: { id: string }[] }>("/v1/runs?name=arrived&limit=1000");
  for (let from = 0; from < runs.length; from += PAGE) {
    const page = runs.slice(from, from + PAGE).map(({ id }) => platform.get<Result>(`/v1/runs/${id}/result?wait=30s`));
    for (const { value } of await Promise.all(page)) starts.set(value.key, value.startedAt);
  }
  return starts;
};

let series = 0;

const putToRun: Case = {
  name: "object PUT → its run has started",
  unit: "ms p50 / p99",
  goal: "p50 < 5",
  measure: async (platform) => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const sentAt = new Map<string, number>();
    series++;
    for (let i = 0; i < WARM + MEASURED; i++) {
      const key = `${series}-${i}`;
      if (i >= WARM) sentAt.set(key, now());
      await put(platform.port, agent, key);
    }
    agent.destroy();
    const starts = await startsOf(platform);
    const elapsed = [...sentAt].map(([key, at]) => {
      const startedAt = starts.get(key);
      if (startedAt === undefined) throw new Error(`the PUT of ${key} has started nothing`);
      return startedAt - at;
    });
    const { p50Ms, p99Ms } = summarize(elapsed, 1);
    return [p50Ms, p99Ms];
  },
};

const puts = (connections: number, durationMs: number): Case => ({
  name: `object PUT that starts nothing, c${connections}`,
  unit: "PUTs/s",
  goal: "",
  measure: async (platform) => {
    const result = await load({
      port: platform.port,
      connections,
      request: (i) => ({ method: "PUT", path: `/v1/buckets/bench-quiet/objects/${i}`, body: BODY, expect: { status: 200 } }),
      warmupMs: 500,
      durationMs,
    });
    if (result.errors > 0) throw new Error(`${result.errors} errors: ${result.errorSamples.join("; ")}`);
    return [result.perSecond];
  },
});

export const objectCases = (durationMs: number): Case[] => [putToRun, puts(64, durationMs)];
