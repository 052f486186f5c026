import { coordinator, fn } from "lockstep";
import { type Standing, standings } from "./online-store.ts";

/** How an order stands. It is refused while the last writer's failure has left that in doubt. */
export const orderStatus = fn(
  "order-status",
  async (id: string, ctx) => (await ctx.state.table(standings).get(id)).value?.status ?? "unknown",
  {
    retry: { attempts: 1, onExhausted: "fail" },
  },
);

export const tellCustomer = fn("tell-customer", ({ order, text }: { order: string; text: string }, ctx) =>
  ctx.log.info(`${order}: ${text}`),
);

/** Tells the customer when an order stays in doubt. Most failures are over with the next attempt, and nobody needs to hear of them. */
export const orderDelayed = coordinator(
  "order-delayed",
  async (ctx, { key }: { key: string }) => {
    await ctx.sleep(1_000);
    const { freshness } = await ctx.state.get(key, { stale: "allow" });
    if (!freshness.stale) return "not delayed";
    await ctx.call(tellCustomer, { order: key, text: `your order takes longer: ${freshness.message}` });
    return "told";
  },
  { on: { stale: "orders/*" } },
);

/** At the end of each day: what was paid so far. Values in doubt don't count. */
export const takings = fn(
  "takings",
  async ({ scheduledAt }: { scheduledAt: number }, ctx) => {
    let amount = 0;
    let page = await ctx.state.list<Standing>("orders/");
    while (page.length > 0) {
      for (const { value, freshness } of page) if (value?.status === "paid" && !freshness.stale) amount += value.amount ?? 0;
      page = await ctx.state.list<Standing>("orders/", { after: page.at(-1)?.key ?? "" });
    }
    const day = new Date(scheduledAt).toISOString().slice(0, 10);
    await ctx.objects.put("receipts", `takings/${day}.json`, { amount });
    return { day, amount };
  },
  { on: { cron: "0 22 * * *", timezone: "Europe/Dublin" } },
);
