/** Functions and coordinators of which tests can see, and hold up, every step: by files in a folder that the input names. */
import { appendFileSync, existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type CallError, coordinator, fn, TerminalError } from "lockstep";

export interface Gate {
  folder: string;
  name: string;
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Says that it has started, by the file `<name>.<attempt>.started`, and answers once `<name>.open` is there. */
export const hold = fn(
  "hold",
  async ({ folder, name }: Gate, ctx) => {
    writeFileSync(join(folder, `${name}.${ctx.attempt}.started`), String(process.pid));
    while (!existsSync(join(folder, `${name}.open`))) {
      ctx.signal.throwIfAborted();
      await pause(5);
    }
    return { attempt: ctx.attempt, pid: process.pid, key: ctx.key };
  },
  { timeoutMs: 30_000 },
);

export const increment = fn("increment", (x: number) => x + 1);

export const nap = fn("nap", async (ms: number) => {
  await pause(ms);
  return ms;
});

export const slowAdd = fn("add", async ([a = 0, b = 0]: number[]) => {
  await pause(100);
  return a + b;
});

export const pidOf = fn("pid", () => process.pid);

export const holding = coordinator("holding", async (ctx, gate: Gate) => {
  const before = await ctx.call(increment, 1);
  const held = await ctx.call(hold, gate);
  return { before, held, after: await ctx.call(increment, before) };
});

/** The coordinator itself is held up, inside a durable step. */
export const stepping = coordinator("stepping", async (ctx, { folder, name }: Gate) => {
  const first = await ctx.call(increment, 1);
  const note = (what: string): void => appendFileSync(join(folder, `${name}.steps`), `${what}\n`);
  await ctx.step("before", () => note("before"));
  const pid = await ctx.step("held", async () => {
    writeFileSync(join(folder, `${name}.started.${process.pid}`), "");
    while (!existsSync(join(folder, `${name}.open`))) await pause(5);
    return process.pid;
  });
  return { first, pid, last: await ctx.call(increment, first), time: ctx.now(), id: ctx.uuid() };
});

export const approval = coordinator("approval", async (ctx, input: { x: number }) => {
  const x = await ctx.call(increment, input.x);
  const answer = await ctx.signal<{ by: string }>("approve");
  return { x: await ctx.call(increment, x), by: answer.by };
});

export const napping = coordinator("napping", async (ctx, input: { ms: number }) => {
  const x = await ctx.call(increment, 1);
  await ctx.sleep(input.ms);
  return ctx.call(increment, x);
});

export const child = coordinator("child", async (ctx, input: { x: number; ms: number }) => {
  await ctx.sleep(input.ms);
  return ctx.call(increment, input.x);
});

export const parent = coordinator("parent", async (ctx, input: { children: number; ms: number }) => {
  const results = await Promise.all(Array.from({ length: input.children }, (_, x) => ctx.run(child, { x, ms: input.ms })));
  return results.reduce((sum, result) => sum + result, 0);
});

/** Fails until `<name>.open` is there. */
export const unready = fn(
  "unready",
  ({ folder, name }: Gate, ctx) => {
    if (!existsSync(join(folder, `${name}.open`))) throw new Error("not ready");
    return ctx.attempt;
  },
  { retry: { attempts: 2, backoff: { initialMs: 5 } } },
);

export const persevering = coordinator("persevering", async (ctx, gate: Gate) => [
  await ctx.call(increment, 1),
  await ctx.call(unready, gate),
]);

export const refuse = fn("refuse", () => {
  throw new TerminalError("no", { code: "MY_OWN" });
});

/** A little of everything: calls at once, a step, a failure that is caught, a sleep, a signal, a child. */
export const tour = coordinator("tour", async (ctx, { folder }: { folder: string }) => {
  const [a, b] = await Promise.all([ctx.call(increment, 1), ctx.call(increment, 2)]);
  const noted = await ctx.step("note", () => {
    appendFileSync(join(folder, "notes"), `${process.pid}\n`);
    return 1;
  });
  const caught = await ctx.call(refuse, undefined).catch((error: CallError) => error.code);
  await ctx.sleep(30);
  const more = await ctx.signal<number>("go");
  const result = await ctx.run(child, { x: a + b + 2, ms: 10 });
  return { sum: a + b + more + 3, noted, caught, child: result };
});
