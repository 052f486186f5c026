/**
 * One replica set at work: its pods in their seats, and its calls. The scheduler takes the whole of it for one pod.
 *
 * Owns: the pods in the seats, and when the set is ended. Does not own: the rules of seats (machine.ts), what is under way (calls.ts),
 * agreement (src/consensus), layers and leases (the scheduler).
 */
import { stateKeyOf } from "../application/state-key.ts";
import type { PodExit } from "../cluster/port.ts";
import type { Certificate } from "../consensus/certificate.ts";
import type { ClientEvidence } from "../consensus/client-machine.ts";
import type { Crypto, PublicKey } from "../consensus/crypto.ts";
import type { Evidence, Notice } from "../consensus/effects.ts";
import type { CertifiedMembership, Membership, ReplicaIndex } from "../consensus/membership.ts";
import type { Clock } from "../lib/clock.ts";
import type { Failure } from "../lib/errors.ts";
import { fromJson } from "../lib/json.ts";
import type { FromPod, ToPod } from "../protocol/pod.ts";
import type { Misbehaviour, ReplicaCode } from "../protocol/replica.ts";
import type { Fleet } from "../scheduler/fleet.ts";
import { newPod, type Pod, type Tenant } from "../scheduler/pod.ts";
import type { CertifiedAnswer } from "../scheduler/service.ts";
import { SetCalls } from "./calls.ts";
import { ReplicaSetMachine, type Seat, type SetEffect, type SetInput, type SetSpec } from "./machine.ts";
import { Room } from "./room.ts";
import { SeatTenant } from "./seat.ts";
import { Suspicions } from "./suspicions.ts";
import { Timers } from "./timers.ts";

/** Whose calls the set executes. */
export interface SetTenant extends Tenant {
  certified(pod: Pod, answer: CertifiedAnswer): void;
}

export interface SetOptions {
  memoryMb: number;
  /** A set without calls is ended after this time. */
  idleMs: number;
  /** One replica after the other is replaced by a fresh one, each after this time; 0 for never. */
  recoveryEveryMs: number;
  maxLogBytes: number;
}

/** What a set keeps for the next life of the control plane. */
export interface StoredSet {
  membership: CertifiedMembership;
  next?: CertifiedMembership;
  /** How often each seat was begun anew: whose directory is whose. */
  generations: number[];
}

export interface SetParts {
  fleet: Pick<Fleet, "acquire" | "send" | "end">;
  clock: Clock;
  crypto: Crypto;
  adminKey: PublicKey;
  certify(membership: Membership): CertifiedMembership;
  clientKey: PublicKey;
  nextSession(): number;
  /** Calls of the set whose outcomes are not in the journal: names of operations. */
  pending(): string[];
  afterCommit(effect: () => void): void;
  store(stored: StoredSet): void;
  /** What the replicas execute in an epoch of this version. */
  codeOf(version: string): ReplicaCode;
  /** Of a seat that keeps state. */
  directoryOf(index: ReplicaIndex, generation: number): string;
  /** The seat's replicas before this generation will not come back: what they have left may go. */
  forget(index: ReplicaIndex, generation: number): void;
  told: SetListener;
}

/** Who wants to know what becomes of a set. */
export interface SetListener {
  changed(set: ReplicaSet): void;
  fault(set: ReplicaSet, effect: SetEffect & { t: "fault" }): void;
  repaired(set: ReplicaSet, effect: SetEffect & { t: "repaired" }): void;
  /** Replicas that begin anew differ in their first results, one after the other: the function remembers something by itself. */
  doubted(set: ReplicaSet): void;
  closed(set: ReplicaSet, reason: string): void;
  ended(set: ReplicaSet): void;
}

const RETRY_MS = 100;
const MOST_RETRY_MS = 5_000;
/** A replica that begins is not silent before this time: on a busy machine its process and its bundle take their time. */
const BEGIN_MS = 10_000;
/** So long one that may be faulty is kept on for the sake of replicas that have not got what it has. */
const INSIST_MS = 30_000;

export class ReplicaSet {
  readonly spec: SetSpec;
  /** What the scheduler takes for the pod. */
  readonly pod: Pod;
  readonly machine: ReplicaSetMachine;
  readonly #tenant: SetTenant;
  readonly #options: SetOptions;
  readonly #parts: SetParts;
  readonly #calls: SetCalls;
  readonly #suspicions: Suspicions;
  readonly #room: Room;
  readonly #seats = new Map<string, SeatTenant>();
  readonly #generations: number[];
  /** By seat: of the epoch in force. */
  #keys: readonly PublicKey[] = [];
  /** By seat: whether its replica has come to a certified result. */
  readonly #hasAgreed: boolean[] = [];
  readonly #timers: Timers<"acquire" | "idle" | "recovery" | "insist">;
  /** Replicas in a row that ended before they worked. */
  #failures = 0;
  #recoverNext = 0;
  #isOver = false;

  constructor(spec: SetSpec, tenant: SetTenant, options: SetOptions, parts: SetParts, stored?: StoredSet) {
    const { clock, crypto, clientKey } = parts;
    this.spec = spec;
    this.#tenant = tenant;
    this.#options = options;
    this.#parts = parts;
    this.machine = new ReplicaSetMachine(spec, stored?.membership.membership, stored?.next?.membership);
    this.#suspicions = new Suspicions(spec.faults);
    this.#room = new Room(spec.set, clock, crypto.hash);
    this.#generations = stored?.generations ?? this.machine.seats.map(() => 1);
    this.#timers = new Timers(clock);
    this.pod = newPod(spec.set, options.memoryMb, clock.now());
    this.pod.tenant = tenant;
    this.#calls = new SetCalls({
      fn: spec.function,
      // An input without a key is refused by the replicas, so that the refusal is certified.
      keyOf: (input) => (spec.stateKey === undefined ? "" : (stateKeyOf(spec.stateKey, fromJson(input)) ?? "")),
      clock,
      crypto,
      clientKey,
      nextSession: () => parts.nextSession(),
      afterCommit: (effect) => parts.afterCommit(effect),
      send: (index, request) => this.#request(index, { t: "request", request }),
      answer: (answer) => tenant.certified(this.pod, answer),
      maxLogBytes: options.maxLogBytes,
      accuse: (evidence) => this.#accuse(evidence),
      agreed: (certificate) => this.#agreed(certificate),
    });
  }

  // ---------------------------------------------------------------- as a pod

  want(): void {
    this.#step({ t: "want" });
  }

  invoke(message: ToPod & { t: "invoke" }): void {
    this.#timers.cancel("idle");
    this.#calls.submit(message);
  }

  /** A deployment: from some number on the replicas execute this version's code, with the state as it is. */
  deploy(version: string): void {
    this.#step({ t: "version", version });
  }

  abort(lease: number): void {
    this.#calls.abort(lease);
  }

  idle(): void {
    this.#timers.after("idle", this.#options.idleMs, () => this.end());
  }

  end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#timers.clear();
    this.#calls.close();
    this.#step({ t: "release" });
    this.#parts.told.ended(this);
  }

  /** The platform stops. Nobody is told: calls that are not certified are under way, and the next life asks for them by the same names. */
  stop(): void {
    this.#isOver = true;
    this.#timers.clear();
    this.#calls.close();
  }

  /** Calls that are not certified yet. */
  get underWay(): number {
    return this.#calls.underWay;
  }

  // ---------------------------------------------------------------- for drills

  /** Whether there is such a replica. */
  misbehave(index: ReplicaIndex, how: Misbehaviour): boolean {
    const pod = this.podAt(index);
    if (pod === undefined) return false;
    this.#parts.fleet.send(pod, { t: "misbehave", how });
    return true;
  }

  podAt(index: ReplicaIndex): Pod | undefined {
    const id = this.machine.seats[index]?.pod;
    return id === undefined ? undefined : this.#seats.get(id)?.pod;
  }

  // ---------------------------------------------------------------- seats

  #step(input: SetInput): void {
    let opened: Membership | undefined;
    // Whatever tells a replica of a membership waits for the commit that has it (P2 of service.ts): a control plane that was killed before
    // would certify another one for the same epoch, and those who know the first would never take that.
    for (const effect of this.machine.step(input)) {
      if (effect.t === "open") opened = effect.membership;
      this.#carryOut(effect);
    }
    // Last: before they were told that they are replicas, they take no requests.
    if (opened !== undefined) this.#afterCommit(() => this.#open(opened));
  }

  #carryOut(effect: SetEffect): void {
    switch (effect.t) {
      case "acquire":
        return this.#acquire(effect);
      case "open":
      case "changed":
        return this.#changed(effect.membership);
      case "replicate":
        this.#hasAgreed[effect.index] = false;
        return this.#afterCommit(() => this.#replicate(effect));
      case "announce":
        return this.#afterCommit(() => this.#announce(effect.membership));
      case "reconfigure":
        this.#store();
        return this.#afterCommit(() => this.#reconfigure(effect.membership));
      case "end":
        return this.#endPod(effect.pod);
      case "fault":
        return this.#parts.told.fault(this, effect);
      case "postponed":
        if (!this.#timers.has("insist")) this.#timers.after("insist", INSIST_MS, () => this.#step({ t: "insist" }));
        return;
      case "repaired":
        return this.#parts.told.repaired(this, effect);
      case "doubted":
        return this.#parts.told.doubted(this);
      case "closed":
        return this.#close(effect.reason);
    }
  }

  #afterCommit(effect: () => void): void {
    this.#parts.afterCommit(() => {
      if (!this.#isOver) effect();
    });
  }

  #acquire({ index, fresh }: SetEffect & { t: "acquire" }): void {
    if (this.#timers.has("acquire")) return;
    const generation = this.#generations[index]! + (fresh ? 1 : 0);
    const { function: role, application } = this.spec;
    const { version } = this.machine;
    const { path, memoryMb = this.#options.memoryMb } = this.#parts.codeOf(version);
    const seat = new SeatTenant({ role, application, version, path }, index, memoryMb, {
      connected: (pod) => this.#prepare(index, pod),
      message: (pod, message) => this.#hear(pod, message),
      gone: (pod, exit) => this.#gone(pod, exit),
    });
    // Before a pod is asked for: a warm one is connected, and told its directory, within that.
    this.#generations[index] = generation;
    const pod = this.#parts.fleet.acquire(seat);
    if (pod === undefined) {
      if (fresh) this.#generations[index]--;
      return this.#starve();
    }
    seat.pod = pod;
    this.#room.isMade();
    // What an accused replica has left must not come back with the next life of the control plane.
    if (fresh && this.spec.durable) this.#store();
    this.#seats.set(pod.id, seat);
    this.#step({ t: "acquired", index, pod: pod.id });
  }

  /** There is no room for all of its pods. */
  #starve(): void {
    if (this.machine.phase !== "forming") return this.#later();
    const { isNews, pauseMs } = this.#room.lacks();
    if (isNews) {
      const reason = `there is room for ${this.#seats.size} of its ${this.machine.seats.length} pods: raise maxPods or maxPodMemoryMb`;
      this.#parts.told.closed(this, reason);
    }
    if (pauseMs === undefined) return this.#later();
    this.#timers.after("acquire", pauseMs, () => this.#step({ t: "tick" }));
    for (const { pod } of this.#seats.values()) if (pod !== undefined) this.#parts.fleet.end(pod, 0);
  }

  /** No room, or replicas that die as they begin: asked for again after a while, which grows with the failures. */
  #later(): void {
    if (this.#timers.has("acquire")) return;
    const pause = Math.min(MOST_RETRY_MS, RETRY_MS * 2 ** Math.min(this.#failures, 10));
    this.#timers.after("acquire", pause, () => this.#step({ t: "tick" }));
  }

  #prepare(index: ReplicaIndex, pod: Pod): void {
    const { set, durable } = this.spec;
    const directory = durable ? this.#parts.directoryOf(index, this.#generations[index]!) : undefined;
    // It is never idle: were it ended to make room for others, the set would lose a seat.
    pod.inFlight = 1;
    this.#parts.fleet.send(pod, { t: "replica-prepare", set, index, ...(directory === undefined ? {} : { directory }) });
  }

  #replicate({ pod: id, index, membership, isFounding }: SetEffect & { t: "replicate" }): void {
    const pod = this.#seats.get(id)?.pod;
    if (pod === undefined || this.machine.seatOf(id)?.state !== "serving") return;
    const { function: fn, version } = membership;
    this.#seats.get(id)!.toldAt = this.#parts.clock.now();
    this.#parts.fleet.send(pod, {
      t: "replicate",
      index,
      function: fn,
      version,
      ...this.#parts.codeOf(version),
      membership: this.#parts.certify(membership),
      isFounding,
      admin: this.#parts.adminKey,
      peers: this.#addresses(),
    });
  }

  #announce(membership: Membership): void {
    const next = this.#parts.certify(membership);
    const peers = this.#addresses();
    const code = this.#parts.codeOf(membership.version);
    for (const { index } of this.machine.seats) this.#request(index, { t: "membership", next, peers, code });
  }

  #addresses(): string[] {
    return this.machine.seats.map(({ address }) => address);
  }

  #request(index: ReplicaIndex, message: ToPod): void {
    const pod = this.machine.seats[index]?.state === "serving" ? this.podAt(index) : undefined;
    if (pod !== undefined) this.#parts.fleet.send(pod, message);
  }

  #changed(membership: Membership): void {
    this.#store();
    // Whoever sits there next is not answerable for what was said of the one before, and views are counted anew.
    membership.replicas.forEach((key, index) => {
      if (key !== this.#keys[index]) this.#suspicions.forget(index);
    });
    this.#keys = membership.replicas;
    this.#suspicions.begin();
    this.#calls.changed(this.#parts.certify(membership));
    this.#parts.told.changed(this);
    if (this.spec.durable) this.#afterCommit(() => this.#tidy());
  }

  /** Each replacement leaves a directory, with a key that must not come back. */
  #tidy(): void {
    for (const { index, state } of this.machine.seats) if (state === "serving") this.#parts.forget(index, this.#generations[index]!);
  }

  #reconfigure(membership: Membership): void {
    if (this.machine.next !== membership) return;
    // Before it is ordered: a replica for which the epoch has begun speaks to none whose membership it doesn't know.
    this.#announce(membership);
    this.#calls.reconfigure(this.#parts.certify(membership));
  }

  #open(membership: Membership): void {
    const { phase, membership: inForce, next } = this.machine;
    if (this.#calls.isOpen || phase !== "serving" || inForce !== membership) return;
    this.#calls.open(this.#parts.certify(membership), this.spec.durable ? this.#parts.pending() : []);
    if (this.#options.recoveryEveryMs > 0) this.#recoverOne();
    this.pod.coldStartMs ??= this.#parts.clock.now() - this.pod.startedAt;
    this.pod.state = "ready";
    this.#room.suffices();
    // One that an earlier life of the control plane had begun, or that came before there was anybody to order it.
    if (next !== undefined) this.#calls.reconfigure(this.#parts.certify(next));
    this.#tenant.connected(this.pod);
    // The calls that it was made for may have been withdrawn.
    if (this.pod.inFlight === 0) this.idle();
  }

  #close(reason: string): void {
    this.#calls.close();
    this.#timers.cancel("recovery");
    this.pod.state = "starting";
    this.#parts.told.closed(this, reason);
  }

  #store(): void {
    const { membership, next } = this.machine;
    if (membership === undefined) return;
    const stored: StoredSet = { membership: this.#parts.certify(membership), generations: [...this.#generations] };
    if (next !== undefined) stored.next = this.#parts.certify(next);
    this.#parts.store(stored);
  }

  #endPod(id: string): void {
    const pod = this.#seats.get(id)?.pod;
    if (pod !== undefined) this.#parts.fleet.end(pod, 0);
  }

  #gone(pod: Pod, exit: PodExit): void {
    this.#seats.delete(pod.id);
    const seat = this.machine.seatOf(pod.id);
    if (seat === undefined || this.#isOver) return;
    if (seat.state !== "serving") this.#failures++;
    // One that dies as it begins is not asked for again at once.
    if (this.#failures > 1) this.#later();
    this.#step({ t: "gone", pod: pod.id, detail: exit.detail });
  }

  // ---------------------------------------------------------------- what replicas say

  #hear(pod: Pod, message: FromPod): void {
    const seat = this.machine.seatOf(pod.id);
    if (seat === undefined || this.#isOver) return;
    switch (message.t) {
      case "votes":
        this.#works(seat, pod);
        return this.#calls.heard(seat.index, message.reply);
      case "replica-ready":
        return this.#step({ t: "ready", pod: pod.id, key: message.key, address: message.address });
      case "replica-running":
        this.#begun(seat, pod, "running");
        return this.#step({ t: "epoch", pod: pod.id, epoch: message.epoch });
      case "replica-behind":
        return this.#step({ t: "behind", pod: pod.id, isBehind: message.isBehind });
      case "replica-lacks":
        return this.#teach(seat.index, message.version);
      case "replica-notice":
        return this.#notice(seat, pod, message.notice);
      case "replica-lines":
        return this.#calls.logged(seat.index, message.id, message.lines);
      case "evidence":
        return this.#evidence(seat.index, message.evidence);
      case "refused":
        return this.#refused(pod, message.failure);
      default:
      // What a replica's pod has no business to say.
    }
  }

  #teach(index: ReplicaIndex, version: string): void {
    const code = this.#parts.codeOf(version);
    if (code.path !== "") this.#request(index, { t: "replica-code", version, code });
  }

  #works(seat: Seat, pod: Pod): void {
    this.#failures = 0;
    if (seat.isFaulty || this.machine.isWaitedFor(seat.index)) this.#step({ t: "works", pod: pod.id });
  }

  #notice(seat: Seat, pod: Pod, notice: Notice): void {
    if (notice.t === "view") this.#step({ t: "view", pod: pod.id, view: notice.view });
    else if (notice.t === "epoch") this.#step({ t: "epoch", pod: pod.id, epoch: notice.epoch });
    else if (notice.t === "transferred") {
      this.#begun(seat, pod, "transferred");
      this.#works(seat, pod);
    }
  }

  /** Until then it could not vote on what the others have certified: with few calls, it would be silent before it is asked anything. */
  #begun({ index }: Seat, pod: Pod, sign: "running" | "transferred"): void {
    const told = this.#seats.get(pod.id)?.told;
    if (told === undefined || told.has(sign)) return;
    told.add(sign);
    this.#calls.begun(index);
  }

  /** What the client has seen by itself. */
  #accuse({ about: index, kind, detail, forMs }: ClientEvidence): void {
    if (kind === "silent") {
      // It owes anew what comes from here on.
      if (this.#isBeginning(index)) return this.#calls.begun(index);
      return this.#step({ t: "accuse", index, accusation: "silence", detail, ...(forMs === undefined ? {} : { forMs }) });
    }
    const ofResult = kind === "wrong-vote" ? { isFirstResult: this.#hasAgreed[index] !== true } : {};
    this.#step({ t: "accuse", index, accusation: "lie", detail, ...ofResult });
  }

  #isBeginning(index: ReplicaIndex): boolean {
    const seat = this.#seats.get(this.machine.seats[index]?.pod ?? "");
    if (seat?.toldAt === undefined || seat.told.has("running")) return false;
    return this.#parts.clock.now() - seat.toldAt < BEGIN_MS;
  }

  #agreed({ votes, membership: { membership } }: Certificate): void {
    for (const { replica } of votes) {
      // Of the one that sits there now, and not of the one before it.
      if (this.#hasAgreed[replica] === true || membership.replicas[replica] !== this.machine.seats[replica]?.key) continue;
      this.#hasAgreed[replica] = true;
      this.#step({ t: "agreed", index: replica });
    }
  }

  #evidence(from: ReplicaIndex, evidence: Evidence): void {
    const conviction = this.#suspicions.heard(from, evidence, this.#parts.clock.now());
    if (conviction === undefined) return;
    const { about: index, ...said } = conviction;
    this.#step({ t: "accuse", index, ...said });
  }

  /** The bundle was inspected when it was deployed, and yet does not load here. */
  #refused(pod: Pod, failure: string): void {
    this.#failures++;
    this.#parts.fleet.end(pod, 0);
    if (this.#failures <= this.machine.seats.length) return;
    const { code, message } = JSON.parse(failure) as Failure;
    this.#parts.told.closed(this, `its replicas don't load the application: ${code}: ${message}`);
  }

  /** Proactive recovery (TOCS 2002, §6): what has taken a replica over unnoticed is gone with it. */
  #recoverOne(): void {
    this.#timers.after("recovery", this.#options.recoveryEveryMs, () => {
      const { seats, serving, next } = this.machine;
      if (serving === seats.length && next === undefined) {
        const index = this.#recoverNext;
        this.#recoverNext = (index + 1) % seats.length;
        this.#step({ t: "accuse", index, accusation: "recovery", detail: "proactive recovery" });
      }
      this.#recoverOne();
    });
  }
}
