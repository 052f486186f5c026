import { describe, expect, test } from "vitest";
import type { Reply } from "../consensus/messages.ts";
import { isFromPod } from "./pod.ts";
import type { FromReplica } from "./replica.ts";

const digest = "d".repeat(64);
const signature = "s".repeat(86);
const key = "k".repeat(43);
const result = { id: "run_1/1", position: 0, path: [digest], key: "", inputHash: digest, resultHash: digest, outcome: '{"value":1}' };
const reply: Reply = { replica: 1, epoch: 1, view: 0, seq: 7, version: "1", root: digest, signature, results: [result] };
const told: FromReplica[] = [
  { t: "replica-ready", key, address: "/tmp/x.sock", restored: false },
  { t: "replica-running", epoch: 1, ms: 3.5 },
  { t: "replica-lacks", version: "3f2a" },
  { t: "replica-behind", isBehind: true },
  { t: "votes", reply },
  // Beside the last leaf of an odd number there is nothing.
  { t: "votes", reply: { ...reply, results: [{ ...result, path: ["", digest] }] } },
  { t: "replica-notice", notice: { t: "view", view: 2, leader: 2 } },
  { t: "replica-notice", notice: { t: "view-changing", view: 2, reason: "no progress" } },
  { t: "evidence", evidence: { about: 1, kind: "equivocation", view: 0, seq: 3, detail: "two digests", proof: [{ a: 1 }] } },
  { t: "replica-lines", id: "run_1/1", lines: [{ at: 1, level: "info", text: "x" }] },
  { t: "replica-inspected", id: 1, state: "{}" },
];

describe("messages of replicas", () => {
  test.each(told)("$t is taken by the control plane", (message) => {
    expect(isFromPod(message)).toBe(true);
  });

  test.each([
    ["a key that is none", { t: "replica-ready", key: "k", address: "", restored: false }],
    ["votes without a root", { t: "votes", reply: { ...reply, root: 5 } }],
    ["a way to the root that is too long", { t: "votes", reply: { ...reply, results: [{ ...result, path: Array(33).fill(digest) }] } }],
    ["a notice of another kind", { t: "replica-notice", notice: { t: "hello" } }],
    ["a notice with numbers that are none", { t: "replica-notice", notice: { t: "stable", seq: -1 } }],
    ["evidence of another kind", { t: "evidence", evidence: { about: 1, kind: "dislike", view: 0, seq: 1, detail: "" } }],
    [
      "a proof without end",
      { t: "evidence", evidence: { about: 1, kind: "bad-page", view: 0, seq: 1, detail: "", proof: ["x".repeat(2 ** 21)] } },
    ],
    ["a proof that is no JSON", { t: "evidence", evidence: { about: 1, kind: "bad-page", view: 0, seq: 1, detail: "", proof: [1n] } }],
    ["lines that are none", { t: "replica-lines", id: "run_1/1", lines: [{ text: "x" }] }],
  ])("%s is refused by the control plane", (_, message) => {
    expect(isFromPod(message)).toBe(false);
  });
});
