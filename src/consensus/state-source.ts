import { countSent, maySend } from "./contents.ts";
import type { Core } from "./core.ts";
import type { ReplicaIndex } from "./membership.ts";
import type { CheckpointProof, PeerMessage } from "./messages.ts";
import { areProven } from "./result-pages.ts";

// What a replica gives to those that fetch its state (transfer.ts): the proof of its last stable checkpoint, and its pages.

/** What a page of the function is taken to cost, in characters. */
const PAGE_COST = 65_536;

/** Shows the last stable checkpoint; with the members that have signed it, for a peer that may not know them. */
export const sendProof = (core: Core, to: ReplicaIndex, withMembers = false): void => {
  const { stable, certified, previous } = core;
  const own = core.checkpoints.get(stable.seq);
  const pages = own?.pages;
  if (pages === undefined || core.state !== "present") return;
  const isOld = stable.epoch < core.epoch;
  const proof: CheckpointProof = { t: "checkpoint-proof", stable, pages };
  if (own?.results !== undefined && areProven(core, stable, own.results.digests)) proof.results = own.results.digests;
  if (isOld) proof.next = certified;
  if (withMembers || isOld) proof.membership = isOld ? previous! : certified;
  core.send(to, proof);
};

export const answerFetchPage = (core: Core, to: ReplicaIndex, { seq, page, digest }: Extract<PeerMessage, { t: "fetch-page" }>): void => {
  const own = core.checkpoints.get(seq);
  if (own?.pages === undefined || core.state !== "present") return;
  const ofResults = page - own.pages.length;
  // Results differ among correct replicas where the function isn't deterministic.
  if ((own.pages[page] ?? own.results?.digests[ofResults]) !== digest || !maySend(core, to)) return;
  const data = own.core[page] ?? own.results?.pages[ofResults];
  countSent(core, to, data?.length ?? PAGE_COST);
  if (data !== undefined) core.send(to, { t: "page", seq, page, data });
  else core.effects.push({ t: "read-page", seq, page: page - own.core.length, to });
};

/** @param page among those of the function */
export const sendPage = (core: Core, seq: number, page: number, to: ReplicaIndex, data: string): void => {
  const own = core.checkpoints.get(seq);
  if (own !== undefined) core.send(to, { t: "page", seq, page: page + own.core.length, data });
};
