import { describe, expect, test } from "vitest";
import { CoordinatorPod, RUN } from "../../test/support/coordinator-pod.ts";
import type { CoordinatorContext } from "../application/context.ts";
import { coordinator } from "../application/definitions.ts";
import type { StandardSchemaV1 } from "../application/standard-schema.ts";
import type { Failure } from "../lib/errors.ts";
import type { JournalRecord } from "../protocol/run.ts";

const called = (seq: number, fn: string): JournalRecord => ({ t: "call", seq, at: 900, fn, version: "v1", input: "1" });
const done = (seq: number): JournalRecord => ({ t: "done", seq, at: 1_000 + seq, value: "7" });
const slept = (seq: number): JournalRecord => ({ t: "sleep", seq, at: 900, ms: 50, dueAt: 950 });

/** Rehearses a history against code, and gives all that the pod has said. */
const rehearse = async (
  history: JournalRecord[],
  handler: (ctx: CoordinatorContext) => Promise<unknown>,
  name = "it",
  input?: StandardSchemaV1<unknown, unknown>,
) => {
  const pod = new CoordinatorPod([coordinator("it", handler, input === undefined ? {} : { input })]);
  await pod.take({ t: "rehearse", run: RUN, name, input: "1", acceptedAt: 1, history });
  return pod.sent.map((message) =>
    message.t === "rehearsed" && message.failure !== "" ? (JSON.parse(message.failure) as Failure) : message,
  );
};

const fits = { t: "rehearsed", run: RUN, failure: "" };

describe("a rehearsal", () => {
  test("of code that does what the journal says tells that it replays, and nothing else", async () => {
    const steps: string[] = [];
    const said = await rehearse([called(1, "pay"), done(1), slept(2)], async (ctx) => {
      ctx.log.info("hello");
      await ctx.call("pay", 1);
      await ctx.sleep(50);
    });
    const beyond = await rehearse([called(1, "pay"), done(1)], async (ctx) => {
      await ctx.call("pay", 1);
      ctx.log.info("beyond");
      void ctx.call("ship", 1);
      await ctx.step("note", () => steps.push("executed"));
    });
    const ended = await rehearse([called(1, "pay"), done(1)], (ctx) => ctx.call("pay", 1));
    expect([said, beyond, ended, steps]).toEqual([[fits], [fits], [fits], []]);
  });

  test("of a run that has done nothing yet is not needed", async () => {
    let executed = false;
    const said = await rehearse([], async () => {
      executed = true;
    });
    expect([said, executed]).toEqual([[fits], false]);
  });

  test("names the step at which the code does something else", async () => {
    const said = await rehearse([called(1, "pay"), done(1), slept(2)], async (ctx) => {
      await ctx.call("pay", 1);
      await ctx.call("ship", 1);
    });
    expect(said).toMatchObject([{ code: "REPLAY_DIVERGED", message: expect.stringContaining("step 2"), details: { seq: 2 } }]);
  });

  test("notices what the code no longer does", async () => {
    const said = await rehearse([called(1, "pay"), done(1)], async () => 1);
    expect(said).toMatchObject([{ code: "REPLAY_DIVERGED", details: { seq: 1 } }]);
  });

  test("tells that the coordinator, or a recovery, does not exist any more", async () => {
    expect(await rehearse([], async () => 1, "other")).toMatchObject([{ code: "UNKNOWN_COORDINATOR" }]);
    expect(await rehearse([], async () => 1, "function/pay")).toMatchObject([
      { code: "UNKNOWN_COORDINATOR", message: expect.stringContaining("recovery") },
    ]);
  });

  test("tells of an input that the code takes no longer", async () => {
    const strict: StandardSchemaV1<unknown, unknown> = {
      "~standard": { version: 1, vendor: "test", validate: () => ({ issues: [{ message: "too little" }] }) },
    };
    const said = await rehearse([called(1, "pay"), done(1)], (ctx) => ctx.call("pay", 1), "it", strict);
    expect(said).toMatchObject([{ code: "REPLAY_DIVERGED", details: { seq: 1 } }]);
  });

  test("doesn't touch a run that lives in the same pod", async () => {
    const pod = new CoordinatorPod([coordinator("it", (ctx: CoordinatorContext) => ctx.call("pay", 1))]);
    await pod.begin("it");
    await pod.take({ t: "rehearse", run: RUN, name: "it", input: "1", acceptedAt: 1, history: [slept(1)] });
    await pod.deliver(done(1));
    expect(pod.commands().map(({ t }) => t)).toEqual(["call", "finish"]);
  });
});
