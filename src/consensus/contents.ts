import { batchText, requestText } from "./canonical.ts";
import { OWN_PREFIX } from "./client-table.ts";
import type { Core } from "./core.ts";
import type { Digest } from "./crypto.ts";
import type { ReplicaIndex } from "./membership.ts";
import type { Batch, PeerMessage, Request } from "./messages.ts";
import { NULL } from "./slots.ts";

// Agreement is on digests. What they stand for comes from the client and the leader, or is fetched from the peers (TOCS 2002, §5.1.3).

/** How long contents that are on their way usually may take. */
const FETCH_AFTER_MS = 5;
const FETCH_AGAIN_MS = 25;
const MOST_FETCH_MS = 800;
/** Digests in one fetch, and characters in its answer: what is left is asked for again. */
const MOST_FETCHED = 512;
const MOST_SENT = 1_048_576;
/** To one peer, in the time between two status messages. */
const MOST_SENT_IN_A_WHILE = 16 * MOST_SENT;
const LEAST_COST = 16_384;
/** Of one client's requests that wait, in requests of the largest size. */
const MOST_PENDING = 16;

/** Whether the batch and its requests are here; if not, it is noted for `seq` what is missing. */
export const hasContents = (core: Core, seq: number, digest: Digest): boolean => {
  if (digest === NULL) return true;
  const batch = core.log.batch(digest);
  if (batch === undefined) {
    lack(core, digest, "batch", seq);
    return false;
  }
  let complete = true;
  for (const request of batch.requests) {
    if (core.pool.body(request) !== undefined) continue;
    lack(core, request, "request", seq);
    complete = false;
  }
  return complete;
};

const lack = (core: Core, digest: Digest, kind: "request" | "batch", seq: number): void => {
  const known = core.lacking.get(digest);
  if (known === undefined) core.lacking.set(digest, { kind, seqs: new Set([seq]) });
  else known.seqs.add(seq);
};

/** The contents came. @returns the numbers that waited for them */
const found = (core: Core, digest: Digest): Iterable<number> => {
  const seqs = core.lacking.get(digest)?.seqs;
  if (seqs === undefined) return [];
  core.lacking.delete(digest);
  core.fetchTurn = Math.min(core.fetchTurn, 1);
  return seqs;
};

/** Keeps a batch for as long as its number is in the log. */
export const holdBatch = (core: Core, digest: Digest, seq: number, batch: Batch): Iterable<number> => {
  if (core.log.hold(digest, seq, batch)) for (const request of batch.requests) core.pool.name(request);
  return found(core, digest);
};

/** A batch that belongs at this number has this digest. */
export const batchDigest = (core: Core, seq: number, batch: Batch): Digest => core.crypto.hash(batchText(core.set, seq, batch));

/**
 * Takes a request that came from a client, or from a peer that was asked for it. Its signature is verified when it is first seen.
 * @returns its digest, or `undefined` where it is refused
 */
export const takeBody = (core: Core, request: Request, isFetched: boolean): { digest: Digest; seqs: Iterable<number> } | undefined => {
  // It has no place in the order, whoever proposes it.
  if (request.body.t === "single") return undefined;
  const text = requestText(request, core.set);
  if (text.length > core.limits.maxRequestSize || usesOwnIds(request)) return undefined;
  const digest = core.crypto.hash(text);
  if (core.pool.body(digest) !== undefined) return { digest, seqs: [] };
  const isNamed = core.pool.isNamed(digest);
  // What a number names is taken from whoever has signed it: whether it is executed is decided alike everywhere, when its turn comes.
  if (isFetched ? !isNamed : !core.isClient(request)) return undefined;
  const isStale = core.table.isStale(request);
  if (!isNamed && !isStale && isFull(core, request, text.length)) return undefined;
  if (!core.crypto.verify(request.client, text, request.signature)) return undefined;
  if (isStale && !isNamed) return { digest, seqs: [] };
  core.pool.add({ digest, request, size: text.length, arrivedAt: core.now }, !isStale);
  return { digest, seqs: found(core, digest) };
};

const isFull = ({ pool, limits }: Core, { client }: Request, size: number): boolean =>
  pool.pendingOf(client) >= limits.maxPendingRequests || pool.pendingSizeOf(client) + size > MOST_PENDING * limits.maxRequestSize;

/** Those ids are given by the replicas alone. */
const usesOwnIds = ({ body }: Request): boolean => body.t === "call" && body.operations.some(({ id }) => id.startsWith(OWN_PREFIX));

/** @returns the numbers whose contents may be complete now */
export const takeContent = (core: Core, message: Extract<PeerMessage, { t: "content" }>): Set<number> => {
  const seqs = new Set<number>();
  for (const { seq, batch } of message.batches) {
    if (!core.isWithin(seq)) continue;
    const digest = batchDigest(core, seq, batch);
    if (core.lacking.get(digest)?.kind !== "batch") continue;
    for (const waiting of holdBatch(core, digest, seq, batch)) seqs.add(waiting);
  }
  for (const request of message.requests) for (const waiting of takeBody(core, request, true)?.seqs ?? []) seqs.add(waiting);
  return seqs;
};

/** Sends what is here of what a peer asks for. */
export const answerFetch = (core: Core, to: ReplicaIndex, message: Extract<PeerMessage, { t: "fetch" }>): void => {
  const content: Extract<PeerMessage, { t: "content" }> = { t: "content", requests: [], batches: [] };
  if (!maySend(core, to)) return;
  let size = 0;
  for (const digest of message.batches.slice(0, MOST_FETCHED)) {
    const entry = core.log.entry(digest);
    if (entry === undefined || size > MOST_SENT) continue;
    size += 100 + entry.batch.requests.length * 70;
    content.batches.push(entry);
  }
  for (const digest of message.requests.slice(0, MOST_FETCHED)) {
    const pooled = core.pool.body(digest);
    if (pooled === undefined || size > MOST_SENT) continue;
    size += pooled.size;
    content.requests.push(pooled.request);
  }
  countSent(core, to, size);
  if (content.batches.length + content.requests.length > 0) core.send(to, content);
};

/** Who asks without end is not answered without end: so many characters in a while, counted when they are known. */
export const maySend = ({ sent, now, limits }: Core, to: ReplicaIndex): boolean => {
  const known = sent[to];
  if (known !== undefined && now - known.since < limits.statusEveryMs) return known.size < MOST_SENT_IN_A_WHILE;
  sent[to] = { since: now, size: 0 };
  return true;
};

/** Every answer costs something, even an empty one. */
export const countSent = ({ sent }: Core, to: ReplicaIndex, size: number): void => {
  sent[to]!.size += LEAST_COST + size;
};

/** Asks for what has been missing for a while: the leader first, who must have it, then everyone in turn. */
export const armFetch = (core: Core): void => {
  if (core.lacking.size === 0 || core.pace.fetchAt !== undefined) return;
  // What nobody has, because a faulty leader has invented it, is asked for more and more seldom.
  const rounds = Math.floor(core.fetchTurn / core.others.length);
  const afterMs = core.fetchTurn === 0 ? FETCH_AFTER_MS : Math.min(FETCH_AGAIN_MS * 2 ** rounds, MOST_FETCH_MS);
  core.pace.fetchAt = core.now + afterMs;
  core.effects.push({ t: "timer", timer: "fetch", afterMs });
};

export const fetchLacking = (core: Core): void => {
  core.pace.fetchAt = undefined;
  const ask: Extract<PeerMessage, { t: "fetch" }> = { t: "fetch", requests: [], batches: [] };
  for (const [digest, { kind }] of [...core.lacking].slice(0, MOST_FETCHED)) ask[kind === "batch" ? "batches" : "requests"].push(digest);
  // What nobody has must not stand before what is to be had.
  for (const digest of [...ask.requests, ...ask.batches]) {
    const lacking = core.lacking.get(digest)!;
    core.lacking.delete(digest);
    core.lacking.set(digest, lacking);
  }
  if (core.lacking.size === 0) {
    core.fetchTurn = 0;
    return;
  }
  const { others } = core;
  const isFirst = core.fetchTurn++ === 0;
  core.send(isFirst && !core.isLeader ? core.leader : others[core.fetchTurn % others.length]!, ask);
};
