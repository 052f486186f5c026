import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ReplicaSetMachine, type SetEffect, type SetInput, type SetSpec } from "./machine.ts";

const spec = (durable = false): SetSpec => ({
  set: "bank/add@v1",
  application: "bank",
  function: "add",
  version: "v1",
  faults: 1,
  durable,
  client: "client",
});

/** Plays the pods: each seat that is asked for gets one, whose key is new, or that of the seat's directory. */
class Harness {
  machine: ReplicaSetMachine;
  readonly effects: SetEffect[] = [];
  readonly keys = new Map<string, string>();
  readonly directories = new Map<number, string>();
  /** Seats are not filled by themselves. */
  room = Number.POSITIVE_INFINITY;
  #serial: number;

  constructor(machine = new ReplicaSetMachine(spec()), serial = 0) {
    this.machine = machine;
    this.#serial = serial;
  }

  step(input: SetInput): SetEffect[] {
    const effects = this.machine.step(input);
    this.effects.push(...effects);
    for (const effect of effects) if (effect.t === "acquire" && this.room > 0) this.acquire(effect);
    return effects;
  }

  acquire({ index, fresh }: SetEffect & { t: "acquire" }): void {
    this.room--;
    const pod = `pod-${++this.#serial}`;
    const kept = this.machine.spec.durable && !fresh ? this.directories.get(index) : undefined;
    const key = kept ?? `key-${pod}`;
    this.directories.set(index, key);
    this.keys.set(pod, key);
    this.step({ t: "acquired", index, pod });
  }

  ready(...indexes: number[]): void {
    for (const index of indexes) {
      const { pod } = this.machine.seats[index]!;
      this.step({ t: "ready", pod: pod!, key: this.keys.get(pod!)!, address: `at-${pod}` });
    }
  }

  found(): this {
    this.step({ t: "want" });
    this.ready(0, 1, 2, 3);
    this.effects.length = 0;
    return this;
  }

  podOf(index: number): string {
    return this.machine.seats[index]!.pod!;
  }

  types(): string[] {
    return this.effects.map(({ t }) => t);
  }

  find<T extends SetEffect["t"]>(t: T): (SetEffect & { t: T })[] {
    return this.effects.filter((effect): effect is SetEffect & { t: T } => effect.t === t);
  }
}

interface Move {
  t: SetInput["t"];
  index?: number;
  accusation?: "lie" | "silence";
  version?: string;
}

/** What happens to the pod that sits there now, if any does. */
const inputOf = (set: Harness, { t, index = 0, accusation = "lie", version = "v1" }: Move): SetInput => {
  const pod = set.machine.seats[index]!.pod ?? "none";
  switch (t) {
    case "ready":
      return { t, pod, key: set.keys.get(pod) ?? "none", address: "" };
    case "gone":
      return { t, pod, detail: "killed" };
    case "epoch":
      return { t, pod, epoch: set.machine.next?.epoch ?? 1 };
    case "accuse":
      return { t, index, accusation, detail: "" };
    case "behind":
      return { t, pod, isBehind: accusation === "silence" };
    case "version":
      return { t, version };
    default:
      return { t } as SetInput;
  }
};

/** What holds after each step. */
class Rules {
  readonly #set: Harness;
  readonly #removed = new Set<string>();
  #epoch = 0;
  #members: readonly string[] = [];
  #version = "";

  constructor(set: Harness) {
    this.#set = set;
  }

  check(): void {
    const { membership, seats } = this.#set.machine;
    if (membership === undefined) return;
    expect(new Set(membership.replicas).size).toBe(4);
    for (const { state, key, index } of seats) if (state === "serving") expect(membership.replicas[index]).toBe(key);
    if (membership.epoch === this.#epoch) {
      expect(membership.version).toBe(this.#version);
      return void expect(membership.replicas).toEqual(this.#members);
    }
    expect(membership.epoch).toBeGreaterThan(this.#epoch);
    for (const key of this.#members) if (!membership.replicas.includes(key)) this.#removed.add(key);
    for (const key of membership.replicas) expect(this.#removed).not.toContain(key);
    const isOrdered = this.#set.find("changed").some((effect) => effect.membership.epoch === membership.epoch);
    const replaced = membership.replicas.filter((key) => !this.#members.includes(key)).length;
    if (isOrdered && membership.version === this.#version) expect(replaced).toBe(1);
    else if (isOrdered) expect(replaced).toBeLessThanOrEqual(1);
    if (!this.#set.machine.spec.durable) expect(membership.version).toBe("v1");
    this.#epoch = membership.epoch;
    this.#version = membership.version;
    this.#members = membership.replicas;
  }
}

describe("a replica set", () => {
  it("asks for no pods before a call waits", () => {
    expect(new ReplicaSetMachine(spec()).step({ t: "tick" })).toEqual([]);
  });

  it("is founded when all its replicas have told their keys, and not before", () => {
    const set = new Harness();
    set.step({ t: "want" });
    set.ready(0, 1, 2);
    expect(set.types()).not.toContain("open");
    set.ready(3);
    expect(set.find("open")).toMatchObject([{ isNew: true, membership: { epoch: 1, faults: 1, replicas: { length: 4 } } }]);
    expect(set.find("replicate").map(({ index }) => index)).toEqual([0, 1, 2, 3]);
    expect(set.machine.hasQuorum).toBe(true);
  });

  it("gives no two seats the same key", () => {
    const set = new Harness();
    set.step({ t: "want" });
    set.keys.set(set.podOf(1), "key-pod-1");
    set.ready(0, 1);
    expect(set.find("end")).toEqual([{ t: "end", pod: "pod-2" }]);
    set.ready(1, 2, 3);
    expect(new Set(set.machine.membership!.replicas).size).toBe(4);
  });

  it("asks again for the pods that there was no room for", () => {
    const set = new Harness();
    set.room = 2;
    set.step({ t: "want" });
    set.room = 2;
    set.step({ t: "tick" });
    set.ready(0, 1, 2, 3);
    expect(set.machine.phase).toBe("serving");
  });

  it("replaces a replica that has crashed by a new key, which the others order in", () => {
    const set = new Harness().found();
    const [removed] = [set.machine.membership!.replicas[2]];
    set.step({ t: "gone", pod: set.podOf(2), detail: "exited with 1" });
    expect(set.find("fault")).toMatchObject([{ index: 2, what: "crash", isLeader: false }]);
    set.ready(2);
    const [ordered] = set.find("reconfigure");
    expect(ordered!.membership).toMatchObject({ epoch: 2 });
    expect(ordered!.membership.replicas[2]).not.toBe(removed);
    expect(ordered!.membership.replicas[1]).toBe(set.machine.membership!.replicas[1]);
    expect(set.find("replicate")).toEqual([]);
    set.step({ t: "epoch", pod: set.podOf(0), epoch: 2 });
    expect(set.find("changed")).toEqual([]);
    set.step({ t: "epoch", pod: set.podOf(1), epoch: 2 });
    expect(set.find("changed")).toHaveLength(1);
    expect(set.find("replicate")).toMatchObject([{ index: 2, pod: set.podOf(2), membership: { epoch: 2 }, isFounding: false }]);
    set.step({ t: "works", pod: set.podOf(2) });
    expect(set.find("repaired")).toMatchObject([{ index: 2, did: expect.stringContaining("4 of 4") }]);
  });

  it("calls the fault of the leader of f + 1 replicas' view one of the leader", () => {
    const set = new Harness().found();
    set.step({ t: "view", pod: set.podOf(0), view: 5 });
    set.step({ t: "view", pod: set.podOf(1), view: 1 });
    set.step({ t: "view", pod: set.podOf(2), view: 1 });
    set.step({ t: "gone", pod: set.podOf(3), detail: "killed" });
    set.step({ t: "accuse", index: 1, accusation: "lie", detail: "voted for another result" });
    expect(set.find("fault")).toMatchObject([
      { index: 3, isLeader: false },
      { index: 1, isLeader: true },
    ]);
  });

  it("doesn't take one replica's word for a new epoch", () => {
    const set = new Harness().found();
    set.step({ t: "accuse", index: 3, accusation: "lie", detail: "voted for another result" });
    set.ready(3);
    for (let i = 0; i < 3; i++) set.step({ t: "epoch", pod: set.podOf(0), epoch: 2 });
    expect(set.machine.membership!.epoch).toBe(1);
  });

  it("ends the pod of a liar at once, and never takes its key again", () => {
    const set = new Harness(new ReplicaSetMachine(spec(true))).found();
    const liar = set.podOf(1);
    const key = set.keys.get(liar);
    set.step({ t: "accuse", index: 1, accusation: "lie", detail: "voted for another result" });
    expect(set.find("end")).toEqual([{ t: "end", pod: liar }]);
    expect(set.find("acquire")).toEqual([{ t: "acquire", index: 1, fresh: true }]);
    set.keys.set(set.podOf(1), key!);
    set.ready(1);
    expect(set.find("reconfigure")).toEqual([]);
    set.ready(1);
    expect(set.find("reconfigure")).toHaveLength(1);
  });

  it("takes no view from a pod that is no replica, however many of them come and go", () => {
    const set = new Harness().found();
    for (let times = 0; times < 3; times++) {
      set.step({ t: "gone", pod: set.podOf(3), detail: "killed" });
      set.step({ t: "view", pod: set.podOf(3), view: 7 });
      // That of another seat: it is refused.
      set.step({ t: "ready", pod: set.podOf(3), key: set.keys.get(set.podOf(0))!, address: "" });
    }
    expect(set.machine.view).toBe(0);
  });

  it("counts views anew in each epoch, so that it is known who leads", () => {
    const set = new Harness(new ReplicaSetMachine(spec(true))).found();
    for (const index of [1, 2, 3]) set.step({ t: "view", pod: set.podOf(index), view: 6 });
    expect(set.machine.view).toBe(6);
    set.step({ t: "accuse", index: 0, accusation: "lie", detail: "" });
    set.ready(0);
    for (const index of [1, 2]) set.step({ t: "epoch", pod: set.podOf(index), epoch: 2 });
    expect(set.machine.membership?.epoch).toBe(2);
    // Who is new does not lead first.
    expect(set.machine.view).toBe(1);
    set.step({ t: "epoch", pod: set.podOf(3), epoch: 2 });
    set.step({ t: "view", pod: set.podOf(1), view: 2 });
    expect(set.machine.view).toBe(1);
    set.step({ t: "view", pod: set.podOf(3), view: 2 });
    expect(set.machine.view).toBe(2);
  });

  it("counts views anew when it is founded anew", () => {
    const set = new Harness(new ReplicaSetMachine(spec(false))).found();
    set.step({ t: "accuse", index: 0, accusation: "lie", detail: "" });
    set.ready(0);
    for (const index of [1, 2]) set.step({ t: "epoch", pod: set.podOf(index), epoch: 2 });
    expect(set.machine.view).toBe(1);
    for (const index of [1, 2]) set.step({ t: "gone", pod: set.podOf(index), detail: "killed" });
    for (const index of [0, 1, 2, 3]) set.ready(index);
    expect([set.machine.membership?.epoch, set.machine.view]).toEqual([3, 0]);
  });

  it("tells with a fault for how long there has been a sign of it", () => {
    const set = new Harness(new ReplicaSetMachine(spec(true))).found();
    set.step({ t: "accuse", index: 1, accusation: "silence", detail: "no vote for 1,004 ms", forMs: 1_004 });
    expect(set.find("fault")).toMatchObject([{ index: 1, what: "silence", forMs: 1_004 }]);
  });

  it.each(["silence", "slow", "recovery", "doubtful equivocation"] as const)(
    "lets a replica that keeps state come back with it in another process, when no more is known of it than %s",
    (what) => {
      const set = new Harness(new ReplicaSetMachine(spec(true))).found();
      const accused = set.podOf(1);
      const isDoubtful = what === "doubtful equivocation";
      set.step({ t: "accuse", index: 1, accusation: isDoubtful ? "equivocation" : what, detail: "", isDoubtful });
      expect(set.find("end")).toEqual([{ t: "end", pod: accused }]);
      expect(set.find("acquire")).toEqual([{ t: "acquire", index: 1, fresh: false }]);
      set.ready(1);
      expect(set.find("replicate")).toMatchObject([{ index: 1, membership: { epoch: 1 } }]);
      expect(set.find("reconfigure")).toEqual([]);
    },
  );

  describe("with a replica that has come anew and lacks what the others have", () => {
    const silent = (index: number): SetInput => ({ t: "accuse", index, accusation: "silence", detail: "no votes" });
    const whole = (set: Harness, index: number): SetInput => ({ t: "behind", pod: set.podOf(index), isBehind: false });
    const newcomerIn = (index: number, faults = 1): Harness => {
      const set = new Harness(new ReplicaSetMachine({ ...spec(), faults }));
      set.step({ t: "want" });
      set.ready(...set.machine.seats.map((seat) => seat.index));
      set.step({ t: "gone", pod: set.podOf(index), detail: "killed" });
      set.ready(index);
      for (let other = 0; other <= faults; other++) set.step({ t: "epoch", pod: set.podOf(other), epoch: 2 });
      expect(set.machine.seats[index]).toMatchObject({ state: "serving", isBehind: true });
      set.effects.length = 0;
      return set;
    };

    it.each(["silence", "slow", "recovery", "doubtful equivocation"] as const)("keeps one on of which no more is known than %s", (what) => {
      const set = newcomerIn(3);
      const accused = set.podOf(1);
      const isDoubtful = what === "doubtful equivocation";
      set.step({ t: "accuse", index: 1, accusation: isDoubtful ? "equivocation" : what, detail: "", isDoubtful });
      expect(set.types()).toEqual(["postponed"]);
      set.step({ t: "behind", pod: set.podOf(2), isBehind: false });
      expect(set.types()).not.toContain("end");
      set.step(whole(set, 3));
      expect(set.find("end")).toEqual([{ t: "end", pod: accused }]);
    });

    it("gives up one after the other, each when the one before has been made up for", () => {
      const set = newcomerIn(3);
      const accused = [set.podOf(1), set.podOf(2)];
      for (const index of [1, 2]) set.step({ t: "accuse", index, accusation: "recovery", detail: "" });
      set.step(whole(set, 3));
      expect(set.find("end").map(({ pod }) => pod)).toEqual([accused[0]]);
      expect(set.machine.serving).toBe(3);
    });

    it("does not wait for it any longer than for a while", () => {
      const set = newcomerIn(3);
      const accused = set.podOf(1);
      set.step(silent(1));
      set.step({ t: "insist" });
      expect(set.find("end")).toEqual([{ t: "end", pod: accused }]);
      set.step(whole(set, 3));
      expect(set.find("end")).toHaveLength(1);
    });

    it("keeps one that is heard again while it is waited for", () => {
      const set = newcomerIn(3);
      set.step(silent(1));
      expect(set.machine.isWaitedFor(1)).toBe(true);
      set.step({ t: "works", pod: set.podOf(1) });
      set.step(whole(set, 3));
      expect(set.find("end")).toEqual([]);
    });

    it("gives up at once who has lied, and the newcomer itself", () => {
      for (const input of [{ t: "accuse", index: 1, accusation: "lie", detail: "" } as const, silent(3)]) {
        const set = newcomerIn(3);
        set.step(input);
        expect(set.find("end")).toHaveLength(1);
      }
    });

    it("does not take what was said of a replica for said of the next one in its seat", () => {
      const set = newcomerIn(3);
      set.step(silent(1));
      set.step({ t: "gone", pod: set.podOf(1), detail: "killed" });
      set.ready(1);
      for (const index of [0, 2]) set.step({ t: "epoch", pod: set.podOf(index), epoch: 3 });
      set.step(whole(set, 1));
      set.step(whole(set, 3));
      expect(set.find("end")).toEqual([]);
    });

    it("waits for nobody while a quorum of others lack nothing", () => {
      const set = newcomerIn(6, 2);
      set.step(silent(1));
      expect(set.find("end")).toHaveLength(1);
    });

    it("waits, too, for one that falls behind later", () => {
      const set = new Harness().found();
      set.step({ t: "behind", pod: set.podOf(0), isBehind: true });
      set.step(silent(1));
      expect(set.types()).toEqual(["postponed"]);
    });
  });

  describe("whose replicas differ in their first results after they have begun anew", () => {
    const ofResult = { t: "accuse", index: 1, accusation: "lie", detail: "another result" } as const;
    /** The replica in seat 1 is replaced, and the next one is in office. */
    const replace = (set: Harness, input: SetInput): void => {
      const { epoch } = set.machine.membership!;
      set.step(input);
      set.ready(1);
      for (const index of [0, 2]) set.step({ t: "epoch", pod: set.podOf(index), epoch: epoch + 1 });
      expect(set.machine).toMatchObject({ phase: "serving", serving: 4 });
    };
    const crash = (set: Harness): SetInput => ({ t: "gone", pod: set.podOf(1), detail: "killed" });

    it("lets all begin anew together, gives up nobody for a result any more, and says so", () => {
      const set = new Harness().found();
      replace(set, crash(set));
      replace(set, { ...ofResult, isFirstResult: true });
      expect(set.find("doubted")).toHaveLength(0);
      set.effects.length = 0;
      set.step({ ...ofResult, isFirstResult: true });
      expect(set.types().filter((t) => t !== "end")).toEqual(["fault", "doubted", "closed", ...Array(4).fill("acquire")]);
      expect(set.find("acquire").every(({ fresh }) => fresh)).toBe(true);
      set.ready(0, 1, 2, 3);
      expect(set.machine).toMatchObject({ phase: "serving", serving: 4 });
      for (const isFirstResult of [true, false]) expect(set.step({ ...ofResult, isFirstResult })).toEqual([]);
      // Who lies otherwise is given up, as is one that crashes: all others with it.
      set.effects.length = 0;
      set.step(crash(set));
      expect(set.find("acquire")).toHaveLength(4);
    });

    it("suspects them as before when one in between agrees, or has agreed before", () => {
      const set = new Harness().found();
      for (let i = 0; i < 4; i++) {
        replace(set, crash(set));
        set.step({ ...ofResult, isFirstResult: true });
        set.ready(1);
        for (const index of [0, 2]) set.step({ t: "epoch", pod: set.podOf(index), epoch: set.machine.next!.epoch });
        set.step({ t: "agreed", index: 1 });
        replace(set, { ...ofResult, isFirstResult: false });
        set.step({ t: "agreed", index: 1 });
      }
      expect(set.find("doubted")).toEqual([]);
    });

    it("does not take those who have founded it for such", () => {
      const set = new Harness().found();
      for (const index of [0, 1, 2, 3]) {
        expect(set.step({ ...ofResult, index, isFirstResult: true }).map(({ t }) => t)).not.toContain("doubted");
        set.step({ t: "release" });
        set.found();
      }
    });

    it("keeps state, and so its members, and gives up nobody for a result any more", () => {
      const set = new Harness(new ReplicaSetMachine(spec(true))).found();
      replace(set, { ...ofResult, isFirstResult: false });
      for (let i = 0; i < 3; i++) {
        expect(set.find("doubted")).toHaveLength(0);
        replace(set, { ...ofResult, isFirstResult: true });
      }
      expect(set.find("doubted")).toHaveLength(1);
      expect(set.find("closed")).toHaveLength(0);
      expect(set.step({ ...ofResult, isFirstResult: true })).toEqual([]);
      set.step({ t: "agreed", index: 1 });
      expect(set.step({ ...ofResult, isFirstResult: false }).map(({ t }) => t)).toContain("end");
    });
  });

  it("doesn't end a silent replica when that would cost the quorum", () => {
    const set = new Harness().found();
    set.step({ t: "gone", pod: set.podOf(0), detail: "killed" });
    expect(set.step({ t: "accuse", index: 1, accusation: "silence", detail: "no vote for 2,000 ms" })).toEqual([]);
    expect(set.machine.seats[1]!.state).toBe("serving");
  });

  it("changes one seat at a time", () => {
    const set = new Harness().found();
    set.step({ t: "gone", pod: set.podOf(0), detail: "killed" });
    set.ready(0);
    // Its successor dies before it is ordered in, and the next one waits for that change to end.
    set.step({ t: "gone", pod: set.podOf(0), detail: "killed" });
    set.ready(0);
    expect(set.find("reconfigure")).toHaveLength(1);
    set.step({ t: "epoch", pod: set.podOf(1), epoch: 2 });
    set.step({ t: "epoch", pod: set.podOf(2), epoch: 2 });
    expect(set.find("replicate")).toEqual([]);
    expect(set.find("reconfigure")[1]!.membership.epoch).toBe(3);
  });

  it("founds a set without state anew when it has lost its quorum", () => {
    const set = new Harness().found();
    const before = set.machine.membership!;
    set.step({ t: "gone", pod: set.podOf(0), detail: "killed" });
    set.step({ t: "gone", pod: set.podOf(1), detail: "killed" });
    expect(set.find("closed")).toMatchObject([{ reason: "2 of 4 replicas work; 3 are needed" }]);
    set.ready(0, 1, 2, 3);
    expect(set.find("open")).toMatchObject([{ isNew: true, membership: { epoch: 2 } }]);
    // Were they to wait for what others know, they would wait for ever.
    expect(set.find("replicate").map(({ isFounding }) => isFounding)).toEqual([true, true, true, true]);
    expect(set.machine.membership!.replicas.some((key) => before.replicas.includes(key))).toBe(false);
  });

  it("waits for the replicas of a set that keeps state, and takes them back under their keys", () => {
    const set = new Harness(new ReplicaSetMachine(spec(true))).found();
    set.step({ t: "gone", pod: set.podOf(0), detail: "killed" });
    set.step({ t: "gone", pod: set.podOf(1), detail: "killed" });
    expect(set.machine.hasQuorum).toBe(false);
    expect(set.types()).not.toContain("closed");
    set.ready(0);
    expect(set.find("replicate")).toMatchObject([{ index: 0, membership: { epoch: 1 }, isFounding: true }]);
    expect(set.machine.hasQuorum).toBe(true);
    expect(set.types()).not.toContain("reconfigure");
  });

  it("resumes a set that keeps state with a quorum of its keys, after the control plane has started anew", () => {
    const before = new Harness(new ReplicaSetMachine(spec(true))).found();
    const after = new Harness(new ReplicaSetMachine(spec(true), before.machine.membership), 100);
    for (const [index, key] of before.directories) after.directories.set(index, key);
    after.directories.delete(3);
    after.step({ t: "want" });
    after.ready(0, 1);
    expect(after.types()).not.toContain("open");
    after.ready(3);
    expect(after.types()).not.toContain("open");
    after.ready(2);
    expect(after.find("open")).toMatchObject([{ isNew: false, membership: { epoch: 1 } }]);
    // The one whose directory is lost has another key, and is ordered in.
    expect(after.find("reconfigure")[0]!.membership.replicas[3]).toBe(after.keys.get(after.podOf(3)));
  });

  it("has a change ordered again that was under way when the control plane ended", () => {
    const before = new Harness(new ReplicaSetMachine(spec(true))).found();
    before.step({ t: "accuse", index: 0, accusation: "lie", detail: "another result" });
    before.ready(0);
    const { membership, next } = before.machine;
    const after = new Harness(new ReplicaSetMachine(spec(true), membership, next));
    for (const [index, key] of before.directories) after.directories.set(index, key);
    after.step({ t: "want" });
    after.ready(0, 1, 2, 3);
    expect(after.find("reconfigure")).toEqual([{ t: "reconfigure", membership: next }]);
  });

  it("ends all pods when nobody needs it, and is founded again when a call comes", () => {
    const set = new Harness().found();
    set.step({ t: "release" });
    expect(set.find("end")).toHaveLength(4);
    set.step({ t: "want" });
    set.ready(0, 1, 2, 3);
    expect(set.machine.membership!.epoch).toBe(2);
  });

  it("takes no key that is being ordered in for another seat, though its replica has gone", () => {
    const set = new Harness(new ReplicaSetMachine(spec(true))).found();
    set.step({ t: "accuse", index: 1, accusation: "lie", detail: "" });
    set.ready(1);
    const key = set.machine.next!.replicas[1]!;
    set.room = 0;
    set.step({ t: "gone", pod: set.podOf(1), detail: "exit code 1" });
    set.step({ t: "gone", pod: set.podOf(3), detail: "exit code 1" });
    set.step({ t: "acquired", index: 3, pod: "thief" });
    set.effects.length = 0;
    set.step({ t: "ready", pod: "thief", key, address: "somewhere" });
    expect(set.machine.seats[3]!.state).toBe("empty");
    expect(set.effects).toContainEqual({ t: "end", pod: "thief" });
  });

  it("has a deployment ordered as the next epoch of the same replicas", () => {
    const set = new Harness(new ReplicaSetMachine(spec(true))).found();
    const before = set.machine.membership!;
    set.step({ t: "version", version: "v1" });
    expect(set.effects).toEqual([]);
    set.step({ t: "version", version: "v2" });
    expect(set.find("reconfigure").map(({ membership }) => membership)).toEqual([{ ...before, version: "v2", epoch: 2 }]);
    expect(set.machine.membership!.version).toBe("v1");
    for (const index of [0, 1]) set.step({ t: "epoch", pod: set.podOf(index), epoch: 2 });
    expect(set.machine.membership).toEqual({ ...before, version: "v2", epoch: 2 });
    expect(set.find("replicate")).toEqual([]);
  });

  it("takes the last of the versions that were deployed while a change was under way", () => {
    const set = new Harness(new ReplicaSetMachine(spec(true))).found();
    for (const version of ["v2", "v3", "v4"]) set.step({ t: "version", version });
    expect(set.find("reconfigure")).toHaveLength(1);
    for (const index of [0, 1]) set.step({ t: "epoch", pod: set.podOf(index), epoch: 2 });
    expect(set.find("reconfigure").map(({ membership: { epoch, version } }) => [epoch, version])).toEqual([
      [2, "v2"],
      [3, "v4"],
    ]);
  });

  it("tells a replica that comes back in the midst of a change what it will be", () => {
    const set = new Harness(new ReplicaSetMachine(spec(true))).found();
    set.step({ t: "version", version: "v2" });
    set.step({ t: "gone", pod: set.podOf(2), detail: "killed" });
    set.ready(2);
    expect(set.find("replicate")).toMatchObject([{ index: 2, membership: { epoch: 1, version: "v1" } }]);
    expect(set.find("announce").map(({ membership }) => membership.version)).toEqual(["v1", "v2"]);
  });

  it("resumes with the code that its state is of, and then has what was deployed meanwhile ordered", () => {
    const before = new Harness(new ReplicaSetMachine(spec(true))).found();
    const after = new Harness(new ReplicaSetMachine({ ...spec(true), version: "v2" }, before.machine.membership), 100);
    for (const [index, key] of before.directories) after.directories.set(index, key);
    after.step({ t: "want" });
    after.ready(0, 1, 2);
    expect(after.find("replicate").map(({ membership }) => membership.version)).toEqual(["v1", "v1", "v1"]);
    expect(after.find("reconfigure")).toMatchObject([{ membership: { epoch: 2, version: "v2" } }]);
  });

  it("without state has one version", () => {
    const set = new Harness().found();
    expect(set.step({ t: "version", version: "v2" })).toEqual([]);
  });

  it("keeps its rules whatever happens, in whatever order", () => {
    const input = fc.oneof(
      fc.record({ t: fc.constant("want" as const) }),
      fc.record({ t: fc.constant("tick" as const) }),
      fc.record({ t: fc.constant("release" as const) }),
      fc.record({ t: fc.constant("ready" as const), index: fc.nat(3) }),
      fc.record({ t: fc.constant("ready" as const), index: fc.nat(3) }),
      fc.record({ t: fc.constant("gone" as const), index: fc.nat(3) }),
      fc.record({ t: fc.constant("epoch" as const), index: fc.nat(3) }),
      fc.record({ t: fc.constant("behind" as const), index: fc.nat(3) }),
      fc.record({ t: fc.constant("insist" as const) }),
      fc.record({ t: fc.constant("version" as const), version: fc.constantFrom("v1", "v2", "v3") }),
      fc.record({ t: fc.constant("accuse" as const), index: fc.nat(3), accusation: fc.constantFrom("lie" as const, "silence" as const) }),
    );
    fc.assert(
      fc.property(fc.boolean(), fc.array(input, { maxLength: 80 }), (durable, inputs) => {
        const set = new Harness(new ReplicaSetMachine(spec(durable)));
        const rules = new Rules(set);
        for (const each of inputs) {
          set.step(inputOf(set, each));
          rules.check();
        }
      }),
      { numRuns: 500 },
    );
  });
});
