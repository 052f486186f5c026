import { membershipText } from "../../src/consensus/canonical.ts";
import type { PublicKey } from "../../src/consensus/crypto.ts";
import type { Effect, Evidence, Notice } from "../../src/consensus/effects.ts";
import type { CertifiedMembership, Membership, ReplicaIndex } from "../../src/consensus/membership.ts";
import { replicasOf } from "../../src/consensus/membership.ts";
import type { PeerMessage, Reply, Request } from "../../src/consensus/messages.ts";
import type { Flaw } from "../../src/consensus/options.ts";
import type { Random } from "../../src/lib/random.ts";
import { hashText, seeded } from "../../src/lib/random.ts";
import { Mask, TICK_MS } from "./byzantine.ts";
import { Ledger } from "./checkers.ts";
import { Client } from "./clients.ts";
import type { Identity } from "./crypto.ts";
import { CryptoWorld } from "./crypto.ts";
import { shifted, shiftOf } from "./diverging.ts";
import type { Distortion } from "./executor.ts";
import { frozen } from "./freeze.ts";
import type { Surroundings } from "./host.ts";
import { Process } from "./host.ts";
import { Network } from "./network.ts";
import type { Liar, Scenario } from "./scenario.ts";
import { twinPlaceOf } from "./scenario.ts";
import type { Stage } from "./tactics/tactic.ts";
import { Timeline } from "./timeline.ts";

export const SET = "bank/accounts@1";

/** What the cast tells whoever watches. */
export interface Audience {
  /** Whatever a replica wants to do. */
  observe(process: Process, effect: Effect): void;
  evidence(process: Process, evidence: Evidence): void;
  accused(by: string, about: ReplicaIndex, kind: string, detail: string): void;
  notice(process: Process, notice: Notice): void;
  reconfigured(): void;
  /** The code of a replica or client threw. */
  broke(name: string, isLiar: boolean, error: unknown): void;
  /** A message arrives. */
  arrives(from: string, to: string, what: string, content: object): void;
}

export interface CastOptions {
  flaws?: Partial<Record<Flaw, true>>;
  /** Whether a message between replicas passes, by the places of both and the view that the sender is in. */
  filter?: (from: number, to: number, view: number, message: PeerMessage) => boolean;
}

/** All processes of one simulated set, its clients and the admin's memberships, connected with each other. */
export class Cast {
  readonly scenario: Scenario;
  readonly nodes: number;
  readonly timeline = new Timeline();
  readonly network: Network;
  readonly ledger: Ledger;
  readonly clients: Client[] = [];
  /** All processes that ever were. */
  readonly processes: Process[] = [];
  readonly #options: CastOptions;
  readonly #audience: Audience;
  readonly #crypto = new CryptoWorld();
  /** It takes time, so not always. */
  readonly #freezes: boolean;
  readonly #admin: Identity;
  readonly #memberships: CertifiedMembership[] = [];
  #begun = 1;

  constructor(scenario: Scenario, options: CastOptions, audience: Audience) {
    this.scenario = scenario;
    this.nodes = replicasOf(scenario.faults);
    this.#options = options;
    this.#freezes = scenario.seed % 8 === 0;
    this.#audience = audience;
    this.network = new Network(this.timeline, this.#stream("network"), scenario.net);
    this.#admin = this.#crypto.identity("admin");
    this.ledger = new Ledger(this.#crypto, this.#admin.key, SET, scenario);
    const clients = scenario.clients.map((_, i) => this.#crypto.identity(`client${i}`));
    const replicas = Array.from({ length: this.nodes }, (_, i) => this.#crypto.identity(`replica${i}`));
    this.#certify({
      set: SET,
      application: "bank",
      function: "accounts",
      version: "1",
      epoch: 1,
      faults: scenario.faults,
      replicas: replicas.map(({ key }) => key),
      clients: clients.map(({ key }) => key),
    });
    for (const [i, identity] of replicas.entries()) this.#addReplica(i, identity);
    for (const [i, identity] of clients.entries()) this.#addClient(i, identity);
  }

  /** A correct replica is in this epoch. */
  begins(epoch: number): void {
    this.#begun = Math.max(this.#begun, epoch);
  }

  get membership(): CertifiedMembership {
    return this.#memberships.at(-1)!;
  }

  membershipOf(epoch: number): CertifiedMembership {
    return this.#memberships[epoch - 1]!;
  }

  start(): void {
    for (const process of this.processes) process.start();
    for (const client of this.clients) client.start();
  }

  correct(): Process[] {
    return this.processes.filter((process) => !process.isLiar && !process.isRemoved && process.isUp);
  }

  /** The newest process at a place; of twins the one that is not the twin. */
  at(index: ReplicaIndex): Process {
    return this.processes.findLast((process) => process.place === index)!;
  }

  /** A new key at this place, in a new epoch, and the process that has it; it is not started. */
  replace(index: ReplicaIndex): Process {
    const { membership } = this.membership;
    const identity = this.#crypto.identity(`replica${index}`);
    const replicas = membership.replicas.map((key, i) => (i === index ? identity.key : key));
    this.#certify({ ...membership, epoch: membership.epoch + 1, replicas });
    return this.#addReplica(index, identity);
  }

  /** Whoever has no key of the newest epoch is cut off. */
  remove(): void {
    const { replicas } = this.membership.membership;
    for (const process of this.processes) if (replicas[process.index] !== process.identity.key) process.isRemoved = true;
  }

  #stream(name: string): Random {
    return seeded(hashText(`${this.scenario.seed}/${name}`));
  }

  #certify(membership: Membership): void {
    this.#memberships.push({ membership, signature: this.#admin.crypto.sign(membershipText(membership)) });
  }

  #addReplica(index: ReplicaIndex, identity: Identity): Process {
    const { epoch } = this.membership.membership;
    if (epoch > 1) return this.#addProcess(index, identity, `r${index}e${epoch}`, index);
    const liar = this.scenario.liars.find(({ replica }) => replica === index);
    if (liar === undefined) return this.#addProcess(index, identity, `r${index}`, index);
    if (liar.behaviours.includes("twin")) this.#addProcess(index, identity, `r${index}'`, twinPlaceOf(index), liar);
    return this.#addProcess(index, identity, `r${index}!`, index, liar);
  }

  #addProcess(index: ReplicaIndex, identity: Identity, name: string, place: number, liar?: Liar): Process {
    const random = this.#stream(`process ${name}`);
    const holder: { process?: Process } = {};
    const isActive = (): boolean => this.timeline.now >= (liar?.fromMs ?? 0);
    const mask = liar && new Mask(liar.behaviours, this.#stage(holder, identity, index, name), isActive);
    const { tuning, skewMs } = this.scenario;
    const replica = {
      membership: this.membership,
      index,
      admin: this.#admin.key,
      durable: true,
      limits: { idleStatusEveryMs: 500, ...tuning },
      ...(this.#options.flaws !== undefined && liar === undefined && { flaws: this.#options.flaws }),
    };
    const isLiar = liar !== undefined;
    const skew = Math.round((2 * random.next() - 1) * skewMs);
    const distortion = this.#distortionOf(index);
    const options = { name, place, identity, isLiar, replica, skewMs: skew, ...(mask && { mask }), ...(distortion && { distortion }) };
    const process = new Process(options, this.#surroundings(random));
    holder.process = process;
    this.processes.push(process);
    if (mask !== undefined) this.#tick(mask, process);
    return process;
  }

  #distortionOf(index: ReplicaIndex): Distortion | undefined {
    const { diverging } = this.scenario;
    if (diverging === undefined) return undefined;
    return { outcome: (outcome, id) => shifted(outcome, shiftOf(diverging, id, index, this.nodes)), page: (data) => data };
  }

  #tick(mask: Mask, process: Process): void {
    if (process.isUp) mask.tick();
    this.timeline.after(TICK_MS, () => this.#tick(mask, process));
  }

  #stage(holder: { process?: Process }, identity: Identity, me: ReplicaIndex, name: string): Stage {
    return {
      set: SET,
      nodes: this.nodes,
      me,
      random: this.#stream(`liar ${name}`),
      crypto: identity.crypto,
      epoch: () => holder.process?.replica?.inspect().epoch ?? 1,
      now: () => holder.process!.now(),
      send: (to, message, delayMs = 0) =>
        this.timeline.after(delayMs, () => {
          const process = holder.process!;
          if (process.replica !== undefined) this.#sendMessage(process, process.replica.inspect().epoch, to, message);
        }),
      requests: [],
    };
  }

  #surroundings(random: Random): Surroundings {
    const { diskMs, executeMs, keepsSnapshots } = this.scenario;
    return {
      timeline: this.timeline,
      random,
      diskMs,
      executeMs,
      keepsSnapshots,
      hash: (text) => this.#crypto.hash(text),
      send: (from, epoch, to, message) => this.#sendMessage(from, epoch, to, message),
      reply: (from, client, reply) => this.#sendReply(from, client, reply),
      observe: (process, effect) => this.#audience.observe(process, effect),
      evidence: (process, evidence) => this.#audience.evidence(process, evidence),
      notice: (process, notice) => this.#audience.notice(process, notice),
      broke: (process, error) => this.#audience.broke(process.name, process.isLiar, error),
    };
  }

  #addClient(number: number, identity: Identity): void {
    const place = this.nodes + number;
    const client = new Client(number, identity, this.scenario.clients[number]!, {
      timeline: this.timeline,
      random: this.#stream(`client ${number}`),
      ledger: this.ledger,
      // Of the newest epoch that is known to have begun.
      membership: () => this.membershipOf(this.#begun),
      send: (_, to, request) => this.#sendRequest(place, to, request),
      evidence: (_, { about, kind, detail }) => {
        if (kind !== "silent") this.#audience.accused(`client ${number}`, about, kind, detail);
      },
      reconfigured: () => this.#audience.reconfigured(),
      broke: (_, error) => this.#audience.broke(`client ${number}`, false, error),
    });
    this.clients.push(client);
  }

  #sendMessage(from: Process, epoch: number, to: ReplicaIndex, message: PeerMessage): void {
    const key = this.#memberships[epoch - 1]?.membership.replicas[to];
    if (this.#freezes) frozen(message);
    const { filter } = this.#options;
    for (const process of this.processes) {
      if (process.identity.key !== key || process === from) continue;
      if (filter !== undefined && !filter(from.place, process.place, from.replica?.inspect().view ?? 0, message)) continue;
      this.network.send(from.place, process.place, () => {
        if (!process.isUp || from.isRemoved) return;
        this.#audience.arrives(from.name, process.name, message.t, message);
        process.deliver({ t: "message", from: from.index, epoch, message });
      });
    }
  }

  #sendRequest(place: number, to: ReplicaIndex, request: Request): void {
    if (this.#freezes) frozen(request);
    for (const process of this.processes) {
      if (process.index !== to || process.isRemoved) continue;
      this.network.send(place, process.place, () => {
        if (!process.isUp) return;
        this.#audience.arrives(`c${place - this.nodes}`, process.name, "request", request);
        process.mask?.hear(request);
        process.deliver({ t: "request", request });
      });
    }
  }

  #sendReply(from: Process, to: PublicKey, reply: Reply): void {
    const client = this.clients.find(({ identity }) => identity.key === to);
    if (client === undefined) return;
    if (this.#freezes) frozen(reply);
    this.network.send(from.place, this.nodes + client.number, () => {
      this.#audience.arrives(from.name, `c${client.number}`, "reply", reply);
      client.receive(from.index, reply);
    });
  }
}
