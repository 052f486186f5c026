import { bucket, table } from "lockstep";
import * as z from "zod";

/** Orders are put here, under `incoming/`. */
export const orders = bucket("orders");

export const receipts = bucket("receipts");

const Standing = z.object({
  status: z.enum(["confirmed", "paid", "refused"]),
  amount: z.number().optional(),
  receipt: z.string().optional(),
  why: z.string().optional(),
});

export type Standing = z.infer<typeof Standing>;

/** How each order stands. A key whose writer has failed is stale, and readers are told instead of being misled. */
export const standings = table<Standing>("orders", { schema: Standing });
