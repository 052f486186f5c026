/** What tests of clusters work with: a listener that keeps what it hears, and the application that pods load. */
import { equal, ok } from "node:assert/strict";
import type { FunctionContext } from "../application/context.ts";
import type { Definition } from "../application/definitions.ts";
import { fn } from "../application/definitions.ts";
import type { Cluster, ClusterListener, PodExit, PodStatus } from "../cluster/port.ts";
import type { Beat, FromPod, ToPod } from "../protocol/pod.ts";

/** A cluster to be tested, with what lies outside of its port. */
export interface ClusterBench {
  /** Not started yet. */
  cluster: Cluster;
  /** Tells a pod to load the application of `clusterApplication` (or `CLUSTER_BUNDLE`, which is the same as a file). */
  load: ToPod & { t: "load" };
  /** Ends a pod from outside, as `kill -9` does. */
  kill(pod: PodStatus): void;
  /** Pods execute in the test's own process, and have its environment. */
  sharesProcess?: boolean;
  /**
   * A second cluster in the same place, not started: of the same owner, as after a crash of this one, or of another. Absent where nothing
   * outlives the process.
   */
  another?(owner: "same" | "other"): Promise<Cluster>;
}

export type ClusterCases = Record<string, (bench: ClusterBench, listener: RecordingListener) => Promise<void>>;

/** What the suite's pods load, where a version's definitions are given directly. */
export const clusterApplication: readonly Definition[] = [
  fn("echo", (input: unknown) => input),
  fn("variable", (name: string) => process.env[name] ?? null),
  fn(
    "wait",
    (_: unknown, ctx: FunctionContext) => new Promise<string>((resolve) => ctx.signal.addEventListener("abort", () => resolve("aborted"))),
  ),
];

/** The same as the text of a bundle. */
export const CLUSTER_BUNDLE = `
const { fn } = require("lockstep");
exports.echo = fn("echo", (input) => input);
exports.variable = fn("variable", (name) => process.env[name] ?? null);
exports.wait = fn("wait", (_, ctx) => new Promise((resolve) => ctx.signal.addEventListener("abort", () => resolve("aborted"))));
`;

export type Heard =
  | { t: "connected"; pod: string; pid: number }
  | { t: "message"; pod: string; message: FromPod }
  | { t: "beat"; pod: string; beat: Beat }
  | { t: "gone"; pod: string; exit: PodExit };

/** Keeps what a cluster tells, in order, and checks the promise of the port: connected, then messages, then gone, each in its place. */
export class RecordingListener implements ClusterListener {
  readonly heard: Heard[] = [];
  readonly #stages = new Map<string, "connected" | "gone">();
  #waiting: (() => void)[] = [];
  #broken: Error | undefined;

  connected(pod: string, pid: number): void {
    this.#check(this.#stages.get(pod) === undefined, `${pod} connected after it was ${this.#stages.get(pod)}`);
    this.#stages.set(pod, "connected");
    this.#hear({ t: "connected", pod, pid });
  }

  messages(pod: string, messages: readonly FromPod[]): void {
    this.#check(this.#stages.get(pod) === "connected", `${pod} sent a message while it was ${this.#stages.get(pod)}`);
    for (const message of messages) this.#hear({ t: "message", pod, message });
  }

  beat(pod: string, beat: Beat & { t: "beat" }): void {
    this.#check(this.#stages.get(pod) === "connected", `${pod} beat while it was ${this.#stages.get(pod)}`);
    this.#hear({ t: "beat", pod, beat });
  }

  gone(pod: string, exit: PodExit): void {
    this.#check(this.#stages.get(pod) !== "gone", `${pod} was gone twice`);
    this.#stages.set(pod, "gone");
    this.#hear({ t: "gone", pod, exit });
  }

  /** The first thing heard of this kind, from this pod and fitting; waits for it. */
  async until<T extends Heard["t"]>(
    t: T,
    pod: string,
    fits: (heard: Extract<Heard, { t: T }>) => boolean = () => true,
  ): Promise<Extract<Heard, { t: T }>> {
    for (;;) {
      if (this.#broken !== undefined) throw this.#broken;
      const found = this.heard.find(
        (heard): heard is Extract<Heard, { t: T }> => heard.t === t && heard.pod === pod && fits(heard as never),
      );
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** The result of the call under this lease. */
  async result(pod: string, lease: number): Promise<FromPod & { t: "result" }> {
    const { message } = await this.until("message", pod, ({ message }) => message.t === "result" && message.lease === lease);
    return message as FromPod & { t: "result" };
  }

  count(t: Heard["t"], pod: string): number {
    return this.heard.filter((heard) => heard.t === t && heard.pod === pod).length;
  }

  /** Throws when the promise was broken. */
  verify(): void {
    if (this.#broken !== undefined) throw this.#broken;
  }

  #hear(heard: Heard): void {
    this.heard.push(heard);
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }

  #check(isKept: boolean, what: string): void {
    if (!isKept) this.#broken ??= new Error(what);
  }
}

let leases = 0;

/** A call of the application's function `name` under a lease of its own. */
export const invoke = (name: "echo" | "wait" | "variable", input = ""): ToPod & { t: "invoke" } => {
  const lease = ++leases;
  return { t: "invoke", lease, fn: name, input, run: "run_00000000001", seq: lease, attempt: 1, timeoutMs: 60_000 };
};

/** A pod that is connected and has loaded the application. */
export const readyPod = async ({ cluster, load }: ClusterBench, listener: RecordingListener, id: string): Promise<PodStatus> => {
  cluster.create({ id, memoryMb: 64 });
  cluster.send(id, load);
  await listener.until("message", id, ({ message }) => message.t === "loaded");
  const status = cluster.get(id);
  ok(status !== undefined);
  equal(status.state, "connected");
  return status;
};
