import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, expectTypeOf, test } from "vitest";
import { coordinator, fn } from "../index.ts";
import type { Clock } from "../lib/clock.ts";
import type { Client } from "./index.ts";
import { ClientError, createClient, RunError } from "./index.ts";

interface Seen {
  method: string;
  path: string;
  query: Record<string, string>;
  body: unknown;
  authorization: string | undefined;
}

type Answer = (seen: Seen, response: ServerResponse, request: IncomingMessage) => void;

const servers: Server[] = [];

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

const listen = async (handler: Answer, port = 0): Promise<{ url: string; server: Server; seen: Seen[] }> => {
  const seen: Seen[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { pathname, searchParams } = new URL(request.url as string, "http://localhost");
      const text = Buffer.concat(chunks).toString();
      const one: Seen = {
        method: request.method as string,
        path: pathname,
        query: Object.fromEntries(searchParams),
        body: text === "" ? undefined : JSON.parse(text),
        authorization: request.headers.authorization,
      };
      seen.push(one);
      handler(one, response, request);
    });
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server, seen };
};

const send = (response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void => {
  response.writeHead(status, { "content-type": "application/json", connection: "close", ...headers }).end(JSON.stringify(body));
};

const problem = (code: string, status: number, more: object = {}) => ({
  type: `urn:lockstep:error:${code}`,
  title: code,
  status,
  code,
  ...more,
});

/** Answers one after the other; the last one again and again. */
const inTurn = (...answers: ((response: ServerResponse) => void)[]): Answer => {
  let next = 0;
  return (_seen, response) => answers[Math.min(next++, answers.length - 1)]?.(response);
};

/** Pauses pass at once, and are counted; the patience with a request that never ends is not one of them. */
const quickClock = (): Clock & { waited: number[] } => {
  let passed = 0;
  const waited: number[] = [];
  return {
    waited,
    now: () => passed,
    after(delayMs, callback) {
      if (delayMs >= 30_000) return () => {};
      const timer = setImmediate(() => {
        passed += delayMs;
        waited.push(delayMs);
        callback();
      });
      return () => clearImmediate(timer);
    },
    endOfTurn: (callback) => void setImmediate(callback),
  };
};

const clientOf = (url: string, clock: Clock = quickClock(), more: { apiKey?: string; retryForMs?: number } = {}): Client =>
  createClient({ url, clock, ...more });

const caught = async (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    (value) => {
      throw new Error(`nothing was thrown, but ${JSON.stringify(value)} returned`);
    },
    (thrown: unknown) => thrown,
  );

const booking = coordinator("booking", async (_ctx, input: { item: string }) => ({ order: input.item }));
const pay = fn("pay", (input: { amount: number }) => input.amount > 1);
const tick = coordinator("tick", async () => "ticked");

test("a coordinator is started by its definition and its result is waited for", async () => {
  const { url, seen } = await listen(
    inTurn(
      (response) => send(response, 202, { id: "run_1", status: "running", existing: false }),
      (response) => send(response, 202, { id: "run_1", status: "waiting" }),
      (response) => send(response, 200, { id: "run_1", status: "completed", value: { order: "hat" } }),
    ),
  );
  const run = await clientOf(url).start(booking, { item: "hat" }, { key: "k", priority: 3 });
  expect(run).toMatchObject({ id: "run_1", existing: false });
  const result = await run.result();
  expectTypeOf(result).toEqualTypeOf<{ order: string }>();
  expect(result).toEqual({ order: "hat" });
  expect(seen.map(({ method, path, query, body }) => ({ method, path, query, body }))).toEqual([
    { method: "POST", path: "/v1/coordinators/booking/runs", query: {}, body: { input: { item: "hat" }, key: "k", priority: 3 } },
    { method: "GET", path: "/v1/runs/run_1/result", query: { wait: "30000ms" }, body: undefined },
    { method: "GET", path: "/v1/runs/run_1/result", query: { wait: "30000ms" }, body: undefined },
  ]);
});

test("inputs are typed: they must fit the definition, and one without input needs none", () => {
  const client = createClient({ url: "http://127.0.0.1:1" });
  const attempts = () => [
    client.start(tick),
    client.start("by-name", { any: "thing" }),
    client.call("by-name"),
    // @ts-expect-error: the item is missing
    client.start(booking, {}),
    // @ts-expect-error: there is no input
    client.start(booking),
    // @ts-expect-error: a coordinator is not called
    client.call(booking, { item: "hat" }),
    // @ts-expect-error: the amount is a number
    client.call(pay, { amount: "1" }),
  ];
  expectTypeOf(attempts).returns.toBeArray();
  expectTypeOf(client.call(pay, { amount: 1 }).catch(() => true)).resolves.toBeBoolean();
});

test("a function is called and its value comes with the same request", async () => {
  const { url, seen } = await listen((_seen, response) => send(response, 200, { id: "run_1", status: "completed", value: false }));
  expect(await clientOf(url).call(pay, { amount: 1 })).toBe(false);
  expect(seen).toMatchObject([{ path: "/v1/functions/pay/calls", query: { wait: "30000ms" }, body: { input: { amount: 1 } } }]);
});

test("a function's definition may be started without waiting", async () => {
  const { url, seen } = await listen((_seen, response) => send(response, 202, { id: "run_1", status: "running", existing: true }));
  expect(await clientOf(url).start(pay, { amount: 1 })).toMatchObject({ id: "run_1", existing: true });
  expect(seen[0]?.path).toBe("/v1/functions/pay/calls");
});

test("an expression is evaluated, and waited for when its value does not come at once", async () => {
  const { url, seen } = await listen(
    inTurn(
      (response) => send(response, 202, { id: "run_1", status: "running" }),
      (response) => send(response, 200, { id: "run_1", status: "completed", value: 16 }),
    ),
  );
  expect(await clientOf(url).eval("(a+5)*2", { a: 3 })).toBe(16);
  expect(seen[0]).toMatchObject({ path: "/v1/expressions", body: { expression: "(a+5)*2", variables: { a: 3 } } });
  expect(seen[1]?.path).toBe("/v1/runs/run_1/result");
});

test.each(["failed", "cancelled", "suspended"] as const)("a %s run rejects with a RunError", async (status) => {
  const failure = { code: "CARD_DECLINED", message: "the bank declined", attempts: 1, cause: { code: "X", message: "inner" } };
  const { url } = await listen((_seen, response) => send(response, 200, { id: "run_1", status, failure }));
  const client = clientOf(url);
  const error = (await caught(client.run("run_1").result())) as RunError;
  expect(error).toBeInstanceOf(RunError);
  expect(error).toMatchObject({
    code: "CARD_DECLINED",
    message: "the bank declined",
    runId: "run_1",
    status,
    failure,
    cause: failure.cause,
  });
  expect(await client.run("run_1").outcome()).toEqual({ id: "run_1", status, failure });
  expect(await caught(client.call("pay"))).toBeInstanceOf(RunError);
});

test("result gives up after timeoutMs with WAIT_TIMEOUT", async () => {
  const clock = quickClock();
  const { url, seen } = await listen((_seen, response) => {
    clock.after(400, () => send(response, 202, { id: "run_1", status: "waiting" }));
  });
  const error = (await caught(clientOf(url, clock).run("run_1").result({ timeoutMs: 1_000 }))) as ClientError;
  expect(error).toMatchObject({ name: "ClientError", code: "WAIT_TIMEOUT", status: 504, details: { run: "run_1", status: "waiting" } });
  expect(error.detail).toContain("1000 ms");
  expect(seen.map(({ query }) => query.wait)).toEqual(["1000ms", "600ms", "200ms"]);
});

test("waiting ends when the caller aborts", async () => {
  const { url } = await listen(() => {});
  const aborting = new AbortController();
  const waiting = clientOf(url).run("run_1").result({ signal: aborting.signal });
  aborting.abort(new Error("enough"));
  expect(await caught(waiting)).toMatchObject({ message: "enough" });
});

test("a problem becomes a ClientError with its code, detail, mend and further facts", async () => {
  const answer = problem("EXPRESSION_INVALID", 422, { detail: "expected a number at 3", mend: "Mend it.", details: { position: 3 } });
  const { url } = await listen((_seen, response) => send(response, 422, answer, { "content-type": "application/problem+json" }));
  const error = (await caught(clientOf(url).eval("1+"))) as ClientError;
  expect(error).toBeInstanceOf(ClientError);
  expect(error).toMatchObject({
    code: "EXPRESSION_INVALID",
    status: 422,
    message: "expected a number at 3",
    detail: "expected a number at 3",
    mend: "Mend it.",
    details: { position: 3 },
  });
  expect(error.retryAfterMs).toBeUndefined();
});

test("429 and a platform that stops are tried again after Retry-After, and in the end refused", async () => {
  const overloaded = (response: ServerResponse) => send(response, 429, problem("OVERLOADED", 429), { "retry-after": "2" });
  const stopping = (response: ServerResponse) => send(response, 503, problem("SHUTTING_DOWN", 503), { "retry-after": "1" });
  const done = (response: ServerResponse) => send(response, 202, { id: "run_1", status: "running" });
  const clock = quickClock();
  const passing = await listen(inTurn(overloaded, stopping, done));
  expect((await clientOf(passing.url, clock).start("booking")).id).toBe("run_1");
  expect(clock.waited).toEqual([2_000, 1_000]);

  const lasting = await listen(inTurn(overloaded));
  const error = await caught(clientOf(lasting.url, quickClock(), { retryForMs: 5_000 }).start("booking"));
  expect(error).toMatchObject({ code: "OVERLOADED", retryAfterMs: 2_000 });
  expect(lasting.seen).toHaveLength(3);
});

test("a refusal that does not pass by itself is not tried again, although it carries Retry-After", async () => {
  const { url, seen } = await listen((_seen, response) => send(response, 503, problem("POD_FAILED_TO_START", 503), { "retry-after": "1" }));
  expect(await caught(clientOf(url).deploy({ application: "a", version: "v", code: "" }))).toMatchObject({ code: "POD_FAILED_TO_START" });
  expect(seen).toHaveLength(1);
});

test("NOT_CONNECTED at once when nothing listens", async () => {
  const { url, server } = await listen(() => {});
  await new Promise((resolve) => server.close(resolve));
  const clock = quickClock();
  for (const ask of [(c: Client) => c.start("booking"), (c: Client) => c.pods(), (c: Client) => c.run("run_1").result()]) {
    const error = (await caught(ask(clientOf(url, clock)))) as ClientError;
    expect(error).toMatchObject({ code: "NOT_CONNECTED", status: 503, details: { url } });
    expect(error.detail).toContain(`no platform answers at ${url} (ECONNREFUSED)`);
    expect(error.mend).toContain("lockstep dev");
  }
  expect(clock.waited).toEqual([]);
});

test("NOT_CONNECTED when something else than a platform answers", async () => {
  const { url, seen } = await listen((_seen, response) =>
    response.writeHead(404, { "content-type": "text/html" }).end("<h1>Not found</h1>"),
  );
  expect(await caught(clientOf(url).pods())).toMatchObject({
    code: "NOT_CONNECTED",
    detail: expect.stringContaining("is no Lockstep platform"),
  });
  expect(seen).toHaveLength(1);
});

test("a start whose connection is lost is repeated only with a key", async () => {
  const lost = (response: ServerResponse) => void response.destroy();
  const done = (response: ServerResponse) => send(response, 202, { id: "run_1", status: "running" });
  const keyed = await listen(inTurn(lost, done));
  expect((await clientOf(keyed.url).start("booking", {}, { key: "k" })).id).toBe("run_1");
  const plain = await listen(inTurn(lost, done));
  const error = (await caught(clientOf(plain.url).start("booking", {}))) as ClientError;
  expect(error).toMatchObject({ code: "NOT_CONNECTED", detail: expect.stringContaining("lost before the answer came") });
  expect(plain.seen).toHaveLength(1);
});

test("a start with a key goes on across a restart of the platform", async () => {
  const lost = () => Promise.reject(new TypeError("fetch failed", { cause: Object.assign(new Error("x"), { code: "ECONNRESET" }) }));
  const refused = () => Promise.reject(new TypeError("fetch failed", { cause: Object.assign(new Error("x"), { code: "ECONNREFUSED" }) }));
  const accepted = () => Promise.resolve(Response.json({ id: "run_1", status: "running", existing: true }, { status: 202 }));
  const answers = [lost, refused, refused, accepted];
  const client = createClient({ url: "http://127.0.0.1:1", clock: quickClock(), fetch: () => (answers.shift() ?? refused)() });
  expect(await client.start("booking", {}, { key: "k" })).toMatchObject({ id: "run_1", existing: true });
});

test("waiting for a result goes on across a restart of the platform", async () => {
  const first = await listen((seen, response, request) => {
    if (seen.method === "POST") return send(response, 202, { id: "run_1", status: "running" });
    // The platform dies while it holds the answer back.
    first.server.close();
    request.socket.destroy();
  });
  const port = Number(new URL(first.url).port);
  const base = quickClock();
  let refusals = 0;
  const restarting: Clock = {
    ...base,
    after: (ms, callback) => {
      const comesBack = ms < 30_000 && ++refusals === 3;
      return base.after(ms, () => {
        if (!comesBack) return callback();
        void listen((_seen, response) => send(response, 200, { id: "run_1", status: "completed", value: "back" }), port).then(callback);
      });
    },
  };
  const run = await clientOf(first.url, restarting).start("booking");
  expect(await run.result()).toBe("back");
  expect(refusals).toBeGreaterThanOrEqual(3);
});

test("waiting for a result rejects with NOT_CONNECTED when the platform stays away", async () => {
  const { url, server } = await listen((_seen, response) => send(response, 202, { id: "run_1", status: "running" }));
  const clock = quickClock();
  const run = await clientOf(url, clock, { retryForMs: 4_000 }).start("booking");
  await new Promise((resolve) => server.close(resolve));
  expect(await caught(run.result())).toMatchObject({ code: "NOT_CONNECTED" });
});

test("an input that is no JSON is refused here", async () => {
  const { url, seen } = await listen((_seen, response) => send(response, 202, { id: "run_1" }));
  expect(await caught(clientOf(url).start("booking", { amount: 1n }))).toMatchObject({ code: "RESULT_NOT_JSON", name: "ClientError" });
  expect(seen).toHaveLength(0);
});

test("a run's handle signals, cancels, resumes and tells what it knows", async () => {
  const { url, seen } = await listen((one, response) => {
    if (one.path.endsWith("/journal")) return send(response, 200, { records: [{ t: "sleep", seq: 1, at: 5, ms: 3 }] });
    send(response, 200, one.path === "/v1/runs/run_1" ? { id: "run_1", status: "waiting", waitingFor: ["signal approve"] } : {});
  });
  const run = clientOf(url).run("run_1");
  await run.signal("approve it", { yes: true });
  await run.signal("go");
  await run.cancel("changed my mind", { force: true });
  await run.resume();
  expect(await run.get()).toMatchObject({ waitingFor: ["signal approve"] });
  expect(await run.journal()).toEqual([{ t: "sleep", seq: 1, at: 5, ms: 3 }]);
  expect(seen.map(({ method, path, body }) => [method, path, body])).toEqual([
    ["POST", "/v1/runs/run_1/signals/approve%20it", { value: { yes: true } }],
    ["POST", "/v1/runs/run_1/signals/go", {}],
    ["POST", "/v1/runs/run_1/cancel", { reason: "changed my mind", force: true }],
    ["POST", "/v1/runs/run_1/resume", {}],
    ["GET", "/v1/runs/run_1", undefined],
    ["GET", "/v1/runs/run_1/journal", undefined],
  ]);
});

test("runs are listed page by page, with the filter on every page", async () => {
  const { url, seen } = await listen((one, response) => {
    const second = one.query.cursor === "c1";
    send(response, 200, second ? { runs: [{ id: "run_3" }] } : { runs: [{ id: "run_1" }, { id: "run_2" }], cursor: "c1" });
  });
  const ids: string[] = [];
  const filter = { status: ["failed", "suspended"], name: "booking", since: new Date(5_000), limit: 2 } as const;
  for await (const run of clientOf(url).runs(filter)) ids.push(run.id);
  expect(ids).toEqual(["run_1", "run_2", "run_3"]);
  const query = { status: "failed,suspended", name: "booking", since: "5000", limit: "2" };
  expect(seen.map((one) => one.query)).toEqual([query, { ...query, cursor: "c1" }]);
});

test("a page is only fetched when the iteration reaches it", async () => {
  const { url, seen } = await listen((_seen, response) => send(response, 200, { runs: [{ id: "run_1" }], cursor: "more" }));
  for await (const run of clientOf(url).runs()) if (run.id === "run_1") break;
  expect(seen).toHaveLength(1);
});

test("the API key goes with every request", async () => {
  const { url, seen } = await listen((one, response) => send(response, 200, { [one.path.split("/").at(-1) as string]: [] }));
  const client = clientOf(url, quickClock(), { apiKey: "secret" });
  expect([await client.applications(), await client.pods(), await client.layers(), await client.triggers()]).toEqual([[], [], [], []]);
  await client.logs({ run: "run_1", after: 7 });
  expect(seen.map(({ authorization }) => authorization)).toEqual(Array(5).fill("Bearer secret"));
  expect(seen.at(-1)?.query).toEqual({ run: "run_1", after: "7" });
});

const eventText = (position: number): string =>
  `id: ${position}\nevent: run.accepted\ndata: ${JSON.stringify({ position, at: 1, type: "run.accepted", run: `run_${position}` })}\n\n`;

test("events are taken up again behind the last one after a lost connection, and end when aborted", async () => {
  const { url, seen } = await listen((one, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    const after = Number(one.query.after);
    response.write(`: hello\n\n${eventText(after + 1)}${eventText(after + 2)}`);
    if (after < 12) response.write(`id: 99\nevent: run.acc`, () => response.destroy());
  });
  const aborting = new AbortController();
  const positions: number[] = [];
  for await (const event of clientOf(url).events({ after: 10, types: ["run.accepted", "run.finished"], signal: aborting.signal })) {
    positions.push(event.position);
    if (positions.length === 4) aborting.abort();
  }
  expect(positions).toEqual([11, 12, 13, 14]);
  expect(seen.map(({ query }) => query)).toEqual([
    { after: "10", types: "run.accepted,run.finished" },
    { after: "12", types: "run.accepted,run.finished" },
  ]);
});

test("leaving the iteration of events closes the connection", async () => {
  let closed: () => void = () => {};
  const isClosed = new Promise<void>((resolve) => {
    closed = resolve;
  });
  const { url } = await listen((_one, response) => {
    response.on("close", closed);
    response.writeHead(200, { "content-type": "text/event-stream" }).write(eventText(1));
  });
  for await (const event of clientOf(url).events()) if (event.position === 1) break;
  await isClosed;
});

test("events reject when the platform refuses or does not answer", async () => {
  const { url, server } = await listen((_seen, response) => send(response, 401, problem("UNAUTHENTICATED", 401)));
  const first = (client: Client): Promise<unknown> => client.events().next();
  expect(await caught(first(clientOf(url)))).toMatchObject({ code: "UNAUTHENTICATED", status: 401 });
  await new Promise((resolve) => server.close(resolve));
  expect(await caught(first(clientOf(url)))).toMatchObject({ code: "NOT_CONNECTED" });
});

test("events reject with NOT_CONNECTED when the platform goes and stays away", async () => {
  const { url, server } = await listen((_seen, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" }).write(eventText(1));
  });
  const events = clientOf(url, quickClock(), { retryForMs: 3_000 }).events();
  await events.next();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  expect(await caught(events.next())).toMatchObject({ code: "NOT_CONNECTED" });
});
