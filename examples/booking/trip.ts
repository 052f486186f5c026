import type { CoordinatorContext } from "lockstep";
import { coordinator, TerminalError } from "lockstep";
import * as z from "zod";
import { bookFlight, bookHotel } from "./carriers.ts";
import { payment } from "./payments.ts";

const Trip = z.object({
  traveller: z.string().min(1),
  to: z.string().min(1),
  nights: z.int().min(1).max(30),
  card: z.string(),
  /** How long somebody has to approve. Default: a day. */
  approvalMs: z.number().min(1).default(86_400_000),
  /** The pause between approval and payment, in which it could still be cancelled. Default: a second. */
  coolingOffMs: z.number().min(0).default(1_000),
});

export type Trip = z.infer<typeof Trip>;

const Approval = z.object({ approved: z.boolean(), by: z.string().default("somebody") });

/**
 * Books flight and hotel at the same time, waits for a person's approval, sleeps, and pays. It may wait for days: meanwhile it is only a row in
 * the journal. When one booking fails, nobody approves, or the run is cancelled, what was booked is given back.
 */
export const trip = coordinator(
  "trip",
  async (ctx, { traveller, to, nights, card, approvalMs, coolingOffMs }: Trip) => {
    const journey = { traveller, to, nights };
    try {
      const [flight, hotel] = await Promise.all([ctx.call(bookFlight, journey), ctx.call(bookHotel, journey)]);
      const approvedBy = await approval(ctx, approvalMs);
      await ctx.sleep(coolingOffMs);
      const { receipt, amount } = await ctx.call(payment, { card, amount: flight.amount + hotel.amount });
      return { flight: flight.reference, hotel: hotel.reference, approvedBy, receipt, amount };
    } catch (error) {
      ctx.log.warn("giving back what was booked:", (error as Error).message);
      // Also waits for a booking that is still under way, and gives that back too.
      await ctx.compensate();
      throw error;
    }
  },
  { input: Trip },
);

const approval = async (ctx: CoordinatorContext, timeoutMs: number): Promise<string> => {
  // What a signal carries comes from outside, so it is checked here.
  const answer = Approval.safeParse(await ctx.signal("approve", { timeoutMs }));
  if (!answer.success)
    throw new TerminalError("the approval is not understood", { code: "APPROVAL_INVALID", details: answer.error.issues });
  if (!answer.data.approved) throw new TerminalError(`${answer.data.by} did not approve`, { code: "NOT_APPROVED" });
  return answer.data.by;
};
