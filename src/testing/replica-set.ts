import { newViewText, seedText, viewChangeText } from "../consensus/canonical.ts";
import {
  type ClientEffect,
  type ClientEvidence,
  type ClientInput,
  ReplicaClient,
  type ReplicaClientOptions,
} from "../consensus/client-machine.ts";
import type { DurableRecord, Effect, Evidence, Input, Notice } from "../consensus/effects.ts";
import { Replica } from "../consensus/machine.ts";
import type { CertifiedMembership, ReplicaIndex } from "../consensus/membership.ts";
import type { NewView, PeerMessage, Reply, Request, ViewChange } from "../consensus/messages.ts";
import type { ReplicaOptions } from "../consensus/options.ts";
import { cryptoOf, hashText, membersOf, SET_NAME, signAs } from "./replica-keys.ts";
import { ReplicaWorker } from "./replica-worker.ts";

interface Member {
  readonly name: string;
  readonly index: ReplicaIndex;
  replica: Replica;
  worker: ReplicaWorker;
  readonly options: ReplicaOptions;
  epoch: number;
  timers: Map<string, number>;
  readonly records: DurableRecord[];
  readonly effects: Effect[];
  readonly evidence: Evidence[];
  readonly notices: Notice[];
  down: boolean;
  /** Snapshots that outlive the process. */
  readonly disk: Map<number, string[]>;
}

interface Event {
  at: number;
  order: number;
  run: () => void;
}

/** What the network makes of a message: nothing, or others. */
export type Filter = (from: string, to: string, message: PeerMessage) => PeerMessage[] | undefined;

export interface ReplicaSetOptions extends Partial<Omit<ReplicaOptions, "membership" | "index">> {
  faults?: number;
}

/** Replicas, their executors and a client around a step clock: messages take 1 ms, and everything happens in the order of its time. */
export class ReplicaSet {
  readonly members: Member[];
  readonly certified: CertifiedMembership;
  readonly #events: Event[] = [];
  #order = 0;
  now = 1_000_000;
  filter: Filter = (_from, _to, message) => [message];
  filterReplies: (from: string, reply: Reply) => Reply | undefined = (_from, reply) => reply;
  filterRequests: (to: string, request: Request) => Request | undefined = (_to, request) => request;
  client: ReplicaClient;
  readonly certificates = new Map<string, Extract<ClientEffect, { t: "certified" }>>();
  readonly clientEffects: ClientEffect[] = [];
  readonly clientEvidence: ClientEvidence[] = [];
  autoSettle = true;
  readonly #options: ReplicaSetOptions;
  #clientTimers = new Map<string, number>();

  constructor({ faults = 1, ...options }: ReplicaSetOptions = {}) {
    this.#options = options;
    this.certified = membersOf(faults);
    this.members = this.certified.membership.replicas.map((name, index) => this.#member(name, index, this.certified));
    this.client = this.newClient(1);
    for (const member of this.members) this.#carryOut(member, member.replica.start(this.now));
  }

  #member(name: string, index: ReplicaIndex, membership: CertifiedMembership): Member {
    const options: ReplicaOptions = { ...this.#options, membership, index, key: name, admin: "admin" };
    const replica = new Replica(options, cryptoOf(name));
    const { epoch } = membership.membership;
    const timers = new Map<string, number>();
    const lists = { records: [], effects: [], evidence: [], notices: [] };
    const disk = new Map<number, string[]>();
    return { name, index, replica, worker: new ReplicaWorker(disk), options, epoch, timers, ...lists, down: false, disk };
  }

  /** A newcomer at this place. */
  join(name: string, index: ReplicaIndex, membership: CertifiedMembership): Member {
    this.members[index]!.down = true;
    const member = this.#member(name, index, membership);
    this.members.push(member);
    this.#carryOut(member, member.replica.start(this.now));
    return member;
  }

  /** Starts the process anew, with its records and what is on its disk. */
  restart(member: Member): void {
    member.worker = new ReplicaWorker(member.disk);
    member.timers = new Map();
    member.down = false;
    member.replica = new Replica(member.options, cryptoOf(member.name), member.records);
    this.#carryOut(member, member.replica.start(this.now));
  }

  newClient(session: number, options: Partial<ReplicaClientOptions> = {}, cryptography = cryptoOf("client")): ReplicaClient {
    this.#clientTimers = new Map();
    this.client = new ReplicaClient({ membership: this.certified, key: "client", session, ...options }, cryptography);
    this.#carryOutClient(this.client.start(this.now));
    return this.client;
  }

  at(index: number): Member {
    return this.members[index]!;
  }

  submit(...ids: string[]): void {
    this.tell({ t: "submit", operations: ids.map((id) => ({ id, key: "k", input: JSON.stringify(id) })) });
  }

  tell(input: ClientInput): void {
    this.#carryOutClient(this.client.step(input, this.now));
  }

  /** Gives a replica an input of the test's own. */
  give(index: number, input: Input): Effect[] {
    const member = this.at(index);
    const effects = member.replica.step(input, this.now);
    this.#carryOut(member, effects);
    return effects;
  }

  after(ms: number, run: () => void): void {
    this.#events.push({ at: this.now + ms, order: this.#order++, run });
  }

  /** Lets so much time pass. */
  run(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      let next: Event | undefined;
      for (const event of this.#events) {
        if (event.at <= end && (next === undefined || event.at < next.at || (event.at === next.at && event.order < next.order)))
          next = event;
      }
      if (next === undefined) break;
      this.#events.splice(this.#events.indexOf(next), 1);
      this.now = Math.max(this.now, next.at);
      next.run();
    }
    this.now = end;
  }

  /** @returns after how much time it held */
  runUntil(holds: () => boolean, mostMs = 20_000): number {
    const begin = this.now;
    while (!holds()) {
      if (this.now - begin > mostMs) throw new Error(`it has not come about within ${mostMs} ms`);
      this.run(1);
    }
    return this.now - begin;
  }

  /** Submits and waits for the certificates. */
  certifyAll(...ids: string[]): number {
    this.submit(...ids);
    return this.runUntil(() => ids.every((id) => this.certificates.has(id)));
  }

  evidence(): Evidence[] {
    return this.members.flatMap(({ evidence }) => evidence);
  }

  /** The same view change with other contents, signed by who is called so. */
  resign(name: string, viewChange: ViewChange): ViewChange {
    return { ...viewChange, signature: signAs(name, viewChangeText(SET_NAME, viewChange)) };
  }

  resignView(name: string, newView: NewView): NewView {
    return { ...newView, signature: signAs(name, newViewText(SET_NAME, newView)) };
  }

  seed(seq: number, time: number, requests: string[]): string {
    return hashText(seedText(SET_NAME, seq, time, requests));
  }

  #memberAt(index: ReplicaIndex, epoch: number): Member | undefined {
    const at = this.members.filter((member) => member.index === index && !member.down);
    return at.find((member) => member.epoch === epoch) ?? at.at(-1);
  }

  #carryOut(member: Member, effects: readonly Effect[]): void {
    for (const effect of effects) {
      member.effects.push(effect);
      this.#carryOutOne(member, effect);
    }
  }

  #carryOutOne(member: Member, effect: Effect): void {
    switch (effect.t) {
      case "persist":
        member.records.push(...effect.records);
        return;
      case "send":
        for (const to of effect.to) this.#deliver(member, to, effect.epoch, effect.message);
        return;
      case "reply": {
        const reply = this.filterReplies(member.name, effect.reply);
        if (reply !== undefined) this.after(1, () => this.tell({ t: "reply", from: reply.replica, reply: structuredClone(reply) }));
        return;
      }
      case "timer":
        this.#arm(member, effect.timer, effect.afterMs);
        return;
      case "evidence":
        member.evidence.push(effect.evidence);
        return;
      case "notice":
        if (effect.notice.t === "epoch") member.epoch = effect.notice.epoch;
        member.notices.push(effect.notice);
        return;
      default:
        this.work(member, effect);
    }
  }

  work(member: Member, effect: Effect): void {
    if (member.worker.stopped) {
      member.worker.waiting.push(effect);
      return;
    }
    const { worker, replica } = member;
    const answer = worker.take(effect);
    if (answer === undefined) return;
    this.after(0, () => {
      if (member.replica === replica && !member.down) this.#carryOut(member, replica.step(answer, this.now));
    });
  }

  #deliver(member: Member, index: ReplicaIndex, epoch: number, message: PeerMessage): void {
    if (member.down) return;
    const to = this.#memberAt(index, epoch);
    if (to === undefined) return;
    for (const passed of this.filter(member.name, to.name, message) ?? []) {
      const copy = structuredClone(passed);
      this.after(1, () => {
        if (to.down) return;
        this.#carryOut(to, to.replica.step({ t: "message", from: member.index, epoch, message: copy }, this.now));
      });
    }
  }

  #arm(member: Member, timer: Extract<Input, { t: "timer" }>["timer"], afterMs: number | undefined): void {
    const armed = this.#order;
    member.timers.set(timer, armed);
    if (afterMs === undefined) return;
    const { replica } = member;
    this.after(afterMs, () => {
      if (member.timers.get(timer) !== armed || member.replica !== replica || member.down) return;
      this.#carryOut(member, replica.step({ t: "timer", timer }, this.now));
    });
  }

  #carryOutClient(effects: readonly ClientEffect[]): void {
    for (const effect of effects) {
      this.clientEffects.push(effect);
      this.#carryOutClientOne(effect);
    }
  }

  #carryOutClientOne(effect: ClientEffect): void {
    switch (effect.t) {
      case "send":
        this.sendRequest(effect.request);
        return;
      case "certified":
        this.certificates.set(effect.operation, effect);
        if (this.autoSettle) this.after(0, () => this.tell({ t: "settle", operations: [effect.operation] }));
        return;
      case "evidence":
        this.clientEvidence.push(effect.evidence);
        return;
      case "timer": {
        const armed = this.#order;
        const { client } = this;
        this.#clientTimers.set(effect.timer, armed);
        const { timer, afterMs } = effect;
        if (afterMs === undefined) return;
        this.after(afterMs, () => {
          if (this.#clientTimers.get(timer) === armed && this.client === client) this.tell({ t: "timer", timer });
        });
        return;
      }
      case "reconfigured":
      case "diverged":
        return;
    }
  }

  /** To all replicas, as a client does. */
  sendRequest(request: Request): void {
    for (const member of this.members) {
      const passed = this.filterRequests(member.name, request);
      if (passed === undefined) continue;
      this.after(1, () => {
        if (!member.down) this.#carryOut(member, member.replica.step({ t: "request", request: structuredClone(passed) }, this.now));
      });
    }
  }
}
