/**
 * The application of the case study: an order is put into a bucket, confirmed and paid, and what became of it is kept in the state store.
 * Each order may name a fault, and `payment` then has it: not simulated, but by doing what fails (`faults.ts`).
 */
import { bucket, check, coordinator, fn, table } from "lockstep";
import * as z from "zod";
import { charge, entryOf, LEDGER_REPLICA, Order, Payable, type Receipt } from "./faults.ts";

export const incoming = bucket("orders");
export const archive = bucket("archive");
/** Not for `payment`: its definition lists what it may touch. */
export const payroll = bucket("payroll");

const Standing = z.object({ status: z.enum(["confirmed", "paid", "set-aside", "withdrawn", "rejected"]), by: z.string() });
type Standing = z.infer<typeof Standing>;

export const orders = table<Standing>("orders", { schema: Standing });

const once = { attempts: 1 };

/** Reads an order as it was put, whatever it is. */
export const readOrder = fn("read-order", async ({ key }: { key: string }, ctx) => (await ctx.objects.get("orders", key)).json());

export const confirmOrder = fn(
  "confirm-order",
  async (order: Order, ctx) => {
    await ctx.state.table(orders).set(order.id, { status: "confirmed", by: "confirm-order" });
    return { id: order.id };
  },
  {
    input: Order,
    retry: once,
    compensate: async (ctx, { output }) => ctx.state.table(orders).set(output.id, { status: "withdrawn", by: "compensation" }),
  },
);

/** Writes into the ledger, a store of another company, and keeps a receipt. */
export const payment = fn(
  "payment",
  async (order: Payable, ctx): Promise<Receipt> => {
    const receipt = await charge(order, ctx);
    await ctx.state.table(orders).set(order.id, { status: "paid", by: "payment" });
    return receipt;
  },
  {
    input: Payable,
    timeoutMs: 2_000,
    retry: once,
    memoryMb: 48,
    writes: ["orders/{id}"],
    permissions: { objects: ["read:orders/*", "write:*"], state: ["orders/*"] },
    recover: async (ctx, { verdict, call, failure }) => {
      const order = call?.input as Order;
      if (order.fault === "recovery-fails") throw new Error("the recovery itself is broken");
      switch (verdict.class) {
        case "resource-not-found":
          return ctx.retry({ input: { ...order, archive: "archive" } });
        case "invocation":
          return ctx.retry({ input: { ...order, currency: "EUR" } });
        case "storage-unavailable":
          return ctx.retry({ afterMs: 200 });
        case "timeout":
          return ctx.retry({ input: { ...order, ledger: LEDGER_REPLICA } });
        case "check-failed":
          return ctx.retry();
        case "permission":
          return ctx.compensate();
        case "execution":
          await ctx.state.table(orders).set(order.id, { status: "set-aside", by: "recovery" });
          return ctx.resumeWith({ receipt: "none", why: failure.message });
        default:
          return ctx.escalate(`the payment of ${order.id} failed: ${failure.message}`);
      }
    },
  },
);

/** Whether the payment can be read back from the ledger. */
export const paid = check({
  watch: payment,
  timeoutMs: 1_000,
  test: async ({ input }) => {
    const answer = await fetch(entryOf(input));
    if (!answer.ok) throw new Error(`the ledger has no payment ${input.id} although it was written`);
  },
});

export const rejectOrder = fn("reject-order", async ({ key, id, why }: { key: string; id: string; why: string }, ctx) => {
  await ctx.objects.copy({ bucket: "orders", key }, { bucket: "orders", key: key.replace("incoming/", "rejected/") });
  await ctx.state.table(orders).set(id, { status: "rejected", by: why });
});

export const order = coordinator(
  "order",
  async (ctx, { object }: { object: { key: string } }) => {
    // Whatever was put: the functions check what they are given.
    const placed = (await ctx.call(readOrder, { key: object.key })) as Payable;
    await ctx.call(confirmOrder, placed);
    return ctx.call(payment, placed);
  },
  {
    on: { object: { bucket: "orders", prefix: "incoming/", suffix: ".json" } },
    recover: async (ctx, { failure, verdict, run }) => {
      if (verdict.class !== "invocation") return ctx.fail(new Error(failure.message));
      const { key } = (run.input as { object: { key: string } }).object;
      const id = key.replace(/^incoming\/|\.json$/g, "");
      await ctx.call(rejectOrder, { key, id, why: "recovery" });
      return ctx.resumeWith({ rejected: id, why: failure.message });
    },
  },
);

/** The reader of the paper's second case: it must never take what a failed writer has left for the truth. */
export const readStanding = fn(
  "read-standing",
  async (id: string, ctx) => (await ctx.state.table(orders).get(id)).value?.status ?? "none",
  {
    retry: { ...once, onExhausted: "fail" },
  },
);
