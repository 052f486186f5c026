import { fn } from "lockstep";
import * as z from "zod";
import { charge } from "./bank.ts";

export const Charge = z.object({
  card: z.string().regex(/^\d{4}-\d{4}$/, "expected a card number such as 4242-4242"),
  amount: z.number().positive(),
});
export const Receipt = z.object({ receipt: z.string(), amount: z.number() });

/** Charges a card. */
export const payment = fn(
  "payment",
  ({ card, amount }, ctx) => {
    // A real bank takes ctx.key as its idempotency key, so an attempt whose answer was lost charges nothing twice.
    const receipt = charge(card, ctx.key, ctx.attempt);
    ctx.log.info(`charged ${amount} on attempt ${ctx.attempt}`);
    return { receipt, amount };
  },
  {
    input: Charge,
    output: Receipt,
    timeoutMs: 5_000,
    // `fail` lets the coordinator see that the attempts are used up and compensate; the default would suspend the run for an operator.
    retry: { attempts: 3, backoff: { initialMs: 100 }, onExhausted: "fail" },
    compensate: (ctx, { output }) => ctx.log.info(`refunded ${output.amount} of ${output.receipt}`),
  },
);
