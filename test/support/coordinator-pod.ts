import type { CoordinatorDefinition } from "../../src/application/definitions.ts";
import type { Failure } from "../../src/lib/errors.ts";
import { CoordinatorHost } from "../../src/pod/coordinator-host.ts";
import type { FromPod, ToPod } from "../../src/protocol/pod.ts";
import type { Command, JournalRecord } from "../../src/protocol/run.ts";

export const RUN = "run_0000000000a";

/** A coordinator host that gets batches of messages as from a connection, and what it sends. */
export class CoordinatorPod {
  readonly sent: FromPod[] = [];
  /** Which runs executed, in order; "" when a turn ended. */
  readonly executing: string[] = [];
  readonly #host: CoordinatorHost;
  #scheduled = false;

  constructor(definitions: readonly { readonly name: string }[], limits = { maxPayloadBytes: 10_000, maxLogBytes: 1_000 }) {
    const coordinators = new Map(definitions.map((definition) => [definition.name, definition as CoordinatorDefinition]));
    this.#host = new CoordinatorHost(coordinators, limits, {
      send: (message) => void this.sent.push(message),
      schedule: () => {
        if (this.#scheduled) return;
        this.#scheduled = true;
        setImmediate(() => {
          this.#scheduled = false;
          this.executing.push("");
          this.#host.flush();
        });
      },
      executing: (run) => void this.executing.push(run),
    });
  }

  /** Takes messages that arrived together, and returns when all that they set off has run. */
  async take(...messages: ToPod[]): Promise<void> {
    this.#host.nextBatch();
    for (const message of messages) {
      if (message.t === "begin") this.#host.begin(message);
      else if (message.t === "deliver") this.#host.deliver(message.run, message.record);
      else if (message.t === "permit") this.#host.permit(message.run, message.seq);
      else if (message.t === "ask") this.#host.ask(message.run, message.at);
      else if (message.t === "evict") this.#host.evict(message.run);
      else if (message.t === "rehearse") this.#host.rehearse(message);
    }
    await this.settle();
  }

  /** Waits until nothing happens any more; steps are to execute without timers. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 3; quiet++) {
      const before = this.sent.length + this.executing.length;
      await new Promise((resolve) => setImmediate(resolve));
      if (this.sent.length + this.executing.length !== before || this.#scheduled) quiet = -1;
    }
  }

  begin(name: string, history: JournalRecord[] = [], options: { run?: string; input?: string } = {}): Promise<void> {
    return this.take(beginOf(name, history, options));
  }

  deliver(...records: JournalRecord[]): Promise<void> {
    return this.take(...records.map((record): ToPod => ({ t: "deliver", run: RUN, record })));
  }

  /** All commands of a run so far, in the order in which they were sent. */
  commands(run = RUN): Command[] {
    return this.sent.flatMap((message) => (message.t === "commands" && message.run === run ? message.commands : []));
  }

  lines(run = RUN): string[] {
    return this.sent.flatMap((message) => (message.t === "lines" && message.run === run ? message.lines.map(({ text }) => text) : []));
  }

  divergence(run = RUN): Failure | undefined {
    for (const message of this.sent) if (message.t === "diverged" && message.run === run) return JSON.parse(message.failure) as Failure;
    return undefined;
  }
}

export const beginOf = (
  name: string,
  history: JournalRecord[] = [],
  { run = RUN, input = "" }: { run?: string; input?: string } = {},
): ToPod & { t: "begin" } => ({ t: "begin", run, name, input, acceptedAt: 500, history: structuredClone(history) });
