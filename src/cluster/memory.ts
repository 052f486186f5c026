/**
 * Pods without processes: each executes the application's definitions in this process, and meets its owner only through messages.
 *
 * Owns: the pods, what their connections carry, and the faults that a test injects. Does not own: what pods are for (the fleet).
 *
 * M1  What passes between a pod and its owner is encoded and decoded as on a real wire: nothing is shared.
 * M2  A pod gets its messages in order, one batch per turn, and all that a batch sets off has run before the next.
 * M3  A pod that was ended does nothing any more that its owner could notice; `gone` is reported once, in a later turn.
 *
 * User code cannot be stopped from outside in one process: what a pod was executing when it was ended goes on, unnoticed.
 */
import type { Clock } from "../lib/clock.ts";
import type { FromPod, ToPod } from "../protocol/pod.ts";
import type { MemoryPodOptions } from "./memory-pod.ts";
import { MemoryPod } from "./memory-pod.ts";
import type { Disturbance } from "./memory-wire.ts";
import { Wire } from "./memory-wire.ts";
import { hasLabels, PodRegister } from "./pod-register.ts";
import type { Cluster, ClusterListener, Labels, PodChange, PodExit, PodHarm, PodSpec, PodStatus } from "./port.ts";

export interface MemoryClusterOptions extends MemoryPodOptions {
  /** Default 250. */
  heartbeatMs?: number;
  /** A pod that has not connected by then failed to start. Default 10,000. */
  startTimeoutMs?: number;
  /** How long the next pod takes to connect. Default: until the next turn. */
  startMs?(): number | undefined;
  /** Whether the next pod fails to start. Default: none does. */
  failsToStart?(): boolean;
  /** Decides what befalls each message. Default: nothing. */
  disturb?(pod: string, message: ToPod | FromPod): Disturbance | undefined;
}

interface Member {
  readonly spec: PodSpec;
  readonly pid: number;
  readonly startedAt: number;
  readonly pod: MemoryPod;
  readonly inbound: Wire<ToPod>;
  readonly outbound: Wire<FromPod>;
  connected: boolean;
  /** Why it is being ended, once that was decided. */
  ending: PodExit["reason"] | undefined;
  /** It has ended, and `gone` follows. */
  dead: boolean;
  /** Silent: neither beats nor messages. */
  hung: boolean;
  /** Since when its event loop stands still. */
  blockedSince: number | undefined;
  cancelBeat: () => void;
  cancelLate: () => void;
  cancels: (() => void)[];
}

const HEARTBEAT_MS = 250;
const START_TIMEOUT_MS = 10_000;

export class MemoryCluster implements Cluster {
  readonly #options: MemoryClusterOptions;
  readonly #clock: Clock;
  readonly #pods = new Map<string, Member>();
  readonly #register = new PodRegister();
  #listener!: ClusterListener;
  #pids = 0;

  /** @param clock each `endOfTurn` callback must run in a turn of its own, as those of Node's event loop do */
  constructor(options: MemoryClusterOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
  }

  async start(listener: ClusterListener): Promise<void> {
    this.#listener = listener;
  }

  create(spec: PodSpec): void {
    const member = this.#member(spec);
    this.#pods.set(spec.id, member);
    this.#register.add(spec);
    this.#register.changed("added", statusOf(member));
    if (this.#options.failsToStart?.()) return this.#end(member, "failed-to-start", { detail: "exit code 1" });
    const late = (): void => this.#end(member, "failed-to-start");
    member.cancelLate = this.#clock.after(this.#options.startTimeoutMs ?? START_TIMEOUT_MS, late);
    const connect = (): void => this.#connect(member);
    const startMs = this.#options.startMs?.();
    if (startMs === undefined) this.#clock.endOfTurn(connect);
    else member.cancels.push(this.#clock.after(startMs, connect));
  }

  label(id: string, labels: Labels): void {
    const member = this.#pods.get(id);
    if (member !== undefined && this.#register.label(id, labels)) this.#register.changed("modified", statusOf(member));
  }

  get(id: string): PodStatus | undefined {
    const member = this.#pods.get(id);
    return member === undefined ? undefined : this.#register.status(statusOf(member));
  }

  list(labels: Labels = {}): PodStatus[] {
    const all = [...this.#pods.values()].map((member) => this.#register.status(statusOf(member)));
    return all.filter((pod) => hasLabels(pod, labels));
  }

  watch(told: (change: PodChange) => void): () => void {
    return this.#register.watch(told);
  }

  send(id: string, message: ToPod): void {
    this.#pods.get(id)?.inbound.send(message);
  }

  delete(id: string, graceMs: number, reason: PodExit["reason"] = "deleted"): void {
    const member = this.#pods.get(id);
    if (member === undefined) return;
    const end = (): void => {
      member.ending ??= reason;
      this.#end(member, reason);
    };
    if (graceMs <= 0) return end();
    member.cancels.push(this.#clock.after(graceMs, end));
  }

  async stop(): Promise<void> {
    for (const member of this.#pods.values()) {
      member.ending ??= "deleted";
      this.#end(member, "deleted");
    }
    while (this.#pods.size > 0) await new Promise<void>((resolve) => this.#clock.endOfTurn(resolve));
  }

  // ---------------------------------------------------------------- faults

  harm(id: string, harm: PodHarm): boolean {
    if (harm === "kill") return this.kill(id);
    return harm === "stop" ? this.hang(id) : this.#continue(id);
  }

  /** Lets a pod that fell silent go on: what was said to it and by it in between arrives. */
  #continue(id: string): boolean {
    const member = this.#pods.get(id);
    if (member === undefined || member.dead || !member.hung) return false;
    member.hung = false;
    if (!member.connected) {
      this.#connect(member);
      return true;
    }
    member.outbound.open();
    member.inbound.open();
    this.#beat(member);
    return true;
  }

  /** Ends a pod as `kill -9` would. Returns whether there was such a pod. */
  kill(id: string, exit: Partial<PodExit> = {}): boolean {
    const member = this.#pods.get(id);
    if (member === undefined || member.dead) return false;
    this.#end(member, exit.reason ?? "exited", exit);
    return true;
  }

  /** Lets a pod fall silent: no beats, no messages, as a stopped process. Returns whether there was such a pod. */
  hang(id: string): boolean {
    const member = this.#pods.get(id);
    if (member === undefined) return false;
    member.hung = true;
    member.inbound.block();
    member.outbound.block();
    return true;
  }

  /** Stops a pod's event loop, as code that never yields does: it goes on to beat, and takes and sends no messages. */
  block(id: string): boolean {
    if (!this.hang(id)) return false;
    const member = this.#pods.get(id) as Member;
    member.hung = false;
    member.blockedSince = this.#clock.now();
    return true;
  }

  // ---------------------------------------------------------------- lives of pods

  #member(spec: PodSpec): Member {
    const clock = this.#clock;
    const disturb = (message: ToPod | FromPod) => this.#options.disturb?.(spec.id, message);
    const broken = (error: unknown): void => {
      this.kill(spec.id, { detail: "exit code 70", output: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    };
    const pod: MemoryPod = new MemoryPod(this.#options, clock, {
      send: (message) => outbound.send(message),
      schedule: () => outbound.schedule(),
      exit: () => void this.kill(spec.id, { detail: "exit code 0" }),
    });
    const inbound = new Wire<ToPod>({ clock, disturb, broken, deliver: (batch) => pod.take(batch) });
    const outbound = new Wire<FromPod>({
      clock,
      disturb,
      broken,
      beforeFlush: () => pod.flush(),
      deliver: (batch) => this.#listener.messages(spec.id, batch),
    });
    return {
      spec,
      pid: ++this.#pids,
      startedAt: clock.now(),
      pod,
      inbound,
      outbound,
      connected: false,
      ending: undefined,
      dead: false,
      hung: false,
      blockedSince: undefined,
      cancelBeat: () => {},
      cancelLate: () => {},
      cancels: [],
    };
  }

  #connect(member: Member): void {
    if (member.dead || member.hung) return;
    member.connected = true;
    this.#register.changed("modified", statusOf(member));
    member.cancelLate();
    member.outbound.open();
    this.#listener.connected(member.spec.id, member.pid);
    member.inbound.open();
    this.#beat(member);
  }

  #beat(member: Member): void {
    const beat = (): void => {
      if (member.dead || member.hung) return;
      const { blockedSince } = member;
      const blockedMs = blockedSince === undefined ? 0 : this.#clock.now() - blockedSince;
      this.#listener.beat(member.spec.id, { t: "beat", blockedMs, run: blockedSince === undefined ? "" : member.pod.executing, rssMb: 0 });
      this.#beat(member);
    };
    member.cancelBeat = this.#clock.after(this.#options.heartbeatMs ?? HEARTBEAT_MS, beat, "upkeep");
  }

  #end(member: Member, reason: PodExit["reason"], exit: Partial<PodExit> = {}): void {
    if (member.dead) return;
    member.dead = true;
    member.inbound.close();
    member.outbound.close();
    for (const cancel of [member.cancelBeat, member.cancelLate, ...member.cancels]) cancel();
    this.#clock.endOfTurn(() => {
      this.#pods.delete(member.spec.id);
      this.#register.changed("deleted", statusOf(member));
      this.#register.remove(member.spec.id);
      const why = member.connected ? reason : "failed-to-start";
      this.#listener.gone(member.spec.id, {
        reason: member.ending ?? exit.reason ?? why,
        memory: exit.memory ?? member.ending === "over-memory",
        detail: exit.detail ?? "signal SIGKILL",
        output: exit.output ?? "",
      });
    });
  }
}

const statusOf = ({ spec, pid, connected, startedAt }: Member): Pick<PodStatus, "id" | "pid" | "state" | "startedAt"> => ({
  id: spec.id,
  pid,
  state: connected ? "connected" : "starting",
  startedAt,
});
