/**
 * The process that adds BullMQ's flows and waits for their results, behind a small HTTP server: BullMQ has none of its own, and the same load
 * generator shall drive every contender. `POST /<case>` with the start value answers the result. A message { loop, window } makes it measure itself instead,
 * without HTTP.
 */
import { EventEmitter } from "node:events";
import type { IncomingMessage } from "node:http";
import { createServer } from "node:http";
import type { FlowJob } from "bullmq";
import { FlowProducer, Queue, QueueEvents } from "bullmq";
import type { LoadResult } from "../../lib/http-load.ts";
import { summarize } from "../../lib/summary.ts";
import type { Window } from "../contender.ts";
import type { CaseName } from "../work.ts";
import { FAN, WORK } from "../work.ts";

const TIMEOUT_MS = 30_000;

// Every waiter is a listener; hundreds wait at once.
EventEmitter.defaultMaxListeners = 0;

const connection = { host: "127.0.0.1", port: Number(process.argv[2]) };
const flows = new FlowProducer({ connection });
const calls = new Queue("call", { connection });
const events = new Map(["call", "double", "sum"].map((queue) => [queue, new QueueEvents(queue, { connection })]));

/** Job k of a chain has job k−1 as its child, so that it executes after it and reads its result. */
const chain = (length: number, x: number): FlowJob => {
  const queueName = length % 2 === 0 ? "double" : "increment";
  if (length === 1) return { name: queueName, queueName, data: { x } };
  return { name: queueName, queueName, data: {}, children: [chain(length - 1, x)] };
};

const fan = (inputs: number[]): FlowJob => ({
  name: "sum",
  queueName: "sum",
  data: {},
  children: inputs.map((x) => ({ name: "increment", queueName: "increment", data: { x } })),
});

const range = (length: number): number[] => Array.from({ length }, (_, i) => i);

const runFlow = async (flow: FlowJob): Promise<number> => {
  const { job } = await flows.add(flow);
  return job.waitUntilFinished(events.get(flow.queueName) as QueueEvents, TIMEOUT_MS);
};

const cases: Record<CaseName, (x: number) => Promise<number>> = {
  "one-call": async (x) => (await calls.add("call", { x })).waitUntilFinished(events.get("call") as QueueEvents, TIMEOUT_MS),
  "chain-2": (x) => runFlow(chain(2, x)),
  "chain-10": (x) => runFlow(chain(10, x)),
  "fan-32": (x) => runFlow(fan(range(FAN).map((i) => x + i))),
  "inside-1000": (x) => runFlow(fan(range(x))),
};

const bodyOf = (request: IncomingMessage): Promise<string> =>
  new Promise((resolve, reject) => {
    let body = "";
    request.setEncoding("utf8");
    request.on("data", (chunk: string) => {
      body += chunk;
    });
    request.on("end", () => resolve(body));
    request.on("error", reject);
  });

const answer = async (request: IncomingMessage): Promise<{ status: number; body: string }> => {
  try {
    const run = cases[request.url?.slice(1) as CaseName];
    if (run === undefined) return { status: 404, body: "unknown case" };
    return { status: 200, body: String(await run(Number(await bodyOf(request)))) };
  } catch (error) {
    return { status: 500, body: (error as Error).message };
  }
};

const server = createServer((request, response) => {
  void answer(request).then(({ status, body }) => {
    response.writeHead(status, { "content-length": Buffer.byteLength(body) });
    response.end(body);
  });
});

const loop = async (name: CaseName, window: Window): Promise<LoadResult> => {
  const work = WORK.find((candidate) => candidate.name === name);
  if (work === undefined) throw new Error(`there is no case ${name}`);
  const startsAt = performance.now() + window.warmupMs;
  const endsAt = startsAt + window.durationMs;
  const latencies: number[] = [];
  const errors: string[] = [];
  let next = 0;
  const caller = async (): Promise<void> => {
    for (let now = performance.now(); now < endsAt; ) {
      const sentAt = now;
      const x = work.input(next++ % 64);
      try {
        const value = await cases[name](x);
        if (value !== work.expected(x)) errors.push(`${value} instead of ${work.expected(x)}`);
      } catch (error) {
        errors.push((error as Error).message);
      }
      now = performance.now();
      if (now >= startsAt && now < endsAt) latencies.push(now - sentAt);
    }
  };
  await Promise.all(range(window.connections).map(caller));
  return { ...summarize(latencies, window.durationMs), errors: errors.length, errorSamples: errors.slice(0, 5), generatorCpuMs: 0 };
};

process.on("message", (message: { loop: CaseName; window: Window }) => {
  loop(message.loop, message.window).then(
    (result) => process.send?.({ result }),
    (error: Error) => process.send?.({ failure: error.message }),
  );
});

process.once("disconnect", () => process.exit(1));
await Promise.all([flows.waitUntilReady(), calls.waitUntilReady(), ...[...events.values()].map((queue) => queue.waitUntilReady())]);
server.listen(Number(process.argv[3]), "127.0.0.1", () => process.send?.({ ready: true }));
