/**
 * Invocations: serves attempts while they execute, and settles what they have changed when they end.
 *
 * Owns: the transaction and the object session of each attempt that asked for one, and who may touch what. Does not own: what a transaction
 * or a session does (src/state, src/objects), leases (the scheduler), or what follows for the run (src/coordinator).
 *
 * V1  An attempt's writes and publications are in the commit of its result, or nowhere (P2, P4).
 * V2  An attempt that ends, in whatever way, leaves no transaction and no session behind.
 * V3  Nothing is read or written that the definition may not touch: decided here, since pods run user code.
 */
import { type Action, type Actor, allows, allowsAll, denial, isHeld, type PermissionKind } from "../application/permissions.ts";
import type { Registry } from "../application/registry.ts";
import { ChurnMap } from "../lib/churn-map.ts";
import type { Clock } from "../lib/clock.ts";
import { type Failure, failureOf, LockstepError } from "../lib/errors.ts";
import type { Json } from "../lib/json.ts";
import type { Verdict } from "../lib/verdict.ts";
import type { ObjectSession } from "../objects/attempt.ts";
import type { ObjectService } from "../objects/service.ts";
import type { FunctionSpec } from "../protocol/application.ts";
import type { FromPod, Request, ToPod } from "../protocol/pod.ts";
import type { Staleness, StateRead, StateWrite } from "../protocol/state.ts";
import type { Entry } from "../queue/machine.ts";
import type { AttemptService, Outcome } from "../scheduler/service.ts";
import type { Owner, StateService, Transaction } from "../state/service.ts";
import { declaredKeys } from "./patterns.ts";

export interface InvocationParts {
  state: Pick<StateService, "begin" | "known" | "entry" | "read" | "commit" | "fault" | "abandon" | "hasFaulted">;
  objects: Pick<ObjectService, "session" | "serve" | "holds" | "publish" | "close">;
  registry: Pick<Registry, "spec" | "version" | "ownerOfBucket">;
  clock: Pick<Clock, "now">;
  /** How often in a row the call's attempts have met a conflict. */
  conflicts(entry: Entry): number;
  progress(entry: Entry, value: Json): void;
  /** What the monitor makes of a failure. */
  verdict(entry: Entry, outcome: Outcome & { failure: Failure }): Verdict;
}

/** What came of an attempt and its changes; a failure has its verdict. `reads`: state keys that the result depends on. */
export type Settlement = { t: "committed"; reads?: string[] } | { t: "conflict" } | { t: "failed"; failure: Failure };

interface Attempt {
  readonly tx: Transaction;
  readonly who: Who;
  session: ObjectSession | undefined;
  underWay: number;
}

type Asked = FromPod & { t: "request" };

/** What a request comes to; with `version` it is a state key's fresh value. */
interface Served {
  value: Json;
  version?: number;
  data?: Uint8Array;
}

interface Who {
  actor: Actor;
  spec: FunctionSpec | undefined;
}

/** Requests of one attempt at a time: its pod queues what goes beyond a few. */
const MOST_UNDER_WAY = 1_000;

const COMMITTED: Settlement = { t: "committed" };

export class Invocations implements AttemptService {
  readonly #parts: InvocationParts;
  readonly #attempts = new ChurnMap<Entry, Attempt>();

  constructor(parts: InvocationParts) {
    this.#parts = parts;
  }

  // ---------------------------------------------------------------- while it executes

  request(entry: Entry, message: Asked, reply: (message: ToPod) => void): void {
    const attempt = this.#attemptOf(entry);
    const known = this.#known(attempt, message.ask);
    if (known !== undefined) return reply(answerTo(message, known));
    if (attempt.underWay >= MOST_UNDER_WAY) {
      const what = `the invocation has ${MOST_UNDER_WAY} requests under way: await some of them first`;
      return reply(refusalOf(message, new LockstepError("OVERLOADED", what)));
    }
    attempt.underWay++;
    this.#serve(attempt, message.ask).then(
      (served) => {
        attempt.underWay--;
        reply(answerTo(message, served));
      },
      (error: unknown) => {
        attempt.underWay--;
        reply(refusalOf(message, error));
      },
    );
  }

  progress(entry: Entry, value: Json): void {
    this.#parts.progress(entry, value);
  }

  withdrawn(entry: Entry): void {
    this.abandon(entry);
  }

  // ---------------------------------------------------------------- when it has ended

  /**
   * Commits what a successful attempt has changed, in this turn, or marks what a failed one leaves stale. The caller goes by what this
   * says, not by the outcome alone.
   */
  settle(entry: Entry, outcome: Outcome): Settlement {
    const { failure } = outcome;
    const attempt = this.#attempts.get(entry);
    const isPlain = failure === undefined && attempt === undefined && outcome.writes === undefined && outcome.objects === undefined;
    // An attempt before it may have left keys stale; its success says that they are right.
    if (isPlain && !this.#parts.state.hasFaulted(entry)) return COMMITTED;
    // A pod that is gone, or a timeout, is nothing that conflicting reads have brought about; what the code itself says may be.
    if (attempt?.tx.conflicted && outcome.metrics !== undefined) return this.#conflict(entry);
    if (failure !== undefined) return this.#fail(entry, { ...outcome, failure });
    return this.#commit(entry, attempt ?? this.#attemptOf(entry), outcome);
  }

  /** The attempt's outcome means nothing any more: it changes nothing. */
  abandon(entry: Entry): void {
    const attempt = this.#attempts.get(entry);
    if (attempt === undefined) return;
    this.#attempts.delete(entry);
    this.#parts.state.abandon(attempt.tx);
    if (attempt.session !== undefined) this.#parts.objects.close(attempt.session);
  }

  /** Attempts that have asked for something: for tests of what is left behind. */
  get size(): number {
    return this.#attempts.size;
  }

  #conflict(entry: Entry): Settlement {
    this.abandon(entry);
    return { t: "conflict" };
  }

  #commit(entry: Entry, attempt: Attempt, outcome: Outcome): Settlement {
    const { writes = [], objects = [] } = outcome;
    try {
      for (const { key } of writes) this.#check(attempt.who, "state", "write", key);
      for (const write of objects) if (write.op === "delete") this.#checkObject(attempt.who, "write", write.bucket, write.key);
      const session = objects.length === 0 ? undefined : this.#sessionOf(attempt);
      // A condition of a PUT that held when it was staged is refused when the attempt is made again.
      if (session !== undefined && !this.#parts.objects.holds(session, objects)) return this.#conflict(entry);
      if (!this.#parts.state.commit(attempt.tx, writes)) return this.#conflict(entry);
      // After the commit, which may still conflict: what holds can't fail any more.
      if (session !== undefined) this.#parts.objects.publish(session, objects);
    } catch (error) {
      // Anything else is a defect of ours, and no verdict on the function.
      if (!(error instanceof LockstepError)) throw error;
      return this.#fail(entry, { ...outcome, failure: withoutStack(failureOf(error, "INTERNAL")) });
    }
    const { reads } = attempt.tx;
    this.abandon(entry);
    return reads.length === 0 ? COMMITTED : { t: "committed", reads };
  }

  #fail(entry: Entry, outcome: Outcome & { failure: Failure }): Settlement {
    const attempt = this.#attempts.get(entry);
    this.abandon(entry);
    const failure: Failure = { ...outcome.failure, verdict: this.#parts.verdict(entry, outcome) };
    const { writes = [] } = outcome;
    const declared = this.#parts.registry.spec(entry.fn, entry.version)?.writes ?? [];
    if (writes.length + declared.length > 0) this.#fault(entry, attempt?.who ?? this.#whoIs(entry), failure, writes, declared);
    return { t: "failed", failure };
  }

  /** Nobody can trust these keys until somebody writes them. */
  #fault(entry: Entry, who: Who, failure: Failure, writes: readonly StateWrite[], declared: readonly string[]): void {
    const { run, seq, fn } = entry;
    // What it may not write it can't have spoilt, whatever its pod says.
    const set = writes.map(({ key }) => key).filter((key) => allows(who.spec?.permissions, "state", "write", key));
    const keys = [...set, ...declaredKeys(declared, entry.input)];
    const stale: Staleness = {
      run,
      call: seq,
      function: fn,
      fault: failure.verdict?.class ?? "execution",
      message: shortened(failure.message),
      at: this.#parts.clock.now(),
    };
    this.#parts.state.fault(ownerOf(entry, who), keys, stale);
  }

  // ---------------------------------------------------------------- requests

  /** Most reads are of what is known already: they take no promise. */
  #known({ who, tx }: Attempt, ask: Request): Served | undefined {
    if (ask.op !== "get" || !allows(who.spec?.permissions, "state", "read", ask.key)) return undefined;
    return this.#parts.state.known(tx, ask.key);
  }

  async #serve(attempt: Attempt, ask: Request): Promise<Served> {
    switch (ask.op) {
      case "get":
        this.#check(attempt.who, "state", "read", ask.key);
        return this.#find(attempt, ask);
      case "list":
        this.#checkListing(attempt.who, "state", ask.prefix);
        return { value: await this.#parts.state.read(attempt.tx, ask) };
      case "object-head":
      case "object-get":
        this.#checkObject(attempt.who, "read", ask.bucket, ask.key);
        break;
      case "object-list":
        this.#checkBucket(attempt.who, "read", ask.bucket, ask.prefix ?? "");
        this.#checkListing(attempt.who, "objects", `${ask.bucket}/${ask.prefix ?? ""}`);
        break;
      case "object-put":
      case "object-delete":
        this.#checkObject(attempt.who, "write", ask.bucket, ask.key);
        break;
      case "object-copy":
        this.#checkObject(attempt.who, "read", ask.bucket, ask.key);
        this.#checkObject(attempt.who, "write", ask.to.bucket, ask.to.key);
        break;
      default:
      // A handle is only given to who may use it.
    }
    return this.#parts.objects.serve(this.#sessionOf(attempt), ask);
  }

  async #find(attempt: Attempt, ask: StateRead & { op: "get" }): Promise<Served> {
    const entry = await this.#parts.state.entry(attempt.tx, ask);
    return entry.stale === undefined ? entry : { value: JSON.stringify(entry) };
  }

  #attemptOf(entry: Entry): Attempt {
    const known = this.#attempts.get(entry);
    if (known !== undefined) return known;
    const who = this.#whoIs(entry);
    const tx = this.#parts.state.begin(ownerOf(entry, who), this.#parts.conflicts(entry));
    const attempt: Attempt = { tx, who, session: undefined, underWay: 0 };
    this.#attempts.set(entry, attempt);
    return attempt;
  }

  #sessionOf(attempt: Attempt): ObjectSession {
    attempt.session ??= this.#parts.objects.session(attempt.tx.owner.run);
    return attempt.session;
  }

  #whoIs({ fn, version }: Entry): Who {
    const { registry } = this.#parts;
    const application = registry.version(version)?.application ?? "";
    return { actor: { kind: "function", name: fn, application }, spec: registry.spec(fn, version) };
  }

  // ---------------------------------------------------------------- permissions

  #check({ actor, spec }: Who, kind: PermissionKind, action: Action, resource: string): void {
    if (!allows(spec?.permissions, kind, action, resource)) throw denial(actor, kind, action, resource);
  }

  #checkListing({ actor, spec }: Who, kind: PermissionKind, prefix: string): void {
    if (!allowsAll(spec?.permissions, kind, "read", prefix)) throw denial(actor, kind, "read", prefix);
  }

  #checkObject(who: Who, action: Action, bucket: string, key: string): void {
    this.#checkBucket(who, action, bucket, key);
    this.#check(who, "objects", action, `${bucket}/${key}`);
  }

  /** Buckets of other applications are for those who say that they use them. */
  #checkBucket({ actor, spec }: Who, action: Action, bucket: string, key: string): void {
    if (isHeld(spec?.permissions)) return;
    const owner = this.#parts.registry.ownerOfBucket(bucket);
    if (owner === undefined || owner === actor.application) return;
    throw denial(actor, "objects", action, `${bucket}/${key}`, owner);
  }
}

const answerTo = ({ lease, id }: Asked, { value, version, data }: Served): ToPod => {
  if (version !== undefined) return { t: "got", lease, id, value, version };
  return data === undefined ? { t: "reply", lease, id, value, failure: "" } : { t: "reply", lease, id, value, failure: "", data };
};

const refusalOf = ({ lease, id }: Asked, error: unknown): ToPod => {
  const failure = JSON.stringify(withoutStack(failureOf(error, "INTERNAL")));
  return { t: "reply", lease, id, value: "", failure };
};

const ownerOf = ({ run, seq, fn }: Entry, { actor }: Who): Owner => ({ space: actor.application, run, seq, function: fn });

const LONGEST_MESSAGE = 500;

const shortened = (message: string): string => (message.length > LONGEST_MESSAGE ? `${message.slice(0, LONGEST_MESSAGE)}…` : message);

/** The control plane's own stack tells users nothing. */
const withoutStack = ({ stack: _, ...failure }: Failure): Failure => failure;
