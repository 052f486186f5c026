import { describe, expect, test } from "vitest";
import { inputText, leafText, outcomeText, voteText } from "../consensus/canonical.ts";
import { sessionId } from "../consensus/client-table.ts";
import type { Membership } from "../consensus/membership.ts";
import type { FromPod, ToPod } from "../protocol/pod.ts";
import { newPod, type Pod, type Tenant } from "../scheduler/pod.ts";
import type { CertifiedAnswer } from "../scheduler/service.ts";
import { certify, cryptoOf, hashText, signAs } from "../testing/replica-keys.ts";
import { createStepClock } from "../testing/step-clock.ts";
import type { SetSpec } from "./machine.ts";
import { ReplicaSet, type SetParts, type StoredSet } from "./set.ts";

const SPEC: SetSpec = {
  set: "bank/apply@1",
  application: "bank",
  function: "apply",
  version: "1",
  faults: 1,
  durable: true,
  client: "client",
};

/** A set whose pods are made up, with a journal whose commits the test ends, and disks on which keys stay. */
class World {
  readonly clock = createStepClock(1_000);
  readonly sent: { pod: Pod; message: ToPod }[] = [];
  readonly answers: CertifiedAnswer[] = [];
  readonly lost: string[] = [];
  readonly told: string[] = [];
  readonly forgotten: string[] = [];
  readonly disks: Map<string, string>;
  readonly pods = new Map<string, Pod>();
  stored: StoredSet | undefined;
  room = Number.POSITIVE_INFINITY;
  isConnected = false;
  readonly set: ReplicaSet;
  #sequence = 0;
  #pods = 0;
  #effects: (() => void)[] = [];
  #recorded: StoredSet | undefined;

  constructor(earlier?: { stored: StoredSet; disks: Map<string, string> }, spec = SPEC) {
    this.disks = earlier?.disks ?? new Map();
    this.stored = earlier?.stored;
    const parts: SetParts = {
      fleet: {
        acquire: (tenant) => this.#acquire(tenant),
        send: (pod, message) => void this.sent.push({ pod, message }),
        end: (pod) => this.end(pod),
      },
      clock: this.clock,
      crypto: cryptoOf("client"),
      adminKey: "admin",
      certify,
      clientKey: "client",
      nextSession: () => 1,
      pending: () => [],
      afterCommit: (effect) => void this.#effects.push(effect),
      store: (stored) => {
        this.#recorded = stored;
      },
      codeOf: () => ({ path: "bundle", timeoutMs: 1_000 }),
      directoryOf: (index, generation) => `${index}-${generation}`,
      forget: (index, generation) => void (generation > 1 && this.forgotten.push(`${index}-${generation}`)),
      told: {
        changed: () => this.told.push("changed"),
        fault: (_, { index, what }) => this.told.push(`${what} ${index}`),
        repaired: () => this.told.push("repaired"),
        doubted: () => this.told.push("doubted"),
        closed: (_, reason) => this.told.push(reason),
        ended: () => this.told.push("ended"),
      },
    };
    const tenant = {
      role: "apply",
      application: "bank",
      version: "1",
      path: "bundle",
      memoryMb: 256,
      connected: () => {
        this.isConnected = true;
      },
      certified: (_: Pod, answer: CertifiedAnswer) => void this.answers.push(answer),
      gone: () => this.lost.push("set"),
    } as unknown as Tenant & { certified(pod: Pod, answer: CertifiedAnswer): void };
    const options = { memoryMb: 256, idleMs: 60_000, recoveryEveryMs: 0, maxLogBytes: 1_000 };
    this.set = new ReplicaSet(spec, tenant, options, parts, earlier?.stored);
  }

  #acquire(tenant: Tenant): Pod | undefined {
    if (this.room <= this.pods.size) return undefined;
    const pod = newPod(`pod-${++this.#pods}`, 256, this.clock.now());
    pod.tenant = tenant;
    this.pods.set(pod.id, pod);
    return pod;
  }

  end(pod: Pod, detail = "ended"): void {
    if (!this.pods.delete(pod.id)) return;
    // Its tenant hears of it later.
    this.#gone.push(() => pod.tenant?.gone(pod, { reason: "exited", memory: false, detail, output: "" }));
  }

  #gone: (() => void)[] = [];

  /** Pods connect and find or make their keys, until nothing more happens; nothing is written to the disk. */
  settle(): this {
    for (let i = 0; i < 20; i++) {
      for (const gone of this.#gone.splice(0)) gone();
      for (const pod of this.pods.values()) {
        if (pod.state !== "starting") continue;
        pod.state = "ready";
        pod.tenant?.connected(pod);
      }
      for (const { pod, message } of this.sent) {
        if (message.t !== "replica-prepare" || !this.pods.has(pod.id) || this.#ready.has(pod.id)) continue;
        this.#ready.add(pod.id);
        const disk = message.directory ?? pod.id;
        if (!this.disks.has(disk)) this.disks.set(disk, `key-${this.disks.size}-${pod.id}`);
        this.say(pod, { t: "replica-ready", key: this.disks.get(disk)!, address: `at-${pod.id}`, restored: false });
      }
      this.clock.turns();
    }
    return this;
  }

  readonly #ready = new Set<string>();

  say(pod: Pod, message: FromPod): void {
    pod.tenant?.message(pod, message);
  }

  /** All that was recorded is on the disk. */
  commit(): this {
    if (this.#recorded !== undefined) this.stored = this.#recorded;
    for (const effect of this.#effects.splice(0)) effect();
    this.clock.turns();
    return this;
  }

  /** Until nothing waits for pods or for the disk. */
  run(): this {
    for (let i = 0; i < 5; i++) this.settle().commit();
    return this;
  }

  podAt(index: number): Pod {
    return this.set.podAt(index)!;
  }

  /** Memberships that any replica has heard of, by the message that told. */
  heard(): { t: string; epoch: number }[] {
    const found: { t: string; epoch: number }[] = [];
    for (const { message } of this.sent) {
      if (message.t === "replicate") found.push({ t: message.t, epoch: message.membership.membership.epoch });
      if (message.t === "membership") found.push({ t: message.t, epoch: message.next.membership.epoch });
      if (message.t === "request" && message.request.body.t === "reconfigure") {
        found.push({ t: "reconfigure", epoch: message.request.body.next.membership.epoch });
      }
    }
    return found;
  }

  /** A lie that f + 1 replicas have seen. */
  accuse(index: number): void {
    for (const from of [0, 1, 2, 3].filter((each) => each !== index).slice(0, 2)) {
      const evidence = { about: index, kind: "wrong-checkpoint" as const, view: 0, seq: 1, detail: "it lied" };
      this.say(this.podAt(from), { t: "evidence", evidence });
    }
  }

  /** The replicas in the seats 0 to 2, or others, vote for it; that in seat 3 does, too, if there is an outcome of it. */
  certify(id: string, input: string, last?: string, voters = [0, 1, 2]): void {
    const seq = ++this.#sequence;
    for (const replica of voters) this.#vote(replica, seq, id, input, '{"value":1}');
    if (last !== undefined) this.#vote(3, seq, id, input, last);
    this.clock.turns();
  }

  #vote(replica: number, seq: number, id: string, input: string, outcome: string): void {
    const membership = this.set.machine.membership as Membership;
    const hashes = { inputHash: hashText(inputText(input)), resultHash: hashText(outcomeText(outcome)) };
    const statement = { operation: id, version: "1", key: "", ...hashes, sequence: seq, position: 0 };
    const root = hashText(leafText(SPEC.set, statement));
    const { epoch } = membership;
    const signature = signAs(membership.replicas[replica]!, voteText(SPEC.set, epoch, 0, seq, root));
    const results = [{ id, position: 0, path: [], key: "", ...hashes, outcome }];
    this.say(this.podAt(replica), { t: "votes", reply: { replica, epoch, view: 0, seq, version: "1", root, signature, results } });
  }

  /** Those who stay say that the next epoch has begun. */
  begin(epoch: number): void {
    for (const index of [0, 1]) this.say(this.podAt(index), { t: "replica-notice", notice: { t: "epoch", epoch, version: "1" } });
    this.run();
  }

  /** Founds the set and opens its session. */
  open(): this {
    this.set.want();
    this.run();
    this.certify(sessionId({ client: "client", session: 1 }), "");
    return this.run();
  }

  invoke(lease: number): void {
    this.set.invoke({ t: "invoke", lease, fn: "apply", input: "1", run: "run-1" as never, seq: lease, attempt: 1, timeoutMs: 1_000 });
    this.clock.turns();
  }
}

describe("a replica set", () => {
  test("tells nobody of an epoch before that is on the disk, so that no epoch has two memberships", () => {
    const world = new World();
    world.set.want();
    world.settle();
    expect(world.heard()).toEqual([]);
    world.commit();
    expect(world.stored?.membership.membership.epoch).toBe(1);
    expect(world.heard().map(({ t }) => t)).toEqual(["replicate", "replicate", "replicate", "replicate"]);
    world.certify(sessionId({ client: "client", session: 1 }), "");
    world.run();
    world.accuse(3);
    world.settle();
    expect(world.heard().filter(({ epoch }) => epoch === 2)).toEqual([]);
    world.commit();
    expect(world.stored?.next?.membership.epoch).toBe(2);
    expect(world.heard().some(({ t, epoch }) => t === "reconfigure" && epoch === 2)).toBe(true);
  });

  test("takes no replica for silent that has begun after what it has not voted on, however often it says that it begins", () => {
    const world = new World().open();
    const begins = { t: "replica-running", epoch: 1, ms: 5 } as const;
    world.clock.advance(900);
    world.say(world.podAt(3), begins);
    world.clock.advance(900);
    expect(world.told).not.toContain("silence 3");
    world.invoke(1);
    world.certify("run-1/1/1", "1");
    world.clock.advance(900);
    world.say(world.podAt(3), begins);
    world.clock.advance(200);
    expect(world.told).toContain("silence 3");
  });

  test("takes no replica for silent that was told to begin and has not begun, but not for ever", () => {
    const world = new World().open();
    world.clock.advance(5_000);
    expect(world.told).not.toContain("silence 3");
    world.invoke(1);
    world.certify("run-1/1/1", "1");
    world.clock.advance(2_000);
    expect(world.told).not.toContain("silence 3");
    world.clock.advance(3_000);
    world.invoke(2);
    world.certify("run-1/2/1", "1");
    world.clock.advance(2_000);
    expect(world.told).toContain("silence 3");
  });

  test("keeps a silent replica on until a newcomer has what the others have, but not for ever", () => {
    for (const isEarly of [true, false]) {
      const world = new World().open();
      world.accuse(3);
      world.run();
      world.begin(2);
      const seat = world.podAt(3);
      const isSilent = () => world.told.includes("silence 2");
      for (const index of [0, 1, 2, 3]) world.say(world.podAt(index), { t: "replica-running", epoch: 2, ms: 1 });
      world.invoke(1);
      world.certify("run-1/1/1", "1", undefined, [0, 1, 3]);
      world.clock.advance(2_000);
      expect(isSilent()).toBe(false);
      if (isEarly) world.say(seat, { t: "replica-behind", isBehind: false });
      expect(isSilent()).toBe(isEarly);
      world.clock.advance(30_000);
      expect(isSilent()).toBe(true);
    }
  });

  test("gives up the next liar in a seat like the one before it, and takes nothing that was said of that one for said of this one", () => {
    const world = new World().open();
    const lies = () => world.told.filter((each) => each === "lie 3").length;
    world.accuse(3);
    world.run();
    world.begin(2);
    expect(lies()).toBe(1);
    const evidence = { about: 3, kind: "wrong-checkpoint" as const, view: 0, seq: 1, detail: "it lied" };
    world.say(world.podAt(2), { t: "evidence", evidence });
    expect(lies()).toBe(1);
    world.say(world.podAt(0), { t: "evidence", evidence });
    expect(lies()).toBe(2);
  });

  test("gives up a leader for what it has done before it came back under its key, once a second replica has seen that", () => {
    const world = new World().open();
    const say = (from: number, kind: "equivocation" | "silent-leader"): void => {
      const evidence = { about: 1, kind, view: 1, seq: 1, detail: "two batches" };
      world.say(world.podAt(from), { t: "evidence", evidence });
      world.run();
    };
    const key = world.set.machine.membership!.replicas[1];
    say(0, "equivocation");
    say(2, "silent-leader");
    const again = world.podAt(1);
    expect([world.told.filter((each) => each === "equivocation 1").length, world.set.machine.seats[1]!.key]).toEqual([1, key]);
    for (const index of [0, 1, 2, 3]) world.say(world.podAt(index), { t: "replica-behind", isBehind: false });
    say(3, "equivocation");
    expect(world.told.filter((each) => each === "equivocation 1")).toHaveLength(2);
    expect(world.podAt(1)).not.toBe(again);
    expect(world.set.machine.seats[1]!.key).not.toBe(key);
  });

  test("has the change of its members ordered that was under way when the control plane ended", () => {
    const world = new World().open();
    world.accuse(3);
    world.run();
    expect(world.stored?.next?.membership.epoch).toBe(2);
    const later = new World({ stored: world.stored!, disks: world.disks }).open();
    expect(later.heard().some(({ t, epoch }) => t === "reconfigure" && epoch === 2)).toBe(true);
  });

  test("does not give a seat back to what its accused replica has left, though the control plane ends before the next is ordered in", () => {
    const world = new World().open();
    const accused = world.set.machine.seats[3]!.key;
    world.room = 3;
    world.accuse(3);
    world.settle();
    world.room = 4;
    world.clock.advance(10_000);
    world.commit();
    expect(world.stored?.next).toBeUndefined();
    const later = new World({ stored: world.stored!, disks: world.disks }).open();
    expect(later.set.machine.seats.map(({ key }) => key)).not.toContain(accused);
  });

  test("keeps what a replaced replica has left until the next one is in force, and no longer", () => {
    const world = new World().open();
    world.accuse(3);
    world.run();
    expect(world.forgotten).toEqual([]);
    for (const index of [0, 1]) world.say(world.podAt(index), { t: "replica-notice", notice: { t: "epoch", epoch: 2, version: "1" } });
    world.settle();
    expect(world.forgotten).toEqual([]);
    world.commit();
    expect(world.forgotten).toEqual(["3-2"]);
  });

  test("says nothing of its calls when the platform stops: the next life asks for them under the same name", () => {
    const world = new World().open();
    world.invoke(1);
    world.set.stop();
    for (const pod of [...world.pods.values()]) world.end(pod);
    world.run();
    expect(world.lost).toEqual([]);
    expect(world.answers).toEqual([]);
    expect(world.told.filter((each) => each.startsWith("crash") || each === "ended")).toEqual([]);
    expect(world.clock.timers).toBe(0);
  });

  test("says that there is no room for it, and holds nothing that it can't use for long", () => {
    const world = new World();
    world.room = 3;
    world.set.want();
    const held: number[] = [];
    for (let i = 0; i < 200; i++) {
      world.run();
      held.push(world.pods.size);
      world.clock.advance(100);
    }
    expect(world.told.filter((each) => each.includes("room for 3 of its 4 pods"))).toHaveLength(1);
    expect(held).toContain(0);
    expect(held).toContain(3);
    expect(world.isConnected).toBe(false);
    world.room = 4;
    for (let i = 0; i < 100 && !world.isConnected; i++) {
      world.run();
      world.clock.advance(100);
    }
    expect(world.isConnected).toBe(true);
  });

  test("holds what it has while room is being made for the rest", () => {
    const world = new World();
    world.room = 0;
    world.set.want();
    let held = 0;
    for (let i = 1; i < 60 && !world.isConnected; i++) {
      if (i % 12 === 0) world.room++;
      world.run();
      expect(world.pods.size).toBeGreaterThanOrEqual(held);
      held = world.pods.size;
      world.clock.advance(100);
    }
    world.run();
    expect(world.isConnected).toBe(true);
  });

  test("begins anew as a whole when one replica after the other differs in its first result, and gives up nobody for a result then", () => {
    const world = new World(undefined, { ...SPEC, durable: false }).open();
    world.invoke(1);
    world.certify("run-1/1/1", "1", undefined, [3, 0, 1]);
    world.end(world.podAt(3), "killed");
    world.run().begin(2);
    for (const lease of [2, 3]) {
      world.invoke(lease);
      world.certify(`run-1/${lease}/1`, "1", '{"value":0}');
      world.run();
      if (lease === 2) world.begin(3);
    }
    expect(world.told.filter((each) => /lie|doubted|together/.test(each))).toEqual([
      "lie 3",
      "lie 3",
      "doubted",
      "3 of 4 replicas work; all begin anew together",
    ]);
    expect(world.set.machine.membership?.epoch).toBe(4);
    world.certify(sessionId({ client: "client", session: 1 }), "");
    world.invoke(4);
    world.certify("run-1/4/1", "1", '{"value":0}');
    expect(world.told.filter((each) => each === "lie 3")).toHaveLength(2);
    expect(world.answers).toHaveLength(4);
  });

  test("ends when the calls that it was made for are gone before it is there", () => {
    const world = new World().open();
    expect(world.isConnected).toBe(true);
    world.clock.advance(60_001);
    expect(world.told).toContain("ended");
  });
});
