import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { ApplicationVersion, Bundle } from "../protocol/application.ts";

interface ApplicationRow {
  application: string;
  version: string;
  current: number;
  deployed_at: number;
  manifest: string;
}

/** The deployed versions of applications. Of each application at most one is current. */
export class Applications {
  readonly #others: StatementSync;
  readonly #save: StatementSync;
  readonly #all: StatementSync;
  readonly #bundle: StatementSync;

  constructor(db: DatabaseSync) {
    this.#others = db.prepare("UPDATE applications SET current = 0 WHERE application = ? AND current = 1");
    this.#save = db.prepare(`
      INSERT INTO applications(application, version, current, deployed_at, manifest, code) VALUES (?, ?, ?, ?, ?, ?)
      ON CONFLICT (version, application) DO UPDATE SET
        current = excluded.current, deployed_at = excluded.deployed_at, manifest = excluded.manifest, code = excluded.code`);
    this.#all = db.prepare("SELECT application, version, current, deployed_at, manifest FROM applications ORDER BY deployed_at, rowid");
    this.#bundle = db.prepare(
      "SELECT application, version, code FROM applications WHERE version = ? ORDER BY current DESC, deployed_at DESC LIMIT 1",
    );
  }

  /** Inside a transaction. */
  save(bundle: Bundle, { manifest, deployedAt, current }: ApplicationVersion): void {
    if (current) this.#others.run(bundle.application);
    this.#save.run(bundle.application, bundle.version, current ? 1 : 0, deployedAt, JSON.stringify(manifest), bundle.code);
  }

  all(): ApplicationVersion[] {
    return (this.#all.all() as unknown as ApplicationRow[]).map((row) => ({
      application: row.application,
      version: row.version,
      manifest: JSON.parse(row.manifest),
      deployedAt: row.deployed_at,
      current: row.current === 1,
    }));
  }

  bundle(version: string): Bundle | undefined {
    const row = this.#bundle.get(version) as unknown as Bundle | undefined;
    return row === undefined ? undefined : { ...row };
  }
}
