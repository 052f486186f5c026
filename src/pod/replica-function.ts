import type { FunctionDefinition } from "../application/context.ts";
import { LockstepError } from "../lib/errors.ts";
import { isUndo } from "../protocol/undo.ts";
import { loadBundle } from "./bundle.ts";
import { compensate, isThenable, run } from "./function-host.ts";
import type { OperationContext } from "./replica-operation.ts";
import type { Replicated } from "./replica-runner.ts";
import { applyStateful } from "./replica-stateful.ts";

/**
 * Loads a bundle and finds in it what is to be replicated.
 * @throws {LockstepError} APPLICATION_INVALID, UNKNOWN_FUNCTION
 */
export const replicatedOf = (path: string, name: string): Replicated => {
  const definition = loadBundle(path).functions.get(name);
  if (definition === undefined) throw new LockstepError("UNKNOWN_FUNCTION", `this version has no function "${name}"`);
  return replicated(definition);
};

const replicated = (definition: FunctionDefinition): Replicated => {
  const { name, stateful } = definition;
  if (stateful === undefined) return { kind: "stateless", name, handle: (input, context) => handle(definition, input, context) };
  return {
    kind: "stateful",
    name,
    initial: (key) => stateful.initial(key) as unknown,
    apply: (state, input, context) => applyStateful(definition, state, input, context),
  };
};

/** A compensation's input is the input and output of what it undoes, and what it returns means nothing. */
const handle = (definition: FunctionDefinition, input: unknown, context: OperationContext): unknown => {
  if (!isUndo(context.operation.id)) return run(definition, input, context);
  const done = input as { input?: unknown; output?: unknown };
  const undone = compensate(definition, done.input, JSON.stringify(done.output) ?? "", context);
  return isThenable(undone) ? undone.then(() => undefined) : undefined;
};
