/** What objects start, and what these put in turn. */
import { bucket, fn } from "lockstep";

interface Put {
  object: { key: string; version: string };
}

export const soaked = bucket("soaked");

/** One run for each PUT of an order; what it puts starts the next, once. */
export const arrived = fn(
  "arrived",
  async ({ object: { key, version } }: Put, ctx) => {
    await ctx.state.update<number>(`arrivals/${version}`, (value = 0) => value + 1);
    await ctx.objects.put("soaked", `done/${version}`, { key });
    if (ctx.attempt === 1 && Number(version) % 8 === 0) throw new Error("after the put");
    return version;
  },
  { on: { object: { bucket: "soaked", prefix: "in/" } }, retry: { attempts: 8, backoff: { initialMs: 10 } } },
);

export const forwarded = fn("forwarded", ({ object: { key } }: Put) => key, { on: { object: { bucket: "soaked", prefix: "done/" } } });
