import { Turn } from "../../src/coordinator/turn.ts";
import { createMemoryJournal, type MemoryJournal } from "../../src/journal/memory.ts";
import { type Clock, systemClock } from "../../src/lib/clock.ts";
import { S3Objects } from "../../src/objects/s3.ts";
import { openS3, type S3Options } from "../../src/objects/s3-client.ts";
import type { EventBody, PlatformEvent } from "../../src/protocol/events.ts";
import type { OpenStore } from "../../src/testing/object-store-fixtures.ts";
import type { S3Server } from "./s3-server.ts";

export interface S3Store extends OpenStore {
  store: S3Objects;
  journal: MemoryJournal;
  turn: Turn;
  reports: unknown[];
  /** The next life, as after a kill: nothing of this one happens any more. */
  crash(): Promise<S3Store>;
  close(): Promise<void>;
}

/** A store in the test's S3 server, on a journal in memory, with a turn of its own. */
export const openInS3 = async (
  server: S3Server,
  options: Partial<S3Options> = {},
  journal = createMemoryJournal(),
  clock: Clock = systemClock,
): Promise<S3Store> => {
  process.env.AWS_ACCESS_KEY_ID ??= "test";
  process.env.AWS_SECRET_ACCESS_KEY ??= "test";
  const reports: unknown[] = [];
  const turn = new Turn(
    journal,
    clock,
    () => undefined,
    (error) => reports.push(error),
  );
  let version = journal.state.lastVersion;
  const parts = {
    rows: journal.state,
    turn,
    now: () => clock.now(),
    nextVersion: () => ++version,
    report: (error: unknown) => reports.push(error),
  };
  const client = await openS3({ endpoint: server.url, region: "us-east-1", attempts: 1, timeoutMs: 10_000, ...options });
  const store = new S3Objects(client, parts, clock, async () => ["orders", "other"]);
  await store.start();
  const events = async (): Promise<EventBody[]> => (await journal.events(0, 10_000)).map(bodyOf);
  const crash = async (): Promise<S3Store> => {
    const next = journal.reopen();
    await store.stop();
    return openInS3(server, options, next, clock);
  };
  return { store, journal, turn, reports, events, crash, close: () => store.stop() };
};

const bodyOf = ({ position: _, at: __, ...body }: PlatformEvent): EventBody => body as EventBody;
