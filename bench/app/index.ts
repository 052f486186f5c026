/** The application that the benches drive: functions that do next to nothing, so that what is measured is the platform. */
import { bucket, coordinator, fn } from "lockstep";

export const increment = fn("increment", (x: number) => x + 1);

/** The same with a read and a write of the state store. */
export const remember = fn("remember", async (x: number, ctx) => {
  const { value = 0 } = await ctx.state.get<number>(`numbers/${x}`);
  await ctx.state.set(`numbers/${x}`, value + 1);
  return x + 1;
});

/** The same, certified by four replicas. */
export const certified = fn("certified", (x: number) => x + 1, { trust: "quorum" });

export const double = fn("double", (x: number) => x * 2);

/** Two calls; the second consumes what the first returned. */
export const chain2 = coordinator("chain2", async (ctx, input: { x: number }) => ctx.call(double, await ctx.call(increment, input.x)));

/** Ten calls, each consuming what the one before returned. */
export const chain10 = coordinator("chain10", async (ctx, input: { x: number }) => {
  let value = input.x;
  for (let i = 0; i < 5; i++) value = await ctx.call(double, await ctx.call(increment, value));
  return value;
});

/** 32 calls at once, and the sum of their results. */
export const fan32 = coordinator("fan32", async (ctx, input: { x: number }) => {
  const values = await Promise.all(Array.from({ length: 32 }, (_, i) => ctx.call(increment, input.x + i)));
  return values.reduce((sum, value) => sum + value, 0);
});

/** `calls` calls at once, and the sum of their results: what calls cost when HTTP is only at the start. */
export const inside = coordinator("inside", async (ctx, input: { calls: number }) => {
  const values = await Promise.all(Array.from({ length: input.calls }, (_, i) => ctx.call(increment, i)));
  return values.reduce((sum, value) => sum + value, 0);
});

/** `calls` calls in batches, then a wait: a long journal to replay. */
export const long = coordinator("long", async (ctx, input: { calls: number }) => {
  for (let made = 0; made < input.calls; made += 100) {
    await Promise.all(Array.from({ length: Math.min(100, input.calls - made) }, (_, i) => ctx.call(increment, made + i)));
  }
  return ctx.signal<number>("go");
});

/** Tells when it has begun, on the machine's clock, in milliseconds with fractions. */
export const arrived = fn(
  "arrived",
  (event: { object: { key: string } }) => ({ key: event.object.key, startedAt: performance.timeOrigin + performance.now() }),
  { on: { object: { bucket: "bench-incoming" } } },
);

export const quiet = bucket("bench-quiet");
