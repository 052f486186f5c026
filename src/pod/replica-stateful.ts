import type { FunctionContext, FunctionDefinition, ReplicaContext, StateMachine } from "../application/context.ts";
import { stateKeyOf } from "../application/state-key.ts";
import { LockstepError } from "../lib/errors.ts";
import { isUndo } from "../protocol/undo.ts";
import { isThenable, run } from "./function-host.ts";
import { validate } from "./validate.ts";

type OperationContext = FunctionContext &
  ReplicaContext & { input: unknown; readonly operation: { readonly id: string; readonly key: string } };

/** What a stateful function's operation came to. */
interface Applied {
  state: unknown;
  value: unknown;
}

type Machine = StateMachine<unknown, unknown, unknown>;

/**
 * Applies one operation: input and result are held to the definition's schemas, as those of any function; the state is the machine's own. A
 * compensation (its input is `{ input, output }` of what it undoes) changes the state by the machine's `compensate`.
 * @throws what these throw; {LockstepError} INPUT_INVALID when the input is not of this operation's key, OUTPUT_INVALID when no state is given
 */
export const applyStateful = (definition: FunctionDefinition, state: unknown, input: unknown, context: OperationContext): unknown => {
  const machine = definition.stateful as Machine;
  const isCompensation = isUndo(context.operation.id);
  checkKey(definition, isCompensation ? (input as { input: unknown }).input : input, context.operation.key);
  if (isCompensation) return compensate(definition, state, input as { input: unknown; output: unknown }, context);
  let next: unknown;
  const keep = (applied: unknown): unknown => {
    next = withState(definition.name, "apply", applied).state;
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

/** Whoever submits an operation says which state it concerns, and the certificate says it too: it has to be what the input says. */
const checkKey = ({ name, stateful }: FunctionDefinition, input: unknown, key: string): void => {
  const path = stateful?.key;
  if (stateKeyOf(path, input) === key) return;
  const field = path ?? "key";
  throw terminal(
    "INPUT_INVALID",
    `the input of function "${name}" is invalid: ${field}, its state's key, must be a text of 1 to 1,000 characters, a number or a boolean`,
    {
      issues: [{ field, message: "must be a text of 1 to 1,000 characters, a number or a boolean" }],
    },
  );
};

const compensate = (
  { name, stateful, options }: FunctionDefinition,
  state: unknown,
  done: { input: unknown; output: unknown },
  context: OperationContext,
): unknown => {
  const undo = (stateful as Machine).compensate;
  if (undo === undefined) throw terminal("UNKNOWN_FUNCTION", `function "${name}" has no compensate`);
  const keep = (applied: unknown): Applied => ({ state: withState(name, "compensate", applied).state, value: undefined });
  const undone = (input: unknown): unknown => {
    const applied: unknown = undo(state, { input, output: done.output }, context);
    return isThenable(applied) ? Promise.resolve(applied).then(keep) : keep(applied);
  };
  const checked = validate(options.input, done.input, "INPUT_INVALID", `the input of function "${name}"`);
  return isThenable(checked) ? checked.then(undone) : undone(checked);
};

/** A state that was forgotten in a `return` would be lost. */
const withState = (name: string, by: string, applied: unknown): { state: unknown } => {
  if (typeof applied === "object" && applied !== null && (applied as Applied).state !== undefined) return applied as Applied;
  throw terminal("OUTPUT_INVALID", `${by} of function "${name}" must return { state }, and gave none`);
};

const terminal = (code: "INPUT_INVALID" | "OUTPUT_INVALID" | "UNKNOWN_FUNCTION", message: string, details?: unknown): LockstepError =>
  Object.assign(new LockstepError(code, message, details === undefined ? {} : { details: details as Record<string, unknown> }), {
    terminal: true,
  });
