import type { PodExit } from "../cluster/port.ts";
import type { Failure } from "../lib/errors.ts";

/** What the death of its pod means for a call that it executed. */
export const lostFailure = (pod: string, exit: PodExit): Failure => {
  if (exit.memory) return { code: "OUT_OF_MEMORY", message: `${pod} ran out of memory`, details: detailsOf(exit) };
  if (exit.reason === "hung") return { code: "POD_LOST", message: `${pod} hung and was ended`, details: detailsOf(exit) };
  return { code: "POD_LOST", message: `${pod} died: ${exit.detail}`, details: detailsOf(exit) };
};

/** Whether a pod's end says nothing of the code in it: it did not start, was taken for one that hangs, or was killed from outside. */
export const isOfPlatform = ({ reason, memory, detail }: PodExit): boolean =>
  !memory && reason !== "over-memory" && (reason !== "exited" || detail === "signal SIGKILL");

const detailsOf = (exit: PodExit): Record<string, unknown> =>
  exit.output === "" ? { reason: exit.reason } : { reason: exit.reason, output: exit.output };
