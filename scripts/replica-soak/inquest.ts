/** The examination of all that was executed since the last one: certificates, each checked as anyone would, and what the journal has. */
import type { Client, JournalEntry } from "lockstep/client";
import { verifyCertificate } from "lockstep/verify";
import type { Violations } from "../soak/report.ts";
import { type Entry, REFUSALS } from "./bank.ts";
import type { Placed } from "./history.ts";

const AT_ONCE = 8;
const UNFINISHED = ["running", "waiting", "suspended"] as const;

interface CallRecord extends JournalEntry {
  fn: string;
  input: unknown;
}

export class Inquest {
  /** Certificates that were checked. */
  certificates = 0;
  readonly #violations: Violations;
  readonly #adminKey: string;
  readonly #examined = new Set<string>();
  readonly #operations = new Set<string>();

  constructor(violations: Violations, adminKey: string) {
    this.#violations = violations;
    this.#adminKey = adminKey;
  }

  /** Waits until no run is under way. */
  async settle(client: Client, withinMs: number): Promise<void> {
    const giveUpAt = performance.now() + withinMs;
    for (;;) {
      const left = await Array.fromAsync(client.runs({ status: UNFINISHED }));
      if (left.length === 0) return;
      if (performance.now() > giveUpAt)
        return this.#violations.add(`${left.length} runs have no end after ${withinMs} ms, such as ${left[0]!.id} (${left[0]!.status})`);
      await client
        .run(left[0]!.id)
        .outcome({ timeoutMs: 500 })
        .catch(() => undefined);
    }
  }

  /** What has been executed since the last time, in the order that the certificates state. */
  async examine(client: Client): Promise<Placed[]> {
    const runs = (await Array.fromAsync(client.runs({ limit: 1_000 }))).filter(({ id }) => !this.#examined.has(id));
    const placed: Placed[] = [];
    const queue = [...runs];
    const lane = async (): Promise<void> => {
      for (let run = queue.pop(); run !== undefined; run = queue.pop()) placed.push(...(await this.#examineRun(client, run)));
    };
    await Promise.all(Array.from({ length: AT_ONCE }, lane));
    return placed;
  }

  async #examineRun(client: Client, { id, name }: { id: string; name: string }): Promise<Placed[]> {
    this.#examined.add(id);
    const [journal, certificates] = await Promise.all([client.run(id).journal(), client.run(id).certificates()]);
    const placed: Placed[] = [];
    for (const call of journal.filter((entry): entry is CallRecord => entry.t === "call")) {
      const done = journal.filter(({ t, seq }) => t === "done" && seq === call.seq);
      const own = certificates.filter((certificate) => certificate.call === call.seq);
      if (done.length !== 1 || own.length !== 1) {
        this.#violations.add(`${id} (${name}): call ${call.seq} has ${done.length} outcomes and ${own.length} certificates`);
        continue;
      }
      const { certificate } = own[0]!;
      const { operation, sequence, position } = certificate.statement;
      const outcome = done[0]!;
      const verified = verifyCertificate(certificate, {
        adminKey: this.#adminKey,
        expect: { application: "accounts", function: call.fn, operation: `${id}/${call.seq}/${outcome.attempt}` },
        input: JSON.stringify(call.input),
        outcome: outcomeText(outcome),
      });
      this.certificates++;
      if (!verified.ok) this.#violations.add(`the certificate of ${operation}: ${verified.reason}`);
      if (this.#operations.has(operation)) this.#violations.add(`${operation} is certified in two runs`);
      this.#operations.add(operation);
      if (call.fn === "books") placed.push({ operation, run: id, entry: call.input as Entry, told: toldOf(outcome), sequence, position });
    }
    return placed;
  }
}

/** As the replicas have signed it: without what the platform has found out about a failure. */
const outcomeText = ({ value, failure }: JournalEntry): string => {
  if (failure === undefined) return JSON.stringify({ value });
  const { code, name, message, details, cause, terminal } = failure as Record<string, unknown>;
  return JSON.stringify({ failure: { code, name, message, details, cause, terminal } });
};

const toldOf = ({ value, failure }: JournalEntry): Placed["told"] => {
  if (failure === undefined) return { value };
  const { code, message } = failure as { code: string; message: string };
  return { failure: { code, message: REFUSALS.has(code) ? message : `${message} (of the platform)` } };
};
