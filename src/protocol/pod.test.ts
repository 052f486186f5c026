import { describe, expect, test } from "vitest";
import type { Beat, FromPod } from "./pod.ts";
import { isFromPod } from "./pod.ts";

const failure = JSON.stringify({ code: "MINE", message: "no" });
const line = { at: 1, level: "info", text: "hello" } as const;
const result = { t: "result", lease: 1, value: "1", failure: "", durationMs: 1, cpuMs: 1, memoryMb: 50, lines: [line] } as const;

const commanding = (command: object) => ({ t: "commands", run: "run_1", commands: [command] });

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
  { t: "join", pod: "pod-1", token: "x" },
  { t: "beat", blockedMs: 0, run: "", rssMb: 40 },
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
    ["a beat without measurements", { t: "beat", run: "" }],
  ])("%s is refused", (_, message) => {
    expect(isFromPod(message)).toBe(false);
  });
});
