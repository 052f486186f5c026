import type { ClientEffect, ClientEvidence, ClientInput, ClientTimer } from "../../src/consensus/client-machine.ts";
import { ReplicaClient } from "../../src/consensus/client-machine.ts";
import type { CertifiedMembership, ReplicaIndex } from "../../src/consensus/membership.ts";
import type { Operation, Reply, Request } from "../../src/consensus/messages.ts";
import type { Random } from "../../src/lib/random.ts";
import type { Command } from "./bank.ts";
import type { Call, Ledger } from "./checkers.ts";
import { violated } from "./checkers.ts";
import type { Identity } from "./crypto.ts";
import type { ClientPlan } from "./scenario.ts";
import type { Timeline } from "./timeline.ts";
import { EPOCH_MS } from "./timeline.ts";

export interface ClientWorld {
  timeline: Timeline;
  random: Random;
  ledger: Ledger;
  membership(): CertifiedMembership;
  send(client: Client, to: ReplicaIndex, request: Request): void;
  evidence(client: Client, evidence: ClientEvidence): void;
  reconfigured(epoch: number): void;
  broke(client: Client, error: unknown): void;
}

const BANKS = ["east", "north", "west"];
const ACCOUNTS = ["ann", "bob", "cy", "di"];

/** A client with its journal: what it has asked for and what is certified survives it, its machine doesn't. */
export class Client {
  readonly number: number;
  readonly identity: Identity;
  readonly #plan: ClientPlan;
  readonly #world: ClientWorld;
  readonly #open = new Map<string, Call>();
  #machine: ReplicaClient | undefined;
  #session = 0;
  #made = 0;
  #timers = new Map<ClientTimer, number>();
  #timerCount = 0;
  /** Certified, and not told to the machine to be durable yet. */
  #unsettled: string[] = [];
  #wanted: CertifiedMembership | undefined;

  constructor(number: number, identity: Identity, plan: ClientPlan, world: ClientWorld) {
    this.number = number;
    this.identity = identity;
    this.#plan = plan;
    this.#world = world;
  }

  get isDone(): boolean {
    return this.#made >= this.#plan.operations && this.#open.size === 0;
  }

  start(): void {
    this.#begin();
    this.#submitLater();
  }

  /** The machine is lost; the next one opens a session and asks again for what is open. */
  restart(): void {
    this.#begin();
    const open = [...this.#open.values()].map(({ operation }) => operation);
    if (open.length > 0) this.#step({ t: "submit", operations: open });
    if (this.#wanted !== undefined) this.#step({ t: "reconfigure", next: this.#wanted });
  }

  reconfigure(next: CertifiedMembership): void {
    this.#wanted = next;
    this.#step({ t: "reconfigure", next });
  }

  learn(membership: CertifiedMembership): void {
    this.#step({ t: "epoch", membership });
  }

  receive(from: ReplicaIndex, reply: Reply): void {
    this.#step({ t: "reply", from, reply });
  }

  #begin(): void {
    this.#session++;
    this.#timers = new Map();
    const { key, crypto } = this.identity;
    const keep = [...this.#open.keys()];
    this.#unsettled = [];
    this.#machine = new ReplicaClient({ membership: this.#world.membership(), key, session: this.#session, keep }, crypto);
    this.#take(this.#machine.start(this.#now()));
  }

  #now(): number {
    return EPOCH_MS + Math.floor(this.#world.timeline.now);
  }

  #submitLater(): void {
    if (this.#made >= this.#plan.operations) return;
    const { timeline, random } = this.#world;
    timeline.after(this.#plan.gapMs * 2 * random.next(), () => {
      const count = Math.min(1 + random.below(this.#plan.burst), this.#plan.operations - this.#made);
      const operations = Array.from({ length: count }, () => this.#make());
      for (const operation of operations) {
        const call: Call = { operation, invokedMs: timeline.now, completedMs: undefined, statement: undefined, outcome: undefined };
        this.#open.set(operation.id, call);
        this.#world.ledger.calls.set(operation.id, call);
      }
      this.#step({ t: "submit", operations });
      this.#submitLater();
    });
  }

  #make(): Operation {
    const { random } = this.#world;
    const account = (): string => ACCOUNTS[random.below(ACCOUNTS.length)]!;
    const commands: Command[] = [
      { t: "deposit", to: account(), amount: 1 + random.below(100) },
      { t: "transfer", from: account(), to: account(), amount: 1 + random.below(60) },
      { t: "read", account: account() },
      { t: "roll" },
    ];
    const command = commands[random.below(commands.length)]!;
    return { id: `c${this.number}/${++this.#made}`, key: BANKS[random.below(BANKS.length)]!, input: JSON.stringify(command) };
  }

  #step(input: ClientInput): void {
    try {
      if (this.#machine !== undefined) this.#take(this.#machine.step(input, this.#now()));
    } catch (error) {
      this.#world.broke(this, error);
    }
  }

  #take(effects: readonly ClientEffect[]): void {
    for (const effect of effects) this.#carryOut(effect);
  }

  #carryOut(effect: ClientEffect): void {
    switch (effect.t) {
      case "send":
        for (const to of effect.to) this.#world.send(this, to, effect.request);
        return;
      case "certified":
        this.#certified(effect);
        return;
      case "diverged":
        this.#diverged(effect);
        return;
      case "reconfigured":
        this.#wanted = undefined;
        this.#world.reconfigured(effect.epoch);
        return;
      case "evidence":
        this.#world.evidence(this, effect.evidence);
        return;
      case "timer":
        this.#arm(effect.timer, effect.afterMs);
        return;
    }
  }

  #certified({ operation, certificate, outcome }: Extract<ClientEffect, { t: "certified" }>): void {
    const { ledger, timeline, random } = this.#world;
    const call = ledger.calls.get(operation);
    if (call === undefined) return violated("certificates", `${operation}, which nobody has asked for, is certified`);
    ledger.certified(call, certificate, outcome, timeline.now);
    // Until the result is in the journal, a client that dies asks again.
    const session = this.#session;
    timeline.after(5 * random.next(), () => {
      if (session !== this.#session || !this.#open.delete(operation)) return;
      this.#unsettled.push(operation);
      if (random.next() < 0.5 || this.#open.size === 0) this.#settle();
    });
  }

  #diverged({ operation, outcomes }: Extract<ClientEffect, { t: "diverged" }>): void {
    const { ledger, timeline } = this.#world;
    const call = ledger.calls.get(operation);
    if (call === undefined) return violated("divergence", `${operation}, which nobody has asked for, has diverged`);
    ledger.diverged(call, outcomes, timeline.now);
    this.#open.delete(operation);
    this.#unsettled.push(operation);
    this.#settle();
  }

  #settle(): void {
    const operations = this.#unsettled;
    this.#unsettled = [];
    this.#step({ t: "settle", operations });
  }

  #arm(timer: ClientTimer, afterMs: number | undefined): void {
    const stamp = ++this.#timerCount;
    this.#timers.set(timer, stamp);
    if (afterMs === undefined) return;
    const timers = this.#timers;
    this.#world.timeline.after(afterMs, () => {
      if (timers === this.#timers && timers.get(timer) === stamp) this.#step({ t: "timer", timer });
    });
  }
}
