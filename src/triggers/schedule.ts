/**
 * When a cron expression is due: the one place that uses the library for it (docs/decisions/0008-cron.md).
 */
import { Cron } from "croner";
import { LockstepError } from "../lib/errors.ts";
import type { ApplicationVersion } from "../protocol/application.ts";
import { type CronTrigger, subscriptionsOf } from "./match.ts";

export class Schedule {
  readonly #cron: Cron;

  /** @throws {LockstepError} APPLICATION_INVALID when the expression or the time zone is none */
  constructor({ cron, timezone = "UTC" }: CronTrigger) {
    try {
      // The library looks at the zone no sooner than at the first tick.
      new Intl.DateTimeFormat("en", { timeZone: timezone });
      this.#cron = new Cron(cron, { paused: true, timezone, mode: "5-or-6-parts" });
    } catch (cause) {
      throw new LockstepError("APPLICATION_INVALID", `on.cron "${cron}" is no schedule: ${(cause as Error).message}`, {
        cause,
        details: { field: "on.cron" },
      });
    }
  }

  /** The first tick after `after`; `undefined` when there is none. Unix milliseconds. */
  next(after: number): number | undefined {
    return this.#cron.nextRun(new Date(after))?.getTime();
  }

  /** The last tick after `after` and not after `until`; found by halving, for there may be millions. */
  latest(after: number, until: number): number | undefined {
    const isBeforeOne = (time: number): boolean => (this.next(time) ?? Number.POSITIVE_INFINITY) <= until;
    if (after >= until || !isBeforeOne(after)) return undefined;
    let low = after;
    let high = until;
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (isBeforeOne(middle)) low = middle;
      else high = middle;
    }
    return this.next(low);
  }
}

/** Refuses schedules of a version that can't be, or never come. @throws {LockstepError} APPLICATION_INVALID */
export const checkSchedules = (version: ApplicationVersion): void => {
  for (const { target, trigger } of subscriptionsOf([version]).crons) {
    if (new Schedule(trigger).next(version.deployedAt) !== undefined) continue;
    throw new LockstepError("APPLICATION_INVALID", `${target.kind} "${target.name}": on.cron "${trigger.cron}" never comes`, {
      details: { field: "on.cron" },
    });
  }
};
