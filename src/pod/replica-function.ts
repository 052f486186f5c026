import type { FunctionDefinition } from "../application/context.ts";
import { LockstepError } from "../lib/errors.ts";
import { loadBundle } from "./bundle.ts";
import { run } from "./function-host.ts";
import type { Replicated } from "./replica-runner.ts";

/**
 * Loads a bundle and finds in it what is to be replicated.
 * @throws {LockstepError} APPLICATION_INVALID, UNKNOWN_FUNCTION
 */
export const replicatedOf = (path: string, name: string): Replicated => {
  const definition = loadBundle(path).functions.get(name);
  if (definition === undefined) throw new LockstepError("UNKNOWN_FUNCTION", `this version has no function "${name}"`);
  return replicated(definition);
};

export const replicated = (definition: FunctionDefinition): Replicated => ({
  kind: "stateless",
  name: definition.name,
  handle: (input, context) => run(definition, input, context),
});
