import { coordinator } from "lockstep";
import * as z from "zod";
import { confirmOrder, releaseItem, selectItem, withdrawOrder } from "./orders.ts";
import { payment } from "./payments.ts";

const Order = z.object({
  customer: z.string().min(1),
  item: z.string(),
  quantity: z.int().min(1).default(1),
  card: z.string(),
});

export type Order = z.infer<typeof Order>;

/**
 * Select an item, confirm the order, pay. When a step fails for good, those before it are undone in reverse order, and the run fails with what
 * went wrong. Each line that awaits is durable: after a crash the run goes on behind the last one that completed.
 */
export const booking = coordinator(
  "booking",
  async (ctx, { customer, item, quantity, card }: Order) => {
    const undo: (() => Promise<unknown>)[] = [];
    try {
      const reservation = await ctx.call(selectItem, { item, quantity });
      undo.push(() => ctx.call(releaseItem, { reservation: reservation.reservation }));

      const { order } = await ctx.call(confirmOrder, { customer, reservation });
      undo.push(() => ctx.call(withdrawOrder, { order }));

      const { receipt, amount } = await ctx.call(payment, { card, amount: reservation.amount });
      return { order, receipt, amount, bookedAt: ctx.now() };
    } catch (error) {
      ctx.log.warn(`undoing ${undo.length} steps:`, (error as Error).message);
      for (const step of undo.reverse()) await step();
      throw error;
    }
  },
  { input: Order },
);
