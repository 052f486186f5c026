/** Replicas in real processes, driven without a platform: what a killed, a lying, a cut off and a busy replica changes about certified results. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { verifyCertificate } from "../src/consensus/verify.ts";
import { nodeVerifier } from "../src/replicas/node-crypto.ts";
import { type Certified, type HarnessOptions, type Heard, ReplicaHarness } from "../src/testing/replica-harness.ts";
import { type PodSeat, ReplicaPods } from "../src/testing/replica-pods.ts";

const BUNDLE = `
const { fn } = require("lockstep");
exports.work = fn("work", (input) => {
  if (input.loop) while (true);
  return { squared: input.n ** 2, at: Date.now(), chance: Math.random() };
});
exports.account = fn.stateful("account", {
  initial: () => ({ balance: 100 }),
  apply: (state, { amount }) => {
    if (amount > state.balance) throw new Error("too little");
    const balance = state.balance - amount;
    return { state: { balance }, value: balance };
  },
  key: "account",
});
`;

const directory = mkdtempSync(join(tmpdir(), "lockstep-replicas-"));
const path = join(directory, "bundle.cjs");
writeFileSync(path, BUNDLE);
const pods = new ReplicaPods(fileURLToPath(new URL("../dist/pod/main.js", import.meta.url)));
let set: ReplicaHarness | undefined;
let made = 0;

beforeAll(() => pods.start());
afterEach(() => {
  set?.close();
  pods.clear();
});
afterAll(async () => {
  await pods.stop();
  rmSync(directory, { recursive: true, force: true });
});

/** Longer than by default: what only waits for its turn on a busy machine is no reason for another leader here. */
const PATIENCE = { progressTimeoutMs: 1_500 };

const form = async (options: Omit<HarnessOptions, "path">): Promise<{ set: ReplicaHarness; seats: PodSeat[] }> => {
  set = new ReplicaHarness({ ...options, limits: { ...PATIENCE, ...options.limits }, path });
  const seats = Array.from({ length: 4 }, () => pods.add());
  await set.form(seats);
  return { set, seats };
};

const durable = (): string[] => {
  const own = join(directory, `set-${++made}`);
  return [0, 1, 2, 3].map((index) => join(own, String(index)));
};

const returned = ({ outcome }: Certified): unknown => (JSON.parse(outcome) as { value: unknown }).value;

const pay = (of: ReplicaHarness, amount: number): Promise<Certified> => of.call({ account: "a", amount }, "a");

const isView = (heard: Heard): boolean => heard.t === "notice" && heard.notice.t === "view";

describe("replica sets of four processes", () => {
  test("certify a stateless function's results, and anyone can verify them", async () => {
    const { set } = await form({ function: "work" });
    const results = await Promise.all(Array.from({ length: 40 }, (_, n) => set.call({ n })));
    for (const [n, result] of results.entries()) {
      expect(returned(result)).toMatchObject({ squared: n ** 2 });
      expect(verifyCertificate(result.certificate, { adminKey: set.adminKey }, nodeVerifier())).toMatchObject({ ok: true });
    }
  });

  test("go on when the leader's process is killed, and the account has lost nothing", async () => {
    const { set, seats } = await form({ function: "account" });
    expect(returned(await pay(set, 1))).toBe(99);
    seats[0]?.kill();
    expect(returned(await pay(set, 1))).toBe(98);
    expect(set.heard.some(isView)).toBe(true);
    expect(returned(await pay(set, 1))).toBe(97);
  });

  test("a follower that is killed comes back from its log as itself, and is one of three that go on", async () => {
    const { set, seats } = await form({ function: "account", directories: durable(), limits: { checkpointEvery: 8 } });
    for (let i = 1; i <= 20; i++) expect(returned(await pay(set, 1))).toBe(100 - i);
    const { membership } = set.membership;
    seats[3]?.kill();
    await seats[3]?.gone;
    expect(returned(await pay(set, 1))).toBe(79);
    const again = pods.add();
    await set.prepare(3, again);
    set.announce(set.membership);
    await set.begin(3);
    expect((await set.inspect(3)).key).toBe(membership.replicas[3]);
    // Without this one there are only three, so that each of them is needed.
    seats[2]?.kill();
    await seats[2]?.gone;
    for (let i = 22; i <= 30; i++) expect(returned(await pay(set, 1))).toBe(100 - i);
  });

  test("all processes may be killed at once: a durable set goes on where it was", async () => {
    const { set, seats } = await form({ function: "account", directories: durable(), limits: { checkpointEvery: 8 } });
    for (let i = 1; i <= 20; i++) expect(returned(await pay(set, 1))).toBe(100 - i);
    for (const seat of seats) seat.kill();
    await Promise.all(seats.map(({ gone }) => gone));
    await Promise.all(seats.map((_, index) => set.prepare(index, pods.add())));
    await Promise.all(seats.map((_, index) => set.begin(index)));
    expect(returned(await pay(set, 1))).toBe(79);
  });

  test("an endless loop in user code is an outcome, and no reason for another leader", async () => {
    const { set } = await form({ function: "work", timeoutMs: 2_500 });
    const looping = set.call({ loop: true });
    const others = await Promise.all([1, 2, 3].map((n) => set.call({ n })));
    expect(others.map(returned)).toMatchObject([{ squared: 1 }, { squared: 4 }, { squared: 9 }]);
    expect(JSON.parse((await looping).outcome)).toMatchObject({ failure: { code: "CALL_TIMEOUT" } });
    expect(set.heard.filter(({ t }) => t === "notice")).toEqual([]);
  });

  test("a replica that lies is outvoted, and proven to lie", async () => {
    const { set } = await form({ function: "work" });
    set.send(2, { t: "misbehave", how: "lie" });
    const proof = set.once((heard) => heard.t === "client-evidence" && heard.evidence.kind === "wrong-vote");
    for (let n = 1; n <= 5; n++) {
      const result = await set.call({ n });
      expect(returned(result)).toMatchObject({ squared: n ** 2 });
      expect(result.certificate.votes.map(({ replica }) => replica)).toEqual([0, 1, 3]);
    }
    expect(await proof).toMatchObject({ evidence: { about: 2, proof: { reply: { replica: 2 } } } });
  });

  test("a leader that tells different replicas different things loses its office", async () => {
    const { set } = await form({ function: "account" });
    expect(returned(await pay(set, 1))).toBe(99);
    const named = set.once((heard) => heard.t === "evidence" && heard.evidence.kind === "equivocation");
    set.send(0, { t: "misbehave", how: "equivocate" });
    expect(returned(await pay(set, 1))).toBe(98);
    expect(await named).toMatchObject({ evidence: { about: 0 } });
  });

  test("a follower that is cut off does not hold the others, and catches up when it is back", async () => {
    const { set } = await form({ function: "account", limits: { checkpointEvery: 8 } });
    set.send(3, { t: "misbehave", how: "partition" });
    for (let i = 1; i <= 20; i++) expect(returned(await pay(set, 1))).toBe(100 - i);
    const back = set.next((heard) => heard.t === "notice" && heard.from === 3 && heard.notice.t === "transferred");
    set.send(3, { t: "misbehave", how: "none" });
    await back;
    expect(returned(await pay(set, 1))).toBe(79);
  });

  test("a replaced replica gets the state, and its key counts no more", async () => {
    const { set, seats } = await form({ function: "account", limits: { checkpointEvery: 8 } });
    for (let i = 1; i <= 5; i++) await pay(set, 1);
    await set.prepare(1, pods.add());
    const begun = Promise.all(
      [0, 2, 3].map((from) => set.next((heard) => heard.t === "notice" && heard.from === from && heard.notice.t === "epoch")),
    );
    const next = set.reconfigure();
    await Promise.all([set.begin(1), begun]);
    set.entered(next);
    seats[1]?.kill();
    seats[3]?.kill();
    const result = await pay(set, 1);
    expect(returned(result)).toBe(94);
    expect(result.certificate.membership.membership.epoch).toBe(2);
    expect(result.certificate.votes.map(({ replica }) => replica)).toEqual([0, 1, 2]);
  });
});
