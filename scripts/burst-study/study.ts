/** Lets a burst arrive at a platform, and records what becomes of it. */
import { setTimeout as delay } from "node:timers/promises";
import type { Client } from "lockstep/client";
import { expect, until } from "../demo/checks.ts";
import { type Burst, COOL_DOWN_MS } from "./bursts.ts";
import type { Decision, Recording, Sample } from "./recording.ts";
import { encodeAll, sendAll } from "./sender.ts";

const READERS = 64;
const SAMPLE_MS = 25;
const SERVED_WITHIN_MS = 120_000;
const EMPTY_WITHIN_MS = COOL_DOWN_MS + 30_000;
/** The liveness thread of a warm pod still starts right after its connection. */
const SETTLE_MS = 300;
const ALONE = 5;
const SHORT_COOL_DOWN_MS = 100;

type Observed = Awaited<ReturnType<Client["layers"]>>[number];

export const play = async (client: Client, burst: Burst): Promise<Recording> => {
  const coldStartsMs = burst.alone === undefined ? [] : await callAlone(client, burst, burst.alone);
  await configure(client, burst);
  await settle(client, burst);
  const follower = await follow(client, burst);
  const stopSampling = sample(client, burst, follower);
  const runs = await send(client, burst, follower);
  const ids = new Set(runs);
  const isServed = (): true | undefined =>
    follower.finished.size >= ids.size && [...ids].every((id) => follower.finished.has(id)) ? true : undefined;
  await until(`all of the ${burst.name} are answered`, isServed, SERVED_WITHIN_MS);
  await until("no pod is left", async () => ((await podsOf(client, burst)).length === 0 ? true : undefined), EMPTY_WITHIN_MS);
  const emptyAt = follower.now();
  await stopSampling();
  follower.stop();
  return {
    coldStartsMs,
    samples: follower.samples,
    decisions: follower.decisions,
    acceptedAt: follower.acceptedAt,
    finishedAt: [...ids].map((id) => follower.finished.get(id)?.at ?? Number.NaN),
    wrong: await wrongOf(client, burst, runs, follower),
    emptyAt,
  };
};

/** By specs, since each burst has other sizes; the rest is what the definitions say. */
const configure = async (client: Client, { functions, slots, pods: max }: Burst, coolDownMs?: number): Promise<void> => {
  const scale = coolDownMs === undefined ? { max } : { max, coolDownMs };
  for (const name of functions) await client.cluster.putService({ name, function: name, concurrency: slots, scale });
};

/** As it should be before something cold: no pods of these functions, and a warm one that waits. */
const settle = async (client: Client, burst: Burst): Promise<void> => {
  await until("no pod is left", async () => ((await podsOf(client, burst)).length === 0 ? true : undefined), EMPTY_WITHIN_MS);
  await until("a warm pod waits", async () => ((await client.pods()).some(isWarm) ? true : undefined));
  await delay(SETTLE_MS);
};

const callAlone = async (client: Client, burst: Burst, once: NonNullable<Burst["alone"]>): Promise<number[]> => {
  await configure(client, burst, SHORT_COOL_DOWN_MS);
  const times: number[] = [];
  for (let i = 0; i < ALONE; i++) {
    await settle(client, burst);
    const startedAt = performance.now();
    expect((await once(client, i)) === burst.expected(i), "a call alone gave something wrong");
    times.push(performance.now() - startedAt - burst.workMs);
  }
  await settle(client, burst);
  return times;
};

// ---------------------------------------------------------------- what happens

interface Follower {
  startedAt: number;
  now(): number;
  samples: Sample[];
  decisions: Decision[];
  acceptedAt: number[];
  finished: Map<string, { at: number; status: string; times: number }>;
  stop(): void;
}

/** Resolves once the events come: what a burst begins with must not be missed. */
const follow = async (client: Client, { functions }: Burst): Promise<Follower> => {
  const stop = new AbortController();
  const follower: Follower = {
    startedAt: Date.now(),
    now: () => Date.now() - follower.startedAt,
    samples: [],
    decisions: [],
    acceptedAt: [],
    finished: new Map(),
    stop: () => stop.abort(),
  };
  let last = 0;
  const stream = client.events({ after: 0, signal: stop.signal });
  void (async () => {
    for await (const event of stream) {
      last = event.position;
      const at = event.at - follower.startedAt;
      if (event.type === "scale.decided" && functions.includes(event.function) && at >= 0) {
        follower.decisions.push({ at, function: event.function, from: event.from, pods: event.pods, reason: event.reason });
      } else if (event.type === "run.finished") {
        const times = (follower.finished.get(event.run)?.times ?? 0) + 1;
        follower.finished.set(event.run, { at, status: event.status, times });
      }
    }
  })();
  await until("the first event comes", () => (last > 0 ? true : undefined));
  return follower;
};

const send = (client: Client, burst: Burst, follower: Follower): Promise<string[]> => {
  const starts = Array.from({ length: burst.count }, (_, i) => burst.start(i));
  const requests = encodeAll(client.url, starts);
  follower.startedAt = Date.now();
  return sendAll(client.url, requests, (i) => {
    follower.acceptedAt[i] = follower.now();
  });
};

/** Looks at layers and pods until it is told to end. */
const sample = (client: Client, burst: Burst, follower: Follower): (() => Promise<void>) => {
  let isOn = true;
  const look = async (): Promise<void> => {
    while (isOn) {
      const [layers, pods] = await Promise.all([client.layers(), podsOf(client, burst)]);
      const own = layers.filter((layer) => burst.functions.includes(layer.function));
      const ofEach = burst.functions.map((name) => pods.filter(({ role, state }) => role === name && state !== "draining").length);
      follower.samples.push({
        at: follower.now(),
        waiting: sumOf(own, "waiting"),
        running: sumOf(own, "running"),
        ready: pods.filter(({ state }) => state === "ready").length,
        starting: pods.filter(({ state }) => state === "starting").length,
        mostOfOne: Math.max(...ofEach),
      });
      await delay(SAMPLE_MS);
    }
  };
  const over = look();
  return () => {
    isOn = false;
    return over;
  };
};

const sumOf = (layers: readonly Observed[], field: "waiting" | "running"): number => layers.reduce((sum, layer) => sum + layer[field], 0);

const podsOf = async (client: Client, { functions }: Burst): Promise<{ role: string; state: string }[]> =>
  (await client.cluster.pods()).filter(({ role }) => functions.includes(role));

const isWarm = ({ role, state }: { role: string; state: string }): boolean => role === "warm" && state === "ready";

const wrongOf = async (client: Client, burst: Burst, runs: readonly string[], { finished }: Follower): Promise<string[]> => {
  const wrong: string[] = [];
  let next = 0;
  const reader = async (): Promise<void> => {
    for (let i = next++; i < runs.length; i = next++) {
      const id = runs[i] as string;
      const { status, times } = finished.get(id) ?? { status: "unfinished", times: 0 };
      if (status !== "completed" || times !== 1) {
        wrong.push(`${id}: ${status}, ended ${times} times`);
        continue;
      }
      const value = await client.run<number>(id).result();
      if (value !== burst.expected(i)) wrong.push(`${id} gave ${value} instead of ${burst.expected(i)}`);
    }
  };
  await Promise.all(Array.from({ length: READERS }, reader));
  return wrong;
};
