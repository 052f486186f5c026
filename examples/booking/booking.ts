import { coordinator } from "lockstep";
import * as z from "zod";
import { confirmOrder, selectItem } from "./orders.ts";
import { payment } from "./payments.ts";

const Order = z.object({
  customer: z.string().min(1),
  item: z.string(),
  quantity: z.int().min(1).default(1),
  card: z.string(),
});

export type Order = z.infer<typeof Order>;

/**
 * Select an item, confirm the order, pay. When a step fails for good, or the run is cancelled, those before it are compensated, the last first,
 * and the run ends with what went wrong. Each line that awaits is durable: after a crash the run goes on behind the last one that completed.
 */
export const booking = coordinator(
  "booking",
  async (ctx, { customer, item, quantity, card }: Order) => {
    try {
      const reservation = await ctx.call(selectItem, { item, quantity });
      const { order } = await ctx.call(confirmOrder, { customer, reservation });
      const { receipt, amount } = await ctx.call(payment, { card, amount: reservation.amount });
      return { order, receipt, amount, bookedAt: ctx.now() };
    } catch (error) {
      ctx.log.warn("undoing what was done:", (error as Error).message);
      await ctx.compensate();
      throw error;
    }
  },
  { input: Order },
);
