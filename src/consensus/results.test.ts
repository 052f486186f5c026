import { describe, expect, test } from "vitest";
import { certify, hashText, SET_NAME, signAs } from "../testing/replica-keys.ts";
import { type Filter, ReplicaSet, type ReplicaSetOptions } from "../testing/replica-set.ts";
import { outcomeText, requestText } from "./canonical.ts";
import type { Reply, Request, RequestBody } from "./messages.ts";

const LIMITS = { checkpointEvery: 8 };

/** Each replica comes to another result of what `differs` says. */
const differing = (options: ReplicaSetOptions = {}, differs = (_id: string): boolean => true): ReplicaSet => {
  const set = new ReplicaSet({ limits: LIMITS, durable: true, ...options });
  for (const { worker, index } of set.members) worker.lie = (id, outcome) => (differs(id) ? JSON.stringify({ value: index }) : outcome);
  return set;
};

const diverged = (set: ReplicaSet): Map<string, string[]> =>
  new Map(
    set.clientEffects.flatMap((each) => (each.t === "diverged" ? [[each.operation, each.outcomes.map(({ outcome }) => outcome)]] : [])),
  );

const repliesOn = (set: ReplicaSet, index: number, id: string): Reply[] =>
  set
    .at(index)
    .effects.flatMap((each) => (each.t === "reply" && each.reply.results.some((result) => result.id === id) ? [each.reply] : []));

const hashesOf = (replies: readonly Reply[], id: string): string[] =>
  replies.flatMap(({ results }) => results.filter((each) => each.id === id).map(({ resultHash }) => resultHash));

/** r3 is away, `ids` are executed by the others and nobody hears of it, and the log is forgotten: r3 has the state and no results. */
const takeAway = (set: ReplicaSet, ...ids: string[]): void => {
  set.certifyAll("first");
  set.autoSettle = false;
  set.filter = (from, to, message) => (from === "r3" || to === "r3" ? [] : [message]);
  set.filterReplies = (_from, reply) => (reply.results.some(({ id }) => ids.includes(id)) ? undefined : reply);
  set.submit(...ids);
  set.run(20);
  for (let i = 0; i < 40; i++) set.certifyAll(`on/${i}`);
};

const comeBack = (set: ReplicaSet): void => {
  set.filter = (_from, _to, message) => [message];
  set.runUntil(() => set.at(3).notices.some(({ t }) => t === "transferred"));
};

describe("a set whose function differs in every call", () => {
  test("goes on, says of each call that it has diverged, and changes its members", () => {
    const set = differing();
    set.autoSettle = false;
    for (let i = 0; i < 40; i++) {
      set.submit(`a/${i}`);
      set.runUntil(() => diverged(set).has(`a/${i}`));
    }
    expect(set.members.every(({ replica }) => replica.inspect().stable >= 32)).toBe(true);
    expect(set.evidence()).toEqual([]);
    const { membership } = set.certified;
    set.tell({
      t: "reconfigure",
      next: certify({ ...membership, epoch: 2, replicas: membership.replicas.map((key, i) => (i === 3 ? "new" : key)) }),
    });
    set.runUntil(() => set.members.slice(0, 3).every(({ replica }) => replica.epoch === 2));
  });
});

describe("results that the client has not settled", () => {
  test("are answered when all replicas were killed after the checkpoint and have come back", () => {
    const set = differing({}, (id) => id === "b");
    set.certifyAll("first");
    set.autoSettle = false;
    set.filterReplies = (_from, reply) => (reply.results.some(({ id }) => id === "a" || id === "b") ? undefined : reply);
    set.submit("a", "b");
    set.run(20);
    for (let i = 0; i < 20; i++) set.certifyAll(`on/${i}`);
    expect(set.members.every(({ replica }) => replica.inspect().stable >= 16)).toBe(true);
    for (const member of set.members) member.down = true;
    set.run(50);
    for (const member of set.members) set.restart(member);
    set.filterReplies = (_from, reply) => reply;
    set.runUntil(() => set.certificates.has("a") && diverged(set).has("b"));
    expect(diverged(set).get("b")).toEqual([0, 1, 2, 3].map((value) => JSON.stringify({ value })));
    for (const { worker } of set.members) expect(worker.log.flatMap(({ ids }) => ids)).not.toContain("a");
  });

  test("are taken from f + 1 peers by a replica that has the state from them, and voted on", () => {
    const set = differing({}, () => false);
    takeAway(set, "a");
    comeBack(set);
    set.runUntil(() => set.at(3).replica.inspect().lacking === 0);
    expect(set.at(3).worker.log.flatMap(({ ids }) => ids)).not.toContain("a");
    set.at(0).down = true;
    set.filterReplies = (_from, reply) => reply;
    set.runUntil(() => set.certificates.has("a"));
    expect(set.certificates.get("a")!.certificate.votes.map(({ replica }) => replica)).toEqual([1, 2, 3]);
    expect(set.clientEvidence.filter(({ kind }) => kind !== "silent")).toEqual([]);
  });

  test("and were taken from the peers are there when the replica is killed and comes back", () => {
    const set = differing({}, () => false);
    takeAway(set, "a");
    comeBack(set);
    set.runUntil(() => set.at(3).replica.inspect().lacking === 0);
    set.at(3).down = true;
    set.run(10);
    set.filter = (from, _to, message) => (from !== "r3" && message.t === "results" ? [] : [message]);
    set.restart(set.at(3));
    set.run(100);
    expect(set.at(3).replica.inspect()).toMatchObject({ lacking: 0 });
  });

  test("are believed of no peer alone, whatever it says and how often, where the voters had come to different ones", () => {
    const set = differing({}, (id) => id === "x");
    takeAway(set, "a", "x");
    const outcome = '{"value":"lie"}';
    const resultHash = hashText(outcomeText(outcome));
    set.filter = (from, _to, message) => {
      if (message.t !== "results") return [message];
      const lie = { ...message, results: message.results.map((each) => ({ ...each, resultHash, outcome })) };
      return from === "r0" ? [lie, lie, lie] : [];
    };
    set.runUntil(() => set.at(3).notices.some(({ t }) => t === "transferred"));
    set.run(8_000);
    expect(hashesOf(repliesOn(set, 3, "a"), "a")).toEqual([]);
    expect(set.at(3).replica.inspect().lacking).toBeGreaterThan(0);
    set.filter = (_from, _to, message) => [message];
    set.runUntil(() => hashesOf(repliesOn(set, 3, "a"), "a").some((hash) => hash !== ""));
  });

  test("and that differ at all peers are none of a replica that has not executed them, and the client hears of it", () => {
    const set = differing({}, (id) => id === "b");
    takeAway(set, "a", "b", "c");
    comeBack(set);
    set.filterReplies = (_from, reply) => reply;
    set.runUntil(() => diverged(set).has("b") && set.certificates.has("a") && set.certificates.has("c"));
    expect(diverged(set).get("b")).toEqual([...[0, 1, 2].map((value) => JSON.stringify({ value })), ""]);
    expect(new Set(hashesOf(repliesOn(set, 3, "b"), "b"))).toEqual(new Set([""]));
    expect(set.clientEvidence.filter(({ kind }) => kind !== "silent")).toEqual([]);
  });

  test("beyond what a replica may keep are let go, and no call of a later one is refused because of it", () => {
    const set = differing({ limits: { ...LIMITS, maxKeptSize: 200 } }, () => false);
    set.autoSettle = false;
    for (let i = 0; i < 40; i++) set.certifyAll(`a/${i}`);
    expect(set.members.every(({ replica }) => replica.inspect().stable >= 32)).toBe(true);
    expect([...set.certificates.values()].some(({ outcome }) => outcome.includes("OVERLOADED"))).toBe(false);
  });
});

describe("results that a replica has from a checkpoint's votes", () => {
  const isTold = (set: ReplicaSet): boolean => set.certificates.has("a");

  /** What r1 said it had come to goes with it; r0 tells its peers lies, and the client the truth. */
  const leaveOneWord = (set: ReplicaSet): void => {
    takeAway(set, "a");
    set.at(1).down = true;
    const outcome = '{"value":"lie"}';
    const lie = { resultHash: hashText(outcomeText(outcome)), outcome };
    set.filter = (from, _to, message) =>
      from === "r0" && message.t === "results"
        ? [{ ...message, results: message.results.map((each) => ({ ...each, ...lie })) }]
        : [message];
    set.filterReplies = (_from, reply) => reply;
  };

  test("are voted on, though of the two that are left and know them one lies", () => {
    const set = differing({}, () => false);
    leaveOneWord(set);
    set.runUntil(() => isTold(set));
    expect(set.certificates.get("a")!.certificate.votes.map(({ replica }) => replica)).toEqual([0, 2, 3]);
    expect(diverged(set).size).toBe(0);
  });

  test("are still known when it is killed and has their hashes only", () => {
    const set = differing({}, () => false);
    leaveOneWord(set);
    const { filter } = set;
    set.filter = (from, to, message) => (message.t === "results" ? [] : filter(from, to, message));
    set.runUntil(() => set.at(3).notices.some(({ t }) => t === "transferred"));
    set.at(3).down = true;
    set.run(10);
    set.filter = (from, _to, message) => (from === "r3" ? [message] : []);
    set.restart(set.at(3));
    set.runUntil(() => hashesOf(repliesOn(set, 3, "a"), "a").some((hash) => hash !== ""));
  });

  test("are waited for, where the first that has shown the state withholds them", () => {
    const set = differing({}, () => false);
    leaveOneWord(set);
    const { filter } = set;
    let withheld = 0;
    set.filter = (from, to, message) => {
      if (message.t !== "checkpoint-proof" || withheld >= 3) return filter(from, to, message);
      withheld++;
      const { results: _, ...rest } = message;
      return [rest];
    };
    set.runUntil(() => isTold(set));
    expect(withheld).toBe(3);
  });

  test("are done without after a while, where nobody has them any more", () => {
    const set = differing({}, () => false);
    takeAway(set, "a");
    set.filter = (_from, _to, message) => {
      if (message.t !== "checkpoint-proof") return [message];
      const { results: _, ...rest } = message;
      return [rest];
    };
    set.filterReplies = (_from, reply) => reply;
    const tookMs = set.runUntil(() => set.at(3).notices.some(({ t }) => t === "transferred"));
    expect(tookMs).toBeGreaterThan(1_000);
    set.runUntil(() => set.at(3).replica.inspect().lacking === 0);
  });

  test("are not those of a page that was tampered with, and who has sent it is named", () => {
    const set = differing({}, () => false);
    leaveOneWord(set);
    const { filter } = set;
    const right = hashesOf(repliesOn(set, 2, "a"), "a")[0]!;
    let tampered = 0;
    set.filter = (from, to, message) => {
      if (from !== "r0" || message.t !== "page" || !message.data.includes(right)) return filter(from, to, message);
      tampered++;
      return [{ ...message, data: message.data.replace(right, hashText("others")) }];
    };
    // Of the two that live either may be asked first.
    const { filter: lie } = set;
    set.filter = (from, to, message) => (from === "r2" && message.t === "page" && tampered === 0 ? [] : lie(from, to, message));
    set.runUntil(() => isTold(set));
    expect(tampered).toBeGreaterThan(0);
    expect(new Set(hashesOf(repliesOn(set, 3, "a"), "a"))).toEqual(new Set([right]));
    expect(set.at(3).evidence).toContainEqual(expect.objectContaining({ kind: "bad-page", about: 0 }));
  });

  test("are named by nobody who does not know them all, and by all who do", () => {
    const set = new ReplicaSet({ limits: LIMITS, durable: true });
    takeAway(set, "a");
    const named = new Map<string, Map<number, string | undefined>>();
    const note: Filter = (from, to, message) => {
      if (message.t === "checkpoint") named.set(from, (named.get(from) ?? new Map()).set(message.seq, message.results));
      if (to !== "r3" || message.t !== "checkpoint-proof") return [message];
      const { results: _, ...rest } = message;
      return [rest];
    };
    set.filter = (from, to, message) => (to === "r3" && message.t === "results" ? [] : note(from, to, message));
    set.runUntil(() => set.at(3).notices.some(({ t }) => t === "transferred"));
    set.at(3).down = true;
    set.restart(set.at(3));
    const goOn = (prefix: string): number => {
      set.run(500);
      for (let i = 0; i < 10; i++) set.certifyAll(`${prefix}/${i}`);
      set.run(50);
      return Math.max(...[...named.get("r3")!.keys()]);
    };
    const first = goOn("more");
    expect(["r0", "r1", "r2"].map((name) => named.get(name)?.get(first))).not.toContain(undefined);
    expect(named.get("r3")!.get(first)).toBeUndefined();
    set.filter = note;
    set.runUntil(() => set.at(3).replica.inspect().lacking === 0);
    const last = goOn("again");
    expect(new Set([...named.values()].map((of) => of.get(last))).size).toBe(1);
    expect(named.get("r3")!.get(last)).toBeDefined();
  });

  test("are no replica's that has come to others itself: it says what it has said before", () => {
    const set = new ReplicaSet({ limits: LIMITS, durable: true });
    set.at(3).worker.lie = (id, outcome) => (id === "a" ? JSON.stringify({ value: "other" }) : outcome);
    set.certifyAll("first");
    set.autoSettle = false;
    set.filterReplies = (_from, reply) => (reply.results.some(({ id }) => id === "a") ? undefined : reply);
    let asked: Request | undefined;
    set.filterRequests = (_to, request) => {
      if (request.body.t === "call" && request.body.operations.some(({ id }) => id === "a")) asked = request;
      return request;
    };
    set.submit("a");
    set.run(20);
    takeAway(set);
    comeBack(set);
    const before = repliesOn(set, 3, "a").length;
    set.give(3, { t: "request", request: asked! });
    const own = hashText(outcomeText(JSON.stringify({ value: "other" })));
    expect(new Set(hashesOf(repliesOn(set, 3, "a"), "a"))).toEqual(new Set([own]));
    expect(repliesOn(set, 3, "a").length).toBeGreaterThan(before);
  });

  const withoutRoom = (): ReplicaSet => new ReplicaSet({ limits: { ...LIMITS, maxKeptSize: 200 }, durable: true });

  /** What each replica has named last. */
  const namedLast = (set: ReplicaSet, prefix: string): (string | undefined)[] => {
    set.run(500);
    for (let i = 0; i < 10; i++) set.certifyAll(`${prefix}/${i}`);
    set.run(50);
    return set.members.map(({ effects }) =>
      effects
        .flatMap((each) => (each.t === "send" && each.message.t === "checkpoint" ? [`${each.message.seq} ${each.message.results}`] : []))
        .at(-1),
    );
  };

  test("and were let go by all of them are asked for by nobody", () => {
    const set = withoutRoom();
    takeAway(set);
    comeBack(set);
    expect(new Set(namedLast(set, "more")).size).toBe(1);
    expect(set.at(3).replica.inspect().lacking).toBe(0);
  });

  test("and were let go before it was killed are asked for by nobody either", () => {
    const set = withoutRoom();
    set.autoSettle = false;
    for (let i = 0; i < 40; i++) set.certifyAll(`on/${i}`);
    set.at(3).down = true;
    set.restart(set.at(3));
    set.filter = (_from, to, message) => (to === "r3" && message.t === "results" ? [] : [message]);
    const named = namedLast(set, "more");
    expect(new Set(named).size).toBe(1);
    expect(named[0]).not.toContain("undefined");
  });

  test("are waited for in vain by nobody where there are none", () => {
    const set = new ReplicaSet({ limits: LIMITS, durable: true });
    set.certifyAll("first");
    set.filter = (from, to, message) => (from === "r3" || to === "r3" ? [] : [message]);
    for (let number = 1; number <= 24; number++) {
      const body: RequestBody = number === 1 ? { t: "session", keep: [] } : { t: "call", operations: [] };
      const request = { client: "client", session: 2, number, settled: number - 1, body };
      set.sendRequest({ ...request, signature: signAs("client", requestText(request, SET_NAME)) });
      set.run(10);
    }
    expect(set.at(0).replica.inspect()).toMatchObject({ stable: 24, held: { keptOperations: 0 } });
    set.filter = (_from, _to, message) => [message];
    set.runUntil(() => set.at(3).notices.some(({ t }) => t === "transferring"));
    expect(set.runUntil(() => set.at(3).notices.some(({ t }) => t === "transferred"))).toBeLessThan(100);
  });

  test("are those of f + 1, and whose own are others is neither asked in vain for ever nor accused", () => {
    const set = new ReplicaSet({ limits: LIMITS, durable: true });
    for (const index of [2, 3])
      set.at(index).worker.lie = (id, outcome) => (id === "a" ? JSON.stringify({ value: `other ${index}` }) : outcome);
    takeAway(set, "a");
    let states = Number.POSITIVE_INFINITY;
    const lost = new Set<string>();
    set.filter = (_from, to, message) => {
      if (message.t === "checkpoint-proof") states = message.pages.length;
      if (message.t !== "fetch-page" || message.page < states || to === "r2" || lost.has(to)) return [message];
      lost.add(to);
      return [];
    };
    set.runUntil(() => set.at(3).notices.some(({ t }) => t === "transferred"));
    expect(lost.size).toBeGreaterThan(0);
    const right = hashesOf(repliesOn(set, 0, "a"), "a")[0];
    set.filterReplies = (_from, reply) => reply;
    set.runUntil(() => isTold(set));
    expect(set.certificates.get("a")!.certificate.votes.map(({ replica }) => replica)).toEqual([0, 1, 3]);
    expect(new Set(hashesOf(repliesOn(set, 3, "a"), "a"))).toEqual(new Set([right]));
    expect(set.evidence()).toEqual([]);
  });

  test("can't be changed in a vote without its signature becoming void", () => {
    const set = new ReplicaSet({ limits: LIMITS });
    set.at(3).down = true;
    set.filter = (_from, to, message) =>
      to === "r2" && message.t === "checkpoint" ? [{ ...message, results: hashText("others") }] : [message];
    for (let i = 0; i < 12; i++) set.certifyAll(`a/${i}`);
    expect(set.at(1).replica.inspect().stable).toBe(8);
    expect(set.at(2).replica.inspect().stable).toBe(0);
  });
});
