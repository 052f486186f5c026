import type { Statement } from "./certificate.ts";
import type { Digest, PublicKey } from "./crypto.ts";
import type { Membership } from "./membership.ts";
import type { Batch, NewView, Request, ViewChange } from "./messages.ts";

// The texts that are hashed and signed. Each is a JSON array in a fixed order that begins with its purpose and format, so that there is one
// text for each meaning, and no text with two.

type Value = string | number | boolean | readonly Value[];

const text = (purpose: string, ...values: Value[]): string => JSON.stringify([`lockstep/${purpose}/1`, ...values]);

export const membershipText = (m: Membership): string =>
  text("membership", m.set, m.application, m.function, m.version, m.epoch, m.faults, m.replicas, m.clients);

/** Of a request without its signature. Its hash is the request's digest. */
export const requestText = (request: Omit<Request, "signature">, set: string): string =>
  text("request", set, request.client, request.session, request.number, request.settled, bodyValue(request));

const bodyValue = ({ body }: Pick<Request, "body">): Value => {
  switch (body.t) {
    case "call":
      return ["call", body.operations.map(({ id, key, input }) => [id, key, input])];
    case "session":
      return ["session", body.keep];
    case "single":
      return ["single", body.operations];
    case "reconfigure":
      return ["reconfigure", membershipText(body.next.membership), body.next.signature];
  }
};

/** Of a batch; its hash is the digest that is agreed on. */
export const batchText = (set: string, seq: number, batch: Batch): string =>
  text("batch", set, seq, batch.time, batch.seed, batch.requests);

/** The only seed that is valid beside this time and these requests. */
export const seedText = (set: string, seq: number, time: number, requests: readonly Digest[]): string =>
  text("seed", set, seq, time, requests);

/** @param results digest of the results that the voter has come to; left out where it does not know them all */
export const checkpointText = (set: string, epoch: number, seq: number, digest: Digest, results?: Digest): string =>
  text("checkpoint", set, epoch, seq, digest, ...given(results));

const given = (value: Value | undefined): Value[] => (value === undefined ? [] : [value]);

/** Of the state after `seq`: its hash is what a checkpoint's votes are for. Of a page's text it is the plain hash that is listed. */
export const stateText = (set: string, seq: number, pages: readonly Digest[]): string => text("state", set, seq, pages);

/** Of the pages with the hashes of what is kept after `seq`: its hash stands beside that of the state in a checkpoint's votes. */
export const resultsText = (set: string, seq: number, pages: readonly Digest[]): string => text("results", set, seq, pages);

export const viewChangeText = (set: string, v: Omit<ViewChange, "signature">): string =>
  text(
    "view-change",
    set,
    v.epoch,
    v.replica,
    v.view,
    [
      v.stable.epoch,
      v.stable.seq,
      v.stable.digest,
      v.stable.votes.map(({ replica, signature, results }) => [replica, signature, ...given(results)]),
    ],
    v.checkpoints.map(({ seq, digest }) => [seq, digest]),
    v.prepared.map(({ seq, digest, view }) => [seq, digest, view]),
    v.preprepared.map(({ seq, digest, view }) => [seq, digest, view]),
  );

export const newViewText = (set: string, v: Omit<NewView, "signature">): string =>
  text(
    "new-view",
    set,
    v.epoch,
    v.view,
    v.viewChanges.map((each) => [viewChangeText(set, each), each.signature]),
    v.slots.map(({ seq, digest }) => [seq, digest]),
    [v.checkpoint.seq, v.checkpoint.digest],
  );

/** The leaf of one result in its batch's tree. */
export const leafText = (set: string, s: Statement): string =>
  text("result", set, s.sequence, s.position, s.operation, s.version, s.key, s.inputHash, s.resultHash);

/** Of what stands in a tree instead of results that are not voted on. */
export const fillerText = (): string => text("filler");

export const nodeText = (left: Digest, right: Digest): string => text("node", left, right);

/** What a replica signs of a batch's results. */
export const voteText = (set: string, epoch: number, view: number, seq: number, root: Digest): string =>
  text("vote", set, epoch, view, seq, root);

export const outcomeText = (outcome: string): string => text("outcome", outcome);

export const inputText = (input: string): string => text("input", input);

/** Of a client's or replica's key: a short name for logs and events. */
export const keyName = (key: PublicKey): string => key.slice(0, 8);
