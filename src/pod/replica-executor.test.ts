import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, test, vi } from "vitest";
import type { Json } from "../lib/json.ts";
import type { LogLine } from "../protocol/run.ts";
import { ReplicaExecutor } from "./replica-executor.ts";

const BUNDLE = `
const { fn } = require("lockstep");
const crypto = require("node:crypto");
const loadedAt = Date.now();
exports.add = fn("add", (input) => input.a + input.b);
exports.look = fn("look", async (input, ctx) => {
  const before = [Date.now(), new Date().getTime(), performance.now(), Number(process.hrtime.bigint() / 1000000n), loadedAt];
  await new Promise((resolve) => setTimeout(resolve, 2));
  const chance = [Math.random(), crypto.randomUUID(), globalThis.crypto.randomUUID(), crypto.randomBytes(4).toString("hex")];
  const bytes = crypto.getRandomValues(new Uint8Array(4)).join();
  ctx.log.info("looked", input);
  return { before, after: Date.now(), isDate: new Date() instanceof Date, year: new Date(0).getUTCFullYear(), chance, bytes, int: crypto.randomInt(10) };
});
exports.count = fn.stateful("count", {
  initial: () => 0,
  apply: (state, input) => {
    if (input === "leave") process.reallyExit(7);
    if (input === "loop") while (true);
    if (input === "throw") throw new Error("no");
    return { state: state + input, value: state + input };
  },
});
const ways = {
  net: () => require("node:net").connect(1),
  listen: () => require("node:net").createServer().listen(0),
  tls: () => require("node:tls").connect(1),
  http: () => require("node:http").get("http://127.0.0.1:1/"),
  https: () => require("node:https").request("https://127.0.0.1:1/"),
  http2: () => require("node:http2").connect("http://127.0.0.1:1"),
  dgram: () => require("node:dgram").createSocket("udp4").send("x", 1),
  dns: () => require("node:dns").lookup("localhost", () => {}),
  resolve: () => require("node:dns").promises.resolve4("localhost"),
  builtin: () => process.getBuiltinModule("node:dns").reverse("127.0.0.1", () => {}),
  spawn: () => require("node:child_process").spawn("true"),
  exec: () => require("node:child_process").execSync("true"),
  thread: () => new (require("node:worker_threads").Worker)("1", { eval: true }),
  kill: () => process.kill(process.ppid, "SIGKILL"),
  self: () => process.kill(process.pid, 0),
  socket: () => new WebSocket("ws://127.0.0.1:1/"),
  fetch: () => fetch("http://127.0.0.1:1/"),
};
exports.reach = fn("reach", (way) => ways[way]());
exports.place = fn("place", () => {
  const os = require("node:os");
  const format = new Intl.DateTimeFormat("de", { dateStyle: "full", timeStyle: "full" });
  const texts = [format.format(), format.formatToParts().map(({ value }) => value).join(""), ["now"].map(() => format.format(new Date(0)))[0]];
  const local = [new Date(0).toLocaleString(), new Date().toString(), Date(), Intl.DateTimeFormat().resolvedOptions().timeZone, format.format === format.format];
  const other = [process.pid, process.ppid, process.uptime(), performance.timeOrigin, os.uptime(), os.loadavg(), os.freemem() === os.totalmem()];
  return { texts, local, other };
});
exports.heap = fn.stateful("heap", {
  initial: () => 0,
  apply: (state) => ({ state, value: Math.round(require("node:v8").getHeapStatistics().heap_size_limit / 1048576) }),
});
exports.fatal = fn("fatal", async (input) => {
  const { existsSync, writeFileSync } = require("node:fs");
  if (input === "leave") process.reallyExit(7);
  if (input === "memory") for (const kept = []; ; ) kept.push(new Array(1e6).fill(kept.length));
  if (input === "buffers") for (const kept = []; ; await new Promise((resolve) => setTimeout(resolve, 20))) kept.push(Buffer.alloc(5e7, 1));
  if (input === "later") await new Promise(() => setTimeout(() => process.reallyExit(7), 5));
  if (input === "garbage") for (const seq of ["no", 1, 2]) process.send({ t: "executed", seq, outcomes: [] });
  if (input !== "fine" && input.startsWith("/") && !existsSync(input)) {
    writeFileSync(input, "");
    process.reallyExit(7);
  }
  return "fine";
});
exports.bad = fn("bad", (input, ctx) => {
  if (input === "state") return ctx.state;
  if (input === "fetch") return fetch("http://127.0.0.1:1/");
  if (input === "exit") process.exit(3);
  if (input === "bigint") return 1n;
  if (input === "loop") while (true);
  if (input === "never") return new Promise(() => {});
  if (input === "later") return new Promise(() => setTimeout(() => { while (true); }, 1));
  if (input === "large") return "x".repeat(5000);
  if (input === "throw") throw Object.assign(new TypeError("no"), { details: { a: 1 } });
  return "fine";
});
`;

const directory = mkdtempSync(join(tmpdir(), "replica-executor-"));
const path = join(directory, "bundle.cjs");
writeFileSync(path, BUNDLE);
const hangs = join(directory, "hangs.cjs");
writeFileSync(hangs, "while (true);");
const leaves = join(directory, "leaves.cjs");
writeFileSync(leaves, "process.reallyExit(3);");
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const SEED = "5".repeat(64);
let executor: ReplicaExecutor | undefined;
afterEach(() => executor?.stop());

/** Executes each list of inputs as one batch. */
const execute = async (name: string, batches: unknown[][], timeoutMs = 2_000): Promise<{ outcomes: unknown[][]; lines: LogLine[] }> => {
  const outcomes: Json[][] = [];
  const lines: LogLine[] = [];
  await new Promise<void>((resolve, reject) => {
    const options = { function: name, path, timeoutMs, maxPayloadBytes: 4_096, maxLogBytes: 4_096, memoryMb: 64 };
    executor = new ReplicaExecutor(options, {
      loaded: () => {},
      executed: (_seq, told) => {
        outcomes.push(told);
        if (outcomes.length === batches.length) resolve();
      },
      snapshotted: () => {},
      installed: () => {},
      lines: (_id, told) => lines.push(...told),
      failed: (failure) => reject(new Error(typeof failure === "string" ? failure : failure.message)),
    });
    for (const [i, inputs] of batches.entries()) {
      const operations = inputs.map((input, n) => ({ id: `run_${i}/${n}`, key: "", input: JSON.stringify(input) }));
      executor.execute({ t: "execute", seq: i + 1, time: 1_700_000_000_000 + i, seed: SEED, operations });
    }
  });
  return { outcomes: outcomes.map((batch) => batch.map((outcome) => JSON.parse(outcome) as unknown)), lines };
};

/** A replica with a state, whose deployed version has the bundle `broken`, and then one that loads. */
const deploy = async (broken: string, loadTimeoutMs: number): Promise<unknown[]> => {
  const outcomes: Json[] = [];
  const options = { function: "count", path: broken, timeoutMs: 2_000, maxPayloadBytes: 4_096, maxLogBytes: 4_096, memoryMb: 64 };
  await new Promise<void>((resolve, reject) => {
    const give = (to: ReplicaExecutor, seq: number): void => {
      to.execute({ t: "execute", seq, time: 1, seed: SEED, operations: [{ id: `run_${seq}/1/1`, key: "", input: "1" }] });
    };
    const made = new ReplicaExecutor(
      { ...options, keepsState: true, loadTimeoutMs },
      {
        loaded: () => {},
        executed: (seq, told) => {
          outcomes.push(...told);
          if (seq === 2) return resolve();
          made.use({ path, timeoutMs: 2_000 });
          give(made, 2);
        },
        snapshotted: () => {},
        installed: () => {},
        lines: () => {},
        failed: (failure) => reject(new Error(typeof failure === "string" ? failure : failure.message)),
      },
    );
    executor = made;
    give(made, 1);
  });
  return outcomes.map((outcome) => JSON.parse(outcome) as unknown);
};

const codeOf = (outcome: unknown): string | undefined => (outcome as { failure?: { code: string } }).failure?.code;

describe("the execution of a replica's operations", () => {
  test("outcomes come in the order of their batches and operations", async () => {
    const { outcomes } = await execute("add", [
      [
        { a: 1, b: 2 },
        { a: 2, b: 2 },
      ],
      [{ a: 3, b: 3 }],
    ]);
    expect(outcomes).toEqual([[{ value: 3 }, { value: 4 }], [{ value: 6 }]]);
  });

  test("clock and chance are what was agreed on, at every replica, and timers still run", async () => {
    const one = await execute("look", [["a", "b"]]);
    await executor?.stop();
    const other = await execute("look", [["a", "b"]]);
    expect(other).toEqual(one);
    const [first, second] = (one.outcomes[0] as { value: Record<string, unknown> }[]).map(({ value }) => value);
    const time = 1_700_000_000_000;
    expect(first).toMatchObject({ before: [time, time, time, time, 0], after: time, isDate: true, year: 1970 });
    expect(first?.chance).not.toEqual(second?.chance);
    expect(one.lines).toEqual([
      { at: time, level: "info", text: "looked a" },
      { at: time, level: "info", text: "looked b" },
    ]);
  });

  test("what fails is an outcome without a stack", async () => {
    const { outcomes } = await execute("bad", [["throw", "bigint", "large", "state", "fetch", "exit", "else"]]);
    const [thrown, ...others] = outcomes[0] as unknown[];
    const cause = { code: "ERROR", name: "TypeError", message: "no", details: { a: 1 } };
    expect(thrown).toEqual({ failure: { code: "FUNCTION_FAILED", name: "TypeError", message: "no", cause } });
    expect(others.map(codeOf)).toEqual([
      "RESULT_NOT_JSON",
      "PAYLOAD_TOO_LARGE",
      "ACCESS_DENIED",
      "ACCESS_DENIED",
      "PROCESS_EXIT",
      undefined,
    ]);
  });

  test("place, time in words, and numbers of the process are the same everywhere", async () => {
    vi.stubEnv("TZ", "Asia/Tokyo");
    vi.stubEnv("LC_ALL", "de_DE.UTF-8");
    const { outcomes } = await execute("place", [["a"]]);
    vi.unstubAllEnvs();
    const now = "Dienstag, 14. November 2023 um 22:13:20 Koordinierte Weltzeit";
    const text = "Tue Nov 14 2023 22:13:20 GMT+0000 (Coordinated Universal Time)";
    expect(outcomes[0]).toEqual([
      {
        value: {
          texts: [now, now, "Donnerstag, 1. Januar 1970 um 00:00:00 Koordinierte Weltzeit"],
          local: ["1/1/1970, 12:00:00 AM", text, text, "UTC", true],
          other: [1, 1, 0, 0, 0, [0, 0, 0], true],
        },
      },
    ]);
  });

  test("the network, other processes and threads are refused, by whatever module they are asked for", async () => {
    const ways = ["net", "listen", "tls", "http", "https", "http2", "dgram", "dns", "resolve", "builtin"];
    const others = ["spawn", "exec", "thread", "kill", "self", "socket", "fetch"];
    const { outcomes } = await execute("reach", [ways, others]);
    const refused = outcomes.flat().map((outcome, i) => [[...ways, ...others][i], codeOf(outcome)]);
    expect(refused).toEqual([...ways, ...others].map((way) => [way, "ACCESS_DENIED"]));
    expect(executor?.restarts).toBe(0);
  });

  test("an operation that never answers ends with its timeout, beside others", async () => {
    const { outcomes } = await execute("bad", [["never", "else"], ["else"]], 50);
    expect(outcomes.map((batch) => batch.map(codeOf))).toEqual([["CALL_TIMEOUT", undefined], [undefined]]);
  });

  test("an operation that keeps the process is ended, and only that one", async () => {
    const { outcomes } = await execute("bad", [["else", "loop", "else"], ["else"]], 100);
    expect(outcomes.map((batch) => batch.map(codeOf))).toEqual([[undefined, "CALL_TIMEOUT", undefined], [undefined]]);
    expect(executor?.restarts).toBe(1);
  });

  test("one that keeps the process after it has waited is found out, and only that one ended", async () => {
    const { outcomes } = await execute("bad", [["else", "later", "else"], ["else"]], 100);
    expect(outcomes.map((batch) => batch.map(codeOf))).toEqual([[undefined, "CALL_TIMEOUT", undefined], [undefined]]);
  });

  test("an operation that ends its process, each time, has failed for that, and the others have not", async () => {
    const { outcomes, lines } = await execute(
      "fatal",
      [
        ["fine", "leave", "fine"],
        ["later", "fine"],
        ["memory", "fine"],
      ],
      30_000,
    );
    const message = 'function "fatal" ended the process that executed it, each time';
    const lost = { failure: { code: "POD_LOST", name: "LockstepError", message, terminal: true } };
    const fine = { value: "fine" };
    expect(
      outcomes.map((batch) => batch.map((outcome) => (codeOf(outcome) === undefined ? outcome : { ...(outcome as object) }))),
    ).toMatchObject([
      [fine, lost, fine],
      [lost, fine],
      [lost, fine],
    ]);
    // What it was may be another thing at each replica, and so is no part of the outcome.
    expect(lines.map(({ text }) => text)).toContain("the process that executes has ended: exit code 7");
    expect(lines.map(({ text }) => text)).toContain("the process that executes has ended: signal SIGABRT: out of memory");
  });

  test("memory that is not in the heap is bounded, too", async () => {
    const { outcomes, lines } = await execute("fatal", [["buffers", "fine"]], 30_000);
    expect(outcomes.map((batch) => batch.map(codeOf))).toEqual([["POD_LOST", undefined]]);
    expect(lines.at(-1)?.text).toBe("the process that executes has ended: more than 64 MB of memory");
  });

  test("an operation whose process was ended once, by whatever it was, is executed again", async () => {
    const { outcomes } = await execute("fatal", [["fine", join(directory, "once"), "fine"]]);
    expect(outcomes).toEqual([[{ value: "fine" }, { value: "fine" }, { value: "fine" }]]);
    expect(executor?.restarts).toBeGreaterThan(0);
  });

  test("what user code sends by its process's channel is ignored", async () => {
    const { outcomes } = await execute("fatal", [["fine", "garbage"], ["fine"]]);
    expect(outcomes).toEqual([[{ value: "fine" }, { value: "fine" }], [{ value: "fine" }]]);
  });

  test.each([
    ["hangs", hangs, 8_000, "it did not load within 8000 ms"],
    ["ends its process", leaves, 30_000, "its process ended"],
  ])(
    "where there is a state, a bundle that %s while it loads fails the calls, and the next one finds the state",
    async (_how, broken, loadTimeoutMs, reason) => {
      const message = `the application could not be loaded: ${reason}`;
      expect(await deploy(broken, loadTimeoutMs)).toMatchObject([
        { failure: { code: "FUNCTION_FAILED", message, cause: { code: "APPLICATION_INVALID" } } },
        { value: 1 },
      ]);
    },
  );

  test("a bundle that hangs while it loads is refused where there is no state yet", async () => {
    const options = { function: "add", path: hangs, timeoutMs: 2_000, maxPayloadBytes: 4_096, maxLogBytes: 4_096, memoryMb: 64 };
    const failed = new Promise((resolve) => {
      const none = { loaded: () => {}, executed: () => {}, snapshotted: () => {}, installed: () => {}, lines: () => {} };
      executor = new ReplicaExecutor({ ...options, loadTimeoutMs: 1_000 }, { ...none, failed: resolve });
    });
    expect(await failed).toMatchObject({ code: "APPLICATION_INVALID", message: expect.stringContaining("within 1000 ms") });
  });

  test("the next version's code has its own bound of memory", async () => {
    const options = { function: "heap", path, timeoutMs: 2_000, maxPayloadBytes: 4_096, maxLogBytes: 4_096, memoryMb: 64 };
    const limits: Json[] = [];
    await new Promise<void>((resolve) => {
      const operations = [{ id: "run_1/1/1", key: "", input: "1" }];
      const none = { loaded: () => {}, snapshotted: () => {}, installed: () => {}, lines: () => {}, failed: () => {} };
      const executed = (seq: number, outcomes: Json[]): void => {
        limits.push(...outcomes);
        if (seq === 3) return resolve();
        made.use({ path, timeoutMs: 2_000, ...(seq === 1 ? { memoryMb: 640 } : {}) });
        made.execute({ t: "execute", seq: seq + 1, time: 1, seed: SEED, operations });
      };
      const made = new ReplicaExecutor(options, { ...none, executed });
      executor = made;
      made.execute({ t: "execute", seq: 1, time: 1, seed: SEED, operations });
    });
    const [before, ...after] = limits.map((text) => (JSON.parse(text) as { value: number }).value);
    // Beside what V8 needs for itself.
    for (const limit of after) expect(Math.abs(limit - before! - (640 - 64))).toBeLessThan(128);
    expect(after).toHaveLength(2);
  });

  test("a function that the bundle doesn't have is refused", async () => {
    await expect(execute("nobody", [["x"]])).rejects.toThrow(/UNKNOWN_FUNCTION/);
  });

  test("a process that was ended is followed by one with the same state: of the last snapshot, and what was applied since", async () => {
    const told: unknown[] = [];
    const pages = new Map<number, string[]>();
    const start = (timeoutMs: number, done: () => void): ReplicaExecutor => {
      const options = { function: "count", path, timeoutMs, maxPayloadBytes: 4_096, maxLogBytes: 4_096, memoryMb: 64 };
      return new ReplicaExecutor(options, {
        loaded: () => {},
        executed: (seq, outcomes) => told.push([seq, ...outcomes.map((outcome) => codeOf(JSON.parse(outcome)) ?? outcome)]),
        snapshotted: (seq, digests) => {
          pages.set(seq, digests);
          if (seq >= 4) done();
        },
        installed: () => {},
        lines: () => {},
        failed: (failure) => told.push(failure),
      });
    };
    const give = (to: ReplicaExecutor, seq: number, inputs: unknown[]): void => {
      const operations = inputs.map((input, n) => ({ id: `run_${seq}/${n}`, key: "", input: JSON.stringify(input) }));
      to.execute({ t: "execute", seq, time: 1, seed: SEED, operations });
    };
    await new Promise<void>((resolve) => {
      // Far from what an operation takes on a machine that does much else.
      executor = start(1_500, resolve);
      give(executor, 1, [1, 1]);
      executor.snapshot(1);
      give(executor, 2, [1, "throw"]);
      give(executor, 3, ["loop", "leave", 1]);
      executor.snapshot(4);
    });
    expect(told).toEqual([
      [1, '{"value":1}', '{"value":2}'],
      [2, '{"value":3}', "FUNCTION_FAILED"],
      [3, "CALL_TIMEOUT", "POD_LOST", '{"value":4}'],
    ]);
    const texts = executor?.pages(4)?.map(({ text }) => text);
    expect(texts).toEqual(['[["","4"]]']);
    await executor?.stop();
    // Another replica that was slower to snapshot, and knew of no loop, has the same pages.
    await new Promise<void>((resolve) => {
      executor = start(2_000, resolve);
      give(executor, 1, [4]);
      executor.snapshot(5);
    });
    expect(pages.get(5)).toEqual(pages.get(4));
  });
});
