import type { Batch, Journal } from "../journal/port.ts";
import type { Life } from "./timeline.ts";

/** Where the control plane dies: with the commit lost, or with the commit durable and nothing of what follows from it done. */
export type CrashPoint = "before" | "after";

export interface CommitFaults {
  /** Asked at each commit whether the control plane dies there. */
  crash(): CrashPoint | undefined;
  /** How long this commit takes, in milliseconds of virtual time. */
  commitMs(): number;
  /** Carries out the death. */
  die(): void;
}

/** A journal as one life of a platform sees it: when the life has ended, nothing that it asked for is answered any more. */
export const mortalJournal = (journal: Journal, life: Life, faults: CommitFaults): Journal => {
  const alive = async <T>(answer: Promise<T>): Promise<T> => {
    const value = await answer;
    return life.ended ? forever() : value;
  };
  const commit = async (batch: Batch): Promise<number> => {
    const point = faults.crash();
    if (point === "before") faults.die();
    const ms = faults.commitMs();
    if (ms > 0) await new Promise<void>((resolve) => void life.clock.after(ms, resolve));
    if (life.ended) return forever();
    const first = await journal.commit(batch);
    if (point === "after") faults.die();
    return first;
  };
  return {
    epoch: journal.epoch,
    get lastOrdinal() {
      return journal.lastOrdinal;
    },
    get lastPosition() {
      return journal.lastPosition;
    },
    state: {
      get lastVersion() {
        return journal.state.lastVersion;
      },
      get: (space, key) => alive(journal.state.get(space, key)),
      list: (space, prefix, limit, after) => alive(journal.state.list(space, prefix, limit, after)),
      stale: () => alive(journal.state.stale()),
      expired: (now, limit) => alive(journal.state.expired(now, limit)),
    },
    commit: (batch) => alive(commit(batch)),
    load: (id) => alive(journal.load(id)),
    records: (id) => alive(journal.records(id)),
    live: () => alive(journal.live()),
    dueBy: (until, limit) => alive(journal.dueBy(until, limit)),
    findByKey: (kind, name, key) => alive(journal.findByKey(kind, name, key)),
    list: (filter, limit, cursor) => alive(journal.list(filter, limit, cursor)),
    countByStatus: () => alive(journal.countByStatus()),
    purgeable: (policy, limit) => alive(journal.purgeable(policy, limit)),
    events: (after, limit) => alive(journal.events(after, limit)),
    logs: (filter, limit) => alive(journal.logs(filter, limit)),
    saveApplication: (bundle, version) => alive(journal.saveApplication(bundle, version)),
    applications: () => alive(journal.applications()),
    bundle: (version) => alive(journal.bundle(version)),
    // The next life, or a reading test, still needs what is stored.
    close: async () => {},
  };
};

const forever = (): Promise<never> => new Promise(() => {});
