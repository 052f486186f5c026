import type { PublicKey } from "../../src/consensus/crypto.ts";
import type { DurableRecord, Effect, Evidence, Input, Notice, TimerName } from "../../src/consensus/effects.ts";
import { Replica } from "../../src/consensus/machine.ts";
import type { ReplicaIndex } from "../../src/consensus/membership.ts";
import type { PeerMessage, Reply } from "../../src/consensus/messages.ts";
import type { ReplicaOptions } from "../../src/consensus/options.ts";
import type { Random } from "../../src/lib/random.ts";
import type { Mask } from "./byzantine.ts";
import type { Identity } from "./crypto.ts";
import type { Distortion } from "./executor.ts";
import { Executor } from "./executor.ts";
import type { Timeline } from "./timeline.ts";
import { EPOCH_MS } from "./timeline.ts";

/** What a process needs of the world around it. */
export interface Surroundings {
  timeline: Timeline;
  random: Random;
  diskMs: number;
  executeMs: number;
  /** Whether snapshots are on the disk too. */
  keepsSnapshots: boolean;
  hash(text: string): string;
  /** To the replica at `to` in that epoch. */
  send(from: Process, epoch: number, to: ReplicaIndex, message: PeerMessage): void;
  reply(from: Process, client: PublicKey, reply: Reply): void;
  /** Everything that a replica does, before it takes effect. */
  observe(process: Process, effect: Effect): void;
  evidence(process: Process, evidence: Evidence): void;
  notice(process: Process, notice: Notice): void;
  /** The replica's code threw. */
  broke(process: Process, error: unknown): void;
}

export interface ProcessOptions {
  name: string;
  /** In the network. */
  place: number;
  identity: Identity;
  /** Whether it may do anything at all: it lies, or shares its key. */
  isLiar: boolean;
  replica: ReplicaOptions;
  /** Of its clock, in milliseconds. */
  skewMs: number;
  mask?: Mask;
  /** What its executor answers instead of the truth. */
  distortion?: Distortion;
}

type Life = { replica: Replica; executor: Executor; timers: Map<TimerName, number> };

/** One process of a replica: its machine, worker, disk and clock, which can be killed, stopped and started. */
export class Process {
  readonly name: string;
  readonly index: ReplicaIndex;
  readonly place: number;
  readonly isLiar: boolean;
  readonly identity: Identity;
  readonly #options: ProcessOptions;
  readonly #world: Surroundings;
  /** What is on the disk. */
  #disk: DurableRecord[] = [];
  readonly #snapshots = new Map<number, string[]>();
  /** On their way to the disk. */
  #unsynced: DurableRecord[] = [];
  #effects: Effect[] = [];
  #isSyncing = false;
  #life: Life | undefined;
  /** Of lives: whatever was begun in an earlier one is void. */
  #age = 0;
  #isPaused = false;
  #held: (() => void)[] = [];
  #timerCount = 0;
  /** Its key was replaced; it is no part of the set any more. */
  isRemoved = false;

  constructor(options: ProcessOptions, world: Surroundings) {
    this.name = options.name;
    this.index = options.replica.index;
    this.place = options.place;
    this.isLiar = options.isLiar;
    this.identity = options.identity;
    this.#options = options;
    this.#world = world;
  }

  get isUp(): boolean {
    return this.#life !== undefined;
  }

  get replica(): Replica | undefined {
    return this.#life?.replica;
  }

  get executor(): Executor | undefined {
    return this.#life?.executor;
  }

  get age(): number {
    return this.#age;
  }

  get mask(): Mask | undefined {
    return this.#options.mask;
  }

  /** Unix ms, as its own clock shows. */
  now(): number {
    return EPOCH_MS + Math.floor(this.#world.timeline.now) + this.#options.skewMs;
  }

  /** Begins a life with what the disk has. */
  start(): void {
    const age = ++this.#age;
    const executor = new Executor(
      this.#world,
      (input) => this.#guarded(age, () => this.#step(input)),
      this.#world.keepsSnapshots ? this.#snapshots : new Map(),
      this.#options.mask ?? this.#options.distortion,
    );
    try {
      const replica = new Replica(this.#options.replica, this.#options.identity.crypto, [...this.#disk]);
      this.#life = { replica, executor, timers: new Map() };
      this.#take(replica.start(this.now()));
    } catch (error) {
      this.#world.broke(this, error);
    }
  }

  /** Loses memory, and of the records on their way to the disk those that didn't get there. */
  crash(): void {
    this.#life?.executor.stop();
    this.#life = undefined;
    this.#age++;
    const written = this.#world.random.below(this.#unsynced.length + 1);
    this.#disk.push(...this.#unsynced.slice(0, written));
    this.#unsynced = [];
    this.#effects = [];
    this.#isSyncing = false;
    this.#isPaused = false;
    this.#held = [];
  }

  pause(): void {
    if (this.isUp) this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    const held = this.#held;
    this.#held = [];
    for (const happen of held) happen();
  }

  deliver(input: Input): void {
    if (input.t === "message") this.#options.mask?.incoming(input.from, input.message);
    this.#guarded(this.#age, () => this.#step(input));
  }

  /** Runs in the life that it belongs to, and not while the process is stopped. */
  #guarded(age: number, happen: () => void): void {
    if (age !== this.#age || this.#life === undefined) return;
    if (this.#isPaused) this.#held.push(() => this.#guarded(age, happen));
    else happen();
  }

  #step(input: Input): void {
    const life = this.#life;
    if (life === undefined) return;
    try {
      this.#take(life.replica.step(input, this.now()));
    } catch (error) {
      this.#world.broke(this, error);
    }
  }

  #take(effects: readonly Effect[]): void {
    for (const effect of effects) {
      this.#world.observe(this, effect);
      this.#effects.push(effect);
    }
    if (!this.#isSyncing) this.#drain();
  }

  /** In their order: nothing that comes after a `persist` leaves before its records are on the disk. */
  #drain(): void {
    while (this.#effects.length > 0 && this.#life !== undefined) {
      const effect = this.#effects.shift()!;
      if (effect.t === "persist") {
        this.#sync(effect.records);
        return;
      }
      this.#carryOut(effect, this.#life);
    }
  }

  #sync(records: readonly DurableRecord[]): void {
    const age = this.#age;
    this.#isSyncing = true;
    this.#unsynced.push(...records);
    const { timeline, random, diskMs } = this.#world;
    timeline.after(random.next() * diskMs, () =>
      this.#guarded(age, () => {
        this.#disk.push(...this.#unsynced);
        this.#unsynced = [];
        this.#isSyncing = false;
        this.#drain();
      }),
    );
  }

  #carryOut(effect: Exclude<Effect, { t: "persist" }>, life: Life): void {
    switch (effect.t) {
      case "send":
        for (const to of effect.to) this.#send(effect.epoch, to, effect.message);
        return;
      case "reply":
        for (const reply of this.#options.mask?.reply(effect.reply) ?? [effect.reply]) this.#world.reply(this, effect.client, reply);
        return;
      case "timer":
        this.#arm(life, effect.timer, effect.afterMs);
        return;
      case "evidence":
        this.#world.evidence(this, effect.evidence);
        return;
      case "notice":
        this.#world.notice(this, effect.notice);
        return;
      default:
        life.executor.take(effect);
    }
  }

  #send(epoch: number, to: ReplicaIndex, message: PeerMessage): void {
    const mask = this.#options.mask;
    if (mask === undefined) this.#world.send(this, epoch, to, message);
    else for (const each of mask.outgoing(to, message)) this.#world.send(this, epoch, to, each);
  }

  #arm(life: Life, timer: TimerName, afterMs: number | undefined): void {
    const stamp = ++this.#timerCount;
    life.timers.set(timer, stamp);
    if (afterMs === undefined) return;
    const age = this.#age;
    this.#world.timeline.after(afterMs, () =>
      this.#guarded(age, () => {
        if (life.timers.get(timer) === stamp) this.#step({ t: "timer", timer });
      }),
    );
  }
}
