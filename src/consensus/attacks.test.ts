import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { signAs } from "../testing/replica-keys.ts";
import { ReplicaSet } from "../testing/replica-set.ts";
import { checkpointText } from "./canonical.ts";
import type { PeerMessage } from "./messages.ts";

const NAME = "bank/apply@1";

const D = "d".repeat(64);

const idsOf = (set: ReplicaSet, index: number): string[] => set.at(index).worker.log.flatMap(({ ids }) => ids);

describe("a flood", () => {
  const held = (set: ReplicaSet) => set.at(1).replica.inspect().held;

  const flood = (set: ReplicaSet, from: number, count: number, make: (i: number) => PeerMessage): void => {
    for (let i = 0; i < count; i++) set.give(1, { t: "message", from, epoch: 1, message: make(i) });
  };

  test("of rounds, near and far, keeps no more than the window, and ordering goes on beside it", () => {
    const set = new ReplicaSet({ limits: { checkpointEvery: 16 } });
    set.certifyAll("a");
    flood(set, 3, 5_000, (i) => ({ t: "prepare", view: i % 7, seq: i, digest: D }));
    flood(set, 3, 5_000, (i) => ({ t: "commit", view: i % 7, seq: i, digest: D }));
    flood(set, 3, 100, () => ({ t: "decided", slots: Array.from({ length: 5_000 }, (_, seq) => ({ seq, digest: D })) }));
    expect(held(set).slots).toBeLessThanOrEqual(32);
    for (let i = 0; i < 60; i++) set.certifyAll(`b/${i}`);
    set.run(1_000);
    expect(new Set([0, 1, 2].map((index) => idsOf(set, index).join())).size).toBe(1);
  });

  test("of view changes and checkpoints keeps one and a few of them", () => {
    const set = new ReplicaSet();
    set.certifyAll("a");
    const stable = { epoch: 1, seq: 0, digest: "", votes: [] };
    flood(set, 3, 500, (i) => ({
      t: "view-change",
      viewChange: set.resign("r3", {
        replica: 3,
        epoch: 1,
        view: i + 1,
        stable,
        checkpoints: [],
        prepared: [],
        preprepared: [],
        signature: "",
      }),
    }));
    flood(set, 3, 500, (i) => ({
      t: "checkpoint",
      seq: i + 1,
      digest: D,
      signature: signAs("r3", checkpointText(NAME, 1, i + 1, D)),
    }));
    expect(held(set).votes).toBeLessThan(10);
    expect(set.at(1).replica.inspect().view).toBe(0);
    set.certifyAll("b");
  });

  test("of questions is not answered without end", () => {
    const set = new ReplicaSet();
    for (let i = 0; i < 5; i++) set.certifyAll(`a/${i}`);
    const before = set.at(1).effects.length;
    const requests = Array.from({ length: 512 }, () => D);
    flood(set, 3, 5_000, () => ({ t: "fetch", requests, batches: [] }));
    flood(set, 3, 5_000, () => ({ t: "status", view: 0, active: true, stable: 0, committed: 0, executed: 0 }));
    flood(set, 3, 5_000, () => ({ t: "fetch-checkpoint", above: 0 }));
    expect(set.at(1).effects.length - before).toBeLessThan(2_000);
  });

  test("of a client's requests keeps as many as a client may have, and those are executed", () => {
    const set = new ReplicaSet({ limits: { maxPendingRequests: 50 } });
    set.certifyAll("a");
    set.filter = () => [];
    for (let i = 0; i < 400; i++) {
      set.submit(`b/${i}`);
      set.run(1);
    }
    expect(held(set).pending).toBeLessThanOrEqual(50);
    set.filter = (_from, _to, message) => [message];
    const ids = Array.from({ length: 400 }, (_, i) => `b/${i}`);
    set.runUntil(() => ids.every((id) => set.certificates.has(id)), 60_000);
  });

  test("of messages of an epoch that has not come keeps a few of each replica", () => {
    const set = new ReplicaSet();
    set.certifyAll("a");
    for (let i = 0; i < 5_000; i++) {
      set.give(1, { t: "message", from: 3, epoch: 2, message: { t: "prepare", view: 0, seq: i, digest: D } });
    }
    expect(held(set).parked).toBeLessThanOrEqual(64);
  });
});

describe("two replicas with one identity", () => {
  test("count as one: neither certifies anything with the other", () => {
    const set = new ReplicaSet();
    set.certifyAll("a");
    const areAway = (name: string): boolean => name === "r1" || name === "r2";
    // The twin of replica 3 says everything twice, in two ways.
    set.filter = (from, to, message) => {
      if (areAway(from) || areAway(to)) return [];
      return from === "r3" ? [message, structuredClone(message)] : [message];
    };
    set.filterRequests = (to, request) => (areAway(to) ? undefined : request);
    set.filterReplies = (from, reply) => {
      if (from === "r3") set.after(2, () => set.tell({ t: "reply", from: 3, reply: { ...reply, signature: `${reply.signature} ` } }));
      return reply;
    };
    set.submit("b");
    set.run(5_000);
    expect(set.certificates.has("b")).toBe(false);
    expect(idsOf(set, 0)).toEqual(["a"]);
    set.filter = (_from, _to, message) => [message];
    set.filterRequests = (_to, request) => request;
    set.runUntil(() => set.certificates.has("b"));
  });
});

describe("a peer that tells a laggard what was decided", () => {
  test("is not believed alone", () => {
    const set = new ReplicaSet();
    set.certifyAll("a");
    const next = set.at(0).replica.inspect().executed + 1;
    set.give(1, { t: "message", from: 3, epoch: 1, message: { t: "decided", slots: [{ seq: next, digest: "" }] } });
    expect(set.at(1).replica.inspect().executed).toBe(next - 1);
    set.certifyAll("b");
    set.run(100);
    for (let i = 0; i < 4; i++) expect(idsOf(set, i)).toEqual(["a", "b"]);
  });
});

describe("a slow function", () => {
  test("is not a faulty leader, though all of the window waits for it", () => {
    const set = new ReplicaSet({ limits: { checkpointEvery: 4 } });
    set.certifyAll("a");
    for (const { worker } of set.members) worker.stopped = true;
    const ids = Array.from({ length: 60 }, (_, i) => `b/${i}`);
    for (const id of ids) {
      set.submit(id);
      set.run(2);
    }
    set.run(5_000);
    expect(set.members.map(({ replica }) => replica.inspect().view)).toEqual([0, 0, 0, 0]);
    for (const member of set.members) {
      member.worker.stopped = false;
      for (const effect of member.worker.waiting.splice(0)) set.work(member, effect);
    }
    set.runUntil(() => ids.every((id) => set.certificates.has(id)));
    expect(set.members.map(({ replica }) => replica.inspect().view)).toEqual([0, 0, 0, 0]);
  });
});

describe("time", () => {
  test("that a leader proposes far from the others' clocks is refused, and the leader replaced", () => {
    for (const error of [60_000, -60_000]) {
      const set = new ReplicaSet();
      set.certifyAll("a");
      set.filter = (from, _to, message) => {
        if (from !== "r0" || message.t !== "pre-prepare") return [message];
        const { seq, batch } = message;
        const time = batch.time + error;
        return [{ ...message, batch: { ...batch, time, seed: set.seed(seq, time, batch.requests) } }];
      };
      set.certifyAll("b");
      expect(set.evidence().some(({ kind, about }) => kind === "bad-proposal" && about === 0)).toBe(true);
      expect(set.at(1).replica.inspect().view).toBe(1);
    }
  });

  test("never runs backwards for the function, and its seed is no leader's to choose", () => {
    const set = new ReplicaSet();
    for (let i = 0; i < 20; i++) set.certifyAll(`a/${i}`);
    const times = set.at(2).effects.flatMap((effect) => (effect.t === "execute" ? [effect.time] : []));
    expect(times).toEqual([...times].sort((a, b) => a - b));
    set.filter = (from, _to, message) => {
      if (from !== "r0" || message.t !== "pre-prepare") return [message];
      return [{ ...message, batch: { ...message.batch, seed: D } }];
    };
    set.certifyAll("b");
    for (const effect of set.at(2).effects) if (effect.t === "execute") expect(effect.seed).not.toBe(D);
  });
});

describe("a replica that has left the view alone", () => {
  test("is followed by the others after a while, so that the set has someone to spare again", () => {
    const set = new ReplicaSet();
    set.certifyAll("a");
    // Only replica 3 hears of this request.
    set.filterRequests = (to, request) => (to === "r3" ? request : undefined);
    set.submit("b");
    set.runUntil(() => !set.at(3).replica.inspect().active);
    set.filterRequests = (_to, request) => request;
    set.run(10_000);
    const views = set.members.map(({ replica }) => replica.inspect());
    expect(views.every(({ active, view }) => active && view === views[0]!.view)).toBe(true);
    set.at(0).down = true;
    set.certifyAll("c");
  });
});

describe("a leader that goes on with one backup only, and tells the others that all is well", () => {
  test("is left, though f + 1 say that they have gone on", () => {
    const set = new ReplicaSet();
    // Replica 2 is sent no proposals, 1 and 2 commits and decisions that nobody else has made, and 3 the truth.
    set.filter = (from, to, message) => {
      if (from !== "r0" || to === "r3") return [message];
      if (message.t === "pre-prepare" && to === "r2") return [];
      if (message.t === "commit") return [{ ...message, digest: D }];
      if (message.t === "decided") return [{ ...message, slots: message.slots.map(({ seq }) => ({ seq, digest: D })) }];
      return [message];
    };
    set.certifyAll("a");
    expect(set.at(3).notices).toContainEqual({ t: "view", view: 1, leader: 1 });
    for (const index of [1, 2, 3]) expect(idsOf(set, index)).toEqual(["a"]);
  });
});

describe("whatever a peer sends", () => {
  const scraps = fc.oneof(
    fc.anything(),
    fc.record({
      t: fc.constantFrom("pre-prepare", "prepare", "commit", "checkpoint", "view-change", "new-view", "status", "decided", "fetch"),
      view: fc.oneof(fc.integer(), fc.anything()),
      seq: fc.oneof(fc.integer(), fc.anything()),
      digest: fc.oneof(fc.constant(D), fc.anything()),
      batch: fc.oneof(fc.record({ time: fc.anything(), seed: fc.anything(), requests: fc.anything() }), fc.anything()),
      viewChange: fc.anything(),
      newView: fc.anything(),
      slots: fc.oneof(fc.array(fc.record({ seq: fc.integer(), digest: fc.constant(D) })), fc.anything()),
      requests: fc.anything(),
      batches: fc.anything(),
    }),
    fc.record({
      t: fc.constantFrom("content", "fetch-checkpoint", "checkpoint-proof", "fetch-page", "page"),
      above: fc.anything(),
      stable: fc.oneof(fc.anything(), fc.constant({ epoch: 9, seq: 9, digest: D, votes: [] })),
      pages: fc.oneof(fc.anything(), fc.constant([D])),
      seq: fc.oneof(fc.nat(), fc.anything()),
      page: fc.oneof(fc.nat(), fc.anything()),
      data: fc.oneof(fc.string(), fc.anything()),
      requests: fc.anything(),
      batches: fc.anything(),
    }),
  );

  test("is survived, and the set goes on", () => {
    fc.assert(
      fc.property(
        fc.array(scraps, { maxLength: 20 }),
        fc.integer({ min: -1, max: 5 }),
        fc.integer({ min: 0, max: 3 }),
        (messages, from, epoch) => {
          const set = new ReplicaSet();
          for (const message of messages) set.give(1, { t: "message", from, epoch, message: message as PeerMessage });
          for (const message of messages) set.give(1, { t: "request", request: message as never });
          for (const message of messages) set.tell({ t: "reply", from, reply: message as never });
          set.certifyAll("a");
        },
      ),
      { numRuns: 150 },
    );
  });
});
