/** The words in which answers are described, and the shapes that answers of several kinds share. */
import type { DocumentSchema } from "./route.ts";

export const text = { type: "string" };
export const integer = { type: "integer" };
export const number = { type: "number" };
export const yes = { type: "boolean" };
export const list = (items: DocumentSchema): DocumentSchema => ({ type: "array", items });
export const runId = { type: "string", pattern: "^run_[0-9a-hjkmnp-tv-z]{11}$", examples: ["run_00jx3v9k2m7"] };
export const time = { type: "integer", description: "Unix milliseconds." };
export const at = { at: time };
export const anything = { description: "Any JSON value; absent when there is none." };

/** All members are required but those whose names end in "?". */
export const object = (members: Record<string, DocumentSchema>, extra: DocumentSchema = {}): DocumentSchema => {
  const entries = Object.entries(members).map(([name, schema]) => [name.replace("?", ""), schema] as const);
  const required = Object.keys(members).filter((name) => !name.endsWith("?"));
  return { type: "object", properties: Object.fromEntries(entries), ...(required.length > 0 ? { required } : {}), ...extra };
};

export const variants = (tag: string, shapes: Record<string, Record<string, DocumentSchema>>): DocumentSchema => ({
  oneOf: Object.entries(shapes).map(([name, members]) => object({ [tag]: { const: name }, ...members })),
});

/** What is told of something that is watched. */
export const watched = (name: string, item: DocumentSchema): DocumentSchema =>
  object(
    { position: { type: "integer" }, type: { enum: ["reset", "added", "modified", "deleted"] }, [`${name}?`]: item },
    { description: `\`reset\`, which has no ${name}, begins anew: all that there is follows as \`added\`.` },
  );

/** The component `Failure`. */
export const failure = { $ref: "#/components/schemas/Failure" };

export const Status = {
  enum: ["running", "waiting", "suspended", "completed", "failed", "cancelled"],
  description: "The last three are final.",
};
export const Kind = { enum: ["coordinator", "expression", "function", "recovery"] };
/** Classes of the monitor's verdicts. */
export const FaultClass = {
  enum: [
    "invocation",
    "execution",
    "timeout",
    "permission",
    "resource-not-found",
    "storage-unavailable",
    "out-of-memory",
    "pod-lost",
    "consensus",
    "check-failed",
  ],
};
export const staleness = object({ run: runId, call: integer, function: text, fault: FaultClass, message: text, at: time });
