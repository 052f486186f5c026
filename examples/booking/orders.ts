import { fn, TerminalError } from "lockstep";
import * as z from "zod";

const stock: Record<string, { pricePerUnit: number; available: number }> = {
  "city-tour": { pricePerUnit: 25, available: 40 },
  "day-pass": { pricePerUnit: 60, available: 8 },
  museum: { pricePerUnit: 12, available: 200 },
};

const Selection = z.object({ item: z.string(), quantity: z.int().min(1) });
const Reservation = z.object({ reservation: z.string(), item: z.string(), quantity: z.int(), amount: z.number() });
const Confirmation = z.object({ order: z.string() });

/** Reserves a quantity of an item, and gives it back when it is compensated. */
export const selectItem = fn(
  "select-item",
  ({ item, quantity }, ctx) => {
    const offer = stock[item];
    // More attempts would find the same shelf: a TerminalError is never retried.
    if (offer === undefined)
      throw new TerminalError(`there is no item "${item}"`, { code: "UNKNOWN_ITEM", details: { offered: Object.keys(stock) } });
    if (offer.available < quantity) {
      throw new TerminalError(`only ${offer.available} of "${item}" are left`, {
        code: "SOLD_OUT",
        details: { available: offer.available },
      });
    }
    ctx.log.info(`reserved ${quantity} × ${item}`);
    // ctx.key is the same in every attempt of this call, so a second attempt reserves nothing twice.
    return { reservation: `reservation:${ctx.key}`, item, quantity, amount: quantity * offer.pricePerUnit };
  },
  { input: Selection, output: Reservation, compensate: (ctx, { output }) => ctx.log.info(`released ${output.reservation}`) },
);

/** Turns a reservation into an order of a customer. */
export const confirmOrder = fn(
  "confirm-order",
  ({ customer, reservation }, ctx) => {
    ctx.log.info(`${customer} orders ${reservation.quantity} × ${reservation.item} for ${reservation.amount}`);
    return { order: `order:${ctx.key}` };
  },
  {
    input: z.object({ customer: z.string().min(1), reservation: Reservation }),
    output: Confirmation,
    compensate: (ctx, { output }) => ctx.log.info(`withdrew ${output.order}`),
  },
);
