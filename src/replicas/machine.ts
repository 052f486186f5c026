/**
 * A replica set as the control plane sees it: who sits in which seat, and what is done when a seat is empty or its replica is not to be
 * trusted (pure).
 *
 * Owns: seats, the membership in force and the one that is being ordered, when a set must be founded anew. Does not own: agreement
 * (src/consensus), pods (the fleet), keys and signatures, calls.
 *
 *   seat:  empty ──acquire──► starting ──ready──► ready ──(founded or ordered in)──► serving
 *            ▲                    │ gone            │ gone                             │ gone, accused
 *            └────────────────────┴─────────────────┴──────────────────────────────────┘
 *
 * R1  A key sits in one seat of one epoch after another without a gap, and never comes back once its seat was given to another key.
 * R2  One change of the membership is under way at a time, and it replaces at most one seat.
 * R3  A set that keeps state is founded once: as long as a quorum of its keys can come back, it waits for them.
 * R4  The version changes with the epoch only, so that one code executes an epoch, at each replica. A set without state has one version.
 * R5  Where those who begin anew differ in their first results, one after the other, nobody is given up for a result any more; without state
 *     on disk all begin anew together then, whenever one has to.
 * R6  A replica that only may be faulty, or has done nothing wrong, is given up when a quorum of others have all results that are kept, or have had
 *     the time to get them: who has come anew has those of calls that are under way from the others alone.
 */
import { firstViewOf } from "../consensus/checkpoints.ts";
import type { PublicKey } from "../consensus/crypto.ts";
import { leaderOf, type Membership, quorumOf, type ReplicaIndex, replicasOf, weakOf } from "../consensus/membership.ts";
import { Newcomers } from "./newcomers.ts";
import {
  type Accusation,
  emptySeat,
  type Seat,
  type SeatState,
  type SetEffect,
  type SetInput,
  type SetPhase,
  type SetSpec,
  vacate,
} from "./seats.ts";

export type { Accusation, Seat, SeatState, SetEffect, SetInput, SetPhase, SetSpec };

/** Those who differ in their first result, in a row, before the function is doubted and not them. */
const MOST_DIFFERING = 2;
const MOST_DIFFERING_WITH_STATE = 3;

export class ReplicaSetMachine {
  readonly spec: SetSpec;
  readonly seats: readonly Seat[];
  phase: SetPhase = "down";
  /** In force; of a set that was never founded `undefined`. */
  membership: Membership | undefined;
  /** Being ordered by the replicas, and not in force yet. */
  next: Membership | undefined;
  /** Whose code is to be executed. */
  #version: string;
  #lastEpoch: number;
  /** The epoch whose members began with nothing. A set that keeps state has one for ever (R3). */
  #foundedIn = 1;
  /** By pod, in the epoch that it has come to. */
  readonly #views = new Map<string, number>();
  /** Of the epoch in force. */
  #firstView = 0;
  readonly #told = new Map<ReplicaIndex, number>();
  readonly #newcomers: Newcomers;
  /** Accusations of those that are kept on for the sake of the others (R6). */
  readonly #postponed = new Map<ReplicaIndex, SetInput & { t: "accuse" }>();

  /** @param membership the last one of an earlier life @param next one that was being ordered then */
  constructor(spec: SetSpec, membership?: Membership, next?: Membership) {
    this.spec = spec;
    this.#version = spec.version;
    this.#newcomers = new Newcomers(spec.durable ? MOST_DIFFERING_WITH_STATE : MOST_DIFFERING);
    this.membership = membership;
    this.next = spec.durable ? next : undefined;
    this.#lastEpoch = Math.max(membership?.epoch ?? 0, next?.epoch ?? 0);
    this.seats = Array.from({ length: replicasOf(spec.faults) }, (_, index) => emptySeat(index));
  }

  step(input: SetInput): SetEffect[] {
    const effects: SetEffect[] = [];
    switch (input.t) {
      case "want":
        if (this.phase === "down") this.#form(effects);
        break;
      case "acquired":
        this.#acquired(this.seats[input.index]!, input.pod, effects);
        break;
      case "ready":
        this.#ready(input, effects);
        break;
      case "gone":
        this.#gone(input.pod, input.detail, effects);
        break;
      case "accuse":
        this.#accuse(this.seats[input.index], input, effects);
        break;
      case "agreed":
        if (this.seats[input.index]?.isNewcomer) this.#newcomers.agreed();
        break;
      case "epoch":
        this.#epoch(input.pod, input.epoch, effects);
        break;
      case "view":
        if (this.seatOf(input.pod)?.state === "serving") this.#views.set(input.pod, input.view);
        break;
      case "behind":
        this.#behind(input.pod, input.isBehind, effects);
        break;
      case "insist":
        this.#accusePostponed(true, effects);
        break;
      case "version":
        this.#version = this.spec.durable ? input.version : this.#version;
        this.#changeNext(effects);
        break;
      case "works":
        this.#works(input.pod, effects);
        break;
      case "release":
        this.#release(effects);
        break;
      case "tick":
        this.#acquireAll(effects);
        break;
    }
    return effects;
  }

  /** Whose code is executed; while a change is under way, of the epoch that ends. */
  get version(): string {
    return this.membership?.version ?? this.#version;
  }

  /** Replicas that work under the membership in force. */
  get serving(): number {
    return this.seats.filter(({ state }) => state === "serving").length;
  }

  /** Whether enough of them work that a call can be certified. */
  get hasQuorum(): boolean {
    return this.phase === "serving" && this.serving >= quorumOf(this.spec.faults);
  }

  /** The view that f + 1 replicas have reached: one of them is correct. */
  get view(): number {
    const views = [...this.#views.values()].sort((a, b) => b - a);
    return views[weakOf(this.spec.faults) - 1] ?? this.#firstView;
  }

  seatOf(pod: string): Seat | undefined {
    return this.seats.find((seat) => seat.pod === pod);
  }

  // ---------------------------------------------------------------- founding

  #form(effects: SetEffect[]): void {
    this.phase = "forming";
    this.#acquireAll(effects);
  }

  #acquireAll(effects: SetEffect[]): void {
    if (this.phase === "down") return;
    for (const seat of this.seats) if (seat.state === "empty") effects.push({ t: "acquire", index: seat.index, fresh: seat.mustBeNew });
  }

  #acquired(seat: Seat, pod: string, effects: SetEffect[]): void {
    if (seat.state !== "empty" || this.phase === "down") return void effects.push({ t: "end", pod });
    seat.state = "starting";
    seat.pod = pod;
  }

  #ready({ pod, key, address }: SetInput & { t: "ready" }, effects: SetEffect[]): void {
    const seat = this.seatOf(pod);
    if (seat?.state !== "starting") return;
    // A key in two seats would count twice; one that was removed may not come back (R1).
    if (this.#isTaken(key, seat)) {
      vacate(seat);
      seat.mustBeNew = true;
      return void effects.push({ t: "end", pod }, { t: "acquire", index: seat.index, fresh: true });
    }
    seat.state = "ready";
    seat.key = key;
    seat.address = address;
    if (this.phase === "serving") this.#join(seat, effects);
    else this.#found(effects);
  }

  #isTaken(key: PublicKey, seat: Seat): boolean {
    if (this.seats.some((other) => other !== seat && other.key === key)) return true;
    // That of the membership which is being ordered will be in force soon, whether its replica is still there or not.
    return [this.membership, this.next].some((each) => {
      const at = each?.replicas.indexOf(key) ?? -1;
      return at >= 0 && (at !== seat.index || (seat.mustBeNew && each === this.membership));
    });
  }

  #found(effects: SetEffect[]): void {
    if (this.spec.durable && this.membership !== undefined) return this.#resume(this.membership, effects);
    if (this.seats.some(({ state }) => state !== "ready")) return;
    this.membership = this.#membershipOf(this.seats.map(({ key }) => key!));
    this.#foundedIn = this.membership.epoch;
    this.#firstView = 0;
    this.phase = "serving";
    effects.push({ t: "open", membership: this.membership, isNew: true });
    for (const seat of this.seats) this.#serve(seat, this.membership, effects);
  }

  /** A quorum of the old keys is back with what it keeps: the others come by as they can (R3). */
  #resume(membership: Membership, effects: SetEffect[]): void {
    const known = this.seats.filter(({ index, state, key }) => state === "ready" && this.#isMember(index, key));
    if (known.length < quorumOf(this.spec.faults)) return;
    this.phase = "serving";
    effects.push({ t: "open", membership, isNew: false });
    for (const seat of known) this.#serve(seat, membership, effects);
    if (this.next !== undefined) effects.push({ t: "reconfigure", membership: this.next });
    this.#changeNext(effects);
  }

  /** By the membership in force, or by the one that was being ordered when the control plane ended. */
  #isMember(index: ReplicaIndex, key: PublicKey | undefined): boolean {
    return key !== undefined && (this.membership?.replicas[index] === key || this.next?.replicas[index] === key);
  }

  #membershipOf(replicas: PublicKey[]): Membership {
    const { set, application, function: fn, faults, client } = this.spec;
    return { set, application, function: fn, version: this.#version, epoch: ++this.#lastEpoch, faults, replicas, clients: [client] };
  }

  #serve(seat: Seat, membership: Membership, effects: SetEffect[]): void {
    seat.state = "serving";
    seat.mustBeNew = false;
    effects.push({ t: "replicate", pod: seat.pod!, index: seat.index, membership, isFounding: membership.epoch === this.#foundedIn });
  }

  // ---------------------------------------------------------------- while it serves

  #join(seat: Seat, effects: SetEffect[]): void {
    const membership = this.membership!;
    if (membership.replicas[seat.index] !== seat.key) return this.#changeNext(effects);
    this.#admit(seat, membership, effects);
    effects.push({ t: "announce", membership });
    // Its epoch may begin before this one is told that it has.
    if (this.next !== undefined) effects.push({ t: "announce", membership: this.next });
  }

  #admit(seat: Seat, membership: Membership, effects: SetEffect[]): void {
    seat.isNewcomer = true;
    seat.isBehind = true;
    this.#serve(seat, membership, effects);
  }

  /** Has the next seat's new key ordered in, or the next version, if no other change is under way (R2). */
  #changeNext(effects: SetEffect[]): void {
    if (this.phase !== "serving" || this.next !== undefined) return;
    const seat = this.seats.find(({ state }) => state === "ready");
    if (seat === undefined && this.membership!.version === this.#version) return;
    const replicas = [...this.membership!.replicas];
    if (seat !== undefined) replicas[seat.index] = seat.key!;
    this.next = this.#membershipOf(replicas);
    this.#told.clear();
    effects.push({ t: "reconfigure", membership: this.next });
  }

  #epoch(pod: string, epoch: number, effects: SetEffect[]): void {
    const seat = this.seatOf(pod);
    if (seat?.state !== "serving") return;
    // Views are counted anew in each epoch.
    if (epoch === this.membership?.epoch) this.#views.set(pod, this.#firstView);
    if (this.next === undefined) return;
    if (epoch === this.next.epoch) this.#views.set(pod, firstViewOf(this.membership!, this.next));
    this.#told.set(seat.index, epoch);
    const told = [...this.#told.values()].filter((each) => each >= this.next!.epoch).length;
    if (told < weakOf(this.spec.faults)) return;
    const membership = this.next;
    this.#firstView = firstViewOf(this.membership!, membership);
    this.membership = membership;
    this.next = undefined;
    effects.push({ t: "changed", membership });
    for (const each of this.seats) {
      if (each.state === "ready" && each.key === membership.replicas[each.index]) this.#admit(each, membership, effects);
    }
    effects.push({ t: "announce", membership });
    this.#changeNext(effects);
  }

  /** Whether it is kept on although it is accused of silence: that it is heard speaks for it. */
  isWaitedFor(index: ReplicaIndex): boolean {
    return this.#postponed.get(index)?.accusation === "silence";
  }

  #works(pod: string, effects: SetEffect[]): void {
    const seat = this.seatOf(pod);
    if (seat?.state !== "serving") return;
    if (this.isWaitedFor(seat.index)) this.#postponed.delete(seat.index);
    if (!seat.isFaulty) return;
    seat.isFaulty = false;
    effects.push({ t: "repaired", index: seat.index, pod, did: `seat ${seat.index} is ${pod}'s; the set is ${this.#strength()}` });
  }

  #strength(): string {
    return `${this.serving} of ${this.seats.length}`;
  }

  // ---------------------------------------------------------------- faults

  #gone(pod: string, detail: string, effects: SetEffect[]): void {
    const seat = this.seatOf(pod);
    if (seat === undefined) return;
    const { state } = seat;
    this.#empty(seat);
    if (state === "serving") this.#tell(seat, pod, { what: "crash", detail, forMs: 0 }, effects);
    this.#refill(seat, effects);
  }

  #accuse(seat: Seat | undefined, input: SetInput & { t: "accuse" }, effects: SetEffect[], isInsisted = false): void {
    const { accusation, detail, isDoubtful, isFirstResult, forMs } = input;
    if (seat?.state !== "serving" || this.phase !== "serving") return;
    // One that only may be faulty must not cost the quorum; one that has lied is no part of it.
    const isProven = isDoubtful !== true && (accusation === "lie" || accusation === "equivocation");
    if (!isProven && this.serving <= quorumOf(this.spec.faults)) return;
    if (isFirstResult !== undefined && this.#newcomers.areDoubted) return;
    if (!isProven && !isInsisted && this.#isNeededBy(seat)) return this.#postpone(seat, input, effects);
    if (isFirstResult === true && seat.isNewcomer) this.#newcomers.differed();
    const pod = seat.pod!;
    if (accusation !== "recovery") this.#tell(seat, pod, { what: accusation, detail, forMs: forMs ?? 0 }, effects);
    this.#empty(seat);
    // One that keeps state and has not lied comes back in another process with what it knows: were it thrown away, and another replica's
    // disk lost meanwhile, too few would be left that know anything (R3).
    seat.mustBeNew = isProven || !this.spec.durable;
    effects.push({ t: "end", pod });
    if (isFirstResult !== undefined && this.#newcomers.areDoubted) effects.push({ t: "doubted" });
    this.#refill(seat, effects);
  }

  /** Without it, fewer than a quorum would have all results that are kept (R6). */
  #isNeededBy(seat: Seat): boolean {
    const whole = this.seats.filter((other) => other !== seat && other.state === "serving" && !other.isBehind);
    return whole.length < quorumOf(this.spec.faults);
  }

  #postpone({ index }: Seat, input: SetInput & { t: "accuse" }, effects: SetEffect[]): void {
    this.#postponed.set(index, input);
    effects.push({ t: "postponed" });
  }

  #accusePostponed(isInsisted: boolean, effects: SetEffect[]): void {
    for (const [index, input] of [...this.#postponed]) {
      this.#postponed.delete(index);
      this.#accuse(this.seats[index], input, effects, isInsisted);
    }
  }

  #behind(pod: string, isBehind: boolean, effects: SetEffect[]): void {
    const seat = this.seatOf(pod);
    if (seat?.state !== "serving") return;
    seat.isBehind = isBehind;
    if (!isBehind) this.#accusePostponed(false, effects);
  }

  #tell(seat: Seat, pod: string, fault: Pick<SetEffect & { t: "fault" }, "what" | "detail" | "forMs">, effects: SetEffect[]): void {
    seat.isFaulty = true;
    const isLeader = leaderOf(this.view, this.spec.faults) === seat.index;
    effects.push({ t: "fault", index: seat.index, pod, isLeader, ...fault });
  }

  #empty(seat: Seat): void {
    if (seat.pod !== undefined) this.#views.delete(seat.pod);
    this.#postponed.delete(seat.index);
    vacate(seat);
  }

  #refill(seat: Seat, effects: SetEffect[]): void {
    // One that keeps state waits for its replicas' return: what they know is nowhere else (R3).
    const isDissolved = this.phase === "serving" && !this.spec.durable && (!this.hasQuorum || this.#newcomers.areDoubted);
    if (isDissolved) this.#dissolve(effects);
    if (this.phase !== "down" && seat.state === "empty") effects.push({ t: "acquire", index: seat.index, fresh: seat.mustBeNew });
  }

  /** Too few are left to order anything, be it a change of the members, or who begins anew differs (R5). Nothing that is kept would be lost. */
  #dissolve(effects: SetEffect[]): void {
    const needed = this.hasQuorum ? "all begin anew together" : `${quorumOf(this.spec.faults)} are needed`;
    effects.push({ t: "closed", reason: `${this.#strength()} replicas work; ${needed}` });
    this.phase = "forming";
    this.next = undefined;
    for (const seat of this.seats) {
      if (seat.state !== "serving") continue;
      effects.push({ t: "end", pod: seat.pod! });
      this.#empty(seat);
      seat.mustBeNew = true;
      effects.push({ t: "acquire", index: seat.index, fresh: true });
    }
  }

  #release(effects: SetEffect[]): void {
    if (this.phase === "down") return;
    this.phase = "down";
    effects.push({ t: "closed", reason: "no calls" });
    for (const seat of this.seats) {
      if (seat.pod !== undefined) effects.push({ t: "end", pod: seat.pod });
      this.#empty(seat);
      seat.isFaulty = false;
    }
  }
}
