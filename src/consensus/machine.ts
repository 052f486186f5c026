/**
 * A replica: what each input leads to (TOCS 2002; the parts name its sections).
 *
 * Owns: the order in which consequences are drawn. Does not own: the rules of each part (ordering, execution, checkpoints, view-change,
 * transfer, epochs, status, pace), user code, time, keys, the network and the disk; those are told by effects.
 *
 *                    requests                                    answers of the executor
 *                       ▼                                                 ▼
 *   pre-prepare ─► prepare ─► commit ─► ordered ─► dispatched ─► executed ─► votes ─► client
 *        ▲             │ P, Q                          every K ▼
 *    new view ◄── view change ◄── patience ends          checkpoint ─► stable ─► forgotten below
 *
 * With at most f faulty of 3f + 1 replicas:
 * I1  No two correct replicas commit different batches at one number of an epoch, in whichever views.
 * I2  A number is executed when all before it have been, and an operation at most once (client-table.ts).
 * I3  What a replica has pre-prepared, prepared, or said of a view, it says in each later view change, until a stable checkpoint covers it.
 * I4  A view begins with nothing but what follows from 2f + 1 valid view changes, at each correct replica alike (new-view-decision.ts).
 * I5  Above the stable checkpoint there are at most L numbers; what a peer or a client can make a replica keep is bounded.
 * I6  In durable mode every promise of I3 is persisted before the message that makes it.
 */
import { captureState, stabilise, takeCheckpoint, takeSnapshot } from "./checkpoints.ts";
import { answerFetch, armFetch, fetchLacking, takeBody, takeContent } from "./contents.ts";
import { Core } from "./core.ts";
import type { Crypto } from "./crypto.ts";
import type { DurableRecord, Effect, Input, TimerName } from "./effects.ts";
import { endEpoch } from "./epochs.ts";
import { answerKnown, dispatch, takeExecuted } from "./execution.ts";
import type { ReplicaIndex } from "./membership.ts";
import type { PeerMessage, Request } from "./messages.ts";
import type { ReplicaOptions } from "./options.ts";
import { advanceOrder, propose, takeCommit, takeDecided, takePrePrepare, takePrepare, tryAccept } from "./ordering.ts";
import { answerFetchCheckpoint, isOfAnyEpoch, takeOtherEpoch } from "./other-epochs.ts";
import { armProgress, takeProgressTimer, watchHead } from "./pace.ts";
import { recover, resume, takeMissing, takeRestored } from "./recovery.ts";
import { answerFetchResults, fetchResults, isSought, takeResults } from "./results.ts";
import { isPeerMessage, isRequest } from "./shape.ts";
import { answerSingle } from "./single-votes.ts";
import { answerFetchPage, sendPage } from "./state-source.ts";
import { armStatus, takeStatus, takeStatusTimer } from "./status.ts";
import { pursue, takeInstalled, takePage, takeProof, takeTransferTimer } from "./transfer.ts";
import { followStragglers, openNewView, takeNewView, takeViewChange, tryNewView } from "./view-change.ts";

/** What is known of a replica from outside: for the host's pulse, for tests and for checkers. */
export interface ReplicaSummary {
  epoch: number;
  view: number;
  /** Whether the view has begun here; else the replica waits for a new view. */
  active: boolean;
  leader: number;
  /** The last stable checkpoint. */
  stable: number;
  /** All numbers up to this one have been committed here. */
  committed: number;
  executed: number;
  /** Whether it has a state to go on from; else it waits for its own disk, or for its peers. */
  present: boolean;
  transferring: boolean;
  /** Executed operations whose results it asks its peers for. */
  lacking: number;
  retired: boolean;
  /** What is held in memory, for checks of the bounds. */
  held: { slots: number; requests: number; pending: number; keptOperations: number; votes: number; parked: number };
}

/** One replica of a set as a state machine. `start` once, then `step` for each thing that happens; effects are carried out in their order. */
export class Replica {
  readonly #core: Core;

  /** @param records of an earlier life, in the order in which they were persisted */
  constructor(options: ReplicaOptions, cryptography: Crypto, records: readonly DurableRecord[] = []) {
    this.#core = new Core(options, cryptography);
    recover(this.#core, records);
  }

  /** @param now Unix ms of the replica's own clock; never less than before */
  start(now: number): Effect[] {
    const core = this.#core;
    core.now = now;
    core.pace.headSince = now;
    resume(core);
    // What others have gone on to meanwhile is known sooner by asking.
    if (core.state !== "present") core.broadcast({ t: "fetch-checkpoint", above: 0 });
    return this.#advance();
  }

  step(input: Input, now: number): Effect[] {
    const core = this.#core;
    core.now = Math.max(now, core.now);
    if (!core.retired) this.#take(input);
    return this.#advance();
  }

  #take(input: Input): void {
    const core = this.#core;
    switch (input.t) {
      case "message":
        if (isPeerMessage(input.message)) this.#receive(input.from, input.epoch, input.message);
        return;
      case "request":
        if (isRequest(input.request)) this.#request(input.request);
        return;
      case "executed":
        return takeExecuted(core, input.seq, input.outcomes);
      case "snapshotted":
        return takeSnapshot(core, input.seq, input.pages);
      case "page-read":
        return sendPage(core, input.seq, input.page, input.to, input.data);
      case "installed":
        if (core.state === "restoring") takeRestored(core, input.seq);
        else takeInstalled(core, input.seq);
        return this.#openView();
      case "missing":
        return takeMissing(core);
      case "timer":
        return this.#time(input.timer);
    }
  }

  /** From the client itself. Whoever asks again for what has been executed has missed the answer. */
  #request(request: Request): void {
    const core = this.#core;
    if (request.body.t === "single") return answerSingle(core, request, request.body.operations);
    const taken = takeBody(core, request, false);
    if (taken === undefined) return;
    this.#retry(taken.seqs);
    if (!core.pool.isPending(taken.digest)) answerKnown(core, request.client, core.table.known(request));
  }

  #retry(seqs: Iterable<number>): void {
    for (const seq of seqs) {
      const slot = this.#core.log.at(seq);
      if (slot !== undefined) tryAccept(this.#core, slot);
    }
  }

  #receive(from: ReplicaIndex, epoch: number, message: PeerMessage): void {
    const core = this.#core;
    if (from === core.index || from >= core.size || !Number.isSafeInteger(from) || from < 0) return;
    if (!isOfAnyEpoch(message) && epoch !== core.epoch) {
      takeOtherEpoch(core, from, epoch, message);
      return;
    }
    // A newcomer, or one who comes back without its state, knows no better than its peers.
    if (core.joining && !isOfAnyEpoch(message)) return;
    this.#receiveCurrent(from, epoch, message);
  }

  #receiveCurrent(from: ReplicaIndex, epoch: number, message: PeerMessage): void {
    const core = this.#core;
    switch (message.t) {
      case "pre-prepare":
        return takePrePrepare(core, from, message);
      case "prepare":
        return takePrepare(core, from, message);
      case "commit":
        return takeCommit(core, from, message);
      case "checkpoint":
        return takeCheckpoint(core, from, message);
      case "view-change":
        return takeViewChange(core, message.viewChange);
      case "new-view":
        return takeNewView(core, message.newView);
      case "status":
        return takeStatus(core, from, message);
      case "decided":
        return takeDecided(core, from, message);
      case "fetch":
        return answerFetch(core, from, message);
      case "content":
        return this.#retry(takeContent(core, message));
      case "fetch-checkpoint":
        return answerFetchCheckpoint(core, from, epoch, message.above);
      case "checkpoint-proof":
        return takeProof(core, message);
      case "fetch-page":
        return answerFetchPage(core, from, message);
      case "page":
        return takePage(core, from, message);
      case "fetch-results":
        return answerFetchResults(core, from, message);
      case "results":
        return takeResults(core, from, message);
    }
  }

  #time(timer: TimerName): void {
    const core = this.#core;
    switch (timer) {
      case "progress":
        return takeProgressTimer(core);
      case "batch":
        // `propose` looks at the time.
        return;
      case "fetch":
        return fetchLacking(core);
      case "status":
        followStragglers(core);
        return takeStatusTimer(core);
      case "transfer":
        return takeTransferTimer(core);
    }
  }

  /** Draws the consequences of what has happened, until nothing follows any more. */
  #advance(): Effect[] {
    const core = this.#core;
    if (!core.retired) {
      do {
        advanceOrder(core);
        dispatch(core);
        captureState(core);
      } while (this.#reach());
      pursue(core);
      tryNewView(core);
      watchHead(core);
      propose(core);
      fetchResults(core);
      armFetch(core);
      armProgress(core);
      armStatus(core);
    }
    const { effects } = core;
    core.effects = [];
    return effects;
  }

  /** @returns whether the replica may get further by what it has reached: a stable checkpoint, a new epoch, a number to execute */
  #reach(): boolean {
    const core = this.#core;
    const { log } = core;
    if (stabilise(core)) {
      if (endEpoch(core)) this.#replay();
      else this.#openView();
      return true;
    }
    return core.state === "present" && core.barrier === undefined && core.ending === undefined && isReady(log, core);
  }

  /** The window has moved: more of what the view began with may be in it. */
  #openView(): void {
    const { views } = this.#core;
    if (views.active && views.newView !== undefined) openNewView(this.#core, views.newView);
  }

  /** What members of this epoch have said before it began here. */
  #replay(): void {
    const core = this.#core;
    const { early, epoch } = core;
    core.early = [];
    for (const each of early) if (each.epoch === epoch && !core.retired) this.#receive(each.from, each.epoch, each.message);
  }

  /** The epoch that the replica is in. */
  get epoch(): number {
    return this.#core.epoch;
  }

  /** Whose code executes what comes in this epoch. */
  get version(): string {
    return this.#core.membership.version;
  }

  inspect(): ReplicaSummary {
    const core = this.#core;
    const { log, pool, views } = core;
    const votes = core.votes.reduce((sum, of) => sum + (of?.size ?? 0), 0);
    return {
      epoch: core.epoch,
      view: views.view,
      active: views.active,
      leader: core.leader,
      stable: log.low,
      committed: log.ordered,
      executed: log.executed,
      present: core.state === "present" && !core.joining,
      transferring: core.transfer !== undefined,
      lacking: lackingOf(core),
      retired: core.retired,
      held: {
        slots: log.size,
        requests: pool.size,
        pending: pool.pending,
        keptOperations: core.table.kept.size,
        votes,
        parked: core.lacking.size + core.early.length,
      },
    };
  }
}

/** Without those that the peers can't tell, or not now. */
const lackingOf = ({ lacked }: Core): number => [...lacked.values()].filter(isSought).length;

const isReady = ({ dispatched, ordered }: Core["log"], { transfer }: Core): boolean =>
  dispatched < ordered && transfer?.installing !== true;
