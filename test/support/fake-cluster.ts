import type { Cluster, ClusterListener, Labels, PodExit, PodHarm, PodSpec, PodStatus } from "../../src/cluster/port.ts";
import type { Clock } from "../../src/lib/clock.ts";
import type { Beat, FromPod, ToPod } from "../../src/protocol/pod.ts";

/**
 * A cluster whose pods do nothing by themselves: the test lets them connect, answer and die, and sees all that was asked of them. Only
 * `delete` is carried out, by the clock, unless `dyingTakesLong`.
 */
export class FakeCluster implements Cluster {
  readonly specs = new Map<string, PodSpec>();
  readonly connectedPods = new Set<string>();
  readonly sent = new Map<string, ToPod[]>();
  readonly deleted: { pod: string; graceMs: number; reason: PodExit["reason"] }[] = [];
  readonly harmed: { pod: string; harm: PodHarm }[] = [];
  dyingTakesLong = false;
  created = 0;
  stopped = false;
  readonly #clock: Clock;
  #listener!: ClusterListener;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async start(listener: ClusterListener): Promise<void> {
    this.#listener = listener;
  }

  create(spec: PodSpec): void {
    this.created++;
    this.specs.set(spec.id, spec);
    this.sent.set(spec.id, []);
  }

  readonly labels = new Map<string, Labels>();

  label(pod: string, labels: Labels): void {
    this.labels.set(pod, labels);
  }

  watch(): () => void {
    return () => {};
  }

  get(): PodStatus | undefined {
    return undefined;
  }

  list(): PodStatus[] {
    return [];
  }

  send(pod: string, message: ToPod): void {
    if (this.specs.has(pod)) this.sent.get(pod)!.push(message);
  }

  delete(pod: string, graceMs: number, reason: PodExit["reason"] = "deleted"): void {
    if (!this.specs.has(pod)) return;
    this.deleted.push({ pod, graceMs, reason });
    if (!this.dyingTakesLong) this.#clock.after(graceMs, () => this.die(pod, { reason }));
  }

  harm(pod: string, harm: PodHarm): boolean {
    if (!this.specs.has(pod)) return false;
    this.harmed.push({ pod, harm });
    return true;
  }

  async stop(): Promise<void> {
    this.stopped = true;
    for (const pod of [...this.specs.keys()]) this.die(pod, { reason: "deleted" });
  }

  /** The pods that are there, started or not. */
  get pods(): string[] {
    return [...this.specs.keys()];
  }

  connect(...pods: string[]): void {
    for (const pod of pods) {
      this.connectedPods.add(pod);
      this.#listener.connected(pod, 4_000 + this.connectedPods.size);
    }
  }

  /** All that were created and have not connected connect. */
  connectAll(): void {
    this.connect(...this.pods.filter((pod) => !this.connectedPods.has(pod)));
  }

  say(pod: string, ...messages: FromPod[]): void {
    this.#listener.messages(pod, messages);
  }

  beat(pod: string, beat: Partial<Beat & { t: "beat" }> = {}): void {
    this.#listener.beat(pod, { t: "beat", blockedMs: 0, run: "", rssMb: 50, ...beat });
  }

  die(pod: string, exit: Partial<PodExit> = {}): void {
    if (!this.specs.delete(pod)) return;
    this.connectedPods.delete(pod);
    this.#listener.gone(pod, { reason: "exited", memory: false, detail: "exit code 1", output: "", ...exit });
  }

  /** What was sent to a pod, of one kind. */
  to<T extends ToPod["t"]>(pod: string, t: T): (ToPod & { t: T })[] {
    return (this.sent.get(pod) ?? []).filter((message): message is ToPod & { t: T } => message.t === t);
  }
}
