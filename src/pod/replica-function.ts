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

/**
 * The same for replicas that have a state already: what can't be loaded, or keeps no state, is a function that throws the reason, so that the
 * order goes on, each replica comes to the same, and a later version finds the state as it was.
 */
export const statefulOf = (path: string, name: string): Replicated => {
  try {
    const found = replicatedOf(path, name);
    if (found.kind === "stateful") return found;
    return failing(name, new LockstepError("APPLICATION_INVALID", `function "${name}" keeps no state in this version`));
  } catch (error) {
    return failing(name, error);
  }
};

/** One whose every operation fails with this. */
export const failing = (name: string, error: unknown): Replicated => {
  const fail = (): never => {
    throw error;
  };
  return { kind: "stateful", name, initial: () => undefined, apply: fail };
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
