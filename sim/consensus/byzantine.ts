import type { ReplicaIndex } from "../../src/consensus/membership.ts";
import type { PeerMessage, Reply, Request } from "../../src/consensus/messages.ts";
import type { Json } from "../../src/lib/json.ts";
import { floodTactics } from "./tactics/floods.ts";
import { leaderTactics } from "./tactics/leader.ts";
import { stateTactics } from "./tactics/state.ts";
import type { Stage, Tactic, Tactics } from "./tactics/tactic.ts";
import { viewTactics } from "./tactics/views.ts";
import { voteTactics } from "./tactics/votes.ts";

export const TICK_MS = 40;

export const TACTICS = { ...leaderTactics, ...voteTactics, ...viewTactics, ...stateTactics, ...floodTactics } satisfies Tactics;

/** `twin` is not a tactic: it is two correct processes under one key. */
export type Behaviour = keyof typeof TACTICS | "twin";

export const BEHAVIOURS = [...(Object.keys(TACTICS) as (keyof typeof TACTICS)[]), "twin"] as const satisfies readonly Behaviour[];

const MOST_REQUESTS = 200;
const NONE: readonly Tactic[] = [];

/** All tactics of one liar, one after the other: what one makes of a message is what the next one gets. */
export class Mask {
  readonly #all: Tactic[];
  readonly #isActive: () => boolean;
  readonly #stage: Stage;

  /** @param isActive while it isn't, the liar does what is right */
  constructor(behaviours: readonly Behaviour[], stage: Stage, isActive: () => boolean) {
    this.#isActive = isActive;
    this.#stage = stage;
    this.#all = behaviours.flatMap((name) => (name === "twin" ? [] : [TACTICS[name](stage)]));
  }

  get #tactics(): readonly Tactic[] {
    return this.#isActive() ? this.#all : NONE;
  }

  outgoing(to: ReplicaIndex, message: PeerMessage): PeerMessage[] {
    let messages = [message];
    for (const tactic of this.#tactics)
      if (tactic.outgoing !== undefined) messages = messages.flatMap((each) => tactic.outgoing!(to, each));
    return messages;
  }

  incoming(from: ReplicaIndex, message: PeerMessage): void {
    // What it hears while it is honest, it may use later.
    for (const tactic of this.#all) tactic.incoming?.(from, message);
  }

  hear(request: Request): void {
    if (this.#stage.requests.length < MOST_REQUESTS) this.#stage.requests.push(request);
  }

  reply(reply: Reply): Reply[] {
    let replies = [reply];
    for (const tactic of this.#tactics) if (tactic.reply !== undefined) replies = replies.flatMap((each) => tactic.reply!(each));
    return replies;
  }

  outcome(outcome: Json, operation: string): Json {
    return this.#tactics.reduce((told, tactic) => tactic.outcome?.(told, operation) ?? told, outcome);
  }

  page(data: string): string {
    return this.#tactics.reduce((told, tactic) => tactic.page?.(told) ?? told, data);
  }

  tick(): void {
    for (const tactic of this.#tactics) tactic.tick?.();
  }
}
