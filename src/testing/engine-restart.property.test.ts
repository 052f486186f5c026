/** Coordinators drawn at random, restarted from each of their commands on the whole platform in memory. */
import fc from "fast-check";
import { type CoordinatorContext, coordinator, fn, TerminalError } from "lockstep";
import { createTestPlatform } from "lockstep/testing";
import { expect, test } from "vitest";

type Deed =
  | { t: "call"; ms: number; fails?: boolean }
  | { t: "sleep"; ms: number }
  | { t: "step" }
  | { t: "child" }
  | { t: "signal"; ms: number }
  | { t: "state" }
  | { t: "compensate" }
  | { t: "all"; of: Deed[] };

const DELAYS = [0, 5, 20, 50];
const ms = fc.constantFrom(...DELAYS);
const simple: fc.Arbitrary<Deed> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ t: fc.constant("call" as const), ms, fails: fc.constantFrom(false, false, false, true) }) },
  { weight: 1, arbitrary: fc.record({ t: fc.constant("sleep" as const), ms }) },
  { weight: 1, arbitrary: fc.constant({ t: "step" as const }) },
  { weight: 1, arbitrary: fc.constant({ t: "child" as const }) },
  { weight: 1, arbitrary: fc.record({ t: fc.constant("signal" as const), ms }) },
  { weight: 1, arbitrary: fc.constant({ t: "state" as const }) },
  { weight: 1, arbitrary: fc.constant({ t: "compensate" as const }) },
);
const deed: fc.Arbitrary<Deed> = fc.oneof(
  { weight: 3, arbitrary: simple },
  { weight: 2, arbitrary: fc.array(simple, { minLength: 2, maxLength: 4 }).map((of): Deed => ({ t: "all", of })) },
);

const executed: string[] = [];

/** One function for each time that calls may take, so that those made together end in any order. */
const works = new Map(
  DELAYS.map((delay) => [
    delay,
    fn(
      `work${delay}`,
      async ({ fails, tag }: { fails: boolean; tag: string }, ctx) => {
        executed.push(ctx.key);
        if (fails) throw new TerminalError("it fails");
        return tag;
      },
      { compensate: (ctx) => void executed.push(ctx.key) },
    ),
  ]),
);
const inner = coordinator("inner", async (ctx, tag: string) => {
  await ctx.sleep(10);
  return tag;
});

const perform = async (ctx: CoordinatorContext, one: Deed): Promise<unknown> => {
  const tag = `${ctx.uuid()} ${ctx.now()}`;
  switch (one.t) {
    case "call":
      return ctx.call(`work${one.ms}`, { fails: one.fails === true, tag }).catch(() => "failed");
    case "sleep":
      return ctx.sleep(one.ms);
    case "step":
      return ctx.step("step", () => tag);
    case "child":
      return ctx.run(inner, tag);
    case "signal":
      return ctx.signal("never", { timeoutMs: one.ms }).catch(() => "no signal");
    case "state":
      return ctx.state.set("notes/1", tag);
    case "compensate":
      return ctx.compensate();
    case "all":
      return Promise.all(one.of.map((each) => perform(ctx, each)));
  }
};

const play = coordinator("play", async (ctx, deeds: Deed[]) => {
  const results: unknown[] = [];
  for (const each of deeds) results.push(await perform(ctx, each));
  return results.length;
});

const COMMANDS = ["call", "sleep", "signal", "step", "child", "state", "compensate"];

test("a run restarted from any of its commands goes on from there, and does nothing again that it reuses", {
  timeout: 120_000,
}, async () => {
  let total = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(deed, { minLength: 1, maxLength: 4 }), fc.boolean(), fc.nat(), async (deeds, crashes, pick) => {
      executed.length = 0;
      await using t = await createTestPlatform({ application: [...works.values(), inner, play], patienceMs: 20 });
      for (const [delay, work] of works) if (delay > 0) t.delay(work, delay);
      const old = await t.start(play, deeds);
      expect(await old.result()).toBe(deeds.length);
      const commands = (await old.journal()).flatMap((record) => (COMMANDS.includes(record.t) && "seq" in record ? [record] : []));
      const from = commands[pick % commands.length]?.seq as number;
      await t.advance(1_000);
      const begun = t.now();
      const { run, reused } = await old.restart({ from });
      if (crashes) await t.crash();
      expect(await run.outcome()).toMatchObject({ status: "completed", value: deeds.length });

      const journal = await run.journal();
      const taken = journal.flatMap((record) => (record.t === "done" && record.at < begun ? [record.seq] : []));
      expect(reused).toBe(taken.filter((seq) => seq > 0).length);
      const again = new Set(executed.filter((key) => key.startsWith(run.id)));
      for (const seq of taken) expect(again.has(`${run.id}/${seq}`)).toBe(false);
      total += reused;
      // What the old run asked for before that, the new one has asked for too, and in the same way.
      const cut = journal[0]?.t === "restarted" ? (journal[0].from ?? 1) : 0;
      for (const command of commands) {
        if (command.t !== "call" || command.seq >= cut) continue;
        expect(journal.find((record) => record.t === "call" && record.seq === command.seq)).toMatchObject({ input: command.input });
      }
      expect((await t.audit()).repaired).toBe(0);
    }),
    { numRuns: 80 },
  );
  expect(total).toBeGreaterThan(80);
});
