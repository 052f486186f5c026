import { fn } from "lockstep";

/** Adds one to a counter of the state store. The pods that execute it are killed, so that it needs many attempts. */
export const increment = fn(
  "increment",
  async (counter: number, ctx) => ctx.state.update<number>(`counters/${counter}`, (value = 0) => value + 1, {}),
  { retry: { attempts: 1_000, backoff: { initialMs: 2, maxMs: 50 } } },
);
