import { type FunctionContext, fn, TerminalError } from "lockstep";
import * as z from "zod";

const Journey = z.object({ traveller: z.string().min(1), to: z.string().min(1), nights: z.int().min(1).max(30) });
const Booked = z.object({ reference: z.string(), amount: z.number() });

const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });

const cancel = (ctx: FunctionContext, { output }: { output: z.infer<typeof Booked> }): void =>
  ctx.log.info(`cancelled ${output.reference}`);

/** Books a seat there and back. No airline of this example flies to Atlantis. */
export const bookFlight = fn(
  "book-flight",
  async ({ traveller, to }, ctx) => {
    await pause(100, ctx.signal);
    if (to === "Atlantis") throw new TerminalError("nobody flies to Atlantis", { code: "NO_FLIGHT" });
    ctx.log.info(`a seat to ${to} for ${traveller}`);
    return { reference: `flight:${ctx.key}`, amount: 180 };
  },
  { input: Journey, output: Booked, compensate: cancel },
);

/** Books a room. */
export const bookHotel = fn(
  "book-hotel",
  async ({ traveller, to, nights }, ctx) => {
    await pause(100, ctx.signal);
    ctx.log.info(`${nights} nights in ${to} for ${traveller}`);
    return { reference: `hotel:${ctx.key}`, amount: 75 * nights };
  },
  { input: Journey, output: Booked, compensate: cancel },
);
