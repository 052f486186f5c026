/**
 * What is to be said of a function whose replicas have come to different results (pure).
 */
import type { ReplicaIndex } from "../consensus/membership.ts";
import type { Failure } from "../lib/errors.ts";
import type { Json } from "../lib/json.ts";

export interface ReplicaOutcome {
  replica: ReplicaIndex;
  /** Empty where the replica knows that the call was executed, and has no result of it. */
  resultHash: string;
  /** Empty where the replica has only told its hash. */
  outcome: Json;
}

const DEPTH = 64;
/** Names in a replica's outcome may be of any length. */
const LONGEST_PATH = 256;

/** The failure of a call whose replicas disagree: it names those that differ from the most, and the first field in which they do. */
export const divergence = (fn: string, outcomes: readonly ReplicaOutcome[]): Failure => {
  const groups = new Map<string, ReplicaOutcome[]>();
  const without = outcomes.filter(({ resultHash }) => resultHash === "").map(({ replica }) => replica);
  for (const each of outcomes.filter(({ resultHash }) => resultHash !== ""))
    groups.set(each.resultHash, [...(groups.get(each.resultHash) ?? []), each]);
  const [most, ...others] = [...groups.values()].sort((a, b) => b.length - a.length);
  const differing = others.flat().map(({ replica }) => replica);
  const field = firstDifference(textOf(most), textOf(others.find((group) => textOf(group) !== "")));
  const where = field === undefined ? "" : `; they first differ at ${field}`;
  const none = without.length === 0 ? "" : `; ${listOf(without)} ${without.length === 1 ? "has" : "have"} no result of it`;
  const how =
    differing.length === 0
      ? `too few replicas of "${fn}" have a result of it`
      : `the replicas of "${fn}" came to ${groups.size} different results: those of ${listOf(differing)} differ from the others'${where}`;
  return {
    code: "REPLICAS_DIVERGED",
    message: `${how}${none}`,
    terminal: true,
    details: { replicas: differing, ...(field === undefined ? {} : { field }) },
  };
};

const textOf = (group: readonly ReplicaOutcome[] | undefined): Json => group?.find(({ outcome }) => outcome !== "")?.outcome ?? "";

const listOf = (replicas: readonly ReplicaIndex[]): string =>
  replicas.length === 1 ? `replica ${replicas[0]}` : `replicas ${replicas.slice(0, -1).join(", ")} and ${replicas.at(-1)}`;

/** The path of the first part in which two JSON texts differ, such as `value.total`; `undefined` where that can't be said. */
export const firstDifference = (a: Json, b: Json): string | undefined => {
  if (a === "" || b === "") return undefined;
  try {
    return differenceOf(JSON.parse(a), JSON.parse(b))?.slice(0, LONGEST_PATH);
  } catch {
    // One that lies signs what is no JSON: that it differs is known all the same.
    return undefined;
  }
};

/** The same for two values of JSON. */
export const differenceOf = (a: unknown, b: unknown, path = "", depth = 0): string | undefined => {
  if (Object.is(a, b)) return undefined;
  if (!isObject(a) || !isObject(b) || Array.isArray(a) !== Array.isArray(b) || depth > DEPTH) return path === "" ? "the result" : path;
  for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
    const step = Array.isArray(a) ? `${path}[${key}]` : path === "" ? key : `${path}.${key}`;
    const found = differenceOf(a[key], b[key], step, depth + 1);
    if (found !== undefined) return found;
  }
  return undefined;
};

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;
