/**
 * The shapes of what replicas say: to the control plane, and to each other. All of it comes from processes that execute user code and may be
 * taken over, so that nothing is relied on that is not checked here: kinds, lengths and counts. What it means is checked by who takes it.
 */
import type { Batch, CheckpointVote, PeerMessage, Reply, Request, StableCheckpoint } from "../consensus/messages.ts";
import type { FromReplica } from "./replica.ts";

type Shape = Record<string, unknown>;
type Check = (value: unknown) => boolean;

const DIGEST_CHARACTERS = 64;
const SIGNATURE_CHARACTERS = 86;
const KEY_CHARACTERS = 43;
/** Of addresses, ids and names. */
const TEXT_CHARACTERS = 1_024;
/** As many as the replicas of a set may be. */
const MAX_REPLICAS = 64;
/** Leaves of one batch, and digests that it names. */
const MAX_LEAVES = 4_096;
/** Of a way from the leaf to the root: for so many leaves. */
const MAX_PATH = 13;
/** Claims of one view change, and whatever else there is one of for each number in the window. */
const MAX_SLOTS = 4_096;
const MAX_PAGES = 65_536;
const MAX_KEPT = 65_536;
/** Of one replica's proof or account of itself. */
const MAX_DETAIL = 1_048_576;

const isObject = (value: unknown): value is Shape => typeof value === "object" && value !== null && !Array.isArray(value);

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

const isText = (value: unknown, limit = TEXT_CHARACTERS): value is string => typeof value === "string" && value.length <= limit;

const isDigest = (value: unknown): value is string => typeof value === "string" && value.length === DIGEST_CHARACTERS;

const isSignature = (value: unknown): value is string => typeof value === "string" && value.length === SIGNATURE_CHARACTERS;

const isKey = (value: unknown): value is string => typeof value === "string" && value.length === KEY_CHARACTERS;

const isReplica = (value: unknown): value is number => isCount(value) && value < MAX_REPLICAS;

/** A digest, or what stands for the null request. */
const isContent = (value: unknown): boolean => value === "" || isDigest(value);

const isList = (value: unknown, most: number, check: Check): boolean =>
  Array.isArray(value) && value.length <= most && value.every((each) => check(each));

const isOneOf = (value: unknown, of: readonly string[]): boolean => typeof value === "string" && of.includes(value);

const isMembership: Check = (value) =>
  isObject(value) &&
  [value.set, value.application, value.function, value.version].every((text) => isText(text)) &&
  isCount(value.epoch) &&
  isCount(value.faults) &&
  isList(value.replicas, MAX_REPLICAS, isKey) &&
  isList(value.clients, MAX_REPLICAS, isKey);

export const isCertifiedMembership: Check = (value) => isObject(value) && isMembership(value.membership) && isSignature(value.signature);

const isResult: Check = (r) =>
  isObject(r) &&
  isText(r.id) &&
  isCount(r.position) &&
  isList(r.path, MAX_PATH, isDigest) &&
  isText(r.key) &&
  isDigest(r.inputHash) &&
  isDigest(r.resultHash) &&
  typeof r.outcome === "string";

export const isReply = (value: unknown): value is Reply =>
  isObject(value) &&
  isReplica(value.replica) &&
  isCount(value.epoch) &&
  isCount(value.view) &&
  isCount(value.seq) &&
  isContent(value.root) &&
  typeof value.signature === "string" &&
  value.signature.length <= SIGNATURE_CHARACTERS &&
  isList(value.results, MAX_LEAVES, isResult);

const isOperation: Check = (o) => isObject(o) && isText(o.id) && isText(o.key) && typeof o.input === "string";

const isBody: Check = (b) => {
  if (!isObject(b)) return false;
  if (b.t === "call") return isList(b.operations, MAX_LEAVES, isOperation);
  if (b.t === "session") return isList(b.keep, MAX_KEPT, (id) => isText(id));
  return b.t === "reconfigure" && isCertifiedMembership(b.next);
};

export const isRequest = (value: unknown): value is Request =>
  isObject(value) &&
  isKey(value.client) &&
  isCount(value.session) &&
  isCount(value.number) &&
  isCount(value.settled) &&
  isSignature(value.signature) &&
  isBody(value.body);

const isBatch = (value: unknown): value is Batch =>
  isObject(value) && isCount(value.time) && isContent(value.seed) && isList(value.requests, MAX_LEAVES, isDigest);

const isCheckpointVote = (value: unknown): value is CheckpointVote =>
  isObject(value) && isReplica(value.replica) && isSignature(value.signature);

const isStable = (value: unknown): value is StableCheckpoint =>
  isObject(value) &&
  isCount(value.epoch) &&
  isCount(value.seq) &&
  isContent(value.digest) &&
  isList(value.votes, MAX_REPLICAS, isCheckpointVote);

const isCheckpoint: Check = (value) => isObject(value) && isCount(value.seq) && isContent(value.digest);

const isClaim: Check = (value) => isObject(value) && isCount(value.seq) && isContent(value.digest) && isCount(value.view);

const isViewChange: Check = (v) =>
  isObject(v) &&
  isReplica(v.replica) &&
  isCount(v.epoch) &&
  isCount(v.view) &&
  isStable(v.stable) &&
  isList(v.checkpoints, MAX_SLOTS, isCheckpoint) &&
  isList(v.prepared, MAX_SLOTS, isClaim) &&
  isList(v.preprepared, MAX_SLOTS, isClaim) &&
  isSignature(v.signature);

const isNewView: Check = (v) =>
  isObject(v) &&
  isCount(v.epoch) &&
  isCount(v.view) &&
  isList(v.viewChanges, MAX_REPLICAS, isViewChange) &&
  isList(v.slots, MAX_SLOTS, isCheckpoint) &&
  isCheckpoint(v.checkpoint) &&
  isSignature(v.signature);

/** Whether a peer's message is one of the protocol. */
export const isPeerMessage = (m: unknown): m is PeerMessage => {
  if (!isObject(m)) return false;
  switch (m.t) {
    case "pre-prepare":
      return isCount(m.view) && isCount(m.seq) && isBatch(m.batch);
    case "prepare":
    case "commit":
      return isCount(m.view) && isCount(m.seq) && isContent(m.digest);
    case "checkpoint":
      return isCount(m.seq) && isDigest(m.digest) && isSignature(m.signature);
    case "view-change":
      return isViewChange(m.viewChange);
    case "new-view":
      return isNewView(m.newView);
    case "status":
      return isCount(m.view) && typeof m.active === "boolean" && isCount(m.stable) && isCount(m.committed) && isCount(m.executed);
    case "fetch":
      return isList(m.requests, MAX_LEAVES, isDigest) && isList(m.batches, MAX_LEAVES, isDigest);
    case "content":
      return isList(m.requests, MAX_LEAVES, isRequest) && isList(m.batches, MAX_LEAVES, isBatch);
    case "fetch-checkpoint":
      return isCount(m.above);
    case "checkpoint-proof":
      return isStable(m.stable) && isList(m.pages, MAX_PAGES, isDigest) && (m.next === undefined || isCertifiedMembership(m.next));
    case "fetch-page":
      return isCount(m.seq) && isCount(m.page);
    case "page":
      return isCount(m.seq) && isCount(m.page) && typeof m.data === "string";
    default:
      return false;
  }
};

const NOTICES = ["view-changing", "view", "stable", "transferring", "transferred", "epoch"];
const NOTICE_NUMBERS = ["view", "leader", "seq", "epoch"];

const isNotice: Check = (n) =>
  isObject(n) &&
  isOneOf(n.t, NOTICES) &&
  (n.reason === undefined || isText(n.reason)) &&
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
const MAX_LINES = 10_000;

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
