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
import { Ledger, Violation, violated } from "./checkers.ts";
import { Client } from "./clients.ts";
import type { Identity } from "./crypto.ts";
import { CryptoWorld } from "./crypto.ts";
import type { Surroundings } from "./host.ts";
import { Process } from "./host.ts";
import { checkMemory } from "./memory.ts";
import { Network } from "./network.ts";
import type { Harm, Liar, Scenario } from "./scenario.ts";
import { twinPlaceOf } from "./scenario.ts";
import type { Stage } from "./tactics/tactic.ts";
import { Timeline } from "./timeline.ts";

export interface WorldOptions {
  flaws?: Partial<Record<Flaw, true>>;
  /** Is told of everything that happens, for reading. */
  trace?: (line: string) => void;
  /** Whether a message between replicas passes, by the places of both and the view that the sender is in. */
  filter?: (from: number, to: number, view: number, message: PeerMessage) => boolean;
}

export interface Totals {
  operations: number;
  certified: number;
  messages: number;
  views: number;
  transfers: number;
  epochs: number;
  virtualMs: number;
}

export interface Report extends Totals {
  /** Of all that has happened in its order. */
  digest: number;
  violation?: { property: string; detail: string; atMs: number };
}

/** After the network has healed, calls have to end within this time: several view changes at the longest timeouts. */
const PATIENCE_MS = 90_000;
/** After the last call has ended, all correct replicas have to be in the same state within this time. */
const SETTLING_MS = 30_000;
const PULSE_MS = 50;

/** One simulated replica set with its clients, network and faults. */
export class World {
  readonly scenario: Scenario;
  readonly #options: WorldOptions;
  readonly #timeline = new Timeline();
  readonly #crypto = new CryptoWorld();
  readonly #network: Network;
  readonly #admin: Identity;
  readonly #ledger: Ledger;
  readonly #memberships: CertifiedMembership[] = [];
  /** All processes that ever were; the place of each in the network is told beside it. */
  readonly #processes: { process: Process; place: number }[] = [];
  readonly #clients: Client[] = [];
  readonly #nodes: number;
  /** Replicas that are down, or back and not up to date. */
  readonly #recovering = new Map<Process, number>();
  /** Replicas that are to be replaced, one after the other. */
  readonly #awaited: ReplicaIndex[] = [];
  #isReplacing = false;
  #digest = 0x811c9dc5;
  #totals: Totals = { operations: 0, certified: 0, messages: 0, views: 0, transfers: 0, epochs: 0, virtualMs: 0 };

  constructor(scenario: Scenario, options: WorldOptions = {}) {
    this.scenario = scenario;
    this.#options = options;
    this.#nodes = replicasOf(scenario.faults);
    this.#network = new Network(this.#timeline, this.#stream("network"), scenario.net);
    this.#admin = this.#crypto.identity("admin");
    this.#ledger = new Ledger(this.#crypto, this.#admin.key, SET);
    const clients = scenario.clients.map((_, i) => this.#crypto.identity(`client${i}`));
    const replicas = Array.from({ length: this.#nodes }, (_, i) => this.#crypto.identity(`replica${i}`));
    const [application, name, version] = ["bank", "accounts", "1"];
    this.#certify({
      set: SET,
      application,
      function: name,
      version,
      epoch: 1,
      faults: scenario.faults,
      replicas: replicas.map(({ key }) => key),
      clients: clients.map(({ key }) => key),
    });
    for (const [i, identity] of replicas.entries()) this.#addReplica(i, identity);
    for (const [i, identity] of clients.entries()) this.#addClient(i, identity);
  }

  run(): Report {
    try {
      this.#play();
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      return { ...this.#report(), violation: { property: error.property, detail: error.message, atMs: this.#timeline.now } };
    }
    return this.#report();
  }

  #report(): Report {
    const calls = [...this.#ledger.calls.values()];
    const certified = calls.filter(({ statement }) => statement !== undefined).length;
    const counts = { operations: calls.length, certified, messages: this.#network.sent, virtualMs: this.#timeline.now };
    return { ...this.#totals, ...counts, digest: this.#digest };
  }

  #play(): void {
    for (const { process } of this.#processes) process.start();
    for (const client of this.#clients) client.start();
    for (const harm of this.scenario.harms) this.#plan(harm);
    this.#pulse();
    this.#timeline.run(this.scenario.healMs, () => false);
    const allDone = (): boolean => this.#clients.every((client) => client.isDone) && !this.#isReplacing;
    this.#timeline.run(this.scenario.healMs + PATIENCE_MS, allDone);
    if (!allDone()) this.#stuck();
    this.#timeline.run(this.#timeline.now + SETTLING_MS, () => this.#laggards().length === 0);
    this.#checkEnd();
  }

  #stuck(): void {
    const open = this.#ledger.unfinished;
    const states = this.#correct().map((process) => `${process.name} ${JSON.stringify(process.replica?.inspect())}`);
    violated(
      "progress",
      `${PATIENCE_MS} ms after the network has healed, ${open.length} calls are open: ${open.slice(0, 5)}; ${states.join("; ")}`,
    );
  }

  #checkEnd(): void {
    const laggards = this.#laggards();
    if (laggards.length > 0) {
      const states = this.#correct().map((process) => `${process.name} ${JSON.stringify(process.replica?.inspect())}`);
      violated("convergence", `${laggards.map(({ name }) => name)} never come to ${this.#ledger.lastExecuted}: ${states.join("; ")}`);
    }
    const bank = this.#ledger.replay().pages().join();
    for (const process of this.#correct())
      if (process.executor?.state().join() !== bank)
        violated("convergence", `the state of ${process.name} is ${process.executor?.state().join()}, and not ${bank}`);
  }

  #correct(): Process[] {
    return this.#processes.flatMap(({ process }) => (process.isLiar || process.isRemoved || !process.isUp ? [] : [process]));
  }

  /** Correct replicas whose worker has not come to the last number that any has. */
  #laggards(): Process[] {
    const last = this.#ledger.lastExecuted;
    return this.#correct().filter((process) => process.executor!.executed < last || process.executor!.isBusy);
  }

  // Setting up

  #stream(name: string): Random {
    return seeded(hashText(`${this.scenario.seed}/${name}`));
  }

  #certify(membership: Membership): CertifiedMembership {
    const certified = { membership, signature: this.#admin.crypto.sign(membershipText(membership)) };
    this.#memberships.push(certified);
    return certified;
  }

  get #newest(): CertifiedMembership {
    return this.#memberships.at(-1)!;
  }

  #addReplica(index: ReplicaIndex, identity: Identity): Process {
    const { epoch } = this.#newest.membership;
    if (epoch > 1) return this.#addProcess(index, identity, `r${index}e${epoch}`, index);
    const liar = this.scenario.liars.find(({ replica }) => replica === index);
    if (liar === undefined) return this.#addProcess(index, identity, `r${index}`, index);
    if (liar.behaviours.includes("twin")) this.#addProcess(index, identity, `r${index}'`, twinPlaceOf(index), liar);
    return this.#addProcess(index, identity, `r${index}!`, index, liar);
  }

  #addProcess(index: ReplicaIndex, identity: Identity, name: string, place: number, liar?: Liar): Process {
    const random = this.#stream(`process ${name}`);
    const holder: { process?: Process } = {};
    const isActive = (): boolean => this.#timeline.now >= (liar?.fromMs ?? 0);
    const mask = liar && new Mask(liar.behaviours, this.#stage(holder, identity, index, name), isActive);
    const { tuning, skewMs } = this.scenario;
    const process = new Process(
      {
        name,
        identity,
        skewMs: Math.round((2 * random.next() - 1) * skewMs),
        replica: {
          membership: this.#newest,
          index,
          admin: this.#admin.key,
          durable: true,
          limits: { ...tuning, idleStatusEveryMs: 500 },
          ...(this.#options.flaws !== undefined && liar === undefined && { flaws: this.#options.flaws }),
        },
        ...(mask !== undefined && { mask }),
      },
      this.#surroundings(random),
    );
    holder.process = process;
    process.isLiar = liar !== undefined;
    this.#processes.push({ process, place });
    if (mask !== undefined) this.#tick(mask, process);
    return process;
  }

  #tick(mask: Mask, process: Process): void {
    if (process.isUp) mask.tick();
    this.#timeline.after(TICK_MS, () => this.#tick(mask, process));
  }

  #stage(holder: { process?: Process }, identity: Identity, me: ReplicaIndex, name: string): Stage {
    return {
      set: SET,
      nodes: this.#nodes,
      me,
      random: this.#stream(`liar ${name}`),
      crypto: identity.crypto,
      epoch: () => holder.process?.replica?.inspect().epoch ?? 1,
      now: () => holder.process!.now(),
      send: (to, message, delayMs = 0) =>
        this.#timeline.after(delayMs, () => {
          const process = holder.process!;
          if (process.isUp) this.#sendMessage(process, process.replica!.inspect().epoch, to, message);
        }),
      requests: [],
    };
  }

  #surroundings(random: Random): Surroundings {
    const { diskMs, executeMs, keepsSnapshots } = this.scenario;
    return {
      timeline: this.#timeline,
      random,
      diskMs,
      executeMs,
      keepsSnapshots,
      hash: (text) => this.#crypto.hash(text),
      send: (from, epoch, to, message) => this.#sendMessage(from, epoch, to, message),
      reply: (from, client, reply) => this.#sendReply(from, client, reply),
      observe: (process, effect) => this.#observe(process, effect),
      evidence: (process, evidence) => this.#evidence(process, evidence),
      notice: (process, notice) => this.#notice(process, notice),
      broke: (process, error) => this.#broke(process.name, process.isLiar, error),
    };
  }

  #addClient(number: number, identity: Identity): void {
    const place = this.#nodes + number;
    const client = new Client(number, identity, this.scenario.clients[number]!, {
      timeline: this.#timeline,
      random: this.#stream(`client ${number}`),
      ledger: this.#ledger,
      membership: () => this.#newest,
      send: (_, to, request) => this.#sendRequest(place, to, request),
      evidence: (_, { about, kind, detail }) => {
        if (kind !== "silent") this.#accused(`client ${number}`, about, kind, detail);
      },
      reconfigured: () => this.#replaced(),
      broke: (_, error) => this.#broke(`client ${number}`, false, error),
    });
    this.#clients.push(client);
  }

  #broke(name: string, isLiar: boolean, error: unknown): void {
    if (error instanceof Violation) throw error;
    // What a liar's code does is no concern of anybody.
    if (!isLiar) violated("exception", `${name}: ${error instanceof Error ? error.stack : String(error)}`);
  }

  // Messages

  #sendMessage(from: Process, epoch: number, to: ReplicaIndex, message: PeerMessage): void {
    const key = this.#memberships[epoch - 1]?.membership.replicas[to];
    for (const { process, place } of this.#processes) {
      if (process.identity.key !== key || process === from || !this.#passes(from, place, message)) continue;
      this.#network.send(this.#placeOf(from), place, () => {
        if (!process.isUp || from.isRemoved) return;
        this.#log(from.name, process.name, message.t, message);
        process.deliver({ t: "message", from: from.index, epoch, message });
      });
    }
  }

  #passes(from: Process, to: number, message: PeerMessage): boolean {
    const { filter } = this.#options;
    return filter === undefined || filter(this.#placeOf(from), to, from.replica?.inspect().view ?? 0, message);
  }

  #placeOf(process: Process): number {
    return this.#processes.find((each) => each.process === process)!.place;
  }

  #sendRequest(place: number, to: ReplicaIndex, request: Request): void {
    for (const { process, place: at } of this.#processes) {
      if (process.index !== to || process.isRemoved) continue;
      this.#network.send(place, at, () => {
        if (!process.isUp) return;
        this.#log(`c${place - this.#nodes}`, process.name, "request", request);
        process.mask?.hear(request);
        process.deliver({ t: "request", request });
      });
    }
  }

  #sendReply(from: Process, to: PublicKey, reply: Reply): void {
    const client = this.#clients.find(({ identity }) => identity.key === to);
    if (client === undefined) return;
    this.#network.send(this.#placeOf(from), this.#nodes + client.number, () => {
      this.#log(from.name, `c${client.number}`, "reply", reply);
      client.receive(from.index, reply);
    });
  }

  #log(from: string, to: string, what: string, content: object): void {
    const { seq = 0, view = 0, digest = "" } = content as { seq?: number; view?: number; digest?: string };
    let hash = this.#digest;
    hash = Math.imul(hash ^ Math.floor(this.#timeline.now * 1_000), 0x01000193);
    hash = Math.imul(hash ^ hashText(from) ^ (hashText(to) << 1), 0x01000193);
    hash = Math.imul(hash ^ hashText(what) ^ (seq << 8) ^ view, 0x01000193);
    this.#digest = (hash ^ hashText(digest)) >>> 0;
    this.#options.trace?.(`${this.#timeline.now.toFixed(2).padStart(9)} ${from} → ${to} ${what} ${brief(content)}`);
  }

  // What correct replicas do

  #observe(process: Process, effect: Effect): void {
    if (this.#options.trace !== undefined) this.#traceEffect(process, effect);
    if (process.isLiar) return;
    if (effect.t === "execute") this.#ledger.executes(process.name, effect);
    else if (effect.t === "reply") this.#ledger.votes(process.name, effect.reply);
    else if (effect.t === "send" && effect.message.t === "checkpoint")
      this.#ledger.checkpoints(process.name, effect.message.seq, effect.message.digest);
  }

  #traceEffect(process: Process, effect: Effect): void {
    if (effect.t === "send" || effect.t === "reply" || effect.t === "timer") return;
    this.#options.trace?.(`${this.#timeline.now.toFixed(2).padStart(9)} ${process.name} ${effect.t} ${brief(effect)}`);
  }

  #evidence(process: Process, { about, kind, detail }: Evidence): void {
    if (process.isLiar || kind === "silent-leader" || kind === "slow-leader") return;
    this.#accused(process.name, about, kind, detail);
  }

  /** Nobody has anything against a correct replica. */
  #accused(by: string, about: ReplicaIndex, kind: string, detail: string): void {
    const isLiar = this.#processes.some(({ process }) => process.index === about && process.isLiar);
    if (!isLiar) violated("accusation", `${by} accuses the correct replica ${about} of ${kind}: ${detail}`);
  }

  #notice(process: Process, notice: Notice): void {
    if (process.isLiar) return;
    if (notice.t === "view") this.#totals.views++;
    else if (notice.t === "transferred") this.#totals.transfers++;
  }

  /** What is looked at again and again. */
  #pulse(): void {
    for (const process of this.#correct()) checkMemory(process, this.scenario);
    const furthest = this.#ledger.lastExecuted;
    for (const [process, goal] of this.#recovering) {
      const executed = process.executor?.executed ?? -1;
      if (process.isRemoved || executed >= Math.max(goal, furthest - this.scenario.tuning.checkpointEvery))
        this.#recovering.delete(process);
    }
    this.#replaceNext();
    this.#timeline.after(PULSE_MS, () => this.#pulse());
  }

  // Harms

  #plan(harm: Harm): void {
    this.#timeline.after(harm.atMs, () => {
      this.#options.trace?.(`${this.#timeline.now.toFixed(2).padStart(9)} ${harm.t} ${JSON.stringify(harm)}`);
      const mend = this.#inflict(harm);
      if (mend !== undefined) this.#timeline.after(harm.untilMs - harm.atMs, mend);
    });
  }

  /** @returns what ends it */
  #inflict(harm: Harm): (() => void) | undefined {
    const network = this.#network;
    switch (harm.t) {
      case "partition":
        network.partition(harm.groups);
        return () => network.partition(undefined);
      case "cut":
        network.cut(harm.from, harm.to);
        return () => network.mend(harm.from, harm.to);
      case "loss":
        network.lose(harm.probability);
        return () => network.lose(undefined);
      case "slow":
        network.slow(harm.who, harm.delayMs);
        return () => network.slow(harm.who, 0);
      case "pause": {
        const process = this.#at(harm.replica);
        process.pause();
        return () => process.resume();
      }
      case "crash":
        return this.#crash(harm.replica);
      case "replace":
        this.#awaited.push(harm.replica);
        return undefined;
      case "restart-client":
        this.#clients[harm.client]?.restart();
        return undefined;
    }
  }

  /** The newest process at a place; of twins the first. */
  #at(index: ReplicaIndex): Process {
    return this.#processes.findLast(({ process, place }) => process.index === index && place === index)!.process;
  }

  #crash(index: ReplicaIndex): (() => void) | undefined {
    const process = this.#at(index);
    if (!this.#mayLose(process)) return undefined;
    process.crash();
    this.#recovering.set(process, Number.POSITIVE_INFINITY);
    return () => {
      if (process.isRemoved || process.isUp) return;
      process.start();
      this.#recovering.set(process, this.#ledger.lastExecuted);
    };
  }

  /** More than f at once may not be without their state: what all of them have lost, nobody can give back. */
  #mayLose(process: Process): boolean {
    if (!process.isUp) return false;
    if (this.scenario.isMerciless) return true;
    const faulty = new Set<ReplicaIndex>([process.index]);
    for (const { process: each } of this.#processes) if (each.isLiar && !each.isRemoved) faulty.add(each.index);
    for (const each of this.#recovering.keys()) faulty.add(each.index);
    return faulty.size <= this.scenario.faults;
  }

  // Replacement, as the control plane does it

  #replaceNext(): void {
    const index = this.#awaited[0];
    if (index === undefined || this.#isReplacing) return;
    const old = this.#at(index);
    // A liar stays as long as it can; a correct one dies with its disk.
    if (!old.isLiar && !this.#mayLose(old)) {
      if (!this.#recovering.has(old)) this.#awaited.shift();
      return;
    }
    this.#awaited.shift();
    this.#isReplacing = true;
    if (!old.isLiar) old.crash();
    this.#recovering.delete(old);
    const { membership } = this.#newest;
    const identity = this.#crypto.identity(`replica${index}`);
    const replicas = membership.replicas.map((key, i) => (i === index ? identity.key : key));
    const next = this.#certify({ ...membership, epoch: membership.epoch + 1, replicas });
    const born = this.#addReplica(index, identity);
    if (!old.isLiar) old.isRemoved = true;
    born.start();
    this.#recovering.set(born, Number.POSITIVE_INFINITY);
    this.#clients[0]!.reconfigure(next);
  }

  #replaced(): void {
    if (!this.#isReplacing) return;
    this.#isReplacing = false;
    this.#totals.epochs++;
    const { membership } = this.#newest;
    for (const { process } of this.#processes) if (membership.replicas[process.index] !== process.identity.key) process.isRemoved = true;
    const born = this.#processes.at(-1)!.process;
    this.#recovering.set(born, this.#ledger.lastExecuted);
    for (const client of this.#clients) this.#timeline.after(5, () => client.learn(this.#newest));
  }
}

const SET = "bank/accounts@1";

const brief = (content: object): string =>
  JSON.stringify(content, (key, value: unknown) => {
    if (key === "votes" || key === "path" || key === "core") return undefined;
    if (typeof value === "string" && value.length > 40 && /^[\w-]+$/.test(value)) return value.slice(0, 6);
    return value;
  }).slice(0, 600);
