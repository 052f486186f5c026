/** The client against the real gateway: that both mean the same. */
import { expect, test } from "vitest";
import { open } from "../../test/support/gateway.ts";
import { certificateText } from "../consensus/certificate.ts";
import { LockstepError } from "../lib/errors.ts";
import { testCertificate, testSet } from "../testing/certificates.ts";
import { createClient, RunError } from "./index.ts";

const connected = async (options: Parameters<typeof open>[0] = {}) => {
  const running = await open(options);
  return { ...running, client: createClient({ url: running.gateway.url, ...options }) };
};

test("starts, waits, acts and looks", async () => {
  const { plane, client } = await connected();
  const run = await client.start("booking", { item: "hat" }, { key: "k", priority: 2 });
  expect(await client.start("booking", { item: "hat" }, { key: "k" })).toMatchObject({ id: run.id, existing: true });
  const waiting = run.result();
  await run.signal("approve", { by: "Ada" });
  await run.signal("go");
  await run.cancel();
  plane.settle(run.id, { status: "completed", value: '{"order":1}' });
  expect(await waiting).toEqual({ order: 1 });
  expect(await run.get()).toMatchObject({ id: run.id, status: "completed", input: { item: "hat" }, value: { order: 1 }, key: "k" });
  plane.records = [{ t: "signalled", name: "go", at: 5, value: "" }];
  expect(await run.journal()).toEqual([{ t: "signalled", name: "go", at: 5 }]);
  const certificate = testCertificate(testSet(), [{ operation: `${run.id}/1/1` }]);
  plane.records = [
    { t: "call", seq: 1, at: 5, fn: "pay", version: "v", input: "" },
    { t: "done", seq: 1, at: 6, attempt: 1, value: "", certificate: certificateText(certificate) },
  ];
  expect(await run.certificates()).toEqual([{ call: 1, function: "pay", at: 6, certificate }]);
  expect(plane.asked.filter(([method]) => ["start", "signal", "cancel"].includes(method))).toEqual([
    ["start", expect.objectContaining({ kind: "coordinator", name: "booking", input: '{"item":"hat"}', key: "k", priority: 2 })],
    ["start", expect.anything()],
    ["signal", run.id, "approve", '{"by":"Ada"}'],
    ["signal", run.id, "go", ""],
    ["cancel", run.id, expect.objectContaining({ reason: "cancelled by request" })],
  ]);
});

test("decides for suspended runs, one or many, and restarts them", async () => {
  const { plane, client } = await connected();
  const run = client.run(await plane.put("coordinator", "booking"));
  const suspend = () => plane.settle(run.id, { status: "suspended", failure: { code: "X", message: "no" } });
  suspend();
  expect(await client.retryRuns({ function: "pay", since: new Date(5), dryRun: true })).toMatchObject([
    { run: run.id, functions: ["pay"] },
  ]);
  await run.resolve({ retry: true, input: { amount: 5 }, call: 3, by: "ada" });
  suspend();
  await run.resolve({ value: null });
  suspend();
  await run.resolve({ fail: "enough" });
  await expect(run.resolve({ retry: true })).rejects.toMatchObject({ code: "RUN_NOT_SUSPENDED" });
  const { run: next, reused } = await run.restart({ from: 3 });
  expect([reused, (await next.get()).name]).toEqual([2, "booking"]);
  expect((await run.restart()).reused).toBe(0);
  expect(plane.asked.filter(([method]) => ["repair", "resolve", "restart"].includes(method))).toEqual([
    ["repair", { function: "pay", since: 5 }, true],
    ["resolve", run.id, { action: "retry", value: '{"amount":5}', call: 3 }, "ada"],
    ["resolve", run.id, { action: "value", value: "null" }, "api"],
    ["resolve", run.id, { action: "fail", reason: "enough" }, "api"],
    ["resolve", run.id, { action: "retry" }, "api"],
    ["restart", run.id, 3],
    ["restart", run.id, undefined],
  ]);
});

test("a call that fails rejects with what the platform tells", async () => {
  const { plane, client } = await connected();
  const start = plane.start.bind(plane);
  plane.start = async (request) => {
    const accepted = await start(request);
    plane.settle(accepted.id, { status: "failed", failure: { code: "CARD_DECLINED", message: "no", terminal: true } });
    return accepted;
  };
  const error = await client.call("pay", 1).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(RunError);
  expect(error).toMatchObject({ code: "CARD_DECLINED", status: "failed", failure: { terminal: true } });
  plane.failing.start = new LockstepError("EXPRESSION_INVALID", "expected a number", { details: { position: 2 } });
  await expect(client.eval("1+")).rejects.toMatchObject({ code: "EXPRESSION_INVALID", status: 422, details: { position: 2 } });
});

test("lists, deploys and reads views", async () => {
  const { plane, client } = await connected();
  const first = await plane.put("expression", "1+2");
  await plane.put("function", "pay");
  const names: string[] = [];
  for await (const run of client.runs({ status: ["running", "failed"], since: new Date(0), limit: 1 })) names.push(run.name);
  expect(names).toEqual(["1+2", "pay"]);
  expect((await client.runPage({ limit: 1 })).runs[0]?.id).toBe(first);
  expect((await client.pods()).map(({ id }) => id)).toEqual(["pod-1", "pod-2", "pod-3"]);
  expect((await client.layers())[0]?.function).toBe("pay");
  expect((await client.triggers()).map(({ name }) => name)).toEqual(["nightly", "import"]);
  expect((await client.applications())[0]?.application).toBe("shop");
  expect(await client.logs({ function: "pay", limit: 5 })).toHaveProperty("next");
  // The gateway computes the version itself and refuses another one.
  await expect(client.deploy({ application: "shop", version: "0000000000000000", code: "x" })).rejects.toMatchObject({
    code: "BAD_REQUEST",
  });
});

test("events are followed from the beginning, from a position, or from now on, by type", async () => {
  const { plane, client } = await connected();
  plane.emit({ type: "run.accepted", run: "r1", kind: "function", name: "pay" }, { type: "run.resumed", run: "r1", name: "pay" });
  const from = async (after: number | "latest", types?: ["run.resumed"]): Promise<number> => {
    const events = client.events(types === undefined ? { after } : { after, types });
    const next = events.next();
    if (after === "latest") await expect.poll(() => plane.listeners.size).toBe(1);
    if (after === "latest") plane.emit({ type: "run.resumed", run: "r2", name: "pay" });
    const { value } = await next;
    await events.return();
    return value?.position ?? 0;
  };
  expect(await from(0)).toBe(1);
  expect(await from(1)).toBe(2);
  expect(await from(0, ["run.resumed"])).toBe(2);
  await expect.poll(() => plane.listeners.size).toBe(0);
  expect(await from("latest")).toBe(3);
});

test("a platform that wants an API key refuses a client without it", async () => {
  const { gateway, client } = await connected({ apiKey: "secret" });
  expect(await client.pods()).toHaveLength(3);
  const error = await createClient({ url: gateway.url, apiKey: "wrong" })
    .pods()
    .catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code: "UNAUTHENTICATED", status: 401 });
});
