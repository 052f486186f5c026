import type { PodExit } from "../cluster/port.ts";
import type { Failure } from "../lib/errors.ts";

/** What the death of its pod means for a call that it executed. */
export const lostFailure = (pod: string, exit: PodExit): Failure => {
  if (exit.memory) return { code: "OUT_OF_MEMORY", message: `${pod} ran out of memory`, details: detailsOf(exit) };
  if (exit.reason === "hung") return { code: "POD_LOST", message: `${pod} hung and was ended`, details: detailsOf(exit) };
  return { code: "POD_LOST", message: `${pod} died: ${exit.detail}`, details: detailsOf(exit) };
};

const detailsOf = (exit: PodExit): Record<string, unknown> =>
  exit.output === "" ? { reason: exit.reason } : { reason: exit.reason, output: exit.output };
