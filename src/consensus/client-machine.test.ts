import { describe, expect, test } from "vitest";
import { cryptoOf, signAs } from "../testing/replica-keys.ts";
import { ReplicaSet } from "../testing/replica-set.ts";
import { leafText, outcomeText, requestText, voteText } from "./canonical.ts";
import { rootFromPath } from "./merkle.ts";
import type { Reply, Request } from "./messages.ts";

const NAME = "bank/apply@1";

/** The reply of a replica that lies about the only result of its batch, and signs it. */
const lyingReply = (reply: Reply, value: number): Reply => {
  const { hash } = cryptoOf("");
  const [result] = reply.results;
  const outcome = JSON.stringify({ value });
  const resultHash = hash(outcomeText(outcome));
  const { id, key, inputHash, position } = result!;
  const root = hash(leafText(NAME, { operation: id, version: reply.version, key, inputHash, resultHash, sequence: reply.seq, position }));
  const signature = signAs(`r${reply.replica}`, voteText(NAME, reply.epoch, reply.view, reply.seq, root));
  return { ...reply, root, signature, results: [{ ...result!, resultHash, outcome, path: [] }] };
};

const requestOf = (change: Partial<Request>, signer = "client"): Request => {
  const unsigned = { client: "client", session: 1, number: 2, settled: 1, body: { t: "call" as const, operations: [] }, ...change };
  return { ...unsigned, signature: signAs(signer, requestText(unsigned, NAME)) };
};

const call = (id: string) => ({ t: "call" as const, operations: [{ id, key: "k", input: "" }] });

describe("what is held of replies", () => {
  /** It makes up an outcome of so many characters for each result, and signs it; each time another one. */
  const boast = (length: number) => {
    let told = 0;
    return (reply: Reply): Reply => {
      const { hash } = cryptoOf("");
      const outcome = JSON.stringify({ value: `${++told}${"x".repeat(length)}` });
      const results = reply.results.map((result) => ({ ...result, outcome, resultHash: hash(outcomeText(outcome)) }));
      return { ...reply, results };
    };
  };

  test("is bounded for each replica, whatever it makes up while there is no quorum, and costs no call", () => {
    const set = new ReplicaSet();
    set.newClient(2, { limits: { maxHeld: 20_000 } });
    set.run(200);
    const lie = boast(3_000);
    set.filterReplies = (from, reply) => (from === "r3" ? lie(reply) : from === "r0" ? reply : undefined);
    const ids = Array.from({ length: 30 }, (_, i) => `call-${i}`);
    for (const id of ids) {
      set.submit(id);
      set.run(20);
    }
    set.run(3_000);
    expect(set.certificates.size).toBe(0);
    expect(set.client.heldOf(3)).toBeGreaterThan(10_000);
    expect(set.client.heldOf(3)).toBeLessThanOrEqual(20_000);
    set.filterReplies = (from, reply) => (from === "r3" ? lie(reply) : reply);
    set.runUntil(() => ids.every((id) => set.certificates.has(id)));
    set.run(100);
    for (const replica of [0, 1, 2, 3]) expect(set.client.heldOf(replica)).toBe(0);
  });

  test("counts a reply that names one operation many times as what it is", () => {
    const set = new ReplicaSet();
    set.newClient(2, { limits: { maxHeld: 20_000 } });
    set.run(200);
    set.filterReplies = (from, reply) => {
      if (from !== "r3") return undefined;
      const [result] = reply.results;
      return { ...reply, results: Array.from({ length: 1_000 }, () => ({ ...result!, outcome: "" })) };
    };
    set.submit("a");
    set.run(1_000);
    expect(set.client.heldOf(3)).toBe(0);
  });
});

describe("a certificate", () => {
  test("leads from each result to a root that three replicas have signed", () => {
    const set = new ReplicaSet();
    set.submit("a", "b", "c");
    set.runUntil(() => set.certificates.size === 3);
    const { hash } = cryptoOf("");
    for (const { certificate, outcome } of set.certificates.values()) {
      const { statement, path, votes } = certificate;
      expect(statement.resultHash).toBe(hash(outcomeText(outcome)));
      const root = rootFromPath(hash(leafText(NAME, statement)), statement.position, path, hash)!;
      expect(votes.map(({ replica }) => replica)).toHaveLength(3);
      for (const { replica, view, signature } of votes) {
        expect(signature).toBe(signAs(`r${replica}`, voteText(NAME, 1, view, statement.sequence, root)));
      }
    }
  });

  test("comes from three votes though one replica lies about the result, which is proven by its own signature", () => {
    const set = new ReplicaSet();
    set.filterReplies = (from, reply) => (from === "r2" ? lyingReply(reply, 99) : reply);
    set.runUntil(() => set.clientEvidence.length === 0 && set.at(0).replica.inspect().executed > 0);
    set.certifyAll("a");
    set.run(50);
    expect(set.certificates.get("a")!.outcome).toBe('{"value":1}');
    const found = set.clientEvidence.filter(({ kind }) => kind === "wrong-vote");
    expect(found.length).toBeGreaterThan(0);
    for (const { about, proof } of found) {
      expect(about).toBe(2);
      const { reply } = proof!;
      expect(reply.signature).toBe(signAs("r2", voteText(NAME, reply.epoch, reply.view, reply.seq, reply.root)));
    }
  });

  test("convicts a liar who waits until the others' result is durable", () => {
    const set = new ReplicaSet();
    set.certifyAll("a");
    set.filterReplies = (from, reply) => {
      if (from !== "r2") return reply;
      set.after(500, () => set.tell({ t: "reply", from: 2, reply: lyingReply(reply, 99) }));
      return undefined;
    };
    set.certifyAll("b");
    set.run(600);
    expect(set.clientEvidence).toMatchObject([{ about: 2, kind: "wrong-vote" }]);
  });

  test("takes no vote whose signature is another's, or whose result is not under its root", () => {
    const set = new ReplicaSet();
    set.filterReplies = (from, reply) => {
      if (from === "r1") return { ...reply, signature: signAs("r2", "something") };
      if (from !== "r3") return reply;
      // Signed, but no tree in which the result is.
      const root = "b".repeat(64);
      return { ...reply, root, signature: signAs("r3", voteText(NAME, reply.epoch, reply.view, reply.seq, root)) };
    };
    set.submit("a");
    set.run(3_000);
    expect(set.certificates.size).toBe(0);
    expect(new Set(set.clientEvidence.filter(({ kind }) => kind === "bad-vote").map(({ about }) => about))).toEqual(new Set([1, 3]));
    set.filterReplies = (_from, reply) => reply;
    set.runUntil(() => set.certificates.has("a"));
  });

  test("is not made of two votes, however long the others are away", () => {
    const set = new ReplicaSet();
    set.certifyAll("a");
    set.filterReplies = (from, reply) => (from === "r0" || from === "r1" ? reply : undefined);
    set.submit("b");
    set.run(10_000);
    expect(set.certificates.has("b")).toBe(false);
    set.filterReplies = (_from, reply) => reply;
    set.runUntil(() => set.certificates.has("b"));
    // It was executed once, however often it was asked for.
    for (const { worker } of set.members) expect(worker.log.flatMap(({ ids }) => ids)).toEqual(["a", "b"]);
  });

  test("gets the outcome's text from others when those who were to send it do not", () => {
    const set = new ReplicaSet();
    set.filterReplies = (from, reply) => {
      if (from !== "r0") return reply;
      return { ...reply, results: reply.results.map((result) => ({ ...result, outcome: "" })) };
    };
    for (let i = 0; i < 6; i++) set.certifyAll(`a/${i}`);
  });
});

describe("replicas that agree", () => {
  test("are not said to differ because one that lies speaks while the outcome's text is still missing", () => {
    const set = new ReplicaSet();
    let isMissing = true;
    set.filterReplies = (from, reply) => {
      if (from === "r3") {
        set.after(5, () => set.tell({ t: "reply", from: 3, reply: lyingReply(reply, 99) }));
        return undefined;
      }
      return isMissing ? { ...reply, results: reply.results.map((result) => ({ ...result, outcome: "" })) } : reply;
    };
    set.submit("a");
    set.run(2_000);
    isMissing = false;
    set.runUntil(() => set.certificates.has("a"));
    expect(set.clientEffects.some(({ t }) => t === "diverged")).toBe(false);
  });
});

describe("replicas that differ", () => {
  test("in all their results are reported with what each came to", () => {
    const set = new ReplicaSet();
    set.certifyAll("a");
    set.members.forEach(({ worker }, i) => {
      worker.lie = (id, outcome) => (id === "b" ? JSON.stringify({ value: i % 2 }) : outcome);
    });
    set.submit("b");
    set.run(3_000);
    const found = set.clientEffects.filter((effect) => effect.t === "diverged");
    expect(found).toHaveLength(1);
    expect(found[0]!.outcomes.map(({ outcome }) => outcome)).toEqual(['{"value":0}', '{"value":1}', '{"value":0}', '{"value":1}']);
    set.certifyAll("c");
  });
});

describe("a silent replica", () => {
  test("is named when it has missed the votes of the others for long", () => {
    const set = new ReplicaSet();
    set.certifyAll("a");
    set.at(3).down = true;
    for (let i = 0; i < 30; i++) {
      set.certifyAll(`b/${i}`);
      set.run(100);
    }
    const found = set.clientEvidence.filter(({ kind }) => kind === "silent");
    expect(found.map(({ about }) => about)).toEqual([3]);
    expect(found[0]!.forMs).toBeGreaterThanOrEqual(1_000);
  });

  test("is not one that has begun after the votes that it missed", () => {
    const set = new ReplicaSet();
    set.certifyAll("a");
    set.at(3).down = true;
    set.certifyAll("b");
    set.run(900);
    set.tell({ t: "begun", replica: 3 });
    set.run(900);
    expect(set.clientEvidence).toEqual([]);
    set.certifyAll("c");
    set.run(1_100);
    expect(set.clientEvidence.map(({ about }) => about)).toEqual([3]);
  });

  test("is not one that is slower than the others", () => {
    const set = new ReplicaSet();
    set.certifyAll("a");
    set.filterReplies = (from, reply) => {
      if (from !== "r3") return reply;
      set.after(300, () => set.tell({ t: "reply", from: 3, reply }));
      return undefined;
    };
    for (let i = 0; i < 30; i++) {
      set.certifyAll(`b/${i}`);
      set.run(100);
    }
    expect(set.clientEvidence).toEqual([]);
  });
});

describe("a request", () => {
  test("that a client has not signed is executed nowhere", () => {
    const set = new ReplicaSet();
    set.certifyAll("a");
    set.sendRequest(requestOf({ number: 7, body: call("forged") }, "r0"));
    set.sendRequest(requestOf({ client: "r0", session: 1, number: 1, settled: 0, body: call("stranger") }, "r0"));
    set.certifyAll("b");
    set.run(2_000);
    for (const { worker } of set.members) expect(worker.log.flatMap(({ ids }) => ids)).toEqual(["a", "b"]);
    expect(set.members.map(({ replica }) => replica.inspect().view)).toEqual([0, 0, 0, 0]);
  });

  test("whose authenticator verifies at the leader only can't be made: what the leader proposes of it is carried out by nobody", () => {
    const set = new ReplicaSet();
    set.certifyAll("a");
    // The leader claims to have got it; all others are asked to believe it.
    const forged = requestOf({ number: 9, body: call("forged") }, "r0");
    const digest = cryptoOf("").hash(requestText(forged, NAME));
    set.filter = (from, _to, message) => {
      if (from !== "r0") return [message];
      if (message.t === "pre-prepare") {
        const { seq, batch } = message;
        const requests = [digest];
        return [{ ...message, batch: { ...batch, requests, seed: set.seed(seq, batch.time, requests) } }];
      }
      return message.t === "content" ? [{ ...message, requests: [forged] }] : [message];
    };
    set.certifyAll("b");
    set.run(1_000);
    for (const { worker } of set.members) expect(worker.log.flatMap(({ ids }) => ids)).not.toContain("forged");
    expect(set.at(1).replica.inspect().view).toBeGreaterThan(0);
  });

  test("is executed once though it comes a hundred times, and under other numbers", () => {
    const set = new ReplicaSet();
    set.autoSettle = false;
    set.certifyAll("a");
    const [, request] = set.clientEffects.flatMap((effect) => (effect.t === "send" ? [effect.request] : []));
    for (let i = 0; i < 100; i++) set.sendRequest(request!);
    for (let number = 50; number < 60; number++) set.sendRequest(requestOf({ number, body: call("a") }));
    set.run(2_000);
    for (const { worker } of set.members) expect(worker.log.flatMap(({ ids }) => ids)).toEqual(["a"]);
  });

  test("of an earlier session is executed no more once a later one is open", () => {
    const set = new ReplicaSet();
    set.certifyAll("a");
    set.newClient(2);
    set.certifyAll("b");
    set.sendRequest(requestOf({ session: 1, number: 40, settled: 1, body: call("late") }));
    set.run(2_000);
    for (const { worker } of set.members) expect(worker.log.flatMap(({ ids }) => ids)).toEqual(["a", "b"]);
  });

  test("whose answer a crashed client never saw is answered with the first result in its next life", () => {
    const set = new ReplicaSet();
    set.certifyAll("a");
    set.filterReplies = () => undefined;
    set.submit("b");
    set.run(50);
    set.filterReplies = (_from, reply) => reply;
    set.newClient(2, { keep: ["b"] });
    set.certifyAll("b");
    expect(set.certificates.get("b")!.outcome).toBe('{"value":2}');
    for (const { worker } of set.members) expect(worker.log.flatMap(({ ids }) => ids)).toEqual(["a", "b"]);
  });

  test("that would make the replicas keep too much is refused by all of them alike", () => {
    const set = new ReplicaSet({ limits: { maxKeptOperations: 10 } });
    set.autoSettle = false;
    const ids = Array.from({ length: 14 }, (_, i) => `a/${i}`);
    for (const id of ids) set.certifyAll(id);
    const refused = ids.filter((id) => set.certificates.get(id)!.outcome.includes("OVERLOADED"));
    expect(refused.length).toBeGreaterThan(2);
    const executed = ids.length - refused.length;
    for (const { worker } of set.members) expect(worker.log).toHaveLength(executed);
    set.tell({ t: "settle", operations: ids });
    set.certifyAll("next");
    expect(set.certificates.get("next")!.outcome).not.toContain("OVERLOADED");
  });
});
