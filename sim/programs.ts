/** Random coordinators as data: one coordinator interprets them, and a model says what each must return whatever happens meanwhile. */
import type { CoordinatorContext } from "../src/index.ts";
import { CallError, coordinator, fn, TerminalError } from "../src/index.ts";
import type { Random } from "../src/lib/random.ts";
import { createRecoveries, type RecoveryOp, randomRecovery, recoveredOf } from "./recoveries.ts";

export type Op =
  | { op: "call" | "step" | "signal" | "refused"; label: string }
  | { op: "flaky"; label: string; failures: number }
  | { op: "sleep" | "race" | "withdrawn"; ms: number }
  | { op: "all" | "child" | "detached"; ops: Op[] }
  | { op: "recovery"; recovery: RecoveryOp };

/** What executions returned, by the call's key. */
export class Executions {
  readonly #results = new Map<string, string[]>();

  record(key: string, label: string): string {
    const results = this.#results.get(key) ?? [];
    this.#results.set(key, results);
    const result = `${label}#${results.length + 1}`;
    results.push(result);
    return result;
  }

  has(key: string, result: string): boolean {
    return this.#results.get(key)?.includes(result) ?? false;
  }
}

export const createApplication = (executions: Executions) => {
  const retry = { attempts: 4, backoff: { initialMs: 50, factor: 2, jitter: 0 } };
  const token = fn("token", (label: string, ctx) => executions.record(ctx.key, label), { retry });
  const flaky = fn(
    "flaky",
    ({ label, failures }: { label: string; failures: number }, ctx) => {
      if (ctx.attempt <= failures) throw new Error(`attempt ${ctx.attempt} of ${label}`);
      return executions.record(ctx.key, label);
    },
    { retry },
  );
  const refuse = fn("refuse", (label: string) => {
    throw new TerminalError(`${label} is refused`, { code: "REFUSED" });
  });
  const stuck = fn("stuck", (_: undefined) => "never", { timeoutMs: 86_400_000 });

  const recoveries = createRecoveries((key, label) => executions.record(key, label));

  const withdrawn = async (ctx: CoordinatorContext, ms: number): Promise<string> => {
    const controller = new AbortController();
    const call = ctx.call(stuck, undefined, { signal: controller.signal });
    await Promise.race([ctx.sleep(ms), call.catch(() => {})]);
    controller.abort();
    return call.catch((error: unknown) => codeOf(error));
  };

  const execute = async (ctx: CoordinatorContext, op: Op): Promise<unknown> => {
    switch (op.op) {
      case "call":
        return ctx.call(token, op.label);
      case "flaky":
        return ctx.call(flaky, { label: op.label, failures: op.failures });
      case "refused":
        return ctx.call(refuse, op.label).catch((error: unknown) => codeOf(error));
      case "step":
        return ctx.step(op.label, () => op.label);
      case "signal":
        return ctx.signal(op.label);
      case "sleep":
        return ctx.sleep(op.ms).then(() => "slept");
      case "race":
        return Promise.race([ctx.sleep(op.ms).then(() => "slept"), ctx.signal("never")]);
      case "withdrawn":
        return withdrawn(ctx, op.ms);
      case "all":
        return Promise.all(op.ops.map((inner) => execute(ctx, inner)));
      case "child":
        return ctx.run(program, op.ops);
      case "detached":
        await ctx.start(program, op.ops);
        return "started";
      case "recovery":
        return recoveries.execute(ctx, op.recovery);
    }
  };
  const program = coordinator("program", async (ctx, ops: Op[]): Promise<unknown> => {
    const results: unknown[] = [];
    for (const op of ops) results.push(await execute(ctx, op));
    return results;
  });
  return { token, flaky, refuse, stuck, program, ...recoveries.definitions };
};

// A cancelled run rejects everything that it awaits; that must end it and not be taken for a result.
const codeOf = (error: unknown): string => {
  if (error instanceof CallError && error.code !== "RUN_CANCELLED") return error.code;
  throw error;
};

/** What an operation returns, with the number of the execution left out of its tokens. */
export const expectedOf = (op: Op): unknown => {
  switch (op.op) {
    case "call":
    case "flaky":
    case "step":
    case "signal":
      return op.label;
    case "refused":
      return "REFUSED";
    case "sleep":
    case "race":
      return "slept";
    case "withdrawn":
      return "CALL_CANCELLED";
    case "all":
    case "child":
      return op.ops.map(expectedOf);
    case "detached":
      return "started";
    case "recovery":
      return recoveredOf(op.recovery);
  }
};

const LEAVES = ["call", "call", "call", "flaky", "step", "signal", "refused", "sleep", "race", "withdrawn"] as const;
const BRANCHES = ["all", "all", "child", "detached"] as const;
const DURATIONS = [0, 1, 20, 300, 4_000, 3_600_000];

const pick = <T>(random: Random, from: readonly T[]): T => from[random.below(from.length)] as T;

/** A random program of a few operations, nested at most `depth` deep. */
export const randomProgram = (random: Random, prefix: string, depth = 2): Op[] =>
  Array.from({ length: 1 + random.below(4) }, (_, i) => randomOp(random, `${prefix}.${i}`, depth));

const randomOp = (random: Random, label: string, depth: number): Op => {
  if (depth > 0 && random.next() < 0.3) return { op: pick(random, BRANCHES), ops: randomProgram(random, label, depth - 1) };
  if (random.next() < 0.3) return { op: "recovery", recovery: randomRecovery(random, label) };
  const op = pick(random, LEAVES);
  if (op === "flaky") return { op, label, failures: 1 + random.below(2) };
  if (op === "sleep" || op === "race" || op === "withdrawn") return { op, ms: pick(random, DURATIONS) };
  return { op, label };
};
