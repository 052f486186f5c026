/** Whatever comes in, from outside or out of user code, is answered with a typed error, and everybody else goes on. */
import type { ClientRun, RunOutcome } from "lockstep/client";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { eventually } from "./support/eventually.ts";
import { ask } from "./support/http.ts";
import type { PlatformProcess } from "./support/platform-process.ts";
import { startPlatformProcess } from "./support/platform-process.ts";
import { argvOf } from "./support/processes.ts";
import { createSandbox } from "./support/sandbox.ts";

const sandbox = createSandbox();
let platform: PlatformProcess;
let patient: ClientRun;

beforeAll(async () => {
  // Nothing is evicted, so that the patient run is in the pod of every coordinator that misbehaves.
  platform = await startPlatformProcess(sandbox, { limits: { podMemoryMb: 64, coordinatorTurnMs: 1_000, evictAfterMs: 3_600_000 } });
  await platform.deploy("test/apps/hostile");
  patient = await platform.client.start("patient", { x: 1 });
  await eventually("the patient run waits", async () => (await patient.get()).status === "waiting");
});

afterEach(async () => {
  expect(await platform.client.call("innocent", 41, { timeoutMs: 30_000 })).toBe(42);
});

afterAll(() => sandbox.dispose());

const outcomeOf = async (name: string, input?: unknown): Promise<RunOutcome> =>
  (await platform.client.startFunction(name, input)).outcome({ timeoutMs: 30_000 });

const coordinate = async (name: string, input?: unknown): Promise<RunOutcome> =>
  (await platform.client.start(name, input)).outcome({ timeoutMs: 30_000 });

describe("requests", () => {
  const post = (path: string, body: unknown, headers = {}) => ask(platform.url, path, { body, headers });
  const innocent = "/v1/functions/innocent/calls";

  test.each([
    ["malformed JSON", innocent, '{"input": 1', 400, "BAD_REQUEST", "JSON"],
    ["a body that is no object", innocent, "[1]", 400, "BAD_REQUEST", "body"],
    ["an unknown field", innocent, '{"inputs": 1}', 400, "BAD_REQUEST", "inputs"],
    ["an unknown function", "/v1/functions/nobody/calls", "{}", 404, "UNKNOWN_FUNCTION", "nobody"],
    ["an unknown coordinator", "/v1/coordinators/nobody/runs", "{}", 404, "UNKNOWN_COORDINATOR", "nobody"],
    ["an expression that does not parse", "/v1/expressions", '{"expression":"1+"}', 422, "EXPRESSION_INVALID", "position"],
    ["an expression with an unknown name", "/v1/expressions", '{"expression":"nobody(1)"}', 404, "UNKNOWN_FUNCTION", "nobody"],
    ["a variable without a value", "/v1/expressions", '{"expression":"innocent(x)"}', 422, "UNKNOWN_VARIABLE", "x"],
    ["an application that is no code", "/v1/applications", '{"application":"a","code":"export ("}', 422, "APPLICATION_INVALID", ""],
    ["an application without definitions", "/v1/applications", '{"application":"a","code":"1"}', 422, "APPLICATION_INVALID", "export"],
    ["a number beyond all numbers", innocent, '{"input":[1e400]}', 400, "BAD_REQUEST", "input"],
    ["deep nesting", innocent, `{"input":${"[".repeat(5_000)}${"]".repeat(5_000)}}`, 400, "BAD_REQUEST", "deep"],
  ])("%s is refused", async (_, path, body, status, code, naming) => {
    const { json, ...answer } = await post(path, body);
    expect({ status: answer.status, code: json.code }).toEqual({ status, code });
    expect(`${json.detail} ${JSON.stringify(json.details)}`).toContain(naming);
    expect(answer.headers["content-type"]).toContain("application/problem+json");
  });

  test("an input above the limit is refused as too large", async () => {
    const { status, json } = await post(innocent, { input: "x".repeat(4 * 1024 * 1024) });
    expect({ status, code: json.code }).toEqual({ status: 413, code: "PAYLOAD_TOO_LARGE" });
  });

  test("a body far above the limit is refused without being read", async () => {
    const refused = await post(innocent, { input: "x".repeat(64 * 1024 * 1024) }).then(
      ({ json }) => json.code,
      (error: NodeJS.ErrnoException) => error.code,
    );
    expect(["PAYLOAD_TOO_LARGE", "EPIPE", "ECONNRESET"]).toContain(refused);
  });

  test("a body of another type is refused", async () => {
    const { status, json } = await post(innocent, "input=1", { "content-type": "application/x-www-form-urlencoded" });
    expect({ status, code: json.code }).toEqual({ status: 415, code: "UNSUPPORTED_MEDIA_TYPE" });
  });

  test.each([
    ["run_00000000000", 404, "UNKNOWN_RUN"],
    ["nonsense", 400, "BAD_REQUEST"],
    ["..%2f..%2fetc", 400, "BAD_REQUEST"],
  ])("run %s is not found", async (id, status, code) => {
    const answer = await ask(platform.url, `/v1/runs/${id}`);
    expect({ status: answer.status, code: answer.json.code }).toEqual({ status, code });
  });
});

test("more work than the platform may hold is refused with the time to come back, and room is made by what finishes", async () => {
  const small = createSandbox();
  try {
    const { client, deploy, url } = await startPlatformProcess(small, { limits: { maxLiveRuns: 3 } });
    await deploy("test/apps/hostile");
    const runs = await Promise.all([1, 2, 3].map((x) => client.start("patient", { x })));
    const { status, headers, json } = await ask(url, "/v1/functions/innocent/calls", { body: { input: 1 } });
    expect({ status, code: json.code, retryAfter: headers["retry-after"] }).toEqual({ status: 429, code: "OVERLOADED", retryAfter: "1" });
    for (const run of runs) await run.signal("go");
    for (const run of runs) await run.result({ timeoutMs: 30_000 });
    expect(await client.call("innocent", 1)).toBe(2);
  } finally {
    await small.dispose();
  }
});

describe("what handlers throw", () => {
  test.each([
    ["throws-text", "FUNCTION_FAILED", '"just text"'],
    ["throws-null", "FUNCTION_FAILED", "null"],
    ["throws-object", "FUNCTION_FAILED", '{"status":418,"why":{"nested":true}}'],
  ])("%s is told as a value that is no Error", async (name, code, shown) => {
    const { status, failure } = await outcomeOf(name);
    expect({ status, code: failure?.code, call: failure?.call }).toEqual({ status: "failed", code, call: { function: name, seq: 1 } });
    expect(failure?.message).toContain("no Error");
    expect(failure?.message).toContain(shown);
  });

  test("a TerminalError keeps its code, details and cause, and is not tried again", async () => {
    const { status, failure } = await outcomeOf("throws-terminal");
    expect(status).toBe("failed");
    expect(failure).toMatchObject({
      code: "MY_OWN",
      message: "never again",
      details: { at: 3 },
      attempts: 1,
      cause: { message: "deep down" },
    });
  });

  test("an exception in a timer fails the call that set it", async () => {
    const { status, failure } = await outcomeOf("throws-in-timer");
    expect({ status, code: failure?.code }).toEqual({ status: "failed", code: "FUNCTION_FAILED" });
    expect(failure?.message).toContain("thrown by a timer");
  });

  test("an exception after the answer, and a rejection that nobody awaits, change nothing", async () => {
    expect(await outcomeOf("throws-afterwards")).toMatchObject({ status: "completed", value: "answered" });
    expect(await outcomeOf("leaves-rejection")).toMatchObject({ status: "completed", value: "went on" });
  });
});

describe("what handlers return", () => {
  test("undefined is a result", async () => {
    const outcome = await outcomeOf("returns-nothing");
    expect(outcome).toMatchObject({ status: "completed" });
    expect(outcome.value).toBeUndefined();
  });

  test.each([
    ["returns-bigint", "value.total[1] is a BigInt"],
    ["returns-cycle", "value.lines[0].order is a cycle"],
    ["returns-nan", "value.price is NaN"],
    ["returns-function", "a function"],
    ["returns-throwing-getter", "no balance"],
  ])("%s is no JSON, and the message says where", async (name, where) => {
    const { status, failure } = await outcomeOf(name);
    expect({ status, code: failure?.code, attempts: failure?.attempts }).toEqual({
      status: "failed",
      code: "RESULT_NOT_JSON",
      attempts: 1,
    });
    expect(failure?.message).toContain(where);
  });

  test("10 MB are too large", async () => {
    const { status, failure } = await outcomeOf("returns-much", { bytes: 10_000_000 });
    expect({ status, code: failure?.code }).toEqual({ status: "failed", code: "PAYLOAD_TOO_LARGE" });
    expect(failure?.details).toEqual({ bytes: 10_000_002, limit: 4 * 1024 * 1024 });
  });

  test("1 MB passes whole", async () => {
    const { value } = await outcomeOf("returns-much", { bytes: 1_000_000 });
    expect(value).toHaveLength(1_000_000);
  });

  test("nesting passes as deep as JSON can be written", async () => {
    expect(await outcomeOf("returns-deep", { depth: 1_000 })).toMatchObject({ status: "completed" });
    expect(await outcomeOf("returns-deep", { depth: 100_000 })).toMatchObject({ status: "failed", failure: { code: "RESULT_NOT_JSON" } });
  });

  test("input and output are held against the validators, naming each field", async () => {
    expect(await outcomeOf("validated", { amount: 5, to: "me" })).toMatchObject({ status: "completed", value: "5 to me" });
    const { status, failure } = await outcomeOf("validated", { amount: "5" });
    expect({ status, code: failure?.code, attempts: failure?.attempts }).toEqual({ status: "failed", code: "INPUT_INVALID", attempts: 1 });
    expect(failure?.details).toMatchObject({ issues: [{ field: "amount" }, { field: "to" }] });
    expect(await outcomeOf("wrong-output")).toMatchObject({ status: "failed", failure: { code: "OUTPUT_INVALID" } });
  });
});

describe("what handlers do to their process", () => {
  test.each(["exits", "exits-later"])("%s fails the call with PROCESS_EXIT, and the pod stays", async (name) => {
    const { status, failure } = await outcomeOf(name);
    expect({ status, code: failure?.code }).toEqual({ status: "failed", code: "PROCESS_EXIT" });
    expect((await platform.pod(name)).state).toBe("ready");
  });

  test.each(["aborts", "kills-itself"])("%s loses pod after pod, until the call is given up", async (name) => {
    const { status, failure } = await outcomeOf(name);
    expect({ status, code: failure?.code, attempts: failure?.attempts }).toEqual({ status: "failed", code: "POD_LOST", attempts: 5 });
    expect(failure?.message).toMatch(/signal SIG(ABRT|KILL)/);
  });

  test.each(["fills-heap", "fills-buffers"])("%s runs out of its own memory only", { timeout: 30_000 }, async (name) => {
    const { status, failure } = await outcomeOf(name);
    expect({ status, code: failure?.code }).toEqual({ status: "failed", code: "OUT_OF_MEMORY" });
  });

  test("megabytes of log are cut, and the cut is marked", async () => {
    const run = await platform.client.startFunction("chatty", { lines: 5_000, length: 1_000 });
    expect(await run.result()).toBe(5_000);
    const { logs } = await platform.client.logs({ run: run.id });
    const lines = logs.flatMap((log) => log.lines);
    expect(lines.reduce((sum, { text }) => sum + text.length, 0)).toBeLessThan(70 * 1024);
    expect(lines.at(-1)?.text).toMatch(/^\[truncated: \d+ more lines were dropped, the limit is 65536 bytes\]$/);
  });

  test("an endless loop is ended at its timeout, and its pod with it", async () => {
    const { status, failure } = await outcomeOf("loops");
    expect({ status, code: failure?.code }).toEqual({ status: "failed", code: "CALL_TIMEOUT" });
    const again = await outcomeOf("loops");
    expect(again.failure?.code).toBe("CALL_TIMEOUT");
  });

  test("a promise that never settles is a timeout", async () => {
    expect(await outcomeOf("never-answers")).toMatchObject({ status: "failed", failure: { code: "CALL_TIMEOUT" } });
  });

  test("a process that a handler leaves behind does not hide the end of its pod", async () => {
    const run = await platform.client.startFunction("leaves-process", {});
    const pod = await platform.pod("leaves-process");
    const isLeft = (pid: number): boolean => argvOf(pid).some((argument) => argument.includes("left behind"));
    await eventually("the process is left behind", () => sandbox.processes().some(isLeft));
    process.kill(pod.pid, "SIGKILL");
    expect(await run.result({ timeoutMs: 30_000 })).toBe(2);
  });
});

describe("coordinators", () => {
  test.each([
    ["exiting", "PROCESS_EXIT"],
    ["unserializable", "RESULT_NOT_JSON"],
    ["stranger-calls", "UNKNOWN_FUNCTION"],
    ["rejects-text", "COORDINATOR_FAILED"],
    ["returns-too-much", "PAYLOAD_TOO_LARGE"],
  ])("%s fails with %s", async (name, code) => {
    expect(await coordinate(name)).toMatchObject({ status: "failed", failure: { code } });
  });

  test.each(["signal", "step", "call", "run", "sleep", "options"])(
    "a wrong argument of ctx.%s fails the run that made it",
    async (method) => {
      const { status, failure } = await coordinate("wrong-arguments", { method });
      expect({ status, code: failure?.code }).toEqual({ status: "failed", code: "COORDINATOR_FAILED" });
      expect(failure?.message).toContain("ctx.");
    },
  );

  test("an exception in a timer fails the run that set it, and ends no pod", async () => {
    const { pid } = await platform.pod("coordinator");
    const { status, failure } = await coordinate("throws-in-timer-too");
    expect({ status, code: failure?.code, name: failure?.name }).toEqual({
      status: "failed",
      code: "COORDINATOR_FAILED",
      name: "RangeError",
    });
    expect((await platform.pod("coordinator")).pid).toBe(pid);
  });

  test("one that never yields is suspended as stuck", { timeout: 30_000 }, async () => {
    expect(await coordinate("stuck")).toMatchObject({ status: "suspended", failure: { code: "COORDINATOR_STUCK" } });
  });

  test("one that fills its memory is suspended", { timeout: 30_000 }, async () => {
    const { status, failure } = await coordinate("fills-heap-too");
    expect({ status, code: failure?.code, cause: failure?.cause?.code }).toEqual({
      status: "suspended",
      code: "COORDINATOR_CRASHED",
      cause: "OUT_OF_MEMORY",
    });
  });

  test("one that lived beside all of these has not noticed", async () => {
    expect((await patient.get()).status).toBe("waiting");
    await patient.signal("go");
    expect(await patient.result({ timeoutMs: 30_000 })).toBe(3);
  });
});
