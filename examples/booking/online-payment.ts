import { check, fn } from "lockstep";
import * as z from "zod";
import { charge, isBooked } from "./bank.ts";
import { standings } from "./online-store.ts";
import { Charge, Receipt } from "./payments.ts";

/** Charges the card of an order. What it writes and puts is there when the call has completed, all of it or nothing. */
export const payOrder = fn(
  "pay-order",
  async ({ id, card, amount }, ctx) => {
    const receipt = charge(card, ctx.key, ctx.attempt);
    await ctx.objects.put("receipts", `${id}.json`, { id, receipt, amount });
    await ctx.state.table(standings).set(id, { status: "paid", amount, receipt });
    return { receipt, amount };
  },
  {
    input: Charge.extend({ id: z.string() }),
    output: Receipt,
    timeoutMs: 5_000,
    retry: { attempts: 3, backoff: { initialMs: 100 } },
    writes: ["orders/{id}"],
    // This, and nothing else.
    permissions: { state: ["orders/*"], objects: ["write:receipts/*"] },
    compensate: async (ctx, { input, output }) => {
      ctx.log.info(`refunded ${output.amount} of ${output.receipt}`);
      await ctx.state.table(standings).set(input.id, { status: "refused", why: "refunded" });
    },
    recover: (ctx, { failure, verdict, recoveries }) => {
      if (failure.code === "CARD_DECLINED") return ctx.compensate();
      // The bank may be back in a while. The order is stale until then.
      if (verdict.class === "storage-unavailable" && recoveries < 2) return ctx.retry({ afterMs: 2_000 });
      return ctx.escalate(`ask the bank whether it was paid: ${failure.message}`);
    },
  },
);

/** Believes the bank only when the payment can be read back. */
export const isPaid = check({
  watch: payOrder,
  test: (_execution, ctx) => {
    if (!isBooked(ctx.key)) throw new Error("the bank knows of no such payment");
  },
});
