import { fn, TerminalError } from "lockstep";
import * as z from "zod";

/** Cards for trying things out: what this one's "bank" does depends on the number alone. */
const DECLINED = "4000-0000";
const SLOW_TO_ANSWER = "4000-0001";
const BANK_IS_DOWN = "4000-0002";

const Charge = z.object({
  card: z.string().regex(/^\d{4}-\d{4}$/, "expected a card number such as 4242-4242"),
  amount: z.number().positive(),
});
const Receipt = z.object({ receipt: z.string(), amount: z.number() });

/** Charges a card. */
export const payment = fn(
  "payment",
  async ({ card, amount }, ctx) => {
    if (card === DECLINED) throw new TerminalError("the bank declined the card", { code: "CARD_DECLINED" });
    if (card === BANK_IS_DOWN) throw new Error("the bank does not answer");
    // An ordinary error is tried again: this one goes away with the second attempt.
    if (card === SLOW_TO_ANSWER && ctx.attempt === 1) throw new Error("the bank did not answer in time");
    ctx.log.info(`charged ${amount} on attempt ${ctx.attempt}`);
    // A real bank takes ctx.key as its idempotency key, so an attempt whose answer was lost charges nothing twice.
    return { receipt: `receipt:${ctx.key}`, amount };
  },
  {
    input: Charge,
    output: Receipt,
    timeoutMs: 5_000,
    // `fail` lets the coordinator see that the attempts are used up and compensate; the default would suspend the run for an operator.
    retry: { attempts: 3, backoff: { initialMs: 100 }, onExhausted: "fail" },
  },
);

/** Undoes `payment`. */
export const refund = fn(
  "refund",
  ({ receipt, amount }, ctx) => {
    ctx.log.info(`refunded ${amount} of ${receipt}`);
  },
  { input: Receipt },
);
