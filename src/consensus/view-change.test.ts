import { describe, expect, test } from "vitest";
import { hashText, SET_NAME, signAs } from "../testing/replica-keys.ts";
import { ReplicaSet } from "../testing/replica-set.ts";
import { checkpointText } from "./canonical.ts";
import { leaderOf } from "./membership.ts";
import type { PeerMessage, ViewChange } from "./messages.ts";

const viewsOf = (set: ReplicaSet): number[] => set.members.filter(({ down }) => !down).map(({ replica }) => replica.inspect().view);

const alike = (set: ReplicaSet): void => {
  const logs = set.members.filter(({ down }) => !down).map(({ worker }) => JSON.stringify(worker.log.flatMap(({ ids }) => ids)));
  expect(new Set(logs).size).toBe(1);
};

const many = (prefix: string, count: number): string[] => Array.from({ length: count }, (_, i) => `${prefix}/${i}`);

describe("a leader that has crashed", () => {
  test("is replaced within a second, and what it had begun is finished by the next", () => {
    const set = new ReplicaSet();
    set.certifyAll("a");
    set.at(0).down = true;
    const tookMs = set.certifyAll("b", "c");
    expect(tookMs).toBeLessThan(1_000);
    expect(viewsOf(set)).toEqual([1, 1, 1]);
    alike(set);
  });

  test("loses nothing that has committed at a single replica", () => {
    const set = new ReplicaSet();
    set.certifyAll("a");
    // Of the next number all commits reach replica 3 alone.
    set.filter = (_from, to, message) => (message.t === "commit" && to !== "r3" ? [] : [message]);
    set.submit("b");
    set.runUntil(() => set.at(3).worker.log.length === 2);
    set.at(0).down = true;
    set.at(3).down = true;
    set.filter = (_from, _to, message) => [message];
    set.run(100);
    set.at(3).down = false;
    set.certifyAll("c");
    set.run(1_000);
    alike(set);
    expect(set.at(3).worker.log.flatMap(({ ids }) => ids)).toEqual(["a", "b", "c"]);
  });

  test("may be followed by a leader that has crashed too, with seven replicas", () => {
    const set = new ReplicaSet({ faults: 2 });
    set.certifyAll("a");
    set.at(0).down = true;
    set.at(1).down = true;
    const tookMs = set.certifyAll("b");
    expect(tookMs).toBeLessThan(3_000);
    expect(new Set(viewsOf(set))).toEqual(new Set([2]));
  });

  test("does not lead again when it comes back: it learns the view of the others", () => {
    const set = new ReplicaSet({ durable: true });
    set.certifyAll("a");
    set.at(0).down = true;
    set.certifyAll("b");
    set.restart(set.at(0));
    set.certifyAll("c");
    set.run(3_000);
    expect(viewsOf(set)).toEqual([1, 1, 1, 1]);
    alike(set);
  });
});

describe("a leader that is silent", () => {
  test("towards all is found out by all, and named", () => {
    const set = new ReplicaSet();
    set.certifyAll("a");
    set.filter = (from, _to, message) => (from === "r0" && message.t === "pre-prepare" ? [] : [message]);
    set.certifyAll("b");
    expect(viewsOf(set).slice(1)).toEqual([1, 1, 1]);
    expect(set.evidence().filter(({ kind, about }) => kind === "silent-leader" && about === 0).length).toBeGreaterThan(1);
  });

  test("about one request only starves it no longer than its timeout, whatever else it orders", () => {
    const set = new ReplicaSet();
    set.certifyAll("a");
    set.filterRequests = (to, request) => {
      const isStarved = request.body.t === "call" && request.body.operations.some(({ id }) => id === "starved");
      return to === "r0" && isStarved ? undefined : request;
    };
    set.submit("starved");
    let i = 0;
    const tookMs = set.runUntil(() => {
      if (i % 5 === 0) set.submit(`other/${i}`);
      i++;
      return set.certificates.has("starved");
    });
    expect(tookMs).toBeLessThan(1_500);
  });
});

describe("a leader that is slow", () => {
  const slowed = (ms: number): ReplicaSet => {
    const set = new ReplicaSet();
    for (let i = 0; i < 24; i++) set.certifyAll(`quick/${i}`);
    const { filter } = set;
    set.filter = (from, to, message) => {
      if (from !== "r0" || message.t !== "pre-prepare") return filter(from, to, message);
      const member = set.members.find(({ name }) => name === to)!;
      set.after(ms, () => set.give(member.index, { t: "message", from: 0, epoch: 1, message }));
      return [];
    };
    return set;
  };

  test("just under the timeout is replaced all the same", () => {
    const set = slowed(250);
    for (let i = 0; i < 24; i++) set.certifyAll(`slow/${i}`);
    expect(set.evidence().filter(({ kind, about }) => kind === "slow-leader" && about === 0).length).toBeGreaterThan(1);
    expect(Math.min(...viewsOf(set))).toBeGreaterThan(0);
    expect(set.certifyAll("after")).toBeLessThan(50);
  });

  test("by a little is left alone", () => {
    const set = slowed(40);
    for (let i = 0; i < 40; i++) set.certifyAll(`slow/${i}`);
    expect(viewsOf(set)).toEqual([0, 0, 0, 0]);
  });

  test("because the whole set is slow causes no storm of view changes", () => {
    const set = new ReplicaSet();
    for (let i = 0; i < 24; i++) set.certifyAll(`quick/${i}`);
    const begin = set.now;
    set.filter = (from, to, message) => {
      const [source, target] = [from, to].map((name) => set.members.find((member) => member.name === name)!);
      set.after(70, () => set.give(target!.index, { t: "message", from: source!.index, epoch: 1, message }));
      return [];
    };
    for (let i = 0; i < 60; i++) set.certifyAll(`slow/${i}`);
    expect(Math.max(...viewsOf(set))).toBeLessThanOrEqual(4);
    expect(set.now - begin).toBeLessThan(60_000);
  });
});

describe("a leader that equivocates", () => {
  /** It tells half of the replicas another batch. */
  const equivocating = (): ReplicaSet => {
    const set = new ReplicaSet();
    set.certifyAll("a");
    set.filter = (from, to, message) => {
      if (from !== "r0" || message.t !== "pre-prepare" || to === "r1") return [message];
      return [{ ...message, batch: { ...message.batch, time: message.batch.time + 1, seed: seedOf(set, message, 1) } }];
    };
    return set;
  };

  test("has nothing executed differently anywhere, is found out, and replaced", () => {
    const set = equivocating();
    const ids = many("b", 5);
    set.certifyAll(...ids);
    set.run(2_000);
    const logs = set.members.slice(1).map(({ worker }) => JSON.stringify(worker.log));
    expect(new Set(logs).size).toBe(1);
    expect(set.evidence().some(({ kind, about }) => kind === "equivocation" && about === 0)).toBe(true);
    expect(Math.min(...viewsOf(set).slice(1))).toBeGreaterThan(0);
  });
});

describe("a backup that lies in its view change", () => {
  test("about what has prepared is believed by nobody", () => {
    const set = new ReplicaSet();
    set.certifyAll("a");
    set.at(0).down = true;
    const digest = "f".repeat(64);
    set.filter = (from, _to, message) => {
      if (from !== "r3" || message.t !== "view-change") return [message];
      return [{ t: "view-change", viewChange: set.resign("r3", { ...message.viewChange, prepared: [{ seq: 3, digest, view: 0 }] }) }];
    };
    set.certifyAll("b");
    set.run(500);
    alike(set);
  });

  test("with claims that no replica can have is named with the proof, and hinders nothing", () => {
    const set = new ReplicaSet();
    set.certifyAll("a");
    set.at(0).down = true;
    set.filter = (from, _to, message) => {
      if (from !== "r3" || message.t !== "view-change") return [message];
      const prepared = [{ seq: 5_000, digest: "f".repeat(64), view: 0 }];
      return [{ t: "view-change", viewChange: set.resign("r3", { ...message.viewChange, prepared }) }];
    };
    set.submit("b");
    set.run(3_000);
    const found = set.evidence().filter(({ kind }) => kind === "invalid-view-change");
    expect(found.length).toBeGreaterThan(0);
    expect(found.every(({ about, proof }) => about === 3 && proof?.length === 1)).toBe(true);
    // Once it has come to its senses, or is replaced, the view begins: its lie has not counted.
    set.filter = (_from, _to, message) => [message];
    set.runUntil(() => set.certificates.has("b"));
  });

  test("alone moves nobody, however high the view that it wants", () => {
    const set = new ReplicaSet();
    set.certifyAll("a");
    const viewChange = set.resign("r3", {
      replica: 3,
      epoch: 1,
      view: 1_000,
      stable: { epoch: 1, seq: 0, digest: "", votes: [] },
      checkpoints: [],
      prepared: [],
      preprepared: [],
      signature: "",
    });
    for (const to of [0, 1, 2]) set.give(to, { t: "message", from: 3, epoch: 1, message: { t: "view-change", viewChange } });
    set.certifyAll("b");
    expect(viewsOf(set)).toEqual([0, 0, 0, 0]);
  });
});

describe("a new view", () => {
  test("that does not follow from its view changes is refused, and its leader skipped", () => {
    const set = new ReplicaSet();
    set.certifyAll("a");
    set.at(0).down = true;
    set.filter = (from, _to, message) => {
      if (from !== "r1" || message.t !== "new-view") return [message];
      const slots = message.newView.slots.map(({ seq }) => ({ seq, digest: "" }));
      return [{ t: "new-view", newView: set.resignView("r1", { ...message.newView, slots }) }];
    };
    // Leaving out what has committed would be a second history.
    set.submit("b");
    set.runUntil(() => set.certificates.has("b"));
    set.run(2_000);
    expect(set.evidence().some(({ kind, about }) => kind === "invalid-new-view" && about === 1)).toBe(true);
    const logs = [2, 3].map((index) => JSON.stringify(set.at(index).worker.log));
    expect(new Set(logs).size).toBe(1);
    for (const index of [2, 3]) expect(leaderOf(set.at(index).replica.inspect().view, 1)).not.toBe(1);
  });

  test("can't make a replica's signature stand beside claims that it has not signed", () => {
    const set = new ReplicaSet();
    set.certifyAll("a");
    set.at(0).down = true;
    set.filter = (from, to, message) => {
      if (from !== "r1" || message.t !== "new-view" || to !== "r2") return [message];
      // Replica 2 has got this view change from replica 3 itself: it knows its signature.
      const viewChanges = message.newView.viewChanges.map((change) => (change.replica === 3 ? { ...change, preprepared: [] } : change));
      return [{ t: "new-view", newView: set.resignView("r1", { ...message.newView, viewChanges }) }];
    };
    set.submit("b");
    set.runUntil(() => set.certificates.has("b"));
    expect(set.at(2).evidence.some(({ kind, about }) => kind === "invalid-new-view" && about === 1)).toBe(true);
    expect(set.certificates.get("b")!.outcome).toBe('{"value":2}');
  });

  test("and other messages of an earlier view change nothing when they are played again", () => {
    const set = new ReplicaSet();
    const old: { to: number; from: number; message: PeerMessage }[] = [];
    const note = (from: string, to: string, message: PeerMessage): PeerMessage[] => {
      old.push({ from: Number(from.slice(1)), to: Number(to.slice(1)), message });
      return [message];
    };
    set.filter = note;
    set.certifyAll("a", "b");
    set.filter = (from, to, message) => (from === "r0" && message.t === "pre-prepare" ? [] : note(from, to, message));
    set.certifyAll("c");
    set.filter = (_from, _to, message) => [message];
    for (const { from, to, message } of old) set.give(to, { t: "message", from, epoch: 1, message: structuredClone(message) });
    set.certifyAll("d");
    set.run(1_000);
    alike(set);
    expect(set.at(1).worker.log.flatMap(({ ids }) => ids)).toEqual(["a", "b", "c", "d"]);
  });
});

const seedOf = (set: ReplicaSet, message: Extract<PeerMessage, { t: "pre-prepare" }>, later: number): string =>
  set.seed(message.seq, message.batch.time + later, message.batch.requests);

describe("a view change whose stable checkpoint is known with other votes", () => {
  test("is not believed: nobody has signed empty results where it named none", () => {
    const set = new ReplicaSet({ limits: { checkpointEvery: 8 } });
    set.filter = (from, to, message) => {
      if (message.t !== "checkpoint") return [message];
      const { seq, digest } = message;
      if (from === "r0") return [{ t: "checkpoint", seq, digest, signature: signAs("r0", checkpointText(SET_NAME, 1, seq, digest)) }];
      return from === "r3" || to === "r3" ? [] : [message];
    };
    for (const id of many("a", 10)) set.certifyAll(id);
    let seen: ViewChange | undefined;
    set.filter = (from, to, message) => {
      if (message.t === "view-change" && from === "r1" && to === "r2") seen = message.viewChange;
      return [message];
    };
    set.at(0).down = true;
    set.certifyAll("b");
    const { stable, view } = seen!;
    expect(stable.votes.map(({ replica, results }) => [replica, results === undefined])).toEqual([
      [0, true],
      [1, false],
      [2, false],
    ]);
    const forged = { ...stable, votes: stable.votes.map((vote) => ({ ...vote, results: vote.results ?? "" })) };
    const lie = (viewChange: ViewChange): void => {
      const message: PeerMessage = { t: "view-change", viewChange: set.resign("r0", viewChange) };
      set.give(2, { t: "message", from: 0, epoch: 1, message });
    };
    lie({ ...seen!, replica: 0, view: view + 1 });
    expect(set.at(2).evidence.filter(({ kind }) => kind === "invalid-view-change")).toEqual([]);
    lie({ ...seen!, replica: 0, view: view + 2, stable: forged });
    expect(set.at(2).evidence).toContainEqual(expect.objectContaining({ kind: "invalid-view-change", about: 0 }));
  });

  test("can't be retold by another with other results, so that its sender would be accused", () => {
    const set = new ReplicaSet({ limits: { checkpointEvery: 8 } });
    for (const id of many("a", 10)) set.certifyAll(id);
    let retold = 0;
    set.filter = (from, to, message) => {
      if (message.t !== "view-change" || to !== "r2") return [message];
      const { viewChange } = message;
      const votes = viewChange.stable.votes.map((vote) => ({ ...vote, results: hashText("others") }));
      retold += votes.length;
      const other: PeerMessage = { t: "view-change", viewChange: { ...viewChange, stable: { ...viewChange.stable, votes } } };
      return from === "r1" ? [other, message] : [message];
    };
    set.at(0).down = true;
    set.certifyAll("b");
    expect(retold).toBeGreaterThan(0);
    expect(set.evidence().filter(({ kind }) => kind === "invalid-view-change")).toEqual([]);
  });
});
