import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { verifyCertificate } from "../consensus/verify.ts";
import type { FromPod } from "../protocol/pod.ts";
import type { ToReplica } from "../protocol/replica.ts";
import { nodeVerifier } from "../replicas/node-crypto.ts";
import { type Certified, type HarnessOptions, ReplicaHarness, type Seat } from "../testing/replica-harness.ts";
import { ReplicaHost } from "./replica-host.ts";

/** Pays in, and from the second version on with interest. */
const bundleOf = (interest: number): string => `
const { fn } = require("lockstep");
exports.account = fn.stateful("account", {
  initial: () => ({ balance: 0 }),
  apply: (state, input) => {
    const balance = state.balance + input.amount + ${interest};
    return { state: { balance }, value: balance };
  },
  key: "account",
});
`;

const directory = mkdtempSync(join(tmpdir(), "replica-versions-"));
const bundle = (name: string, text: string): string => {
  const path = join(directory, `${name}.cjs`);
  writeFileSync(path, text);
  return path;
};
const versions = {
  "1": bundle("1", bundleOf(0)),
  "2": bundle("2", bundleOf(1_000)),
  broken: bundle("broken", 'throw new Error("no such file");'),
  without: bundle("without", 'const { fn } = require("lockstep"); exports.other = fn("other", () => 1);'),
  stateless: bundle("stateless", 'const { fn } = require("lockstep"); exports.account = fn("account", () => 1);'),
};
afterAll(() => rmSync(directory, { recursive: true, force: true }));

let sockets = 0;
const hosts: ReplicaHost[] = [];
let set: ReplicaHarness | undefined;

afterEach(async () => {
  set?.close();
  await Promise.all(hosts.splice(0).map((host) => host.stop()));
});

type TestSeat = Seat & { host: ReplicaHost; passes: (message: ToReplica) => boolean };

const seat = (): TestSeat => {
  let told: (message: FromPod) => void = () => {};
  const listen = join(directory, `${++sockets}.peer`);
  const options = { listen, memoryMb: 64, maxPayloadBytes: 100_000, maxLogBytes: 10_000, drills: true, crash: () => {} };
  const host = new ReplicaHost(options, {
    send: (message) => void setImmediate(() => told(message)),
    flush: () => {},
    failed: (failure) => told({ t: "refused", version: "1", failure: typeof failure === "string" ? failure : JSON.stringify(failure) }),
  });
  hosts.push(host);
  const made: TestSeat = {
    host,
    passes: () => true,
    send: (message) => void setImmediate(() => made.passes(message as ToReplica) && host.take(message as ToReplica)),
    listen: (to) => {
      told = to;
    },
  };
  return made;
};

const form = async (options: Partial<HarnessOptions> = {}, seats = Array.from({ length: 4 }, seat)) => {
  set = new ReplicaHarness({ function: "account", path: "", versions, ...options });
  await set.form(seats);
  return { set, seats };
};

const pay = (of: ReplicaHarness, amount: number, account = "a"): Promise<Certified> => of.call({ account, amount }, account);

const returned = ({ outcome }: Certified): unknown => (JSON.parse(outcome) as { value: unknown }).value;

/** Deploys a version: resolves once f + 1 replicas say that its epoch has begun. */
const deploy = async (of: ReplicaHarness, version: string): Promise<void> => {
  const told = of.heard.length;
  const next = of.reconfigure(version);
  const { epoch } = next.membership;
  const begun = (): number =>
    of.heard.slice(told).filter((heard) => heard.t === "notice" && heard.notice.t === "epoch" && heard.notice.epoch === epoch).length;
  while (begun() < 2) await of.next((heard) => heard.t === "notice");
  of.entered(next);
};

const expectCertified = (of: ReplicaHarness, { certificate }: Certified, version: string): void => {
  const checked = verifyCertificate(certificate, { adminKey: of.adminKey, expect: { set: "app/account", version } }, nodeVerifier());
  expect(checked).toMatchObject({ ok: true });
};

describe("a deployment under a stateful function", () => {
  test("keeps the state, executes it by the new code, and certificates name the version that has", async () => {
    const { set } = await form();
    const before = await pay(set, 5);
    expectCertified(set, before, "1");
    await deploy(set, "2");
    const after = await pay(set, 7);
    expect([returned(before), returned(after)]).toEqual([5, 1_012]);
    expectCertified(set, after, "2");
    await deploy(set, "1");
    const back = await pay(set, 1);
    expect(returned(back)).toBe(1_013);
    expectCertified(set, back, "1");
  });

  test("changes the code of all replicas at one number, in the midst of calls", async () => {
    // On a machine that does much else replicas are late, and that is not what this is about.
    const { set } = await form({ limits: { progressTimeoutMs: 60_000, slowLeaderMs: 60_000 }, silenceMs: 60_000 });
    const calls = Array.from({ length: 40 }, () => pay(set, 1));
    await pay(set, 1, "b");
    const deployed = deploy(set, "2");
    calls.push(...Array.from({ length: 40 }, () => pay(set, 1)));
    await deployed;
    const all = await Promise.all(calls);
    const inOrder = all.toSorted((a, b) => (returned(a) as number) - (returned(b) as number));
    let balance = 0;
    for (const each of inOrder) {
      const gained = (returned(each) as number) - balance;
      expect([1, 1_001]).toContain(gained);
      balance += gained;
    }
    expect(set.heard.filter(({ t }) => t === "evidence" || t === "client-evidence")).toEqual([]);
    const states = await Promise.all([0, 1, 2, 3].map((index) => set.inspect(index)));
    expect(states.map(({ machine }) => (machine as { epoch: number }).epoch)).toEqual([2, 2, 2, 2]);
  });

  test.each(["broken", "without", "stateless"])(
    "of a version that is %s fails its calls, and the next one finds the state",
    async (version) => {
      const { set } = await form();
      await pay(set, 5);
      await deploy(set, version);
      const failed = await pay(set, 7);
      expect(JSON.parse(failed.outcome)).toMatchObject({
        failure: { message: expect.stringMatching(/no such file|no function|no state/) },
      });
      expectCertified(set, failed, version);
      await deploy(set, "2");
      expect(returned(await pay(set, 7))).toBe(1_012);
    },
  );

  test("is executed by a replica that learns of the bundle only after its peers have gone on", async () => {
    const { set, seats } = await form();
    await pay(set, 5);
    const held: ToReplica[] = [];
    const late = seats[3] as TestSeat;
    late.passes = (message) => message.t !== "membership" || held.push(message) < 0;
    await deploy(set, "2");
    // Without one of those who know, nothing is certified before the late one can execute.
    await (seats[0] as TestSeat).host.stop();
    const paid = pay(set, 7);
    await set.once((heard) => heard.t === "notice" && heard.from === 3 && heard.notice.t === "epoch" && heard.notice.epoch === 2);
    late.passes = () => true;
    for (const message of held) late.send(message);
    const certified = await paid;
    expect(returned(certified)).toBe(1_012);
    expect(certified.certificate.votes.map(({ replica }) => replica)).toEqual([1, 2, 3]);
  });

  test("is remembered by replicas that come back, though whoever begins them does not know that it has come about", async () => {
    const directories = [0, 1, 2, 3].map((index) => join(directory, `ahead-${index}`));
    const { set } = await form({ directories });
    await pay(set, 5);
    const before = set.membership;
    await deploy(set, "2");
    await pay(set, 7);
    await Promise.all(hosts.splice(0).map((host) => host.stop()));
    await Promise.all([0, 1, 2, 3].map((index) => set.prepare(index, seat())));
    await Promise.all([0, 1, 2, 3].map((index) => set.begin(index, before)));
    set.open();
    const certified = await pay(set, 1);
    expect(returned(certified)).toBe(2_013);
    expectCertified(set, certified, "2");
  });

  test("is kept by replicas that are killed at any time of it, and come back with their directories", async () => {
    const directories = [0, 1, 2, 3].map((index) => join(directory, `kept-${index}`));
    const { set, seats } = await form({ directories });
    await pay(set, 5);
    await (seats[2] as TestSeat).host.stop();
    await deploy(set, "2");
    expect(returned(await pay(set, 7))).toBe(1_012);
    const again = async (index: number): Promise<void> => {
      await set.prepare(index, seat());
      await set.begin(index);
    };
    await again(2);
    await (seats[1] as TestSeat).host.stop();
    // A quorum needs the one that was away: it has the state of the new epoch, and its code.
    expect(returned(await pay(set, 1))).toBe(2_013);
    await again(1);
    await (seats[3] as TestSeat).host.stop();
    const certified = await pay(set, 1);
    expect(returned(certified)).toBe(3_014);
    expect(certified.certificate.votes.map(({ replica }) => replica)).toEqual([0, 1, 2]);
  });

  test("is caught up with by a replica that comes back in the midst of the epoch before: it asks for that one's code", async () => {
    const directories = [0, 1, 2, 3].map((index) => join(directory, `midst-${index}`));
    const { set, seats } = await form({ directories, limits: { checkpointEvery: 8 } });
    await deploy(set, "2");
    for (let i = 1; i <= 20; i++) expect(returned(await pay(set, 1))).toBe(i * 1_001);
    await (seats[2] as TestSeat).host.stop();
    await deploy(set, "1");
    expect(returned(await pay(set, 7))).toBe(20_027);
    await set.prepare(2, seat());
    await set.begin(2);
    await (seats[1] as TestSeat).host.stop();
    // A quorum needs the one that was away.
    const certified = await pay(set, 1);
    expect(returned(certified)).toBe(20_028);
    expect(certified.certificate.votes.map(({ replica }) => replica)).toEqual([0, 2, 3]);
  });
});
