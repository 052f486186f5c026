/**
 * What the process of a replica's user code may say (pure). User code can send by the same channel, what it likes: only what has the right shape
 * is taken further, so that an error that is thrown behind this is one of the platform's own, and is not swallowed.
 */
import type { FromWorker } from "./replica-worker.ts";

type Shape = Record<string, unknown>;
type Check = (value: Shape) => boolean;

const isObject = (value: unknown): value is Shape => typeof value === "object" && value !== null;
const isText = (value: unknown): value is string => typeof value === "string";
const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
const isList = (value: unknown, isOne: (each: unknown) => boolean): boolean => Array.isArray(value) && value.every(isOne);

const isPage = (page: unknown): boolean => isObject(page) && isText(page.digest) && (page.text === undefined || isText(page.text));

const hasPages: Check = ({ seq, pages }) => isCount(seq) && isList(pages, isPage);

const CHECKS: Readonly<Record<FromWorker["t"], Check>> = {
  executed: ({ seq, outcomes }) => isCount(seq) && isList(outcomes, isText),
  snapshotted: hasPages,
  installed: hasPages,
  // What a line is the control plane checks, which is told of it.
  lines: ({ id, lines }) => isText(id) && isList(lines, isObject),
  loaded: ({ isStateful }) => typeof isStateful === "boolean",
  refused: ({ failure }) => isText(failure),
  cpu: ({ cpuMs }) => Number.isFinite(cpuMs),
};

export const isFromWorker = (value: unknown): value is FromWorker =>
  isObject(value) && isText(value.t) && Object.hasOwn(CHECKS, value.t) && CHECKS[value.t as FromWorker["t"]](value);
