import type { PeerMessage, Reply, Request } from "./messages.ts";

// What comes from other processes may be anything: a replica that is not correct chooses every byte. Nothing is looked at before its shape has
// been checked, and no part of it is larger than a correct replica would make it.

type Check = (value: unknown) => boolean;

const count: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;

const flag: Check = (value) => typeof value === "boolean";

const text =
  (longest: number): Check =>
  (value) =>
    typeof value === "string" && value.length <= longest;

const name = text(1_024);
const long = text(67_108_864);
const digest: Check = (value) => typeof value === "string" && (value.length === 64 || value === "");
const signature = text(128);
const key = text(128);

const list =
  (each: Check, most: number): Check =>
  (value) =>
    Array.isArray(value) && value.length <= most && value.every(each);

const object =
  (fields: Record<string, Check>): Check =>
  (value) => {
    if (typeof value !== "object" || value === null) return false;
    for (const field in fields) if (!fields[field]!((value as Record<string, unknown>)[field])) return false;
    return true;
  };

const optional =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value);

const REPLICAS = 256;
const CLAIMS = 65_536;
const PAGES = 1_048_576;

const certified = object({
  membership: object({
    set: name,
    application: name,
    function: name,
    version: name,
    epoch: count,
    faults: count,
    replicas: list(key, REPLICAS),
    clients: list(key, REPLICAS),
  }),
  signature,
});

/** Votes on single results that one request asks for. */
export const MOST_SINGLE = 128;

const bodies: Record<string, Check> = {
  call: object({ operations: list(object({ id: name, key: name, input: long }), 1_024) }),
  // All calls that wait: which of them an earlier life of the client had sent, it doesn't know. A session that is refused is never open.
  session: object({ keep: list(name, 262_144) }),
  single: object({ operations: list(name, MOST_SINGLE) }),
  reconfigure: object({ next: certified }),
};

const tagged =
  (checks: Record<string, Check>): Check =>
  (value) => {
    if (typeof value !== "object" || value === null) return false;
    const { t } = value as { t?: unknown };
    return typeof t === "string" && Object.hasOwn(checks, t) && checks[t]!(value);
  };

const positive: Check = (value) => count(value) && (value as number) > 0;

const request = object({ client: key, session: positive, number: positive, settled: count, body: tagged(bodies), signature });

const batch = object({ time: count, seed: digest, requests: list(digest, 4_096) });
const claims = list(object({ seq: count, digest, view: count }), CLAIMS);
const points = list(object({ seq: count, digest }), CLAIMS);
const vote = object({ replica: count, signature, results: optional(digest) });
const stable = object({ epoch: count, seq: count, digest, votes: list(vote, REPLICAS) });
const viewChange = object({
  replica: count,
  epoch: count,
  view: count,
  stable,
  checkpoints: points,
  prepared: claims,
  preprepared: claims,
  signature,
});
const newView = object({
  epoch: count,
  view: count,
  viewChanges: list(viewChange, REPLICAS),
  slots: points,
  checkpoint: object({ seq: count, digest }),
  signature,
});

const round = object({ view: count, seq: count, digest });

const messages: Record<PeerMessage["t"], Check> = {
  "pre-prepare": object({ view: count, seq: count, batch }),
  prepare: round,
  commit: round,
  checkpoint: object({ seq: count, digest, signature, results: optional(digest) }),
  "view-change": object({ viewChange }),
  "new-view": object({ newView }),
  status: object({ view: count, active: flag, stable: count, committed: count, executed: count }),
  decided: object({ slots: points }),
  fetch: object({ requests: list(digest, 4_096), batches: list(digest, 4_096) }),
  content: object({ requests: list(request, 4_096), batches: list(object({ seq: count, batch }), 4_096) }),
  "fetch-checkpoint": object({ above: count }),
  "checkpoint-proof": object({
    stable,
    pages: list(digest, PAGES),
    results: optional(list(digest, PAGES)),
    membership: optional(certified),
    next: optional(certified),
  }),
  "fetch-page": object({ seq: count, page: count, digest }),
  page: object({ seq: count, page: count, data: long }),
  "fetch-results": object({ operations: list(object({ seq: count, position: count }), 512) }),
  results: object({ results: list(object({ id: name, seq: count, position: count, resultHash: digest, outcome: long }), 512) }),
};

const message = tagged(messages);

export const isPeerMessage = (value: unknown): value is PeerMessage => message(value);

/** Numbers are never settled before they have been given out. */
export const isRequest = (value: unknown): value is Request => request(value) && (value as Request).settled < (value as Request).number;

const mark = optional((value) => value === true);

const reply = object({
  replica: count,
  epoch: count,
  view: count,
  seq: count,
  version: name,
  root: digest,
  signature,
  single: mark,
  whole: mark,
  results: list(
    object({ id: name, position: count, path: list(digest, 32), key: name, inputHash: digest, resultHash: digest, outcome: long }),
    CLAIMS,
  ),
});

export const isReply = (value: unknown): value is Reply => reply(value) && !((value as Reply).whole && (value as Reply).single);
