import { coordinator, fn, TerminalError } from "lockstep";
import * as z from "zod";
import { payOrder } from "./online-payment.ts";
import { standings } from "./online-store.ts";
import { confirmOrder, selectItem } from "./orders.ts";

const OnlineOrder = z.object({ customer: z.string().min(1), item: z.string(), quantity: z.int().min(1), card: z.string() });

interface Put {
  object: { key: string };
}

/** `incoming/17.json` is order 17. */
const idOf = ({ object }: Put): string => object.key.replace(/^incoming\/|\.json$/g, "");

/** What the customer has done wrong, and no further attempt mends. */
const REFUSALS: ReadonlySet<string> = new Set(["ORDER_INVALID", "UNKNOWN_ITEM", "SOLD_OUT", "CARD_DECLINED"]);

/** Reads an order that was put, whatever it is, and refuses what is none. */
export const readOrder = fn("read-order", async ({ key }: { key: string }, ctx) => {
  const text = await (await ctx.objects.get("orders", key)).text();
  const order = OnlineOrder.safeParse(jsonOf(text));
  if (!order.success) throw new TerminalError(`${key} is no order`, { code: "ORDER_INVALID", details: order.error.issues });
  return order.data;
});

const jsonOf = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    // No JSON is no order, which the schema tells.
    return undefined;
  }
};

/**
 * An order that is put into the bucket is confirmed and paid, and how it stands is kept in the state store. Its functions recover what they
 * can; what is left is the customer's fault and refuses the order, or is ours and fails the run with everything undone.
 */
export const onlineOrder = coordinator(
  "online-order",
  async (ctx, put: Put) => {
    const { customer, item, quantity, card } = await ctx.call(readOrder, { key: put.object.key });
    const reservation = await ctx.call(selectItem, { item, quantity });
    await ctx.call(confirmOrder, { customer, reservation });
    const id = idOf(put);
    await ctx.state.table(standings).set(id, { status: "confirmed", amount: reservation.amount });
    return ctx.call(payOrder, { id, card, amount: reservation.amount });
  },
  {
    on: { object: { bucket: "orders", prefix: "incoming/", suffix: ".json" } },
    recover: async (ctx, { failure, run }) => {
      if (!REFUSALS.has(failure.code)) return ctx.compensate();
      await ctx.state.table(standings).set(idOf(run.input as Put), { status: "refused", why: failure.message });
      return ctx.resumeWith({ refused: failure.message });
    },
  },
);
