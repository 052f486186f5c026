import { createHmac } from "node:crypto";
import { bucket, coordinator, fn, type LockstepError } from "lockstep";
import type { CrashPoint, TestApplication } from "lockstep/testing";
import { createTestPlatform, type TestPlatform } from "lockstep/testing";
import { afterEach, describe, expect, test, vi } from "vitest";
import type { HookRequest } from "../protocol/control-plane.ts";
import type { RunSummary } from "../protocol/run.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const START_MS = Date.UTC(2026, 0, 1);

let t: TestPlatform;
afterEach(async () => {
  expect((await t.audit()).repaired).toBe(0);
  await t.stop();
});

const begin = async (application: TestApplication, startMs = START_MS): Promise<void> => {
  t = await createTestPlatform({ application, startMs });
};

/** All runs of a definition, the first first. */
const runsOf = async (name: string): Promise<RunSummary[]> =>
  (await t.ask((plane) => plane.runs({ name }, 1_000))).runs.sort((a, b) => (a.id < b.id ? -1 : 1));

const inputOf = async (run: RunSummary): Promise<unknown> => JSON.parse((await t.ask((plane) => plane.run(run.id))).input);

const inputsOf = async (name: string): Promise<unknown[]> => Promise.all((await runsOf(name)).map(inputOf));

const ticksOf = async (name: string): Promise<number[]> =>
  ((await inputsOf(name)) as { scheduledAt: number }[]).map(({ scheduledAt }) => scheduledAt);

const minutes = (from: number, to: number, step = 1): number[] => {
  const ticks: number[] = [];
  for (let minute = from; minute <= to; minute += step) ticks.push(START_MS + minute * MINUTE_MS);
  return ticks;
};

describe("a schedule", () => {
  const every = (cron: string, more: object = {}) => fn("tick", (_: { scheduledAt: number }) => undefined, { on: { cron, ...more } });

  test("starts a run at each tick, with the tick's time", async () => {
    await begin([every("*/5 * * * *")]);
    await t.advance(20 * MINUTE_MS);
    expect(await ticksOf("tick")).toEqual(minutes(5, 20, 5));
    expect((await runsOf("tick")).map(({ acceptedAt, status }) => [acceptedAt, status])).toEqual(
      minutes(5, 20, 5).map((at) => [at, "completed"]),
    );
  });

  test("starts coordinators too, and counts seconds when it has six fields", async () => {
    await begin([coordinator("tick", async () => 1, { on: { cron: "*/20 * * * * *" } })]);
    await t.advance(MINUTE_MS);
    expect(await ticksOf("tick")).toEqual([20_000, 40_000, 60_000].map((ms) => START_MS + ms));
  });

  test("keeps to its time zone when clocks change", async () => {
    await begin([every("30 2 * * *", { timezone: "Europe/Berlin" })], Date.UTC(2026, 2, 27, 12));
    await t.advance(3 * 24 * HOUR_MS);
    // On the 29th there is no 2:30; at 3:00 summer time it is made up for.
    expect(await ticksOf("tick")).toEqual([Date.UTC(2026, 2, 28, 1, 30), Date.UTC(2026, 2, 29, 1, 0), Date.UTC(2026, 2, 30, 0, 30)]);
  });

  test("happens once in an hour that happens twice", async () => {
    await begin([every("30 2 * * *", { timezone: "Europe/Berlin" })], Date.UTC(2026, 9, 24, 12));
    await t.advance(2 * 24 * HOUR_MS);
    expect(await ticksOf("tick")).toEqual([Date.UTC(2026, 9, 25, 0, 30), Date.UTC(2026, 9, 26, 1, 30)]);
  });

  test.each([
    ["latest", [60], minutes(60, 65, 5)],
    ["all", [10, 60], minutes(5, 65, 5)],
    ["none", [], minutes(65, 65, 5)],
  ] as const)("that was missed while the platform was down is caught up with: %s", async (catchUp, _, expected) => {
    await begin([every("*/5 * * * *", { catchUp })]);
    await t.crash({ downMs: 62 * MINUTE_MS });
    await t.advance(5 * MINUTE_MS);
    expect(await ticksOf("tick")).toEqual(expected);
  });

  test("whose missed ticks are many is caught up with in pieces, in order", async () => {
    await begin([every("* * * * *", { catchUp: "all" })]);
    await t.crash({ downMs: 350 * MINUTE_MS });
    await t.advance(MINUTE_MS);
    expect(await ticksOf("tick")).toEqual(minutes(1, 351));
  });

  test.each<CrashPoint>(["before", "after"])(
    "misses and doubles nothing when the control plane dies %s each commit in turn",
    async (point) => {
      for (let commits = 1, crashed = true; crashed; commits++) {
        // Every two seconds: between ticks that are minutes apart the platform's upkeep alone takes so long that a busy machine gives up.
        await begin([every("*/2 * * * * *", { catchUp: "all" })]);
        t.crashAtCommit(commits, point);
        await t.advance(10_000);
        const ticks = [2, 4, 6, 8, 10].map((second) => START_MS + second * 1_000);
        expect(await ticksOf("tick"), `crash ${point} commit ${commits}`).toEqual(ticks);
        crashed = t.crashes > 0;
        if (crashed) await t.stop();
        else expect(commits).toBeGreaterThan(10);
      }
    },
  );

  test("that a new version has too goes on; one that is changed starts afresh, also when it comes back", async () => {
    await begin([every("*/10 * * * *", { catchUp: "all" })]);
    await t.advance(15 * MINUTE_MS);
    await t.deploy([every("*/10 * * * *", { catchUp: "all" }), fn("other", () => 1)]);
    await t.advance(10 * MINUTE_MS);
    expect(await ticksOf("tick")).toEqual(minutes(10, 20, 10));
    const [, second] = await runsOf("tick");
    expect(second?.version).toBe(
      t.controlPlane.triggers().length === 1 ? (await t.ask((plane) => plane.applications())).find(({ current }) => current)?.version : "",
    );
    await t.deploy([every("*/3 * * * *", { catchUp: "all" })]);
    await t.advance(30 * MINUTE_MS);
    await t.deploy([every("*/10 * * * *", { catchUp: "all" })]);
    await t.advance(10 * MINUTE_MS);
    expect(await ticksOf("tick")).toEqual([...minutes(10, 20, 10), ...minutes(27, 54, 3), ...minutes(60, 60)]);
  });

  test("that was changed, and changed back, starts afresh after a crash too", async () => {
    await begin([every("*/10 * * * *", { catchUp: "all" })]);
    await t.advance(15 * MINUTE_MS);
    await t.deploy([every("0 0 1 1 *")]);
    await t.advance(30 * MINUTE_MS);
    await t.deploy([every("*/10 * * * *", { catchUp: "all" })]);
    await t.crash();
    await t.advance(10 * MINUTE_MS);
    expect(await ticksOf("tick")).toEqual([...minutes(10, 10), ...minutes(50, 50)]);
  });

  test("is no longer there when a version has none", async () => {
    await begin([every("* * * * *")]);
    await t.advance(2 * MINUTE_MS);
    await t.deploy([fn("tick", () => 1)]);
    await t.advance(10 * MINUTE_MS);
    expect(await ticksOf("tick")).toHaveLength(2);
    expect(t.controlPlane.triggers()).toEqual([]);
  });

  test("is shown with its next tick and its last run", async () => {
    await begin([every("*/5 * * * *", { timezone: "UTC" })]);
    const view = { kind: "function", name: "tick", application: "application", trigger: { cron: "*/5 * * * *", timezone: "UTC" } };
    expect(t.controlPlane.triggers()).toEqual([{ ...view, next: START_MS + 5 * MINUTE_MS }]);
    await t.advance(6 * MINUTE_MS);
    await t.crash();
    const [run] = await runsOf("tick");
    expect(t.controlPlane.triggers()).toEqual([
      { ...view, next: START_MS + 10 * MINUTE_MS, last: { at: START_MS + 5 * MINUTE_MS, run: run?.id } },
    ]);
  });

  test("that never comes is refused", async () => {
    await begin([every("*/5 * * * *")]);
    await expect(t.deploy([every("0 0 30 2 *")])).rejects.toMatchObject({ code: "APPLICATION_INVALID", details: { field: "on.cron" } });
  });
});

describe("an event", () => {
  const work = fn("work", (n: number) => n + 1);

  test("starts what listens to it, with the event as the input", async () => {
    const seen = fn("seen", (_: unknown) => undefined, { on: { event: "run.finished", where: { name: "work", status: "completed" } } });
    await begin([work, seen]);
    await t.call(work, 1);
    await t.advance(1_000);
    const [{ id }] = (await runsOf("work")) as [RunSummary];
    expect(await inputsOf("seen")).toEqual([
      { at: START_MS, type: "run.finished", run: id, name: "work", status: "completed", durationMs: expect.any(Number) },
    ]);
  });

  test("starts a definition once, however many of its triggers fit", async () => {
    const seen = fn("seen", (_: unknown) => undefined, {
      on: [{ event: ["run.*", "run.finished"], where: { name: "work" } }, { event: "run.finished" }],
    });
    await begin([work, seen]);
    await t.call(work, 1);
    await t.advance(1_000);
    expect((await inputsOf("seen")).map((input) => (input as { type: string }).type)).toEqual(["run.accepted", "run.finished"]);
  });

  test("whose fields differ starts nothing", async () => {
    const on = { event: "run.finished", where: { status: "failed", "failure.code": "X" } } as const;
    await begin([work, fn("seen", (_: unknown) => undefined, { on })]);
    await t.call(work, 1);
    await t.advance(1_000);
    expect(await runsOf("seen")).toEqual([]);
  });

  test("of what it has started does not start it again", async () => {
    const child = coordinator("child", async () => 1);
    const watcher = coordinator("watcher", async (ctx) => ctx.run(child, undefined), { on: { event: ["run.*", "call.*"] } });
    await begin([work, child, watcher]);
    await t.call(work, 1);
    await t.advance(HOUR_MS);
    // Once for the acceptance and once for the end of the one run that a client has started.
    expect(await runsOf("watcher")).toHaveLength(2);
  });

  test("of a chain that comes back to where it was starts nothing more", async () => {
    const ping = fn("ping", (_: unknown) => undefined, { on: { event: "run.finished", where: { name: "pong" } } });
    const pong = fn("pong", (_: unknown) => undefined, { on: { event: "run.finished", where: { name: "ping" } } });
    await begin([ping, pong]);
    await t.call(ping, {});
    await t.advance(HOUR_MS);
    expect([(await runsOf("ping")).length, (await runsOf("pong")).length]).toEqual([2, 1]);
  });

  test.each<CrashPoint>(["before", "after"])(
    "and the run that it starts are one: the control plane dies %s each commit in turn",
    async (point) => {
      const seen = fn("seen", (_: unknown) => undefined, { on: { event: "run.finished", where: { name: "work" } } });
      for (let commits = 1, crashed = true; crashed; commits++) {
        await begin([work, seen]);
        t.crashAtCommit(commits, point);
        const runs = await Promise.all([1, 2, 3].map((n) => t.start(work, n, { key: `k${n}` })));
        for (const run of runs) expect(await run.result()).toBeGreaterThan(1);
        await t.advance(MINUTE_MS);
        const started = ((await inputsOf("seen")) as { run: string }[]).map(({ run }) => run).sort();
        expect(started, `crash ${point} commit ${commits}`).toEqual(runs.map(({ id }) => id).sort());
        // The event is there exactly when its run is, and once.
        const finished = (await t.events()).filter((event) => event.type === "run.finished" && event.name === "work");
        expect(finished).toHaveLength(3);
        crashed = t.crashes > 0;
        if (crashed) await t.stop();
      }
    },
  );
});

const bytesOf = async function* (text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
};

const put = (key: string, text = "{}"): Promise<unknown> => t.ask((plane) => plane.objects.put("orders", key, bytesOf(text), {}));

type Put = { object: { key: string; version: string } };

describe("a PUT", () => {
  const seen = fn("seen", ({ object }: Put) => object.key, { on: { object: { bucket: "orders", prefix: "in/", suffix: ".json" } } });

  test("starts a run, with what was put; also when the key is put again", async () => {
    await begin([seen]);
    await put("in/a.json");
    await put("in/a.txt");
    await put("out/a.json");
    await put("in/a.json", "[]");
    await t.advance(1_000);
    expect(await inputsOf("seen")).toEqual([
      { at: START_MS, type: "object.put", object: expect.objectContaining({ bucket: "orders", key: "in/a.json", size: 2 }) },
      { at: START_MS, type: "object.put", object: expect.objectContaining({ key: "in/a.json" }) },
    ]);
    const versions = ((await inputsOf("seen")) as Put[]).map(({ object }) => object.version);
    expect(new Set(versions).size).toBe(2);
    expect((await runsOf("seen")).every(({ status }) => status === "completed")).toBe(true);
  });

  test.each<CrashPoint>(["before", "after"])(
    "and its run are one, in the order of its key: death %s each commit in turn",
    async (point) => {
      for (let commits = 1, crashed = true; crashed; commits++) {
        await begin([seen]);
        t.crashAtCommit(commits, point);
        for (const text of ["1", "22", "333"]) {
          for (const key of ["in/a.json", "in/b.json"]) await put(key, text);
        }
        await t.advance(MINUTE_MS);
        const events = (await t.events()).filter((event) => event.type === "object.put") as unknown as Put[];
        const inputs = (await inputsOf("seen")) as Put[];
        const told = (all: Put[]): string[] => all.map(({ object }) => `${object.key} ${object.version}`);
        // A PUT that died unanswered was asked for again: it may be there twice, but each with its run, and in order.
        expect(told(inputs), `crash ${point} commit ${commits}`).toEqual(told(events));
        expect(inputs.length).toBeGreaterThanOrEqual(6);
        crashed = t.crashes > 0;
        if (crashed) await t.stop();
      }
    },
  );

  test("of a function starts a run when its call commits, and none when it fails", async () => {
    let attempts = 0;
    const writer = fn("writer", async (_: number, ctx) => {
      await ctx.objects.put("orders", "in/w.json", { n: ++attempts });
      if (attempts < 3) throw new Error("not yet");
      return attempts;
    });
    await begin([seen, writer]);
    expect(await t.call(writer, 1)).toBe(3);
    await t.advance(1_000);
    const [writing] = (await runsOf("writer")) as [RunSummary];
    expect(await inputsOf("seen")).toEqual([expect.objectContaining({ run: writing.id })]);
  });

  test("may start what puts again, but not for ever: where it ends is an event", async () => {
    const again = fn(
      "again",
      async ({ object }: Put, ctx) => void (await ctx.objects.put("orders", object.key, { from: object.version })),
      { on: { object: { bucket: "orders" } } },
    );
    await begin([again]);
    await put("a");
    await t.advance(HOUR_MS);
    // The client's PUT begins the chain; 16 links follow.
    expect(await runsOf("again")).toHaveLength(17);
    const refused = (await t.events()).filter((event) => event.type === "trigger.refused");
    expect(refused).toMatchObject([{ kind: "function", name: "again", event: "object.put", reason: expect.stringContaining("16 runs") }]);
  });

  test("chains are remembered over crashes, and forgotten when they end", async () => {
    const again = coordinator(
      "again",
      async (ctx, { object }: Put) => {
        await ctx.sleep(1_000);
        await ctx.run(child, object);
      },
      { on: { object: { bucket: "orders" } } },
    );
    const writer = fn("writer", async (object: Put["object"], ctx) => void (await ctx.objects.put("orders", object.key, {})));
    const child = coordinator("child", async (ctx, object: Put["object"]) => ctx.call(writer, object));
    await begin([again, writer, child, bucket("orders")]);
    await put("a");
    for (let i = 0; i < 40; i++) {
      await t.crash();
      await t.advance(700);
    }
    await t.advance(HOUR_MS);
    expect(await runsOf("again")).toHaveLength(17);
  });
});

describe("a key that becomes stale", () => {
  const save = fn(
    "save",
    async (id: string, ctx): Promise<void> => {
      await ctx.state.set(`orders/${id}`, 1);
      throw new Error("the disk is gone");
    },
    { retry: { attempts: 1, onExhausted: "fail" } },
  );

  test("starts a run, with who failed to write it", async () => {
    const repair = fn("repair", (event: { key: string }) => event.key, { on: { stale: "orders/*" } });
    await begin([save, repair]);
    const run = await t.start(save, "1");
    await expect(run.result()).rejects.toThrow();
    await t.advance(1_000);
    expect(await inputsOf("repair")).toEqual([
      {
        at: START_MS,
        type: "state.stale",
        application: "application",
        key: "orders/1",
        stale: expect.objectContaining({ run: run.id, function: "save", fault: "execution" }),
      },
    ]);
  });
});

describe("a webhook", () => {
  const hooked = fn("hooked", (hook: { body: unknown }) => hook.body, { on: { http: { path: "orders/new" } } });
  const request = (more: Partial<HookRequest> = {}): HookRequest => ({
    method: "POST",
    path: "orders/new",
    query: {},
    headers: { "content-type": "application/json" },
    body: Buffer.from('{"id":7}'),
    ...more,
  });
  const send = (more: Partial<HookRequest> = {}): Promise<{ runs: string[] }> => t.ask((plane) => plane.hook(request(more)));
  const codeOf = async (sent: Promise<unknown>): Promise<string> =>
    sent.then(
      () => "none",
      (error: unknown) => (error as LockstepError).code,
    );

  test("starts all that listens at its path, once it is durable", async () => {
    await begin([hooked, coordinator("also", async (_, hook: { body: unknown }) => hook.body, { on: { http: { path: "orders/new" } } })]);
    const { runs } = await send({ query: { a: "1" } });
    await t.advance(1_000);
    const [first, second] = await Promise.all(runs.map((id) => t.ask((plane) => plane.run(id))));
    expect([first?.name, first?.value, second?.name, second?.value]).toEqual(["also", '{"id":7}', "hooked", '{"id":7}']);
    expect(JSON.parse(first?.input ?? "")).toEqual({
      method: "POST",
      path: "orders/new",
      query: { a: "1" },
      headers: { "content-type": "application/json" },
      body: { id: 7 },
    });
  });

  test("at another path, or by another method, is refused", async () => {
    await begin([hooked]);
    expect([await codeOf(send({ path: "orders" })), await codeOf(send({ method: "PUT" }))]).toEqual([
      "UNKNOWN_ROUTE",
      "METHOD_NOT_ALLOWED",
    ]);
    await t.deploy([fn("hooked", () => 1)]);
    expect(await codeOf(send())).toBe("UNKNOWN_ROUTE");
  });

  test("with a signature is taken only when it fits, and from the version's own secret", async () => {
    const on = { http: { path: "orders/new", signature: { secretEnv: "LOCKSTEP_TEST_SECRET" } } };
    await begin([fn("signed", () => 1, { on }), hooked]);
    const signature = createHmac("sha256", "hush").update('{"id":7}').digest("hex");
    const headers = { "content-type": "application/json", "x-signature-256": signature };
    expect(await codeOf(send({ headers }))).toBe("SIGNATURE_INVALID");
    vi.stubEnv("LOCKSTEP_TEST_SECRET", "hush");
    expect(await codeOf(send())).toBe("SIGNATURE_INVALID");
    expect(await runsOf("hooked")).toEqual([]);
    expect((await send({ headers })).runs).toHaveLength(2);
    vi.unstubAllEnvs();
  });

  test.each<CrashPoint>(["before", "after"])(
    "that is delivered again starts nothing: the control plane dies %s each commit in turn",
    async (point) => {
      for (let commits = 1, crashed = true; crashed; commits++) {
        await begin([hooked, fn("also", () => 1, { on: { http: { path: "orders/new" } } })]);
        t.crashAtCommit(commits, point);
        const first = await send({ headers: { "webhook-id": "msg_1", date: "today" } });
        // Its headers are others, but it is the same delivery.
        const second = await send({ headers: { "webhook-id": "msg_1", date: "tomorrow" } });
        expect(second, `crash ${point} commit ${commits}`).toEqual(first);
        const other = await send({ headers: { "webhook-id": "msg_2" } });
        expect(other.runs.filter((run) => first.runs.includes(run))).toEqual([]);
        await t.advance(1_000);
        expect([(await runsOf("hooked")).length, (await runsOf("also")).length]).toEqual([2, 2]);
        crashed = t.crashes > 0;
        if (crashed) await t.stop();
      }
    },
  );

  test("is refused when too much is under way", async () => {
    t = await createTestPlatform({ application: [hooked], limits: { maxLiveRuns: 0 } });
    expect(await codeOf(send())).toBe("OVERLOADED");
  });

  test("whose path another application has is refused at the deployment", async () => {
    await begin([hooked]);
    const other = fn("other", () => 1, { on: { http: { path: "orders/new" } } });
    await expect(t.deploy([other], "another")).rejects.toMatchObject({ code: "NAME_TAKEN" });
  });
});
