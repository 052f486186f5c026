import { describe, expect, test } from "vitest";
import type { Beat, FromPod, Request } from "./pod.ts";
import { isFromPod } from "./pod.ts";

const failure = JSON.stringify({ code: "MINE", message: "no" });
const line = { at: 1, level: "info", text: "hello" } as const;
const result = { t: "result", lease: 1, value: "1", failure: "", durationMs: 1, cpuMs: 1, memoryMb: 50, lines: [line] } as const;

const commanding = (command: object) => ({ t: "commands", run: "run_1", commands: [command] });

const ask = (request: Request): FromPod => ({ t: "request", lease: 1, id: 1, ask: request });

const asking = (request: object) => ({ t: "request", lease: 1, id: 1, ask: request });

const writing = (...writes: object[]) => ({ ...result, writes });

const many = (count: number) => Array.from({ length: count }, (_, i) => ({ key: `orders/${i}` }));

const good: (FromPod | Beat)[] = [
  { t: "hello", pod: "pod-1", token: "x", pid: 1 },
  { t: "loaded", version: "1", manifest: { functions: [{ name: "f" }], coordinators: [{ name: "c" }] }, ms: 1 },
  { t: "refused", version: "1", failure },
  { ...result, lines: [line] },
  { ...result, value: "", failure, lines: [] },
  { t: "commands", run: "run_1", commands: [{ t: "call", seq: 1, fn: "f", input: "", options: { timeoutMs: 5 } }] },
  { t: "commands", run: "run_1", commands: [{ t: "step", seq: 1, name: "s", failure: { code: "A", message: "b" } }] },
  { t: "commands", run: "run_1", commands: [{ t: "finish", value: "1" }] },
  { t: "commands", run: "run_1", commands: [{ t: "child", seq: 1, coordinator: "c", input: "", detached: true }] },
  { t: "waits", run: "run_1", at: 3 },
  { t: "diverged", run: "run_1", failure },
  { t: "lines", run: "run_1", lines: [line] },
  {
    ...result,
    lines: [line],
    writes: [{ key: "orders/1", value: "1", ttlMs: 5 }, { key: "orders/2" }, { key: "orders/3", refresh: true }],
  },
  {
    ...result,
    lines: [line],
    objects: [
      { op: "put", handle: 1 },
      { op: "delete", bucket: "orders", key: "a" },
    ],
  },
  ask({ op: "get", key: "orders/1", stale: "wait" }),
  ask({ op: "list", prefix: "orders/", limit: 1_000, after: "orders/7" }),
  ask({ op: "object-head", bucket: "orders", key: "a" }),
  ask({ op: "object-list", bucket: "orders", prefix: "a", cursor: "b", limit: 5 }),
  ask({ op: "object-get", bucket: "orders", key: "a", range: { start: -5 } }),
  ask({ op: "object-read", handle: 1 }),
  ask({ op: "object-put", bucket: "orders", key: "a", options: { contentType: "text/plain", metadata: { a: "b" }, ifNoneMatch: "*" } }),
  ask({ op: "object-write", handle: 1, data: new Uint8Array(3) }),
  ask({ op: "object-close", handle: 1 }),
  ask({ op: "object-copy", bucket: "orders", key: "a", to: { bucket: "orders", key: "b" } }),
  ask({ op: "object-drop", handle: 1 }),
  { t: "progress", lease: 1, value: '{"done":3}' },
  { t: "rehearsed", run: "run_1", failure: "" },
  { t: "rehearsed", run: "run_1", failure },
  { t: "commands", run: "run_1", commands: [{ t: "state", seq: 1, op: { op: "get", key: "orders/1" } }] },
  { t: "commands", run: "run_1", commands: [{ t: "state", seq: 1, op: { op: "write", key: "orders/1", value: "1", ifVersion: 0 } }] },
  { t: "commands", run: "run_1", commands: [{ t: "compensate", seq: 1 }] },
  { t: "commands", run: "run_1", commands: [{ t: "on-stale", seq: 1 }] },
  { t: "join", pod: "pod-1", token: "x" },
  { t: "beat", blockedMs: 0, run: "", rssMb: 40 },
  { t: "beat", blockedMs: 0, run: "", rssMb: 40, generic: true },
];

describe("messages of pods", () => {
  test.each(good)("$t is taken", (message) => {
    expect(isFromPod(message)).toBe(true);
  });

  test.each([
    ["nothing", undefined],
    ["text", "hello"],
    ["an unknown type", { t: "nonsense" }],
    ["a failure that is no JSON", { ...result, failure: "not json" }],
    ["a failure without a code", { ...result, failure: '{"message":"x"}' }],
    ["a failure that is no object", { ...result, failure: "null" }],
    ["a value that is no text", { ...result, value: { a: 1 } }],
    ["measurements that are none", { ...result, durationMs: Number.NaN }],
    ["lines that are none", { ...result, lines: [1, null] }],
    ["a line without text", { t: "lines", run: "run_1", lines: [{ at: 1, level: "info" }] }],
    ["a refusal without a failure", { t: "refused", version: "1", failure: "" }],
    ["a divergence without a failure", { t: "diverged", run: "run_1", failure: "[]" }],
    ["a manifest without functions", { t: "loaded", version: "1", manifest: { coordinators: [] }, ms: 1 }],
    ["a manifest with a nameless function", { t: "loaded", version: "1", manifest: { functions: [{}], coordinators: [] }, ms: 1 }],
    ["commands that are none", { t: "commands", run: "run_1", commands: {} }],
    ["a command without a number", { t: "commands", run: "run_1", commands: [{ t: "sleep", ms: 1 }] }],
    ["a sleep without end", { t: "commands", run: "run_1", commands: [{ t: "sleep", seq: 1, ms: Number.POSITIVE_INFINITY }] }],
    ["a step whose value is no text", { t: "commands", run: "run_1", commands: [{ t: "step", seq: 1, name: "s", value: 1 }] }],
    ["an end whose failure is text", { t: "commands", run: "run_1", commands: [{ t: "finish", failure: "no" }] }],
    ["a failure that the journal could not hold", commanding({ t: "finish", failure: { code: "A", message: "b", details: { n: 1n } } })],
    ["a call's options that the journal could not hold", commanding({ t: "call", seq: 1, fn: "f", input: "", options: { retry: 1n } })],
    ["a time limit that is no number", commanding({ t: "call", seq: 1, fn: "f", input: "", options: { timeoutMs: "5" } })],
    ["a priority that is no number", commanding({ t: "call", seq: 1, fn: "f", input: "", options: { priority: Number.NaN } })],
    ["a child that is detached in another way", commanding({ t: "child", seq: 1, coordinator: "c", input: "", detached: 1n })],
    ["a line with more than a line has", { t: "lines", run: "run_1", lines: [{ ...line, extra: 1n }] }],
    ["a write without a key", writing({ value: "1" })],
    ["a write whose value is no text", writing({ key: "orders/1", value: 1 })],
    ["a write with a time to live that is none", writing({ key: "orders/1", value: "1", ttlMs: Number.NaN })],
    ["a write with a version that is none", writing({ key: "orders/1", value: "1", ifVersion: -1 })],
    ["a write with more than a write has", writing({ key: "orders/1", extra: 1n })],
    ["more writes than one result may have", writing(...many(1_001))],
    ["writes that are none", { ...result, writes: { key: "orders/1" } }],
    ["a publication without a handle", { ...result, objects: [{ op: "put", handle: "1" }] }],
    ["a publication of another kind", { ...result, objects: [{ op: "chmod", bucket: "orders", key: "a" }] }],
    ["a request without a number", { t: "request", lease: 1, ask: { op: "get", key: "orders/1" } }],
    ["a request of another kind", asking({ op: "drop-table" })],
    ["a key that is no text", asking({ op: "get", key: 1n })],
    ["an endless key", asking({ op: "get", key: "k".repeat(20_000) })],
    ["a way to read stale values that is none", asking({ op: "get", key: "orders/1", stale: "ignore" })],
    ["a list without a limit", asking({ op: "list", prefix: "orders/" })],
    ["a list beyond the limit", asking({ op: "list", prefix: "orders/", limit: 1_001 })],
    ["a chunk that is no bytes", asking({ op: "object-write", handle: 1, data: "text" })],
    ["a chunk beyond the limit", asking({ op: "object-write", handle: 1, data: new Uint8Array(1024 * 1024 + 1) })],
    ["metadata that is no text", asking({ op: "object-put", bucket: "b", key: "k", options: { metadata: { a: 1 } } })],
    ["a range that is none", asking({ op: "object-get", bucket: "b", key: "k", range: { start: "0" } })],
    ["a copy to nowhere", asking({ op: "object-copy", bucket: "b", key: "k" })],
    ["an endless progress", { t: "progress", lease: 1, value: "x".repeat(70_000) }],
    ["a rehearsal without an answer", { t: "rehearsed", run: "run_1" }],
    ["an operation that the journal could not hold", commanding({ t: "state", seq: 1, op: { op: "get", key: "a/b", extra: 1n } })],
    ["an operation of another kind", commanding({ t: "state", seq: 1, op: { op: "drop", key: "a/b" } })],
    ["a beat without measurements", { t: "beat", run: "" }],
    ["a beat that is generic or not", { t: "beat", blockedMs: 0, run: "", rssMb: 40, generic: 1 }],
  ])("%s is refused", (_, message) => {
    expect(isFromPod(message)).toBe(false);
  });
});
