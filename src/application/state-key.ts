const LONGEST = 1_000;

/**
 * Which of a stateful function's states an input concerns: the field at `path`, a text, a number or a boolean; `undefined` when it has none. Without a
 * path all inputs concern the state `""`.
 */
export const stateKeyOf = (path: string | undefined, input: unknown): string | undefined => {
  if (path === undefined) return "";
  const found = path.split(".").reduce<unknown>(fieldOf, input);
  const key = typeof found === "number" || typeof found === "boolean" ? String(found) : found;
  return typeof key === "string" && key !== "" && key.length <= LONGEST ? key : undefined;
};

const fieldOf = (value: unknown, name: string): unknown =>
  typeof value === "object" && value !== null && Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined;
