import { describe, expect, test } from "vitest";
import type { PeerMessage, Reply, Request } from "../consensus/messages.ts";
import { isFromPod } from "./pod.ts";
import type { FromReplica } from "./replica.ts";
import { isPeerMessage, isRequest } from "./replica-shapes.ts";

const digest = "d".repeat(64);
const signature = "s".repeat(86);
const key = "k".repeat(43);
const result = { id: "run_1/1", position: 0, path: [digest], key: "", inputHash: digest, resultHash: digest, outcome: '{"value":1}' };
const reply: Reply = { replica: 1, epoch: 1, view: 0, seq: 7, root: digest, signature, results: [result] };
const stable = { epoch: 1, seq: 128, digest, votes: [{ replica: 0, signature }] };
const viewChange = {
  replica: 2,
  epoch: 1,
  view: 3,
  stable,
  checkpoints: [],
  prepared: [{ seq: 129, digest, view: 2 }],
  preprepared: [],
  signature,
};
const newView = {
  epoch: 1,
  view: 3,
  viewChanges: [viewChange],
  slots: [{ seq: 129, digest: "" }],
  checkpoint: { seq: 128, digest },
  signature,
};
const membership = { set: "s", application: "a", function: "f", version: "1", epoch: 2, faults: 1, replicas: [key], clients: [key] };
const next = { membership, signature };
const request: Request = {
  client: key,
  session: 1,
  number: 1,
  settled: 0,
  body: { t: "call", operations: [{ id: "run_1/1", key: "", input: "1" }] },
  signature,
};

const told: FromReplica[] = [
  { t: "replica-ready", key, address: "/tmp/x.sock", restored: false },
  { t: "replica-running", epoch: 1, ms: 3.5 },
  { t: "votes", reply },
  { t: "replica-notice", notice: { t: "view", view: 2, leader: 2 } },
  { t: "replica-notice", notice: { t: "view-changing", view: 2, reason: "no progress" } },
  { t: "evidence", evidence: { about: 1, kind: "equivocation", view: 0, seq: 3, detail: "two digests", proof: [{ a: 1 }] } },
  { t: "replica-lines", id: "run_1/1", lines: [{ at: 1, level: "info", text: "x" }] },
  { t: "replica-inspected", id: 1, state: "{}" },
];

const peers: PeerMessage[] = [
  { t: "pre-prepare", view: 0, seq: 1, batch: { time: 1, seed: digest, requests: [digest] } },
  { t: "prepare", view: 0, seq: 1, digest },
  { t: "commit", view: 0, seq: 1, digest },
  { t: "checkpoint", seq: 128, digest, signature },
  { t: "view-change", viewChange },
  { t: "new-view", newView },
  { t: "status", view: 0, active: true, stable: 0, committed: 1, executed: 1 },
  { t: "fetch", requests: [digest], batches: [] },
  { t: "content", requests: [request], batches: [] },
  { t: "fetch-checkpoint", above: 3 },
  { t: "checkpoint-proof", stable, pages: [digest], next },
  { t: "fetch-page", seq: 128, page: 0 },
  { t: "page", seq: 128, page: 0, data: "[]" },
];

describe("messages of replicas", () => {
  test.each(told)("$t is taken by the control plane", (message) => {
    expect(isFromPod(message)).toBe(true);
  });

  test.each(peers)("$t is taken by a peer", (message) => {
    expect(isPeerMessage(message)).toBe(true);
  });

  test.each([
    ["a key that is none", { t: "replica-ready", key: "k", address: "", restored: false }],
    ["votes without a root", { t: "votes", reply: { ...reply, root: 5 } }],
    ["votes of a replica that no set has", { t: "votes", reply: { ...reply, replica: 1_000 } }],
    ["votes of a batch beyond all limits", { t: "votes", reply: { ...reply, results: Array(5_000).fill(result) } }],
    ["a way to the root that is too long", { t: "votes", reply: { ...reply, results: [{ ...result, path: Array(14).fill(digest) }] } }],
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

  test.each([
    ["nothing", null],
    ["an array", []],
    ["an unknown kind", { t: "hello" }],
    ["a proposal for a number that is none", { t: "pre-prepare", view: 0, seq: 1.5, batch: { time: 1, seed: digest, requests: [] } }],
    ["a proposal without requests", { t: "pre-prepare", view: 0, seq: 1, batch: { time: 1, seed: digest } }],
    ["a vote for no digest", { t: "prepare", view: 0, seq: 1, digest: "short" }],
    ["a view change without its checkpoint", { t: "view-change", viewChange: { ...viewChange, stable: undefined } }],
    [
      "a view change with claims beyond all limits",
      { t: "view-change", viewChange: { ...viewChange, prepared: Array(5_000).fill(viewChange.prepared[0]) } },
    ],
    ["a new view with a view change that is none", { t: "new-view", newView: { ...newView, viewChanges: [{}] } }],
    ["a page that is no text", { t: "page", seq: 1, page: 0, data: {} }],
    ["a request of another kind", { t: "content", requests: [{ ...request, body: { t: "drop" } }], batches: [] }],
  ])("%s is refused by a peer", (_, message) => {
    expect(isPeerMessage(message)).toBe(false);
  });

  test.each([request, { ...request, body: { t: "session", keep: ["run_1/1"] } }, { ...request, body: { t: "reconfigure", next } }])(
    "a request of the kind $body.t is one",
    (each) => {
      expect(isRequest(each)).toBe(true);
    },
  );
});
