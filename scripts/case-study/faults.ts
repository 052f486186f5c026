/**
 * What can go wrong in `payment`, by really doing it. Before it fails, a fault tells the study's observer, so that the time from the failure
 * to its verdict is measured between two processes and not taken from what the platform says of itself.
 */
import type { FunctionContext } from "lockstep";
import * as z from "zod";

export const Order = z.object({
  id: z.string().min(1),
  customer: z.string().min(1),
  amount: z.number().positive(),
  /** How the shop is configured. */
  currency: z.string(),
  /** Where payments are written, and where paid orders are kept. */
  ledger: z.url(),
  archive: z.string().default("archive"),
  /** Where the observer listens. */
  observer: z.url(),
  fault: z.string().optional(),
});

export type Order = z.infer<typeof Order>;

/** What can be paid: the ledger knows two currencies. */
export const Payable = Order.extend({ currency: z.enum(["EUR", "CHF"]) });

export type Payable = z.infer<typeof Payable>;

export interface Receipt {
  receipt: string;
}

/** The observer's second ledger, which has no faults. */
export const LEDGER_REPLICA = "replica:";

const LEDGER_PATIENCE_MS = 300;

export const charge = async (order: Order, ctx: FunctionContext): Promise<Receipt> => {
  await beforeFailing(order, ctx);
  await FAULTS[order.fault ?? ""]?.(order, ctx);
  const write = await fetch(entryOf(order), {
    method: "PUT",
    headers: { "idempotency-key": ctx.key },
    body: `${order.amount} ${order.currency}`,
    signal: AbortSignal.timeout(LEDGER_PATIENCE_MS),
  });
  if (!write.ok) throw Object.assign(new Error(`the ledger answered ${write.status}`), { status: write.status });
  await ctx.objects.copy({ bucket: "orders", key: `incoming/${order.id}.json` }, { bucket: order.archive, key: `${order.id}.json` });
  return { receipt: `receipt:${ctx.key}` };
};

/** Where the payment of an order stands in its ledger. */
export const entryOf = ({ ledger, observer, id }: Order): string =>
  `${ledger === LEDGER_REPLICA ? `${observer}/ledger` : ledger}/payments/${id}`;

const beforeFailing = async ({ observer, id, fault }: Order, ctx: FunctionContext): Promise<void> => {
  if (fault !== undefined) await fetch(`${observer}/attempts/${id}?attempt=${ctx.attempt}`, { method: "POST" });
};

const FAULTS: Record<string, ((order: Order, ctx: FunctionContext) => unknown) | undefined> = {
  "type-error": (order) => (order as unknown as { payer: { card: string } }).payer.card.length,
  "access-denied": (_order, ctx) => ctx.objects.get("payroll", "salaries.json"),
  "pod-killed": (_order, ctx) => ctx.attempt === 1 && process.kill(process.pid, "SIGKILL"),
  "out-of-memory": (_order, ctx) => ctx.attempt === 1 && devour(),
  hang: (_order, ctx) => {
    // Never yields: nothing but the end of the process stops it.
    while (ctx.attempt === 1);
  },
  "recovery-fails": () => JSON.parse("{").never,
};

const devour = (): number => {
  const eaten: number[][] = [];
  for (;;) eaten.push(new Array<number>(100_000).fill(eaten.length));
};
