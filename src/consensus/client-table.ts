/**
 * Which requests were executed, and what is kept of their results: the part of the replicated state that makes a request take effect at most
 * once (TOCS 2002, §4.3: the reply cache), kept for many requests of each client at a time.
 *
 * Owns: sessions, numbers, results, the sizes that bound them. Does not own: what executes, votes, requests' bodies.
 *
 * I1  It changes only by `admit`, in the order of the sequence numbers, and by `keep`, which fills in what an admitted operation came to. What
 *     `admit` decides depends on earlier `admit`s alone: execution may lag behind the order, by another distance at each replica, and what
 *     operations come to may differ where the function isn't deterministic.
 * I2  A number of a session is admitted once; what is at or below `settled`, of an older session or of one that was not opened, never.
 * I3  An operation's id is admitted once while its result is kept, under whichever request and whichever client it comes again.
 * I4  At most `maxKeptOperations` results are kept, and refusals beyond them, which are bounded by the window of each client's numbers. Of
 *     their texts each replica keeps `maxKeptSize` characters, whatever the others do.
 */
import type { Json } from "../lib/json.ts";
import { getOrMake } from "../lib/map.ts";
import type { Digest, PublicKey } from "./crypto.ts";
import type { Operation, Request } from "./messages.ts";

/** Numbers that may be ahead of the last settled one. */
export const NUMBERS_AHEAD = 1_024;

/** Ids that begin so are the replicas' own: `lockstep:session/…`, `lockstep:epoch/…`. */
export const OWN_PREFIX = "lockstep:";

export const sessionId = ({ client, session }: Pick<Request, "client" | "session">): string => `${OWN_PREFIX}session/${client}/${session}`;

/** Two memberships may be asked for as the same epoch, and only one of them becomes it. */
export const epochId = (epoch: number, signature: string): string => `${OWN_PREFIX}epoch/${epoch}/${signature}`;

export const NOBODY: PublicKey = "";

export interface Kept {
  readonly id: string;
  readonly key: string;
  /** `NOBODY` when its client is a member no more: it belongs to the first that asks for it. */
  client: PublicKey;
  /** Of the client's session: settling it lets the result go. 0 if it was kept from an earlier session and was not asked for in this one. */
  number: number;
  readonly seq: number;
  readonly position: number;
  /** Until it has been executed. */
  input: Json;
  /** Before the operation has been executed all three are empty. */
  inputHash: Digest;
  /** Also where it has been executed and this replica has no result of it; what correct replicas came to may differ. */
  resultHash: Digest;
  outcome: Json;
  /** It has been executed. */
  isDone: boolean;
  /** It has no result here, and the peers can't tell, or not now. */
  isLost: boolean;
}

/** All results of a number: its leaves are needed while one of them is kept. Those that this replica doesn't know are `""`. */
export interface KeptBatch {
  readonly seq: number;
  /** Whose code has executed it. */
  version: string;
  leaves: Digest[];
  readonly entries: Map<number, Kept>;
}

interface Client {
  session: number;
  settled: number;
  /** Ids of the operations of each number that was admitted above `settled`. */
  numbers: Map<number, string[]>;
}

export interface Admitted {
  /** To be executed, with their places in the batch's tree. */
  fresh: Kept[];
  /** Not to be executed: their outcome is known at once. */
  refused: Set<Kept>;
  /** What has been executed or admitted before under these ids. */
  known: Kept[];
}

export interface TableLimits {
  maxKeptOperations: number;
  maxKeptSize: number;
}

export class ClientTable {
  readonly #limits: TableLimits;
  readonly #checked: boolean;
  readonly clients = new Map<PublicKey, Client>();
  readonly kept = new Map<string, Kept>();
  readonly batches = new Map<number, KeptBatch>();
  /** Groups of batches that have changed since they were last written. */
  readonly dirty = new Set<number>();

  /** @param checked false leaves the checks out: a planted mistake */
  constructor(limits: TableLimits, checked = true) {
    this.#limits = limits;
    this.#checked = checked;
  }

  /** Whether ordering the request once more would execute nothing. */
  isStale(request: Request): boolean {
    const client = this.clients.get(request.client);
    if (client === undefined || request.session > client.session) return false;
    return request.session < client.session || this.#hasNumber(client, request.number);
  }

  #hasNumber(client: Client, number: number): boolean {
    return number <= client.settled || client.numbers.has(number);
  }

  /** What is known of a request's operations. */
  known(request: Request): Kept[] {
    return idsOf(request).flatMap((id) => this.kept.get(id) ?? []);
  }

  /** @param position of the first of its results in the batch's tree */
  admit(request: Request, seq: number, position: number): Admitted {
    const client = getOrMake(this.clients, request.client, () => ({ session: 0, settled: 0, numbers: new Map() }));
    const admitted: Admitted = { fresh: [], refused: new Set(), known: [] };
    const { body } = request;
    if (body.t === "session" && request.session > client.session) this.#open(request, client, body.keep);
    else if (!this.#mayRun(request, client)) {
      admitted.known = this.known(request);
      return admitted;
    }
    this.#settle(client, Math.min(request.settled, request.number - 1));
    const ids: string[] = [];
    client.numbers.set(request.number, ids);
    this.#take(request, ids, admitted, seq, position);
    return admitted;
  }

  #mayRun(request: Request, client: Client): boolean {
    if (!this.#checked) return true;
    if (request.session !== client.session || request.session === 0) return false;
    return !this.#hasNumber(client, request.number) && request.number <= client.settled + NUMBERS_AHEAD;
  }

  #take(request: Request, ids: string[], admitted: Admitted, seq: number, first: number): void {
    const operations = operationsOf(request);
    const isFull = request.body.t === "call" && this.#isFull(operations.length);
    for (const { id, key, input } of operations) {
      const earlier = this.#checked ? this.kept.get(id) : undefined;
      if (earlier !== undefined) {
        admitted.known.push(earlier);
        if (earlier.client === NOBODY) earlier.client = request.client;
        if (earlier.client === request.client) this.#move(earlier, request.number, ids);
        continue;
      }
      const kept: Kept = {
        id,
        key,
        client: request.client,
        number: request.number,
        seq,
        position: first + admitted.fresh.length,
        input,
        inputHash: "",
        resultHash: "",
        outcome: "",
        isDone: false,
        isLost: false,
      };
      this.#put(kept);
      ids.push(id);
      admitted.fresh.push(kept);
      if (isFull) admitted.refused.add(kept);
    }
  }

  #isFull(more: number): boolean {
    return this.kept.size + more > this.#limits.maxKeptOperations;
  }

  /** A new session: of the earlier ones only what the client asks for stays. */
  #open({ client: key, session }: Request, client: Client, keep: readonly string[]): void {
    const wanted = new Set(keep);
    for (const kept of [...this.kept.values()]) {
      if (kept.client !== key && kept.client !== NOBODY) continue;
      if (!wanted.has(kept.id)) this.#drop(kept);
      else if (kept.number !== 0) {
        kept.number = 0;
        this.#touch(kept.seq);
      }
    }
    client.session = session;
    client.settled = 0;
    client.numbers.clear();
  }

  /** The members of the next epoch have these clients. What others have left is there for those. */
  retire(clients: readonly PublicKey[]): void {
    for (const key of this.clients.keys()) if (!clients.includes(key)) this.clients.delete(key);
    for (const kept of this.kept.values()) {
      if (clients.includes(kept.client) || kept.client === NOBODY) continue;
      kept.client = NOBODY;
      kept.number = 0;
      this.#touch(kept.seq);
    }
  }

  #settle(client: Client, settled: number): void {
    if (settled <= client.settled) return;
    client.settled = settled;
    for (const [number, ids] of client.numbers) {
      if (number > settled) continue;
      client.numbers.delete(number);
      for (const id of ids) {
        const kept = this.kept.get(id);
        // It may have moved to a later number.
        if (kept?.number === number) this.#drop(kept);
      }
    }
  }

  #move(kept: Kept, number: number, ids: string[]): void {
    if (kept.number >= number) return;
    kept.number = number;
    ids.push(kept.id);
    this.#touch(kept.seq);
  }

  #put(kept: Kept): void {
    this.kept.set(kept.id, kept);
    getOrMake(this.batches, kept.seq, () => ({ seq: kept.seq, version: "", leaves: [], entries: new Map() })).entries.set(
      kept.position,
      kept,
    );
    this.#touch(kept.seq);
  }

  #drop(kept: Kept): void {
    if (this.kept.get(kept.id) === kept) this.kept.delete(kept.id);
    const batch = this.batches.get(kept.seq);
    batch?.entries.delete(kept.position);
    if (batch?.entries.size === 0) this.batches.delete(kept.seq);
    this.#touch(kept.seq);
  }

  #touch(seq: number): void {
    this.dirty.add(groupOf(seq));
  }

  /** The leaves of a number's tree; only of what is still kept is anything remembered. */
  keep(seq: number, version: string, leaves: Digest[]): void {
    const batch = this.batches.get(seq);
    if (batch === undefined) return;
    batch.version = version;
    batch.leaves = leaves;
    this.#touch(seq);
  }

  /** Lets go of the longest results beyond `maxKeptSize`: no part of what is agreed on, so no replica has to do it alike. @returns of which batches */
  trim(): Set<KeptBatch> {
    const trimmed = new Set<KeptBatch>();
    let size = 0;
    for (const { outcome } of this.kept.values()) size += outcome.length;
    if (size <= this.#limits.maxKeptSize) return trimmed;
    for (const kept of [...this.kept.values()].sort((a, b) => b.outcome.length - a.outcome.length)) {
      if (size <= this.#limits.maxKeptSize) break;
      if (!kept.isDone) continue;
      trimmed.add(this.batches.get(kept.seq)!);
      size -= kept.outcome.length;
      this.fill(kept, { resultHash: "", outcome: "", leaf: "" });
      kept.isLost = true;
    }
    return trimmed;
  }

  /** What an executed operation came to, as far as this replica knows. */
  fill(kept: Kept, { resultHash, outcome, leaf }: { resultHash: Digest; outcome: Json; leaf: Digest }): void {
    kept.resultHash = resultHash;
    kept.outcome = outcome;
    kept.isLost = false;
    const batch = this.batches.get(kept.seq);
    if (batch !== undefined) batch.leaves[kept.position] = leaf;
  }

  /** Puts back what `client-pages.ts` has read. */
  restore(clients: Iterable<[PublicKey, Omit<Client, "numbers">, number[]]>, batches: Iterable<KeptBatch>): void {
    for (const [key, { session, settled }, numbers] of clients) {
      this.clients.set(key, { session, settled, numbers: new Map(numbers.map((number) => [number, []])) });
    }
    for (const batch of batches) {
      this.batches.set(batch.seq, batch);
      this.#touch(batch.seq);
      for (const kept of batch.entries.values()) {
        this.kept.set(kept.id, kept);
        this.clients.get(kept.client)?.numbers.get(kept.number)?.push(kept.id);
      }
    }
  }
}

/** Batches are written in groups of so many numbers: a group that has not changed is not written anew. */
const GROUP = 32;

export const groupOf = (seq: number): number => Math.floor(seq / GROUP);

/** What a request asks to be executed; opening a session and changing the members have results too. */
export const operationsOf = (request: Request): readonly Operation[] => {
  const { body } = request;
  if (body.t === "call") return body.operations;
  if (body.t === "single") return [];
  return [{ id: idsOf(request)[0]!, key: "", input: "" }];
};

const idsOf = (request: Request): string[] => {
  const { body } = request;
  switch (body.t) {
    case "call":
      return body.operations.map(({ id }) => id);
    case "single":
      return [];
    case "session":
      return [sessionId(request)];
    case "reconfigure":
      return [epochId(body.next.membership.epoch, body.next.signature)];
  }
};
