import { LockstepError } from "../lib/errors.ts";
import type { Json } from "../lib/json.ts";
import { fromJson } from "../lib/json.ts";
import type { FunctionSpec } from "../protocol/application.ts";

const LONGEST = 1_024;

/**
 * Which of a stateful function's states a call concerns; empty for a function that has one state, or none.
 * @throws {LockstepError} INPUT_INVALID when the input has no such field, or one that is no text or number
 */
export const stateKeyOf = ({ name, stateKey }: Pick<FunctionSpec, "name" | "stateKey">, input: Json): string => {
  if (stateKey === undefined) return "";
  const found = stateKey.split(".").reduce<unknown>(fieldOf, fromJson(input));
  const key = typeof found === "number" ? String(found) : found;
  if (typeof key === "string" && key !== "" && key.length <= LONGEST) return key;
  const problem = found === undefined ? "is missing" : `must be a text of 1 to ${LONGEST} characters, or a number`;
  const error = new LockstepError("INPUT_INVALID", `the input of function "${name}" is invalid: ${stateKey}, its state's key, ${problem}`, {
    details: { issues: [{ field: stateKey, message: problem }] },
  });
  // Asking again with the same input cannot help.
  throw Object.assign(error, { terminal: true });
};

const fieldOf = (value: unknown, name: string): unknown =>
  typeof value === "object" && value !== null && Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined;
