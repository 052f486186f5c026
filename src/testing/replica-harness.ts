/**
 * A replica set without a platform: what the control plane does for one, for tests of the pods' side and for benchmarks.
 *
 * Owns: the admin's and the client's key, the membership, the client's machine and its timers. Does not own: where the replicas are; a `Seat` is
 * one of them, in this process or in a pod.
 */
import { membershipText } from "../consensus/canonical.ts";
import type { Certificate } from "../consensus/certificate.ts";
import { type ClientEffect, type ClientEvidence, type ClientTimer, ReplicaClient } from "../consensus/client-machine.ts";
import type { Crypto } from "../consensus/crypto.ts";
import type { Evidence, Notice } from "../consensus/effects.ts";
import { type CertifiedMembership, type ReplicaIndex, replicasOf, setNameOf } from "../consensus/membership.ts";
import type { Limits } from "../consensus/options.ts";
import type { FromPod, ToPod } from "../protocol/pod.ts";
import type { LogLine } from "../protocol/run.ts";
import { generateSecretKey, nodeCrypto, publicKeyOf } from "../replicas/node-crypto.ts";

/** One replica, wherever it executes. */
export interface Seat {
  send(message: ToPod): void;
  /** Told of all that the replica says. */
  listen(told: (message: FromPod) => void): void;
}

export interface HarnessOptions {
  function: string;
  path: string;
  /** Bundles of versions, for a set that outlives its version "1". */
  versions?: Readonly<Record<string, string>>;
  timeoutMs?: number;
  limits?: Partial<Limits>;
  /** How late votes may be before the client calls their replica silent. Default 1,000. */
  silenceMs?: number;
  /** Where each replica keeps its log. Absent: nowhere. */
  directories?: readonly string[];
}

export interface Certified {
  outcome: string;
  certificate: Certificate;
}

/** What the set has said, for tests to wait for. */
export type Heard =
  | { t: "notice"; from: ReplicaIndex; notice: Notice }
  | { t: "evidence"; from: ReplicaIndex; evidence: Evidence }
  | { t: "client-evidence"; evidence: ClientEvidence }
  | { t: "lines"; from: ReplicaIndex; id: string; lines: LogLine[] }
  | { t: "running"; from: ReplicaIndex; epoch: number }
  | { t: "behind"; from: ReplicaIndex; isBehind: boolean }
  | { t: "refused"; from: ReplicaIndex; failure: string };

export class ReplicaHarness {
  readonly #options: HarnessOptions;
  readonly #admin: Crypto;
  readonly #adminKey: string;
  readonly #client = generateSecretKey();
  readonly #crypto = nodeCrypto(this.#client);
  readonly #seats: Seat[] = [];
  readonly #keys: string[] = [];
  readonly #addresses: string[] = [];
  readonly #waiting = new Map<string, { resolve(certified: Certified): void; reject(error: Error): void }>();
  readonly #timers = new Map<ClientTimer, () => void>();
  readonly #watchers = new Set<(heard: Heard) => void>();
  readonly #inspections = new Map<number, (state: string) => void>();
  readonly heard: Heard[] = [];
  #machine: ReplicaClient | undefined;
  #membership: CertifiedMembership | undefined;
  #session = 0;
  #inspected = 0;
  #submitted = 0;

  constructor(options: HarnessOptions) {
    this.#options = options;
    const secret = generateSecretKey();
    this.#admin = nodeCrypto(secret);
    this.#adminKey = publicKeyOf(secret);
  }

  get adminKey(): string {
    return this.#adminKey;
  }

  get membership(): CertifiedMembership {
    return this.#membership as CertifiedMembership;
  }

  /** Makes a set of these; resolves once all of them take part. */
  async form(seats: readonly Seat[], faults = 1): Promise<void> {
    if (seats.length !== replicasOf(faults)) throw new RangeError(`${replicasOf(faults)} replicas are needed, not ${seats.length}`);
    await Promise.all(seats.map((seat, index) => this.prepare(index, seat)));
    const { function: fn } = this.#options;
    this.#membership = this.#certify({
      ...{ set: this.#set, application: "app", function: fn, version: "1", epoch: 1, faults },
      replicas: [...this.#keys],
      clients: [publicKeyOf(this.#client)],
    });
    await Promise.all(seats.map((_, index) => this.begin(index)));
    this.open();
  }

  /** Puts a replica in a seat, with keys of its own, or those of an earlier life in its directory. */
  async prepare(index: ReplicaIndex, seat: Seat): Promise<void> {
    const ready = new Promise<void>((resolve) => {
      seat.listen((message) => {
        if (message.t === "replica-ready") {
          this.#keys[index] = message.key;
          this.#addresses[index] = message.address;
          resolve();
        } else if (this.#seats[index] === seat) this.#take(index, message);
      });
    });
    this.#seats[index] = seat;
    const directory = this.#options.directories?.[index];
    seat.send({ t: "replica-prepare", set: this.#set, index, ...(directory === undefined ? {} : { directory }) });
    await ready;
  }

  /** Lets a prepared replica take part, under a membership that may be over, and tells the others where it is. */
  async begin(index: ReplicaIndex, membership = this.membership): Promise<void> {
    const { function: fn, timeoutMs = 5_000, limits } = this.#options;
    const { version, epoch } = membership.membership;
    const path = this.#pathOf(version);
    const running = this.next((heard) => (heard.t === "running" || heard.t === "refused") && heard.from === index);
    this.#seats[index]?.send({
      ...{ t: "replicate", index, function: fn, version, path, membership, admin: this.adminKey },
      ...{ peers: [...this.#addresses], timeoutMs, isFounding: epoch === 1 },
      ...(limits === undefined ? {} : { limits }),
    });
    const heard = await running;
    if (heard.t === "refused") throw new Error(heard.failure);
    this.announce(this.membership);
  }

  announce(next: CertifiedMembership): void {
    const { version } = next.membership;
    const code = { path: this.#pathOf(version), timeoutMs: this.#options.timeoutMs ?? 5_000 };
    for (const seat of this.#seats) seat.send({ t: "membership", next, peers: [...this.#addresses], code });
  }

  /** A client that begins: with a new session. */
  open(): void {
    const { silenceMs = 1_000 } = this.#options;
    const options = { membership: this.membership, key: publicKeyOf(this.#client), session: ++this.#session, limits: { silenceMs } };
    this.#machine = new ReplicaClient(options, this.#crypto);
    this.#carryOut(this.#machine.start(Date.now()));
  }

  /** Calls the function. @param id default: one that was not there before */
  call(input: unknown, key = "", id = `run_${++this.#submitted}/1`): Promise<Certified> {
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#step({ t: "submit", operations: [{ id, key, input: JSON.stringify(input) }] });
    });
  }

  /** Asks the set to go on as the members of the next epoch, with the keys that its seats have now, and the code of that version. */
  reconfigure(version = this.membership.membership.version): CertifiedMembership {
    const { membership } = this.membership;
    const next = this.#certify({ ...membership, version, epoch: membership.epoch + 1, replicas: [...this.#keys] });
    this.announce(next);
    this.#step({ t: "reconfigure", next });
    this.#membership = next;
    return next;
  }

  /** To the client: the next epoch has begun. */
  entered(membership: CertifiedMembership): void {
    this.#step({ t: "epoch", membership });
  }

  send(index: ReplicaIndex, message: ToPod): void {
    this.#seats[index]?.send(message);
  }

  async inspect(index: ReplicaIndex): Promise<Record<string, unknown>> {
    const id = ++this.#inspected;
    const state = new Promise<string>((resolve) => this.#inspections.set(id, resolve));
    this.send(index, { t: "replica-inspect", id });
    return JSON.parse(await state) as Record<string, unknown>;
  }

  /** The next thing heard that fits. */
  next(fits: (heard: Heard) => boolean): Promise<Heard> {
    return new Promise((resolve) => {
      const watcher = (heard: Heard): void => {
        if (!fits(heard)) return;
        this.#watchers.delete(watcher);
        resolve(heard);
      };
      this.#watchers.add(watcher);
    });
  }

  /** The first thing heard that fits, from the beginning on. */
  async once(fits: (heard: Heard) => boolean): Promise<Heard> {
    return this.heard.find(fits) ?? this.next(fits);
  }

  close(): void {
    this.#machine = undefined;
    for (const cancel of this.#timers.values()) cancel();
    this.#timers.clear();
  }

  get #set(): string {
    return setNameOf({ application: "app", function: this.#options.function, version: "1" }, this.#options.versions !== undefined);
  }

  #pathOf(version: string): string {
    return this.#options.versions?.[version] ?? this.#options.path;
  }

  #certify(membership: CertifiedMembership["membership"]): CertifiedMembership {
    return { membership, signature: this.#admin.sign(membershipText(membership)) };
  }

  #take(from: ReplicaIndex, message: FromPod): void {
    switch (message.t) {
      case "votes":
        return this.#step({ t: "reply", from, reply: message.reply });
      case "replica-notice":
        return this.#tell({ t: "notice", from, notice: message.notice });
      case "evidence":
        return this.#tell({ t: "evidence", from, evidence: message.evidence });
      case "replica-lines":
        return this.#tell({ t: "lines", from, id: message.id, lines: message.lines });
      case "replica-lacks": {
        const code = { path: this.#pathOf(message.version), timeoutMs: this.#options.timeoutMs ?? 5_000 };
        return this.#seats[from]?.send({ t: "replica-code", version: message.version, code });
      }
      case "replica-behind":
        return this.#tell({ t: "behind", from, isBehind: message.isBehind });
      case "replica-running":
        return this.#tell({ t: "running", from, epoch: message.epoch });
      case "refused":
        return this.#tell({ t: "refused", from, failure: message.failure });
      case "replica-inspected":
        this.#inspections.get(message.id)?.(message.state);
        this.#inspections.delete(message.id);
        return;
      default:
      // What a replica's pod has no business to say.
    }
  }

  #tell(heard: Heard): void {
    this.heard.push(heard);
    for (const watcher of [...this.#watchers]) watcher(heard);
  }

  #step(input: Parameters<ReplicaClient["step"]>[0]): void {
    if (this.#machine !== undefined) this.#carryOut(this.#machine.step(input, Date.now()));
  }

  #carryOut(effects: readonly ClientEffect[]): void {
    for (const effect of effects) this.#carry(effect);
  }

  #carry(effect: ClientEffect): void {
    switch (effect.t) {
      case "send":
        for (const index of effect.to) this.send(index, { t: "request", request: effect.request });
        return;
      case "certified": {
        const { operation, certificate, outcome } = effect;
        this.#waiting.get(operation)?.resolve({ outcome, certificate });
        this.#waiting.delete(operation);
        return this.#step({ t: "settle", operations: [operation] });
      }
      case "diverged":
        this.#waiting.get(effect.operation)?.reject(new Error(`diverged: ${JSON.stringify(effect.outcomes)}`));
        this.#waiting.delete(effect.operation);
        return;
      case "evidence":
        return this.#tell({ t: "client-evidence", evidence: effect.evidence });
      case "timer":
        return this.#timer(effect.timer, effect.afterMs);
      case "reconfigured":
        return;
    }
  }

  #timer(timer: ClientTimer, afterMs: number | undefined): void {
    this.#timers.get(timer)?.();
    this.#timers.delete(timer);
    if (afterMs === undefined) return;
    const fire = (): void => {
      this.#timers.delete(timer);
      this.#step({ t: "timer", timer });
    };
    if (afterMs === 0) {
      const handle = setImmediate(fire);
      this.#timers.set(timer, () => clearImmediate(handle));
    } else {
      const handle = setTimeout(fire, afterMs);
      this.#timers.set(timer, () => clearTimeout(handle));
    }
  }
}
