import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cryptoOf, hashText, signAs } from "../testing/replica-keys.ts";
import { ReplicaSet, type ReplicaSetOptions } from "../testing/replica-set.ts";
import { fillerText, leafText, outcomeText, requestText, voteText } from "./canonical.ts";
import { certificateText } from "./certificate.ts";
import { fillerPath, merklePath, merkleTree, rootFromPath, rootOf } from "./merkle.ts";
import type { Reply, Request } from "./messages.ts";

const { hash } = cryptoOf("");

/** A set whose replicas come to different results of `b`: two and two. */
const differing = (options: ReplicaSetOptions = {}): ReplicaSet => {
  const set = new ReplicaSet(options);
  set.certifyAll("first");
  set.members.forEach(({ worker }, i) => {
    worker.lie = (id, outcome) => (id === "b" ? JSON.stringify({ value: i % 2 }) : outcome);
  });
  return set;
};

const diverged = (set: ReplicaSet): string[] => set.clientEffects.flatMap((each) => (each.t === "diverged" ? [each.operation] : []));

const asked = (set: ReplicaSet): Request[] =>
  set.clientEffects.flatMap((each) => (each.t === "send" && each.request.body.t === "single" ? [each.request] : []));

const singlesOf = (set: ReplicaSet, index: number): Reply[] =>
  set.at(index).effects.flatMap((each) => (each.t === "reply" && each.reply.single === true ? [each.reply] : []));

/** Whether its votes are those of three replicas on its statement, as `verify.ts` looks at them. */
const isGood = (set: ReplicaSet, id: string): boolean => {
  const { certificate } = set.certificates.get(id)!;
  const { membership } = certificate.membership;
  const { statement, path, votes } = certificate;
  const root = rootFromPath(hash(leafText(membership.set, statement)), statement.position, path, hash)!;
  const isSigned = votes.every(
    ({ replica, view, signature }) =>
      signature === signAs(membership.replicas[replica]!, voteText(membership.set, membership.epoch, view, statement.sequence, root)),
  );
  return isSigned && new Set(votes.map(({ replica }) => replica)).size >= 2 * membership.faults + 1;
};

const request = (operations: string[], change: Partial<Request> = {}, signer = "client"): Request => {
  const unsigned = { client: "client", session: 1, number: 9, settled: 1, body: { t: "single" as const, operations }, ...change };
  return { ...unsigned, signature: signAs(signer, requestText(unsigned, "bank/apply@1")) };
};

/** Lies about every result, and signs it. */
const lie = (reply: Reply): Reply => {
  const outcome = '{"value":"lie"}';
  const resultHash = hashText(outcomeText(outcome));
  const [result] = reply.results;
  const { id, key, inputHash, position, path } = result!;
  const leaf = leafText("bank/apply@1", {
    operation: id,
    version: reply.version,
    key,
    inputHash,
    resultHash,
    sequence: reply.seq,
    position,
  });
  const root = rootFromPath(hashText(leaf), position, path, hash)!;
  const signature = signAs(`r${reply.replica}`, voteText("bank/apply@1", reply.epoch, reply.view, reply.seq, root));
  return { ...reply, root, signature, results: [{ ...result!, resultHash, outcome }] };
};

describe("a batch in one of whose results the replicas differ", () => {
  test("has certificates of the others, and only that one has diverged", () => {
    const set = differing();
    set.submit("a", "b", "c");
    set.runUntil(() => set.certificates.has("a") && set.certificates.has("c") && diverged(set).length > 0);
    set.run(5_000);
    expect(diverged(set)).toEqual(["b"]);
    expect(set.certificates.has("b")).toBe(false);
    expect([isGood(set, "a"), isGood(set, "c")]).toEqual([true, true]);
    expect(set.clientEvidence).toEqual([]);
    // Once for both.
    expect(asked(set).map(({ body }) => (body.t === "single" ? body.operations : []))).toEqual([["a", "c"]]);
    for (const { worker } of set.members) expect(worker.log.flatMap(({ ids }) => ids)).toEqual(["first", "a", "b", "c"]);
    set.certifyAll("d");
  });

  test("has them though one replica lies about all of its results, and only that one is accused", () => {
    const set = differing();
    set.filterReplies = (from, reply) => (from === "r3" ? lie(reply) : reply);
    set.submit("a", "b", "c");
    set.runUntil(() => set.certificates.has("a"));
    set.filterReplies = (from, reply) => (from === "r3" && reply.single === true ? lie(reply) : reply);
    set.submit("e", "b2", "f");
    set.runUntil(() => ["c", "e", "f"].every((id) => set.certificates.has(id)));
    set.run(5_000);
    expect(["a", "c", "e", "f"].every((id) => isGood(set, id))).toBe(true);
    expect(diverged(set)).not.toContain("a");
    expect(diverged(set)).not.toContain("c");
    expect(set.clientEvidence.some(({ kind }) => kind === "wrong-vote")).toBe(true);
    expect(set.clientEvidence.filter(({ about }) => about !== 3)).toEqual([]);
  });

  test("has them with three replicas of four, and over a change of the view", () => {
    const set = differing();
    set.filterReplies = (_from, reply) => (reply.single === true ? undefined : reply);
    set.submit("a", "b", "c");
    set.runUntil(() => asked(set).length > 0);
    set.at(0).down = true;
    set.filterReplies = (_from, reply) => reply;
    set.submit("d");
    set.runUntil(() => ["a", "c", "d"].every((id) => set.certificates.has(id)));
    expect(set.at(1).replica.inspect().view).toBeGreaterThan(0);
    expect([isGood(set, "a"), isGood(set, "c")]).toEqual([true, true]);
  });

  test("has them when only three have answered at all", () => {
    const set = differing();
    set.at(3).down = true;
    set.submit("a", "b", "c");
    set.runUntil(() => set.certificates.has("a") && set.certificates.has("c"));
    expect(diverged(set)).toEqual([]);
  });

  test("has them in the next session of a client, and when durable replicas have come back", () => {
    const set = differing({ durable: true });
    set.filterReplies = () => undefined;
    set.submit("a", "b", "c");
    set.runUntil(() => set.members.every(({ worker }) => worker.log.length === 2));
    set.run(50);
    // They execute it anew, and come to a third result of `b`.
    set.restart(set.at(0));
    set.restart(set.at(1));
    set.run(50);
    set.filterReplies = (_from, reply) => reply;
    set.newClient(2, { keep: ["a", "b", "c"] });
    set.submit("a", "b", "c");
    set.runUntil(() => set.certificates.has("a") && set.certificates.has("c") && diverged(set).length > 0);
    expect(diverged(set)).toEqual(["b"]);
    expect([isGood(set, "a"), isGood(set, "c")]).toEqual([true, true]);
  });

  test("ends though a faulty replica agrees at first, and then votes no more", () => {
    const set = differing();
    // With the lie of `r3` three agree on `b`, and not on the root.
    set.at(3).worker.lie = (id, outcome) => (id === "b" ? '{"value":0}' : id === "c" ? '{"value":"lie"}' : outcome);
    set.filterReplies = (from, reply) => {
      if (reply.single !== true) return reply;
      if (from === "r3") return undefined;
      // A correct one whose result was another at last.
      return from === "r2" && reply.results[0]!.id === "b" ? lie(reply) : reply;
    };
    set.submit("a", "b", "c");
    set.runUntil(() => set.certificates.has("a") && diverged(set).length > 0, 60_000);
    expect(diverged(set)).toEqual(["b"]);
    expect(set.clientEvidence.filter(({ kind }) => kind === "silent").map(({ about }) => about)).toEqual([3]);
  });
});

describe("a liar", () => {
  test("can't make the client ask for single votes while the others agree and answer", () => {
    const set = new ReplicaSet();
    // Under another root each time, with the right result of each operation.
    set.filterReplies = (from, reply) => {
      if (from !== "r1") return reply;
      const root = hashText(`${reply.seq}`);
      return { ...reply, root, signature: signAs(from, voteText("bank/apply@1", reply.epoch, reply.view, reply.seq, root)) };
    };
    for (let i = 0; i < 20; i++) set.certifyAll(`${i}/a`, `${i}/b`);
    expect(asked(set)).toEqual([]);
  });
});

describe("a vote on one result alone", () => {
  test("is given to clients of the open session, for what is kept, and not without bounds", () => {
    const set = new ReplicaSet();
    set.autoSettle = false;
    set.certifyAll("a", "b");
    for (const odd of [
      request(["a"], {}, "r1"),
      request(["a"], { client: "r1" }, "r1"),
      request(["a"], { session: 7 }),
      request(["unknown", "lockstep:no"]),
    ]) {
      set.give(0, { t: "request", request: odd });
    }
    expect(singlesOf(set, 0)).toEqual([]);
    for (let i = 0; i < 2_000; i++) set.give(0, { t: "request", request: request(["a", "b", "a"]) });
    const given = singlesOf(set, 0);
    expect(given.length).toBeGreaterThan(2);
    expect(given.length).toBeLessThan(512);
    expect(new Set(given.map(({ signature }) => signature)).size).toBe(2);
    set.tell({ t: "settle", operations: ["a", "b"] });
    set.certifyAll("c");
    set.run(1_000);
    set.give(0, { t: "request", request: request(["a", "b"]) });
    expect(singlesOf(set, 0)).toHaveLength(given.length);
  });

  test("has no place in the order, though a leader proposes what asks for it", () => {
    const set = new ReplicaSet();
    set.certifyAll("a");
    const odd = request(["a"]);
    const digest = hash(requestText(odd, "bank/apply@1"));
    set.filter = (from, _to, message) => {
      if (from !== "r0") return [message];
      if (message.t === "pre-prepare") {
        const { seq, batch } = message;
        const requests = [digest];
        return [{ ...message, batch: { ...batch, requests, seed: set.seed(seq, batch.time, requests) } }];
      }
      return [message];
    };
    const before = set.at(1).replica.inspect().committed;
    set.submit("b");
    set.run(20);
    for (const to of [1, 2, 3]) {
      set.give(to, { t: "message", from: 0, epoch: 1, message: { t: "content", requests: [odd], batches: [] } });
    }
    set.run(100);
    expect(set.members.map(({ replica }) => replica.inspect().committed)).toEqual([before, before, before, before]);
    set.runUntil(() => set.certificates.has("b"));
    expect(set.at(1).replica.inspect().view).toBeGreaterThan(0);
  });

  test("leads to a root of its leaf and fillers, whatever the size of the batch", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 300 }), fc.nat(), (count, any) => {
        const position = any % count;
        const leaf = hashText("leaf");
        const leaves = Array.from({ length: count }, (_, i) => (i === position ? leaf : hashText(fillerText())));
        const tree = merkleTree(leaves, hash);
        const path = fillerPath(count, position, hash);
        expect(path).toEqual(merklePath(tree, position));
        expect(rootFromPath(leaf, position, path, hash)).toBe(rootOf(tree));
      }),
    );
  });

  test("is part of a certificate with the same text as every other", () => {
    const set = differing();
    set.certifyAll("x");
    set.submit("a", "b", "c");
    set.runUntil(() => set.certificates.has("a"));
    const keys = (id: string): string[] => Object.keys(JSON.parse(certificateText(set.certificates.get(id)!.certificate)) as object);
    expect(keys("a")).toEqual(keys("x"));
  });
});

test("a call that has diverged is reported with what it came to at each replica, though votes come twice before the outcomes", () => {
  const set = new ReplicaSet();
  for (const index of [2, 3]) set.at(index).worker.lie = (_id, outcome) => outcome.replace("value", "other");
  set.filterReplies = (from, reply) => {
    if (from === "r1") set.after(4, () => set.tell({ t: "reply", from: 1, reply }));
    return reply;
  };
  for (let i = 0; i < 6; i++) {
    set.submit(`a/${i}`);
    set.run(100);
  }
  const reports = set.clientEffects.flatMap((effect) => (effect.t === "diverged" ? [effect] : []));
  expect(reports.length).toBe(6);
  for (const { outcomes } of reports) expect(outcomes.every(({ outcome }) => outcome !== "")).toBe(true);
});
