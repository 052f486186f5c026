import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { verifyCertificate } from "../consensus/verify.ts";
import type { FromPod } from "../protocol/pod.ts";
import type { ToReplica } from "../protocol/replica.ts";
import { nodeVerifier } from "../replicas/node-crypto.ts";
import { type HarnessOptions, ReplicaHarness, type Seat } from "../testing/replica-harness.ts";
import { ReplicaHost, type ReplicaHostOptions } from "./replica-host.ts";
import { openLog } from "./replica-log.ts";

const BUNDLE = `
const { fn } = require("lockstep");
exports.double = fn("double", (input, ctx) => { ctx.log.info("doubled", input); return { twice: input * 2, at: Date.now(), chance: Math.random() }; });
exports.fatal = fn("fatal", (input) => (input === "leave" ? process.reallyExit(7) : input));
exports.length = fn("length", (input) => input.length);
exports.bank = fn.stateful("bank", {
  initial: () => ({ balance: 100 }),
  apply: (state, input) => {
    if (input.amount === 13) process.reallyExit(7);
    if (input.amount > state.balance) throw new Error("too little");
    const balance = state.balance - input.amount;
    return { state: { balance }, value: balance };
  },
  key: "account",
});
`;

const directory = mkdtempSync(join(tmpdir(), "replica-host-"));
const path = join(directory, "bundle.cjs");
writeFileSync(path, BUNDLE);
afterAll(() => rmSync(directory, { recursive: true, force: true }));

let sockets = 0;
const hosts: ReplicaHost[] = [];
let set: ReplicaHarness | undefined;

afterEach(async () => {
  set?.close();
  await Promise.all(hosts.splice(0).map((host) => host.stop()));
});

/** A replica in this process; its messages take a turn, as those of a pod do. */
const seat = (log: Partial<ReplicaHostOptions> = {}): Seat & { host: ReplicaHost } => {
  let told: (message: FromPod) => void = () => {};
  const listen = join(directory, `${++sockets}.peer`);
  const options = { listen, memoryMb: 64, maxPayloadBytes: 100_000, maxLogBytes: 10_000, drills: true, crash: () => {}, ...log };
  const host = new ReplicaHost(options, {
    send: (message) => void setImmediate(() => told(message)),
    flush: () => {},
    failed: (failure) => told({ t: "refused", version: "1", failure: typeof failure === "string" ? failure : JSON.stringify(failure) }),
  });
  hosts.push(host);
  return {
    host,
    send: (message) => void setImmediate(() => host.take(message as ToReplica)),
    listen: (to) => {
      told = to;
    },
  };
};

const form = async (options: Omit<HarnessOptions, "path">, seats = Array.from({ length: 4 }, () => seat())) => {
  set = new ReplicaHarness({ ...options, path });
  await set.form(seats);
  return { set, seats };
};

const returned = ({ outcome }: { outcome: string }): unknown => (JSON.parse(outcome) as { value: unknown }).value;

const pay = (set: ReplicaHarness, amount: number, account = "a") => set.call({ account, amount }, account);

describe("four replicas over their sockets", () => {
  test("certify what a stateless function returns", async () => {
    const { set } = await form({ function: "double" });
    const results = await Promise.all([1, 2, 3].map((input) => set.call(input)));
    expect(results.map(returned)).toMatchObject([{ twice: 2 }, { twice: 4 }, { twice: 6 }]);
    for (const { certificate } of results) {
      expect(certificate.votes.length).toBeGreaterThanOrEqual(3);
      expect(verifyCertificate(certificate, { adminKey: set.adminKey }, nodeVerifier())).toMatchObject({ ok: true });
    }
  });

  test("certify that a call ends the process of whoever executes it, and go on with those beside it", async () => {
    const { set } = await form({ function: "fatal" });
    const results = await Promise.all(["a", "leave", "b"].map((input) => set.call(input)));
    const message = 'function "fatal" ended the process that executed it, each time';
    const lost = { failure: { code: "POD_LOST", name: "LockstepError", message, terminal: true } };
    expect(results.map(({ outcome }) => JSON.parse(outcome) as unknown)).toEqual([{ value: "a" }, lost, { value: "b" }]);
    expect(returned(await set.call("c"))).toBe("c");
    expect(set.heard.some(({ t }) => t === "evidence" || t === "client-evidence")).toBe(false);
  });

  test("keep the state when a call ends the process of whoever applies it", async () => {
    const { set } = await form({ function: "bank" });
    expect(returned(await pay(set, 10))).toBe(90);
    const results = await Promise.all([pay(set, 13), pay(set, 20), pay(set, 13, "b")]);
    expect(results.map(({ outcome }) => /"(POD_LOST)"|value/.exec(outcome)?.[1])).toEqual(["POD_LOST", undefined, "POD_LOST"]);
    expect(returned(await pay(set, 1))).toBe(69);
  });

  test("take an input as large as any may be, whatever it takes to write it down", async () => {
    const maxPayloadBytes = 4 * 1024 * 1024;
    const { set } = await form(
      { function: "length" },
      [0, 1, 2, 3].map(() => seat({ maxPayloadBytes })),
    );
    // Each character takes two in its JSON, and four in the text of its request.
    const quotes = '"'.repeat(maxPayloadBytes / 2 - 1);
    expect(returned(await set.call(quotes))).toBe(quotes.length);
  });

  test("keep a state by key, through checkpoints", async () => {
    const { set } = await form({ function: "bank", limits: { checkpointEvery: 4 } });
    for (let i = 1; i <= 12; i++) expect(returned(await pay(set, 5))).toBe(100 - 5 * i);
    expect(returned(await pay(set, 1, "b"))).toBe(99);
    expect(JSON.parse((await pay(set, 1_000)).outcome)).toMatchObject({
      failure: { code: "FUNCTION_FAILED", message: "too little" },
    });
    expect(returned(await pay(set, 1))).toBe(39);
    await set.once((heard) => heard.t === "notice" && heard.notice.t === "stable");
  });

  test("tell which view they are in when they come back: whoever begins them shows who leads", async () => {
    const directories = [0, 1, 2, 3].map((index) => join(directory, `view-${index}`));
    const { set } = await form({ function: "bank", directories });
    set.send(0, { t: "misbehave", how: "partition" });
    expect(returned(await pay(set, 1))).toBe(99);
    await Promise.all(hosts.splice(0).map((host) => host.stop()));
    await Promise.all([1, 2, 3].map((index) => set.prepare(index, seat())));
    const told = set.heard.length;
    await Promise.all([1, 2, 3].map((index) => set.begin(index)));
    await set.inspect(3);
    const views = set.heard.slice(told).flatMap((heard) => (heard.t === "notice" && heard.notice.t === "view" ? [heard.notice] : []));
    expect(views.filter(({ view, leader }) => view > 0 && leader === view % 4).length).toBeGreaterThan(1);
  });

  test("tell when they lack nothing that the others have: at once when the set begins, and after the transfer when they come anew", async () => {
    const { set } = await form({ function: "bank" });
    const isTold = async (from: number) => set.once((heard) => heard.t === "behind" && heard.from === from);
    expect(await Promise.all([0, 1, 2, 3].map(isTold))).toEqual([0, 1, 2, 3].map((from) => ({ t: "behind", from, isBehind: false })));
    await Promise.all([1, 2, 3].map((amount) => pay(set, amount)));
    await set.prepare(3, seat());
    const next = set.reconfigure();
    await Promise.all([0, 1].map((from) => set.once((heard) => heard.t === "notice" && heard.from === from && heard.notice.t === "epoch")));
    set.entered(next);
    const before = set.heard.length;
    await set.begin(3);
    await set.next((heard) => heard.t === "behind" && heard.from === 3);
    const told = set.heard.slice(before).flatMap((heard) => {
      if (heard.t === "behind") return heard.from === 3 ? [`behind: ${heard.isBehind}`] : [];
      return heard.t === "notice" && heard.from === 3 ? [heard.notice.t] : [];
    });
    expect(told.filter((each) => /behind|transferred/.test(each))).toEqual(["transferred", "behind: false"]);
    expect((await set.inspect(3)).machine).toMatchObject({ present: true, lacking: 0 });
  });

  test("say nothing of what their disks have not confirmed", async () => {
    const open = Promise.withResolvers<void>();
    let gate: Promise<void> = Promise.resolve();
    const appended: number[] = [];
    const began = Promise.withResolvers<void>();
    const seats = [0, 1, 2, 3].map((index) =>
      seat({
        openLog: async (own, makeSecret) => {
          const log = await openLog(own, makeSecret);
          const append = log.append.bind(log);
          log.append = async (records) => {
            appended.push(index);
            began.resolve();
            await gate;
            await append(records);
          };
          return log;
        },
      }),
    );
    const directories = [0, 1, 2, 3].map((index) => join(directory, `durable-${index}`));
    const { set } = await form({ function: "bank", directories, limits: { progressTimeoutMs: 60_000 } }, seats);
    expect(returned(await pay(set, 1))).toBe(99);
    // The last words of that call.
    await Promise.all([0, 1, 2, 3].map((index) => set.inspect(index)));
    gate = open.promise;
    appended.length = 0;
    const second = pay(set, 1);
    await began.promise;
    // Time enough for all that could be sent: a whole round of messages that overtake it, at each replica.
    for (let round = 0; round < 3; round++) await Promise.all([0, 1, 2, 3].map((index) => set.inspect(index)));
    expect(new Set(appended)).toEqual(new Set([0]));
    open.resolve();
    expect(returned(await second)).toBe(98);
    expect(new Set(appended)).toEqual(new Set([0, 1, 2, 3]));
  });
});
