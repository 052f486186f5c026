import { describe, expect, test } from "vitest";
import { cryptoOf, hashText } from "../testing/replica-keys.ts";
import { outcomeText } from "./canonical.ts";
import { Checks, Votes } from "./client-votes.ts";
import type { Reply, ReplyResult } from "./messages.ts";

const resultOf = (outcome: string, isShown = true): ReplyResult => ({
  id: "a",
  position: 0,
  path: [],
  key: "",
  inputHash: hashText("input"),
  resultHash: hashText(outcomeText(outcome)),
  outcome: isShown ? outcome : "",
});

const add = (votes: Votes, replica: number, result: ReplyResult): void => {
  const reply: Reply = { replica, epoch: 1, view: 0, seq: 1, version: "1", root: "", signature: "", results: [result] };
  votes.add(reply, result, new Checks(cryptoOf("client")));
};

const hashOf = (outcome: string): string => resultOf(outcome).resultHash;

describe("the votes for an operation", () => {
  test("hold one outcome of each replica, however many it makes up", () => {
    const votes = new Votes();
    for (let i = 0; i < 100; i++) add(votes, 3, resultOf(`{"value":${i}}`));
    expect(votes.outcome(hashOf('{"value":99}'))).toBe('{"value":99}');
    for (let i = 0; i < 99; i++) expect(votes.outcome(hashOf(`{"value":${i}}`))).toBeUndefined();
  });

  test("keep an outcome that its replica votes for again without its text", () => {
    const votes = new Votes();
    add(votes, 0, resultOf('{"value":1}'));
    add(votes, 0, resultOf('{"value":1}', false));
    add(votes, 1, resultOf('{"value":1}', false));
    expect(votes.outcome(hashOf('{"value":1}'))).toBe('{"value":1}');
  });

  test("lose no outcome that a correct replica has sent too, when the first that sent it says something else", () => {
    const votes = new Votes();
    add(votes, 3, resultOf('{"value":1}'));
    add(votes, 0, resultOf('{"value":1}'));
    add(votes, 3, resultOf('{"value":2}'));
    expect(votes.outcome(hashOf('{"value":1}'))).toBe('{"value":1}');
  });

  test("take no outcome that is not of the hash which was voted for", () => {
    const votes = new Votes();
    add(votes, 0, { ...resultOf('{"value":1}'), outcome: '{"value":2}' });
    expect(votes.outcome(hashOf('{"value":1}'))).toBeUndefined();
    expect(votes.outcome(hashOf('{"value":2}'))).toBeUndefined();
  });
});
