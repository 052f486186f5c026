import type { ReplicaIndex } from "../../src/consensus/membership.ts";
import type { Cast } from "./cast.ts";
import type { Process } from "./host.ts";
import type { Harm } from "./scenario.ts";

const LEARN_MS = 5;

/** Does to a set what its scenario says, and replaces replicas as the control plane does. */
export class Harms {
  readonly #cast: Cast;
  readonly #trace: (line: string) => void;
  /** Replicas that are down, or back and not up to date yet; with the number that they have to come to. */
  readonly #recovering = new Map<Process, number>();
  /** Replicas that are to be replaced, one after the other. */
  readonly #awaited: ReplicaIndex[] = [];
  #isReplacing = false;
  #epoch = 1;

  constructor(cast: Cast, trace: (line: string) => void) {
    this.#cast = cast;
    this.#trace = trace;
    for (const harm of cast.scenario.harms) this.#plan(harm);
  }

  /** Whether a change of the members is under way or wanted. */
  get isReplacing(): boolean {
    return this.#isReplacing || this.#awaited.length > 0;
  }

  #plan(harm: Harm): void {
    const { timeline } = this.#cast;
    timeline.after(harm.atMs, () => {
      this.#trace(`harm ${JSON.stringify(harm)}`);
      const mend = this.#inflict(harm);
      if (mend !== undefined) timeline.after(harm.untilMs - harm.atMs, mend);
    });
  }

  /** @returns what ends it */
  #inflict(harm: Harm): (() => void) | undefined {
    const { network } = this.#cast;
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
        const process = this.#cast.at(harm.replica);
        process.pause();
        return () => process.resume();
      }
      case "crash":
        return this.#crash(harm.replica);
      case "replace":
        this.#awaited.push(harm.replica);
        return undefined;
      case "restart-client":
        this.#cast.clients[harm.client]?.restart();
        return undefined;
    }
  }

  #crash(index: ReplicaIndex): (() => void) | undefined {
    const process = this.#cast.at(index);
    if (!process.isUp || !(this.#cast.scenario.isMerciless || this.#mayLose(process))) return undefined;
    process.crash();
    this.#recovering.set(process, Number.POSITIVE_INFINITY);
    return () => {
      if (process.isRemoved || process.isUp) return;
      process.start();
      this.#recovering.set(process, this.#cast.ledger.lastExecuted);
    };
  }

  /** More than f at once may not be without their state: what all of them have lost, nobody can give back. */
  #mayLose(process: Process): boolean {
    if (!process.isUp) return false;
    const faulty = new Set<ReplicaIndex>([process.index]);
    for (const each of this.#cast.processes) if (each.isLiar && !each.isRemoved) faulty.add(each.index);
    for (const each of this.#recovering.keys()) faulty.add(each.index);
    // Of its results it is as good as faulty.
    const odd = this.#cast.scenario.diverging?.replica;
    if (odd !== undefined) faulty.add(odd);
    return faulty.size <= this.#cast.scenario.faults;
  }

  /** Looks again and again who is back. */
  pulse(): void {
    const { ledger, scenario } = this.#cast;
    const near = ledger.lastExecuted - scenario.tuning.checkpointEvery;
    for (const [process, goal] of this.#recovering) {
      const executed = process.executor?.executed ?? -1;
      const lacking = process.replica?.inspect().lacking ?? 0;
      // Nobody waits for a liar: it counts as faulty for ever, and may never have its state.
      if (process.isRemoved || process.isLiar || (executed >= Math.max(goal, near) && lacking === 0)) this.#recovering.delete(process);
    }
    this.#replaceNext();
  }

  #replaceNext(): void {
    const index = this.#awaited[0];
    if (index === undefined || this.#isReplacing) return;
    const old = this.#cast.at(index);
    // A liar stays as long as it can; a correct one dies with its disk, but not while others are down.
    if (!old.isLiar && !this.#mayLose(old)) {
      if (this.#recovering.size === 0) this.#awaited.shift();
      return;
    }
    this.#awaited.shift();
    this.#isReplacing = true;
    if (!old.isLiar) old.crash();
    this.#recovering.delete(old);
    const born = this.#cast.replace(index);
    if (!old.isLiar) old.isRemoved = true;
    born.start();
    this.#recovering.set(born, Number.POSITIVE_INFINITY);
    this.#cast.clients[0]!.reconfigure(this.#cast.membership);
  }

  /** A certificate says that the new epoch has begun. */
  replaced(): void {
    if (!this.#isReplacing) return;
    this.#isReplacing = false;
    const { processes, ledger } = this.#cast;
    this.#cast.remove();
    // At the least it has the checkpoint of its epoch: before that, one more that is lost is one more than may be.
    this.#recovering.set(processes.at(-1)!, Math.max(1, ledger.lastExecuted));
  }

  /** A replica is in this epoch: the clients' hosts hear of it. */
  entered(epoch: number): void {
    if (epoch <= this.#epoch) return;
    this.#epoch = epoch;
    this.#cast.begins(epoch);
    const { timeline, clients } = this.#cast;
    const membership = this.#cast.membershipOf(epoch);
    for (const client of clients) timeline.after(LEARN_MS, () => client.learn(membership));
  }
}
