import type { StandardIssue, StandardSchemaV1 } from "../application/standard-schema.ts";
import { type ErrorCode, LockstepError } from "../lib/errors.ts";

/**
 * Applies a Standard Schema. Returns the value that it makes, at once when the validator is synchronous.
 * @throws {LockstepError} `code`, naming each field
 */
export const validate = <T>(
  schema: StandardSchemaV1<unknown, T> | undefined,
  value: unknown,
  code: ErrorCode,
  what: string,
): T | Promise<T> => {
  if (schema === undefined) return value as T;
  const result = schema["~standard"].validate(value);
  return result instanceof Promise ? result.then((settled) => unwrap(settled, code, what)) : unwrap(result, code, what);
};

const unwrap = <T>(result: { value: T; issues?: undefined } | { issues: readonly StandardIssue[] }, code: ErrorCode, what: string): T => {
  if (result.issues === undefined) return result.value;
  const issues = result.issues.slice(0, 20).map((issue) => ({ field: fieldOf(issue), message: issue.message }));
  const message = `${what} is invalid: ${issues.map(({ field, message }) => (field === "" ? message : `${field}: ${message}`)).join("; ")}`;
  const error = new LockstepError(code, message, { details: { issues } });
  // Asking again with the same input cannot help.
  return fail(error);
};

const fail = (error: LockstepError): never => {
  throw Object.assign(error, { terminal: true });
};

const fieldOf = (issue: StandardIssue): string =>
  (issue.path ?? []).map((part) => String(typeof part === "object" && part !== null && "key" in part ? part.key : part)).join(".");
