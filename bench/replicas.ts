/**
 * What a certified call costs by itself: four replicas in four real processes, their client in this one, no platform around them. Beside it the
 * same function on a plain pod. Needs the build: `node scripts/build.ts && node bench/replicas.ts [seconds]`.
 *
 * CPU time says more than throughput on a machine that does other work at the same time: it is given for each call, over all processes.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { generateSecretKey, nodeCrypto, publicKeyOf } from "../src/replicas/node-crypto.ts";
import { type HarnessOptions, ReplicaHarness } from "../src/testing/replica-harness.ts";
import { type PodSeat, ReplicaPods } from "../src/testing/replica-pods.ts";
import { machineLine } from "./lib/machine.ts";
import { type LatencySummary, summarize } from "./lib/summary.ts";
import { figure, markdownTable } from "./lib/table.ts";

const SECONDS = Number(process.argv[2] ?? 4);
const CALLERS = [1, 64, 256];
const REPLICAS = 4;

const BUNDLE = `
const { fn } = require("lockstep");
exports.price = fn("price", (input) => ({ total: input.items * 42, currency: "EUR" }));
exports.account = fn.stateful("account", {
  initial: () => ({ balance: 0 }),
  apply: (state, { amount }) => ({ state: { balance: state.balance + amount }, value: state.balance + amount }),
  key: "account",
});
`;

const directory = mkdtempSync(join(tmpdir(), "lockstep-bench-"));
const path = join(directory, "bundle.cjs");
writeFileSync(path, BUNDLE);

interface Spent {
  process: number;
  executor: number;
  stepMs: number;
  signMs: number;
  verifyMs: number;
  hashMs: number;
  sendMs: number;
  receiveMs: number;
  persistMs: number;
}

interface Inspected {
  cpuMs: Spent;
  counts: { signatures: number; verifications: number; frames: number; messages: number; steps: number };
}

type Call = () => Promise<unknown>;

/** Callers that each wait for their answer before the next call. */
const loop = async (callers: number, call: Call, ms: number): Promise<LatencySummary> => {
  const latencies: number[] = [];
  const until = performance.now() + ms;
  const startedAt = performance.now();
  const caller = async (): Promise<void> => {
    for (;;) {
      const calledAt = performance.now();
      if (calledAt >= until) return;
      await call();
      latencies.push(performance.now() - calledAt);
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  return summarize(latencies, performance.now() - startedAt);
};

const ownCpuMs = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
};

const pods = new ReplicaPods(fileURLToPath(new URL("../dist/pod/main.js", import.meta.url)));
const rates: string[][] = [];
const costs: string[][] = [];

const inspectAll = (set: ReplicaHarness): Promise<Inspected[]> =>
  Promise.all(Array.from({ length: REPLICAS }, async (_, index) => (await set.inspect(index)) as unknown as Inspected));

const sum = (all: readonly Inspected[], part: keyof Spent): number => all.reduce((total, { cpuMs }) => total + cpuMs[part], 0);

/** What signing and verifying cost here, in µs of CPU time. */
const signatureCosts = (): { sign: number; verify: number } => {
  const secret = generateSecretKey();
  const { sign, verify } = nodeCrypto(secret);
  const key = publicKeyOf(secret);
  const text = "x".repeat(200);
  const signature = sign(text);
  const cost = (work: () => unknown): number => {
    for (let i = 0; i < 200; i++) work();
    const before = ownCpuMs();
    for (let i = 0; i < 2_000; i++) work();
    return (ownCpuMs() - before) / 2;
  };
  return { sign: cost(() => sign(text)), verify: cost(() => verify(key, text, signature)) };
};

const COSTS = signatureCosts();

/**
 * Signatures are counted, and their cost is known. Times that passed for them say by how much other programs have stretched all times meanwhile:
 * what passed in the ordering is divided by that. Transport is the rest: sockets, frames, sessions, the event loop.
 */
const costRow = (name: string, before: Inspected[], after: Inspected[], client: number, calls: number): string[] => {
  const part = (key: keyof Spent): number => ((sum(after, key) - sum(before, key)) * 1_000) / calls;
  const count = (of: "signatures" | "verifications"): number =>
    after.reduce((total, { counts }, i) => total + counts[of] - (before[i] as Inspected).counts[of], 0) / calls;
  const signatures = count("signatures") * COSTS.sign + count("verifications") * COSTS.verify;
  const passed = part("signMs") + part("verifyMs");
  const ordering = ((part("stepMs") - passed) * signatures) / passed;
  const transport = part("process") - signatures - ordering - part("executor");
  const own = (client * 1_000) / calls;
  return [name, ...[part("process") + own, ordering, signatures, part("executor"), transport, own].map(figure)];
};

const certified = async (
  name: string,
  options: Omit<HarnessOptions, "path">,
  call: (set: ReplicaHarness, n: number) => Promise<unknown>,
) => {
  const set = new ReplicaHarness({ ...options, path });
  const seats = Array.from({ length: REPLICAS }, () => pods.add());
  await set.form(seats);
  let n = 0;
  const one = (): Promise<unknown> => call(set, n++);
  // Five programs and four more threads, each compiled by itself.
  await loop(64, one, 4_000);
  for (const callers of CALLERS) {
    await loop(callers, one, 500);
    const before = await inspectAll(set);
    const client = ownCpuMs();
    const result = await loop(callers, one, SECONDS * 1_000);
    const clientMs = ownCpuMs() - client;
    rates.push([name, String(callers), figure(result.perSecond), figure(result.p50Ms), figure(result.p99Ms)]);
    costs.push(costRow(`${name}, c${callers}`, before, await inspectAll(set), clientMs, result.count));
  }
  const changes = set.heard.filter((heard) => heard.t === "notice" && heard.notice.t === "view-changing").length;
  if (changes > 0) rates.push([`(${name}: ${changes} times another leader was asked for)`, "", "", "", ""]);
  set.close();
  await end(seats);
};

const end = async (seats: readonly PodSeat[]): Promise<void> => {
  for (const seat of seats) seat.kill();
  await Promise.all(seats.map(({ gone }) => gone));
};

const plain = async (): Promise<void> => {
  const seat = pods.add();
  const waiting = new Map<number, () => void>();
  const loaded = new Promise<void>((resolve) => {
    seat.listen((message) => {
      if (message.t === "loaded") resolve();
      if (message.t !== "result") return;
      waiting.get(message.lease)?.();
      waiting.delete(message.lease);
    });
  });
  seat.send({ t: "load", version: "1", path });
  await loaded;
  let lease = 0;
  const one = (): Promise<void> =>
    new Promise((resolve) => {
      waiting.set(++lease, resolve);
      const call = { fn: "price", input: '{"items":3}', run: "run_00000000001", seq: 1, attempt: 1, timeoutMs: 5_000 };
      seat.send({ t: "invoke", lease, ...call });
    });
  await loop(64, one, 1_000);
  for (const callers of CALLERS) {
    const result = await loop(callers, one, (SECONDS * 1_000) / 2);
    rates.push(["price on a plain pod", String(callers), figure(result.perSecond), figure(result.p50Ms), figure(result.p99Ms)]);
  }
  await end([seat]);
};

await pods.start();
try {
  console.log(`${machineLine()}\n`);
  await plain();
  await certified("price, certified", { function: "price" }, (set, n) => set.call({ items: n }));
  await certified("account, certified", { function: "account" }, (set, n) => {
    const account = `a${n % 1_000}`;
    return set.call({ account, amount: 1 }, account);
  });
  const directories = Array.from({ length: REPLICAS }, (_, index) => join(directory, `replica-${index}`));
  await certified("account, certified and durable", { function: "account", directories }, (set, n) => {
    const account = `a${n % 1_000}`;
    return set.call({ account, amount: 1 }, account);
  });
  console.log(markdownTable(["function", "callers", "per second", "p50 ms", "p99 ms"], rates));
  console.log("\nCPU time of one call, in µs, over all processes\n");
  console.log(markdownTable(["", "all", "ordering", "signatures", "execution", "transport", "client"], costs));
} finally {
  await pods.stop();
  rmSync(directory, { recursive: true, force: true });
}
