/**
 * The shapes of what replicas say to the control plane. It comes from processes that execute user code and may be taken over, so that nothing is
 * relied on that is not checked here: kinds, lengths and counts. What they say to each other is checked by the replica's machine.
 */
import { isReply } from "../consensus/shape.ts";
import type { FromReplica } from "./replica.ts";

type Shape = Record<string, unknown>;
type Check = (value: unknown) => boolean;

const KEY_CHARACTERS = 43;
/** Of addresses, ids and names. */
const TEXT_CHARACTERS = 1_024;
/** As many as the replicas of a set may be. */
const MAX_REPLICAS = 64;
/** Characters of one replica's proof or account of itself. */
export const MAX_DETAIL = 1_048_576;

const isObject = (value: unknown): value is Shape => typeof value === "object" && value !== null && !Array.isArray(value);

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

const isText = (value: unknown, limit = TEXT_CHARACTERS): value is string => typeof value === "string" && value.length <= limit;

const isKey = (value: unknown): value is string => typeof value === "string" && value.length === KEY_CHARACTERS;

const isReplica = (value: unknown): value is number => isCount(value) && value < MAX_REPLICAS;

const isList = (value: unknown, most: number, check: Check): boolean =>
  Array.isArray(value) && value.length <= most && value.every((each) => check(each));

const isOneOf = (value: unknown, of: readonly string[]): boolean => typeof value === "string" && of.includes(value);

const NOTICES = ["view-changing", "view", "stable", "transferring", "transferred", "epoch", "retired"];
const NOTICE_NUMBERS = ["view", "leader", "seq", "epoch"];

const isNotice: Check = (n) =>
  isObject(n) &&
  isOneOf(n.t, NOTICES) &&
  (n.reason === undefined || isText(n.reason)) &&
  (n.version === undefined || isText(n.version)) &&
  NOTICE_NUMBERS.every((field) => n[field] === undefined || isCount(n[field]));

const KINDS = [
  "equivocation",
  "wrong-checkpoint",
  "invalid-view-change",
  "invalid-new-view",
  "bad-proposal",
  "bad-page",
  "silent-leader",
  "slow-leader",
];

const isEvidence: Check = (e) =>
  isObject(e) &&
  isReplica(e.about) &&
  isOneOf(e.kind, KINDS) &&
  isCount(e.view) &&
  isCount(e.seq) &&
  isText(e.detail) &&
  (e.proof === undefined || (Array.isArray(e.proof) && isShortJson(e.proof)));

const isShortJson = (value: unknown): boolean => {
  try {
    return (JSON.stringify(value)?.length ?? MAX_DETAIL + 1) <= MAX_DETAIL;
  } catch {
    // That it is thrown is the answer.
    return false;
  }
};

const LINE_FIELDS = 3;
/** Lines that one operation may log. */
export const MAX_LINES = 10_000;

const isLine: Check = (line) =>
  isObject(line) &&
  Number.isFinite(line.at) &&
  typeof line.text === "string" &&
  isText(line.level) &&
  Object.keys(line).length === LINE_FIELDS;

/** `undefined` when it is no message of a replica at all. */
export const isFromReplica = (m: { t?: unknown } & Shape): boolean | undefined => {
  switch (m.t as FromReplica["t"]) {
    case "replica-ready":
      return isKey(m.key) && isText(m.address) && typeof m.restored === "boolean";
    case "replica-running":
      return isCount(m.epoch) && Number.isFinite(m.ms);
    case "replica-lacks":
      return isText(m.version);
    case "replica-behind":
      return typeof m.isBehind === "boolean";
    case "votes":
      return isReply(m.reply);
    case "replica-notice":
      return isNotice(m.notice);
    case "evidence":
      return isEvidence(m.evidence);
    case "replica-lines":
      return isText(m.id) && isList(m.lines, MAX_LINES, isLine);
    case "replica-inspected":
      return isCount(m.id) && isText(m.state, MAX_DETAIL);
    default:
      return undefined;
  }
};
