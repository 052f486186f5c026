import type { CheckDefinition, CheckedExecution, FunctionContext } from "../application/context.ts";
import { type Failure, failureOf } from "../lib/errors.ts";
import type { CallMetrics, LogLine } from "../protocol/run.ts";

const DEFAULT_TIMEOUT_MS = 10_000;

export interface Checked {
  input: unknown;
  output: unknown;
  metrics: Pick<CallMetrics, "durationMs" | "cpuMs" | "memoryMb">;
  lines: readonly LogLine[];
}

/** The checks of each function that have a test. */
export const checksByFunction = (checks: Iterable<CheckDefinition>): Map<string, CheckDefinition[]> => {
  const byFunction = new Map<string, CheckDefinition[]>();
  for (const check of checks) {
    if (check.options.test === undefined) continue;
    const { name } = check.options.watch;
    byFunction.set(name, [...(byFunction.get(name) ?? []), check]);
  }
  return byFunction;
};

/** Asks each check in turn. Gives the failure of the first that isn't content. */
export const runChecks = async (
  checks: readonly CheckDefinition[],
  checked: () => CheckedExecution,
  ctx: FunctionContext,
  after: (ms: number, callback: () => void) => () => void,
): Promise<Failure | undefined> => {
  for (const { name, options } of checks) {
    const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    try {
      const verdict = await inTime(() => options.test?.(checked(), ctx), timeoutMs, after);
      if (verdict === LATE) return checkFailure(name, `did not answer within ${timeoutMs} ms`);
      if (verdict === false) return checkFailure(name, "returned false");
    } catch (error) {
      const { stack: _, ...cause } = failureOf(error, "ERROR");
      return { ...checkFailure(name, `threw: ${cause.message}`), cause, ...(cause.terminal ? { terminal: true } : {}) };
    }
  }
  return undefined;
};

const LATE = Symbol("late");

const inTime = async (test: () => unknown, ms: number, after: (ms: number, callback: () => void) => () => void): Promise<unknown> => {
  let cancel = (): void => {};
  const late = new Promise<typeof LATE>((resolve) => {
    cancel = after(ms, () => resolve(LATE));
  });
  try {
    return await Promise.race([test(), late]);
  } finally {
    cancel();
  }
};

const checkFailure = (check: string, what: string): Failure => ({
  code: "CHECK_FAILED",
  message: `check "${check}" ${what}`,
  details: { check },
});
