import type { Failure } from "../lib/errors.ts";
import type { Json } from "../lib/json.ts";
import type { Command } from "../protocol/run.ts";

/** What decides the next commands of a run inside the control plane: our code only, never the user's. */
export interface Driver {
  start(): Command[];
  resolve(seq: number, outcome: { value?: Json; failure?: Failure }): Command[];
}

/** The driver of a run that is a single call of a function. */
export const createDirectRun = (fn: string, input: Json): Driver => ({
  start: () => [{ t: "call", seq: 1, fn, input }],
  resolve: (_seq, { value, failure }) => [failure === undefined ? { t: "finish", value: value ?? "" } : { t: "finish", failure }],
});
