import type { FunctionContext, FunctionDefinition, ReplicaContext, StateMachine } from "../application/context.ts";
import { LockstepError } from "../lib/errors.ts";
import { isThenable, run } from "./function-host.ts";

type OperationContext = FunctionContext & ReplicaContext & { input: unknown };

/** What a stateful function's operation came to. */
interface Applied {
  state: unknown;
  value: unknown;
}

/**
 * Applies one operation: input and result are held to the definition's schemas, as those of any function; the state is the machine's own.
 * @throws what `apply` throws; {LockstepError} OUTPUT_INVALID when it gives no state
 */
export const applyStateful = (definition: FunctionDefinition, state: unknown, input: unknown, context: OperationContext): unknown => {
  const machine = definition.stateful as StateMachine<unknown, unknown, unknown>;
  let next: unknown;
  const keep = (applied: unknown): unknown => {
    next = checked(definition.name, applied).state;
    return (applied as Applied).value;
  };
  const handler = (given: unknown): unknown => {
    const applied: unknown = machine.apply(state, given, context);
    return isThenable(applied) ? Promise.resolve(applied).then(keep) : keep(applied);
  };
  const value = run({ ...definition, handler }, input, context);
  const both = (settled: unknown): Applied => ({ state: next, value: settled });
  return isThenable(value) ? value.then(both) : both(value);
};

/** A state that was forgotten in a `return` would be lost. */
const checked = (name: string, applied: unknown): Applied => {
  if (typeof applied === "object" && applied !== null && (applied as Applied).state !== undefined) return applied as Applied;
  const error = new LockstepError("OUTPUT_INVALID", `apply of function "${name}" must return { state, value }, and gave no state`);
  throw Object.assign(error, { terminal: true });
};
