/** The process that executes BullMQ's jobs. A job with children takes its input from their results, one without from its data. */
import type { Job } from "bullmq";
import { Worker } from "bullmq";
import { double, increment, sum } from "../work.ts";

// The best of 2 to 512 here: with more, a worker asks Redis for every job singly instead of getting it with the answer to the one before.
const CONCURRENCY = 16;

const connection = { host: "127.0.0.1", port: Number(process.argv[2]) };

const childrenOf = async (job: Job): Promise<number[]> => Object.values(await job.getChildrenValues<number>());

// Only a job that heads a chain has its input in its data; asking Redis for children that it cannot have would be a lost round trip.
const inputOf = async (job: Job): Promise<number> => (typeof job.data.x === "number" ? job.data.x : ((await childrenOf(job))[0] as number));

const handlers: Record<string, (job: Job) => Promise<number>> = {
  call: async (job) => increment(job.data.x),
  increment: async (job) => increment(await inputOf(job)),
  double: async (job) => double(await inputOf(job)),
  sum: async (job) => sum(await childrenOf(job)),
};

const workers = Object.entries(handlers).map(([queue, handler]) => new Worker(queue, handler, { connection, concurrency: CONCURRENCY }));
for (const worker of workers) worker.on("error", (error) => console.error(error.message));

process.once("disconnect", () => process.exit(1));
await Promise.all(workers.map((worker) => worker.waitUntilReady()));
process.send?.({ ready: true });
