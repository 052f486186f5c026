import { expect, test } from "vitest";
import { cryptoOf, hashText, signAs } from "../testing/replica-keys.ts";
import { ReplicaSet } from "../testing/replica-set.ts";
import { leafText, outcomeText, voteText } from "./canonical.ts";
import { Checks } from "./client-votes.ts";
import { merkleRoot, rootFromPath } from "./merkle.ts";
import type { Reply, ReplyResult } from "./messages.ts";
import { isReply } from "./shape.ts";

// Replies that hold all results of their batch, without the ways to the root.

const NAME = "bank/apply@1";

const leafOf = (reply: Reply, { id, key, inputHash, resultHash, position }: ReplyResult): string =>
  hashText(leafText(NAME, { operation: id, version: reply.version, key, inputHash, resultHash, sequence: reply.seq, position }));

const repliesOf = (set: ReplicaSet, id: string): Reply[] =>
  set.members.flatMap(({ effects }) =>
    effects.flatMap((each) => (each.t === "reply" && each.reply.results.some((result) => result.id === id) ? [each.reply] : [])),
  );

/** A set with an open session, so that what is submitted next is one batch. */
const openSet = (): ReplicaSet => {
  const set = new ReplicaSet();
  set.certifyAll("first");
  return set;
};

const badVotes = (set: ReplicaSet): number[] => set.clientEvidence.flatMap(({ kind, about }) => (kind === "bad-vote" ? [about] : []));

test("a reply to all of a batch leaves out the ways to the root, which the certificates have", () => {
  const set = openSet();
  const ids = ["a", "b", "c", "d", "e"];
  set.certifyAll(...ids);
  for (const reply of repliesOf(set, "a")) {
    expect(reply.whole).toBe(true);
    expect(reply.results.map(({ id, path }) => [id, path])).toEqual(ids.map((id) => [id, []]));
  }
  for (const [position, id] of ids.entries()) {
    const { statement, path, votes } = set.certificates.get(id)!.certificate;
    expect(statement.position).toBe(position);
    expect(path).toHaveLength(3);
    const root = rootFromPath(hashText(leafText(NAME, statement)), position, path, hashText)!;
    for (const { replica, view, signature } of votes) {
      expect(signature).toBe(signAs(`r${replica}`, voteText(NAME, 1, view, statement.sequence, root)));
    }
  }
});

test("a reply that repeats some results of a batch has their ways to the root", () => {
  const set = openSet();
  set.autoSettle = false;
  set.filterReplies = () => undefined;
  set.submit("a", "b", "c");
  set.run(20);
  set.filterReplies = (_from, reply) => reply;
  set.newClient(2, { keep: ["b"] });
  set.certifyAll("b");
  const repeated = repliesOf(set, "b").filter(({ results }) => results.length === 1);
  expect(repeated.length).toBeGreaterThan(2);
  for (const reply of repeated) {
    expect(reply.whole).toBeUndefined();
    expect(reply.results[0]!.path).toHaveLength(2);
  }
});

test("a reply whose results are not those of its root is no way to it, though what is signed is the right root", () => {
  const set = openSet();
  const other = hashText(outcomeText('{"value":99}'));
  set.filterReplies = (from, reply) => {
    // The liar is heard first.
    if (from === "r3") return { ...reply, results: reply.results.map((each) => (each.id === "b" ? { ...each, resultHash: other } : each)) };
    set.after(3, () => set.tell({ t: "reply", from: reply.replica, reply }));
    return undefined;
  };
  set.certifyAll("a", "b", "c");
  const certificate = set.certificates.get("b")!.certificate;
  expect(certificate.statement.resultHash).not.toBe(other);
  expect(certificate.votes.map(({ replica }) => replica)).toEqual([0, 1, 2]);
  expect(badVotes(set)).toEqual([3]);
  for (const id of ["a", "c"]) expect(set.certificates.get(id)!.certificate.path).toHaveLength(2);
});

test("replies whose results stand in another order than in the tree certify nothing", () => {
  const set = openSet();
  set.filterReplies = (_from, reply) => ({ ...reply, results: reply.results.toReversed() });
  set.submit("a", "b");
  set.run(100);
  expect(set.certificates.has("a") || set.certificates.has("b")).toBe(false);
  expect(badVotes(set)).toEqual(expect.arrayContaining([0, 1, 2]));
  set.filterReplies = (_from, reply) => reply;
  set.runUntil(() => set.certificates.has("a") && set.certificates.has("b"));
});

test("a lie in a whole reply is proven by that one result with its way to the root", () => {
  const set = openSet();
  const resultHash = hashText(outcomeText('{"value":99}'));
  set.filterReplies = (from, reply) => {
    if (from !== "r2") return reply;
    const results = reply.results.map((each) => (each.id === "b" ? { ...each, resultHash, outcome: "" } : each));
    const root = merkleRoot(
      results.map((each) => leafOf(reply, each)),
      hashText,
    );
    return { ...reply, root, signature: signAs("r2", voteText(NAME, 1, reply.view, reply.seq, root)), results };
  };
  set.certifyAll("a", "b", "c");
  set.run(20);
  const [found, ...more] = set.clientEvidence;
  expect(more).toEqual([]);
  expect(found).toMatchObject({ about: 2, kind: "wrong-vote" });
  const { reply } = found!.proof!;
  expect(reply.whole).toBeUndefined();
  const [result] = reply.results;
  expect(rootFromPath(leafOf(reply, result!), result!.position, result!.path, hashText)).toBe(reply.root);
});

test("a vote alone is never that of a whole batch", () => {
  const set = openSet();
  const [reply] = repliesOf(set, "first");
  expect(isReply(reply)).toBe(true);
  expect(isReply({ ...reply, single: true })).toBe(false);
  expect(isReply({ ...reply, whole: 1 })).toBe(false);
});

test("the tree of a reply is made once for all of its results", () => {
  const set = openSet();
  set.certifyAll("a", "b", "c", "d");
  const [reply] = repliesOf(set, "a");
  let hashes = 0;
  const checks = new Checks({
    ...cryptoOf("client"),
    hash: (text) => {
      hashes++;
      return hashText(text);
    },
  });
  for (const result of reply!.results) expect(checks.isUnder(set.certified, { reply: reply!, result })).toBe(true);
  // Four leaves, two nodes and the root.
  expect(hashes).toBe(7);
});

test("the first votes are checked while the others are on their way, and none that is not needed", () => {
  const set = openSet();
  const checked: string[] = [];
  const { verify, ...rest } = cryptoOf("client");
  const watched = (key: string, text: string, signature: string): boolean => {
    checked.push(key);
    return verify(key, text, signature);
  };
  set.newClient(2, {}, { ...rest, verify: watched });
  set.certifyAll("b");
  checked.length = 0;
  let delay = 0;
  set.filterReplies = (_from, reply) => {
    delay += 10;
    set.after(delay, () => set.tell({ t: "reply", from: reply.replica, reply }));
    return undefined;
  };
  set.submit("a");
  set.runUntil(() => checked.length === 1);
  expect(set.certificates.has("a")).toBe(false);
  set.run(100);
  expect(set.certificates.has("a")).toBe(true);
  expect(checked).toHaveLength(3);
});

test("a result that names another place than it stands at is not under the root, whoever has signed that", () => {
  const set = openSet();
  const [reply] = repliesOf(set, "first");
  const moved: Reply = { ...reply!, results: [{ ...reply!.results[0]!, position: 1 }] };
  const signed = { ...moved, root: merkleRoot([leafOf(moved, moved.results[0]!)], hashText) };
  expect(new Checks(cryptoOf("client")).isUnder(set.certified, { reply: signed, result: signed.results[0]! })).toBe(false);
});
