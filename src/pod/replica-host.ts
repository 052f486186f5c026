/**
 * The host of one replica: what happens becomes inputs of its machine, and effects are carried out.
 *
 * Owns: the order of effects, the turn (all that comes in one turn of the event loop is one frame to each peer, and one commit), timers, the
 * replica's key. Does not own: the protocol (src/consensus), connections, execution, what is on disk.
 *
 * H1  What follows a `persist` leaves only once that is durable, and nothing overtakes it. Timers are the exception: they are this process's own.
 * H2  The private key never leaves this process, except to the replica's own directory.
 * H3  Nothing here waits for user code, for a peer, or in a step of the machine.
 */
import type { Crypto, PublicKey } from "../consensus/crypto.ts";
import type { Effect, Evidence, Input, Notice } from "../consensus/effects.ts";
import { Replica } from "../consensus/machine.ts";
import { type Failure, failureOf, LockstepError } from "../lib/errors.ts";
import type { FromReplica, ReplicaCode, ToReplica } from "../protocol/replica.ts";
import { MAX_DETAIL } from "../protocol/replica-shapes.ts";
import { generateSecretKey, nodeCrypto, publicKeyOf } from "../replicas/node-crypto.ts";
import { ReplicaExecutor } from "./replica-executor.ts";
import { openLog, type ReplicaLog } from "./replica-log.ts";
import { Meter } from "./replica-meter.ts";
import { Misbehaving } from "./replica-misbehaviour.ts";
import { ReplicaPeers } from "./replica-peers.ts";
import { ReplicaProcess } from "./replica-process.ts";
import { ReplicaTimers } from "./replica-timers.ts";

export interface ReplicaHostOptions {
  /** Where to listen for peers: a socket's path, or `host:port`. */
  listen: string;
  memoryMb: number;
  maxPayloadBytes: number;
  maxLogBytes: number;
  /** Whether it obeys `misbehave`. */
  drills: boolean;
  /** Ends the process as `kill -9` would. */
  crash(): void;
  /** Where a durable replica has its log. Default: in its directory. */
  openLog?: typeof openLog;
}

export interface ReplicaPort {
  send(message: FromReplica): void;
  /** Lets leave at once what was sent. */
  flush(): void;
  /** What can't go on: the bundle doesn't load, the disk refuses, the executor is lost. */
  failed(failure: Failure | string): void;
}

type Prepare = ToReplica & { t: "replica-prepare" };
type Replicate = ToReplica & { t: "replicate" };

/**
 * What is refused as too large is refused without a word, and waits for ever. A request's text may be twice as long as what it holds, and a
 * compensation holds the input and the output of a call. The rest is for what has no payload.
 */
const REQUEST_FACTOR = 4;
const REQUEST_ROOM = 4_194_304;

export class ReplicaHost {
  readonly #options: ReplicaHostOptions;
  readonly #port: ReplicaPort;
  readonly #meter = new Meter();
  readonly #timers = new ReplicaTimers((timer) => this.#step({ t: "timer", timer }));
  #crypto!: Crypto;
  #key: PublicKey = "";
  #peers!: ReplicaPeers;
  #log: ReplicaLog | undefined;
  #misbehaving!: Misbehaving;
  /** For the executor: it starts while the others of the set do. */
  #spare: ReplicaProcess | undefined;
  #executor: ReplicaExecutor | undefined;
  #replica: Replica | undefined;
  /** By version: of what the replica executes, and may have to execute next. */
  readonly #codes = new Map<string, ReplicaCode>();
  /** The version whose code executes, or is waited for. */
  #version = "";
  /** Effects of this turn, or of earlier ones that wait for the disk; without timers. */
  #effects: Effect[] = [];
  #isScheduled = false;
  #isPersisting = false;
  #isOver = false;
  /** As the control plane knows it. */
  #isBehind = true;
  #isTransferring = false;
  #now = 0;
  /** Requests and memberships that came while the bundle was loading. */
  #early: (() => void)[] | undefined = [];

  constructor(options: ReplicaHostOptions, port: ReplicaPort) {
    this.#options = options;
    this.#port = port;
  }

  take(message: ToReplica): void {
    switch (message.t) {
      case "replica-prepare":
        return this.#async(this.#prepare(message));
      case "replicate":
        return this.#replicate(message);
      case "membership":
        return this.#soon(() => this.#prepareFor(message));
      case "replica-code":
        return this.#soon(() => this.#learn(message.version, message.code));
      case "request":
        return this.#soon(() => this.#step({ t: "request", request: message.request }));
      case "misbehave":
        return this.#soon(() => this.#misbehave(message));
      case "replica-inspect":
        return this.#async(this.#inspect(message.id));
    }
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    this.#timers.stop();
    await Promise.all([this.#spare?.kill(), this.#executor?.stop(), this.#peers?.close(), this.#log?.close()]);
  }

  #async(work: Promise<void>): void {
    work.catch((error: unknown) => this.#fail(failureOf(error, "POD_FAILED_TO_START")));
  }

  #fail(failure: Failure | string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#timers.stop();
    this.#port.failed(failure);
  }

  #soon(work: () => void): void {
    if (this.#early === undefined) work();
    else this.#early.push(work);
  }

  async #prepare({ set, directory }: Prepare): Promise<void> {
    this.#spare = new ReplicaProcess(this.#options.memoryMb);
    const open = this.#options.openLog ?? openLog;
    this.#log = directory === undefined ? undefined : await open(directory, generateSecretKey);
    const secret = this.#log?.secret ?? generateSecretKey();
    this.#key = publicKeyOf(secret);
    this.#crypto = this.#meter.crypto(nodeCrypto(secret));
    this.#misbehaving = new Misbehaving(set, this.#crypto);
    this.#peers = new ReplicaPeers(
      { set, key: this.#key, crypto: this.#crypto, meter: this.#meter },
      { message: (from, epoch, message) => this.#step({ t: "message", from, epoch, message }) },
    );
    const address = await this.#peers.listen(this.#options.listen);
    this.#port.send({ t: "replica-ready", key: this.#key, address, restored: (this.#log?.records.length ?? 0) > 0 });
  }

  #replicate(message: Replicate): void {
    const startedAt = performance.now();
    if (this.#executor !== undefined || this.#peers === undefined) {
      return this.#fail(
        failureOf(new LockstepError("BAD_REQUEST", "a pod is prepared once, and then becomes one replica once"), "BAD_REQUEST"),
      );
    }
    const { maxPayloadBytes, maxLogBytes } = this.#options;
    const { function: name, path, timeoutMs, memoryMb = this.#options.memoryMb, version } = message;
    this.#codes.set(version, { path, timeoutMs, memoryMb });
    this.#version = version;
    const keepsState = this.#log !== undefined && !message.isFounding;
    this.#executor = new ReplicaExecutor(
      { function: name, path, timeoutMs, memoryMb, maxPayloadBytes, maxLogBytes, keepsState },
      {
        loaded: () => this.#begin(message, startedAt),
        executed: (seq, outcomes) => this.#step({ t: "executed", seq, outcomes: this.#misbehaving.outcomes(outcomes) }),
        snapshotted: (seq, pages) => {
          this.#log?.savePages(this.#executor?.pages(seq) ?? []);
          this.#step({ t: "snapshotted", seq, pages });
        },
        installed: (seq) => {
          this.#log?.savePages(this.#executor?.pages(seq) ?? []);
          this.#step({ t: "installed", seq });
        },
        lines: (id, lines) => this.#port.send({ t: "replica-lines", id, lines }),
        failed: (failure) => this.#fail(failure),
      },
      this.#spare,
    );
    this.#spare = undefined;
  }

  #begin({ membership, isFounding, index, admin, peers, limits: given }: Replicate, startedAt: number): void {
    const durable = this.#log !== undefined;
    const limits = { maxRequestSize: REQUEST_ROOM + REQUEST_FACTOR * this.#options.maxPayloadBytes, ...given };
    const options = { membership, isFounding, index, key: this.#key, admin, durable, limits };
    this.#replica = new Replica(options, this.#crypto, this.#log?.records);
    for (const each of this.#log?.memberships ?? []) this.#peers.add(each, []);
    this.#peers.add(membership.membership, peers);
    const { epoch, view, leader } = this.#replica.inspect();
    this.#peers.begin(epoch);
    // Its earlier life may have come further than whoever has sent this knows.
    this.#goOnWith(this.#replica.version);
    this.#take(this.#replica.start(this.#time()));
    this.#port.send({ t: "replica-running", epoch, ms: performance.now() - startedAt });
    // Whoever begins it knows of no earlier life, and not who leads.
    if (view > 0) this.#port.send({ t: "replica-notice", notice: { t: "view", view, leader } });
    this.#tellBehind(this.#replica);
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const work of early) work();
  }

  #prepareFor({ next: { membership }, peers, code }: ToReplica & { t: "membership" }): void {
    this.#peers.add(membership, peers);
    this.#learn(membership.version, code);
  }

  #learn(version: string, code: ReplicaCode): void {
    const isWaitedFor = version === this.#version && !this.#codes.has(version);
    this.#codes.set(version, code);
    if (isWaitedFor) this.#executor?.use(code);
  }

  /** What the replica is asked to execute from here on is of this version. Where its bundle is may come later than the word of its peers. */
  #goOnWith(version: string): void {
    if (version === this.#version) return;
    this.#version = version;
    const code = this.#codes.get(version);
    this.#executor?.use(code);
    // After a return from the log it may be one that the others have left behind, and that nobody announces any more.
    if (code === undefined) this.#port.send({ t: "replica-lacks", version });
  }

  /** Of this replica's own clock, which whoever sets it may turn back. */
  #time(): number {
    this.#now = Math.max(this.#now, Date.now());
    return this.#now;
  }

  #step(input: Input): void {
    if (this.#replica === undefined || this.#isOver) return;
    this.#meter.counts.steps++;
    const replica = this.#replica;
    this.#take(this.#meter.time("stepMs", () => replica.step(input, this.#time())));
  }

  #take(effects: Effect[]): void {
    for (const effect of effects) {
      if (effect.t === "timer") this.#timers.set(effect.timer, effect.afterMs);
      else this.#effects.push(effect);
    }
    if (this.#isScheduled || this.#isPersisting || this.#effects.length === 0) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#flush();
    });
  }

  /** The end of a turn. */
  #flush(): void {
    if (this.#isPersisting || this.#isOver) return;
    const effects = this.#effects;
    this.#effects = [];
    const first = this.#log === undefined ? -1 : effects.findIndex(({ t }) => t === "persist");
    this.#carryOut(first < 0 ? effects : effects.slice(0, first), first < 0);
    if (first >= 0) this.#async(this.#persist(effects.slice(first)));
  }

  /** One commit for all that this turn has to persist, and then what waits for it. */
  async #persist(effects: Effect[]): Promise<void> {
    this.#isPersisting = true;
    const startedAt = performance.now();
    await this.#log?.append(effects.flatMap((effect) => (effect.t === "persist" ? effect.records : [])));
    this.#meter.spent.persistMs += performance.now() - startedAt;
    this.#meter.counts.persists++;
    this.#isPersisting = false;
    this.#carryOut(effects, true);
    this.#flush();
  }

  /** @param isDurable whether these are all that there were */
  #carryOut(effects: readonly Effect[], isDurable: boolean): void {
    if (effects.length === 0) return;
    for (const effect of effects) this.#carry(effect);
    if (isDurable && (this.#isBehind || this.#isTransferring) && this.#replica !== undefined) this.#tellBehind(this.#replica);
    this.#meter.time("sendMs", () => this.#peers.flush());
    this.#port.flush();
  }

  #carry(effect: Effect): void {
    switch (effect.t) {
      case "send":
        return this.#send(effect);
      case "reply":
        return this.#port.send({ t: "votes", reply: effect.reply });
      case "execute":
        return this.#executor?.execute(effect);
      case "snapshot":
        return this.#executor?.snapshot(effect.seq);
      case "install":
        return this.#executor?.install(effect.seq, effect.pages);
      case "restore":
        return this.#restore(effect);
      case "read-page":
        return this.#readPage(effect);
      case "discard":
        return this.#executor?.discard(effect.seq);
      case "evidence":
        return this.#port.send({ t: "evidence", evidence: bounded(effect.evidence) });
      case "notice":
        if (effect.notice.t === "epoch") this.#begun(effect.notice);
        if (effect.notice.t === "transferring") this.#isTransferring = true;
        return this.#port.send({ t: "replica-notice", notice: effect.notice });
      case "persist":
      case "timer":
        return;
    }
  }

  /** Who lacks what the others have must not be all that is left of those who had it. */
  #tellBehind(replica: Replica): void {
    const { present, transferring, lacking, committed, executed } = replica.inspect();
    const isBehind = !present || transferring || lacking > 0 || (this.#isBehind && executed < committed);
    this.#isTransferring = transferring;
    if (isBehind === this.#isBehind) return;
    this.#isBehind = isBehind;
    this.#port.send({ t: "replica-behind", isBehind });
  }

  #begun({ epoch, version }: Notice & { t: "epoch" }): void {
    this.#peers.begin(epoch);
    this.#goOnWith(version);
  }

  #send({ epoch, to, message }: Effect & { t: "send" }): void {
    this.#meter.counts.messages++;
    if (this.#misbehaving.how !== "equivocate") return this.#peers.send(epoch, to, JSON.stringify(message));
    for (const [place, each] of to.entries()) this.#peers.send(epoch, [each], JSON.stringify(this.#misbehaving.message(place, message)));
  }

  #readPage({ seq, page, to }: Effect & { t: "read-page" }): void {
    const data = this.#executor?.page(seq, page);
    if (data !== undefined) this.#step({ t: "page-read", seq, page, to, data });
  }

  #restore({ seq, pages }: Effect & { t: "restore" }): void {
    const texts = this.#log?.pages(pages);
    if (texts === undefined) this.#step({ t: "missing", seq });
    else this.#executor?.install(seq, texts);
  }

  #misbehave({ how, peers }: ToReplica & { t: "misbehave" }): void {
    if (!this.#options.drills) return;
    if (how === "crash") return this.#options.crash();
    this.#misbehaving.how = how;
    this.#peers.cut(how === "partition" ? peers : []);
  }

  async #inspect(id: number): Promise<void> {
    this.#meter.isOn = true;
    const { user, system } = process.cpuUsage();
    const executorMs = this.#executor === undefined ? 0 : await this.#executor.cpu();
    const state = {
      key: this.#key,
      machine: this.#replica?.inspect(),
      connected: this.#peers?.connected ?? [],
      cpuMs: { process: (user + system) / 1000 + executorMs, executor: executorMs, ...this.#meter.spent },
      counts: { ...this.#meter.counts, executorRestarts: this.#executor?.restarts ?? 0 },
    };
    this.#port.send({ t: "replica-inspected", id, state: JSON.stringify(state) });
    this.#port.flush();
  }
}

/** A proof that the control plane would not take is left out: this replica would be the one that is ended for it. */
const bounded = (evidence: Evidence): Evidence => {
  if (evidence.proof === undefined || JSON.stringify(evidence.proof).length <= MAX_DETAIL) return evidence;
  const { proof: _, ...word } = evidence;
  return word;
};
