import { AssertionError } from "node:assert";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { type AddressInfo, connect, createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { TerminalError } from "../application/errors.ts";
import { catalogue, type ErrorCode, type Failure, LockstepError } from "../lib/errors.ts";
import type { FaultClass } from "../lib/verdict.ts";
import { functionFailure } from "../pod/function-host.ts";
import type { CallMetrics, LogLine } from "../protocol/run.ts";
import { diagnose, ruleOf } from "./diagnose.ts";
import { OTHER, PROGRAMMING, type Rule, SHAPES, TERMINAL } from "./rules.ts";

/** What is thrown by `work`, as the pod tells it to the control plane. */
const failureOf = async (work: () => unknown): Promise<Failure> => {
  try {
    await work();
  } catch (error) {
    return JSON.parse(JSON.stringify(functionFailure(error))) as Failure;
  }
  throw new Error("nothing was thrown");
};

const thrown = (error: unknown) => () => Promise.reject(error);

/** An error as its library makes it, where the library is not here. */
const shaped = (name: string, properties: object = {}, message = "it says so"): Error =>
  Object.assign(new Error(message), name === "Error" ? {} : { name }, properties);

const aws = (name: string, httpStatusCode: number, more: object = {}): Error =>
  shaped(name, { $fault: httpStatusCode < 500 ? "client" : "server", $metadata: { httpStatusCode, attempts: 1 }, ...more });

const folder = mkdtempSync(join(tmpdir(), "lockstep-diagnose-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

const unusedPort = async (): Promise<number> => {
  const server = createTcpServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
};

const refusedSocket = async (): Promise<never> => {
  const socket = connect(await unusedPort(), "127.0.0.1");
  return new Promise((_, reject) => socket.once("error", reject));
};

/** Fetches from a server that does what `answer` says. */
const fetched = async (answer: Parameters<typeof createServer>[1], read: (response: Response) => unknown): Promise<unknown> => {
  const server = createServer({}, answer).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  try {
    return await read(await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`));
  } finally {
    server.closeAllConnections();
    server.close();
  }
};

const database = (): DatabaseSync => {
  const db = new DatabaseSync(":memory:");
  db.exec("CREATE TABLE seats(id INTEGER PRIMARY KEY); INSERT INTO seats VALUES (1)");
  return db;
};

const locked = (): never => {
  const path = join(folder, "locked.sqlite");
  const holder = new DatabaseSync(path);
  holder.exec("CREATE TABLE IF NOT EXISTS t(x); BEGIN EXCLUSIVE");
  const other = new DatabaseSync(path);
  try {
    other.exec("INSERT INTO t VALUES (1)");
  } finally {
    holder.exec("ROLLBACK");
    holder.close();
    other.close();
  }
  throw new Error("the lock was not held");
};

const readOnly = (): never => {
  const path = join(folder, "read-only.sqlite");
  new DatabaseSync(path).exec("CREATE TABLE IF NOT EXISTS t(x)");
  new DatabaseSync(path, { readOnly: true }).exec("INSERT INTO t VALUES (1)");
  throw new Error("it was written");
};

const deepen = (): number => 1 + deepen();
const missing = undefined as unknown as { total: number };

/** What is thrown, the class and retryability that it must have. */
const REAL: [string, () => unknown, FaultClass, boolean][] = [
  ["a connection that is refused", refusedSocket, "storage-unavailable", true],
  ["a fetch from where nobody listens", async () => fetch(`http://127.0.0.1:${await unusedPort()}`), "storage-unavailable", true],
  [
    "a fetch whose server hangs up",
    () =>
      fetched(
        (request) => request.socket.destroy(),
        () => 0,
      ),
    "storage-unavailable",
    true,
  ],
  [
    "a fetch whose body is cut",
    () =>
      fetched(
        (_, response) => {
          response.writeHead(200, { "content-length": "100" });
          response.write("x");
          setImmediate(() => response.destroy());
        },
        (response) => response.text(),
      ),
    "storage-unavailable",
    true,
  ],
  [
    "a fetch whose answer is an error page",
    () =>
      fetched(
        (_, response) => response.end("<html>"),
        (response) => response.json(),
      ),
    "execution",
    true,
  ],
  [
    "a fetch that takes longer than its signal allows",
    () => fetch("http://127.0.0.1:9", { signal: AbortSignal.abort(new DOMException("late", "TimeoutError")) }),
    "timeout",
    true,
  ],
  ["a fetch that is aborted", () => fetch("http://127.0.0.1:9", { signal: AbortSignal.abort() }), "timeout", true],
  ["a fetch of what is no URL", () => fetch("nowhere"), "execution", false],
  [
    "a signal's timeout",
    async () => {
      const signal = AbortSignal.timeout(0);
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      signal.throwIfAborted();
    },
    "timeout",
    true,
  ],
  ["a file that isn't there", () => readFileSync(join(folder, "missing")), "resource-not-found", false],
  ["a folder read as a file", () => readFileSync(folder), "execution", false],
  ["a folder that exists", () => mkdirSync(folder), "execution", false],
  [
    "a file used as a folder",
    () => {
      writeFileSync(join(folder, "file"), "");
      readFileSync(join(folder, "file", "inner"));
    },
    "execution",
    false,
  ],
  ["a module that isn't there", () => createRequire(import.meta.url)("./nothing.cjs"), "execution", false],
  ["a property of undefined", () => missing.total, "execution", false],
  ["a name that isn't defined", () => new Function("return nobodyDefinedThis")(), "execution", false],
  ["code that doesn't parse", () => new Function("return ("), "execution", false],
  ["text that is no JSON", () => JSON.parse("{"), "execution", true],
  ["a URI that is malformed", () => decodeURIComponent("%"), "execution", false],
  ["a recursion without end", deepen, "execution", false],
  [
    "an assertion",
    () => {
      throw new AssertionError({ message: "1 is not 2" });
    },
    "execution",
    false,
  ],
  ["an argument of the wrong type", () => readFileSync({} as string), "execution", false],
  ["an array of a negative length", () => new Array(-1), "out-of-memory", false],
  ["a text longer than texts can be", () => "x".repeat(2 ** 30), "out-of-memory", false],
  ["a buffer that no memory holds", () => new ArrayBuffer(Number.MAX_SAFE_INTEGER), "out-of-memory", true],
  ["a row that is there already", () => database().exec("INSERT INTO seats VALUES (1)"), "execution", false],
  ["a statement that is no SQL", () => database().exec("SELEKT"), "execution", false],
  ["a database that another has locked", locked, "storage-unavailable", true],
  ["a database that may only be read", readOnly, "permission", false],
  ["a plain error", thrown(new Error("out of luck")), "execution", true],
  ["a value that is no error", thrown("oh no"), "execution", true],
  ["an error of the application's own class", thrown(shaped("SeatTaken", { code: "SEAT_TAKEN" })), "execution", true],
  ["a terminal error", thrown(new TerminalError("sold out", { code: "SOLD_OUT" })), "execution", false],
  [
    "a terminal error about what would pass",
    thrown(new TerminalError("no", { cause: shaped("Error", { code: "ECONNREFUSED" }) })),
    "storage-unavailable",
    false,
  ],
  ["a terminal error about a bucket", thrown(new TerminalError("no", { cause: aws("NoSuchBucket", 404) })), "resource-not-found", false],
  [
    "a plain error around a refused connection",
    async () => {
      throw new Error("the order was not saved", { cause: await refusedSocket().catch((error) => error) });
    },
    "storage-unavailable",
    true,
  ],
  [
    "several addresses that all refuse",
    thrown(new AggregateError([shaped("Error", { code: "ECONNREFUSED" }), shaped("Error", { code: "EHOSTUNREACH" })])),
    "storage-unavailable",
    true,
  ],
  [
    "a type error around a refused connection",
    thrown(new TypeError("x", { cause: shaped("Error", { code: "ECONNREFUSED" }) })),
    "storage-unavailable",
    true,
  ],
  [
    "an error around a type error",
    thrown(new Error("payment failed", { cause: new TypeError("x is not a function") })),
    "execution",
    false,
  ],
];

/** Errors of libraries that are no dependency of ours, with the properties that they have. */
const SHAPED: [unknown, FaultClass, boolean][] = [
  [aws("InvalidBucketName", 400), "resource-not-found", false],
  [aws("NoSuchBucket", 404), "resource-not-found", false],
  [aws("AccessDenied", 403), "permission", false],
  [aws("SlowDown", 503, { $retryable: { throttling: true } }), "storage-unavailable", true],
  [aws("TimeoutError", 0), "timeout", true],
  [aws("ConditionalCheckFailedException", 400), "execution", true],
  [aws("InternalError", 500), "storage-unavailable", true],
  [aws("Unknown", 403), "permission", false],
  [shaped("NewThing", { $fault: "server", $metadata: {} }), "storage-unavailable", true],
  [shaped("NewThing", { $fault: "client", $metadata: {} }), "execution", false],
  [shaped("NewThing", { $fault: "client", $metadata: {}, $retryable: { throttling: false } }), "storage-unavailable", true],
  [shaped("HTTPError", { response: { status: 401 } }), "permission", false],
  [shaped("AxiosError", { code: "ERR_BAD_REQUEST", status: 404, response: { status: 404 } }), "resource-not-found", false],
  [shaped("AxiosError", { code: "ERR_BAD_RESPONSE", response: { status: 502 } }), "storage-unavailable", true],
  [shaped("AxiosError", { code: "ECONNABORTED" }, "timeout of 1000ms exceeded"), "timeout", true],
  [shaped("HTTPError", { response: { statusCode: 504 } }), "timeout", true],
  [shaped("FetchError", { statusCode: 409 }), "execution", true],
  [shaped("FetchError", { statusCode: 429 }), "storage-unavailable", true],
  [shaped("FetchError", { statusCode: 422 }), "execution", false],
  [shaped("FetchError", { statusCode: 501 }), "execution", false],
  [shaped("FetchError", { status: 200 }), "execution", true],
  [shaped("ResponseError", { code: "UND_ERR_RESPONSE", statusCode: 403 }), "permission", false],
  [shaped("SocketError", { code: "UND_ERR_SOCKET" }), "storage-unavailable", true],
  [shaped("HTTPParserError", { code: "HPE_INVALID_CONSTANT" }), "storage-unavailable", true],
  [shaped("error", { code: "08006", severity: "FATAL" }), "storage-unavailable", true],
  [shaped("error", { code: "53300", severity: "FATAL", routine: "InitProcess" }), "storage-unavailable", true],
  [shaped("error", { code: "28P01", severity: "FATAL", routine: "auth_failed" }), "permission", false],
  [shaped("error", { code: "42501", severity: "ERROR" }), "permission", false],
  [shaped("error", { code: "42P01", severity: "ERROR" }), "resource-not-found", false],
  [shaped("error", { code: "42601", severity: "ERROR", routine: "scanner_yyerror" }), "execution", false],
  [shaped("error", { code: "23505", severity: "ERROR" }), "execution", false],
  [shaped("error", { code: "40001", severity: "ERROR" }), "execution", true],
  [shaped("error", { code: "57014", severity: "ERROR" }), "timeout", true],
  [shaped("Error", { code: "ER_LOCK_DEADLOCK", errno: 1213, sqlState: "40001" }), "execution", true],
  [shaped("Error", { code: "ER_ACCESS_DENIED_ERROR", errno: 1045, sqlState: "28000" }), "permission", false],
  [shaped("Error", { code: "ER_LOCK_WAIT_TIMEOUT", errno: 1205, sqlState: "HY000" }), "storage-unavailable", true],
  [new Error("Connection terminated unexpectedly"), "storage-unavailable", true],
  [shaped("SqliteError", { code: "SQLITE_BUSY" }), "storage-unavailable", true],
  [shaped("SqliteError", { code: "SQLITE_CONSTRAINT_UNIQUE" }), "execution", false],
  [shaped("MongoNetworkTimeoutError"), "timeout", true],
  [shaped("MongoServerSelectionError"), "storage-unavailable", true],
  [shaped("MongoServerError", { code: 13, codeName: "Unauthorized" }), "permission", false],
  [shaped("MongoServerError", { code: 26 }), "resource-not-found", false],
  [shaped("MongoServerError", { code: 112 }), "execution", true],
  [shaped("MongoServerError", { code: 11000 }), "execution", false],
  [shaped("ReplyError", {}, "NOAUTH Authentication required."), "permission", false],
  [shaped("ReplyError", {}, "LOADING Redis is loading the dataset in memory"), "storage-unavailable", true],
  [shaped("ReplyError", {}, "WRONGTYPE Operation against a key"), "execution", false],
  [shaped("MaxRetriesPerRequestError"), "storage-unavailable", true],
  [shaped("KafkaJSProtocolError", { type: "TOPIC_AUTHORIZATION_FAILED", code: 29, retriable: false }), "permission", false],
  [shaped("KafkaJSProtocolError", { type: "UNKNOWN_TOPIC_OR_PARTITION", code: 3, retriable: true }), "resource-not-found", true],
  [shaped("KafkaJSProtocolError", { type: "REQUEST_TIMED_OUT", code: 7, retriable: true }), "timeout", true],
  [shaped("KafkaJSProtocolError", { type: "LEADER_NOT_AVAILABLE", code: 5, retriable: true }), "storage-unavailable", true],
  [shaped("Error", { code: 4 }, "4 DEADLINE_EXCEEDED: late"), "timeout", true],
  [shaped("Error", { code: 5 }, "5 NOT_FOUND: no such seat"), "resource-not-found", false],
  [shaped("Error", { code: 7 }, "7 PERMISSION_DENIED: no"), "permission", false],
  [shaped("Error", { code: 10 }, "10 ABORTED: again"), "execution", true],
  [shaped("Error", { code: 14 }, "14 UNAVAILABLE: No connection established"), "storage-unavailable", true],
  [shaped("Error", { code: 3 }, "3 INVALID_ARGUMENT: no"), "execution", false],
  [shaped("Error", { code: 14 }, "a number of the application's own"), "execution", true],
  [shaped("Error", { code: "EPIPE", errno: -32, syscall: "write" }), "storage-unavailable", true],
  [shaped("Error", { code: "ERR_WORKER_OUT_OF_MEMORY" }), "out-of-memory", true],
  [
    { code: "POD_LOST", message: "pod-1 died", details: { reason: "exited", output: "FATAL ERROR: … JavaScript heap out of memory" } },
    "out-of-memory",
    true,
  ],
  [{ code: "POD_LOST", message: "pod-1 died", details: { reason: "exited", output: "panic" } }, "pod-lost", true],
  [new TypeError("fetch failed"), "storage-unavailable", true],
];

const decided = new Set<Rule>();
const check = (failure: Failure, fault: FaultClass, retryable: boolean): void => {
  decided.add(ruleOf(failure));
  expect(diagnose({ function: "f", failure, lines: [] })).toMatchObject({ class: fault, retryable });
};

describe("the verdict on", () => {
  test.each(REAL)("%s", async (_, work, fault, retryable) => check(await failureOf(work), fault, retryable));

  test.each(
    SHAPED.map(
      ([error, ...rest]) =>
        [`${(error as Error).name ?? ""} ${JSON.stringify(error)} ${(error as Error).message}`, error, ...rest] as const,
    ),
  )("%s", async (_, error, fault, retryable) => check(await failureOf(thrown(error)), fault, retryable));

  const words = SHAPES.flatMap((rule) =>
    /^(`[\w.]+` ?)+$/.test(rule.shape) ? [...rule.shape.matchAll(/`([\w.]+)`/g)].map(([, word = ""]) => [word, rule] as const) : [],
  );

  test.each(words)("%s is that of the row that lists it", async (word, rule) => {
    check(await failureOf(thrown(shaped("Error", { code: word }))), rule.class, rule.retryable);
    expect(ruleOf(await failureOf(thrown(shaped("Error", { code: word }))))).toBe(rule);
  });
});

test("each row of the table decides about an error of these tests", () => {
  const undecided = [...SHAPES, ...PROGRAMMING, TERMINAL, OTHER].filter((rule) => !decided.has(rule));
  expect(undecided.map(({ shape }) => shape)).toEqual([]);
});

test("no two rows list the same code", () => {
  const listed = SHAPES.flatMap(({ shape }) => [...shape.matchAll(/`([\w.]+)`/g)].map(([, word]) => word));
  const twice = listed.filter((word, i) => listed.indexOf(word) !== i);
  // A lost pod that wrote that V8 had no memory has a row of its own; gRPC has a name in common with us.
  expect(twice.filter((word) => word !== "errcode")).toEqual(["POD_LOST", "UNAUTHENTICATED"]);
});

// These are refusals that a function never meets, or say nothing but that something failed.
const UNJUDGED: ErrorCode[] = [
  ...(["ADDRESS_UNAVAILABLE", "APPLICATION_INVALID", "COORDINATOR_CRASHED", "COORDINATOR_FAILED", "DATA_DIRECTORY_IN_USE"] as const),
  ...([
    "DATA_DIRECTORY_NEWER",
    "DRILLS_DISABLED",
    "EPOCH_FENCED",
    "EXPRESSION_TOO_LARGE",
    "FUNCTION_FAILED",
    "IDEMPOTENCY_CONFLICT",
    "INTERNAL",
    "KEYS_UNREADABLE",
    "MAP_FAILED",
  ] as const),
  ...([
    "METHOD_NOT_ALLOWED",
    "NAME_TAKEN",
    "RANGE_NOT_SATISFIABLE",
    "RUN_FINISHED",
    "RUN_NOT_SUSPENDED",
    "SERVICE_EXISTS",
    "STEP_FAILED",
  ] as const),
  ...(["UNSUPPORTED_MEDIA_TYPE", "UNSUPPORTED_NODE"] as const),
];

test("every code of the catalogue is judged, or is known to need no judgement", () => {
  const unjudged = Object.keys(catalogue).filter((code) => ruleOf({ code, message: "m" }) === OTHER);
  expect(unjudged).toEqual([...UNJUDGED].sort());
});

describe("evidence", () => {
  const metrics: CallMetrics = { durationMs: 480.4, cpuMs: 1, queueMs: 0, memoryMb: 243.6, coldStart: false, pod: "pod-1" };
  const line = (level: LogLine["level"], text: string): LogLine => ({ at: 0, level, text });
  const evidence = async (error: unknown, more: Partial<Parameters<typeof diagnose>[0]> = {}): Promise<string[]> =>
    diagnose({ function: "f", failure: await failureOf(thrown(error)), lines: [], ...more }).evidence;

  test("begins with the error that decided: its code, message, status and class", async () => {
    expect(await evidence(aws("NoSuchBucket", 404))).toEqual(["NoSuchBucket: it says so (HTTP 404)"]);
    const refused = shaped("Error", { code: "ECONNREFUSED", syscall: "connect", address: "10.0.0.5", port: 5432 }, "connect ECONNREFUSED");
    expect(await evidence(new Error("the order was not saved", { cause: refused }))).toEqual([
      "ECONNREFUSED: connect ECONNREFUSED (connect 10.0.0.5:5432)",
      "thrown: the order was not saved",
    ]);
    expect(await evidence(new TypeError("fetch failed", { cause: new Error("bad port") }))).toEqual([
      "TypeError: fetch failed",
      "caused by: bad port",
    ]);
    expect(await evidence(new TypeError("x is not a function"))).toEqual(["TypeError: x is not a function"]);
    expect(await evidence(new LockstepError("STATE_STALE", "orders/1 is stale"))).toEqual(["STATE_STALE: orders/1 is stale"]);
  });

  test("names the last lines that were logged as errors", async () => {
    const lines = [line("error", "one"), line("info", "two"), ...["three", "four", "five\nsix"].map((text) => line("error", text))];
    expect((await evidence(new Error("x"), { lines })).slice(1)).toEqual(["log: three", "log: four", "log: five six"]);
  });

  test("tells of memory and time when they are near their bounds", async () => {
    expect(await evidence(new Error("x"), { metrics, memoryMb: 256 })).toContain("memory: 244 MiB at its peak, memoryMb is 256");
    expect(await evidence(new Error("x"), { metrics, memoryMb: 512 })).toHaveLength(1);
    const failure = { code: "CALL_TIMEOUT", message: "late" };
    expect(diagnose({ function: "f", failure, lines: [], timeoutMs: 500 }).evidence).toContain("time: 500 ms");
    expect(diagnose({ function: "f", failure, lines: [], timeoutMs: 500, metrics }).evidence).toContain("time: 480 of 500 ms");
  });

  test("holds what a lost pod wrote last", () => {
    const failure = { code: "POD_LOST", message: "pod-1 died", details: { output: "one\ntwo\nthree\n" } };
    expect(diagnose({ function: "f", failure, lines: [] }).evidence.slice(1)).toEqual(["pod: two", "pod: three"]);
    const output =
      "<--- Last few GCs --->\n\nFATAL ERROR: heap out of memory\n----- Native stack trace -----\n\n 1: 0xb8 [node]\n 2: 0xb9 [node]\n";
    const heap = { code: "OUT_OF_MEMORY", message: "pod-1 ran out of memory", details: { output } };
    expect(diagnose({ function: "f", failure: heap, lines: [] }).evidence.slice(1)).toEqual(["pod: FATAL ERROR: heap out of memory"]);
  });

  test("is short, and has no credentials in it", async () => {
    const url = "postgres://app:s3cret@db:5432/orders";
    const lines = [line("error", `connecting to ${url} ${"x".repeat(50_000)}`)];
    const error = shaped("Error", { code: "ECONNREFUSED", address: url }, `no answer from ${url}`);
    const found = await evidence(new Error(`could not reach ${url}`, { cause: error }), { lines });
    expect(found.join()).not.toContain("s3cret");
    expect(Math.max(...found.map(({ length }) => length))).toBeLessThan(500);
  });
});

test("whatever JSON a pod sends as a failure, there is a verdict", () => {
  const keys = ["code", "message", "name", "facts", "cause", "details", "terminal", "output", "type", "errcode", "sqlState"];
  const tree = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      fc.string(),
      fc.integer(),
      fc.constant(null),
      fc.boolean(),
      fc.array(tie("value"), { maxLength: 2 }),
      tie("object"),
    ),
    object: fc.dictionary(fc.constantFrom(...keys), tie("value")),
  }));
  fc.assert(
    fc.property(tree.object, fc.string(), fc.string(), (rest, code, message) => {
      const failure = { ...(rest as object), code, message } as Failure;
      const verdict = diagnose({ function: "f", failure, lines: [] });
      expect(typeof verdict.retryable).toBe("boolean");
      expect(verdict.evidence.every((text) => typeof text === "string")).toBe(true);
    }),
    { numRuns: 500 },
  );
});

const HEADING = "| What is thrown | Class | Again? | Why |\n|---|---|---|---|\n";

// The page is written by hand but for the table: `npx vitest run src/monitor/diagnose.test.ts -u` writes that.
test("docs/monitor.md has the table of the rules, word for word", async () => {
  const page = readFileSync(new URL("../../docs/monitor.md", import.meta.url), "utf8");
  const rows = [...SHAPES, ...PROGRAMMING, TERMINAL, OTHER].map(
    (rule) => `| ${rule.shape} | \`${rule.class}\` | ${rule.retryable ? "yes" : "no"} | ${rule.why} |`,
  );
  const begin = page.indexOf(HEADING) + HEADING.length;
  expect(begin).toBeGreaterThanOrEqual(HEADING.length);
  await expect(page.slice(0, begin) + rows.join("\n") + page.slice(page.indexOf("\n\n", begin - 1))).toMatchFileSnapshot(
    "../../docs/monitor.md",
  );
});
