/**
 * Which ticks of a schedule start runs now. Pure: the schedule is given.
 *
 * C1  A tick starts at most one run: `last` only grows, and goes to the disk in the commit of what it started.
 * C2  A tick that came while the platform was up starts one, however late; what becomes of the others, `catchUp` says.
 * C3  Nothing starts before its time. When the clock went back, nothing starts until it has passed `last` again.
 */

export interface Ticks {
  next(after: number): number | undefined;
  latest(after: number, until: number): number | undefined;
}

export type CatchUp = "all" | "latest" | "none";

export interface Due {
  /** Ticks that start a run, in order. */
  ticks: number[];
  /** The last tick that is settled: started, or passed over. */
  last: number;
}

/**
 * @param last the last tick that is settled, or the time from which on the trigger counts
 * @param missedUntil ticks up to then were missed
 * @param limit of ticks at once; the others follow when asked again
 */
export const dueTicks = (schedule: Ticks, last: number, now: number, missedUntil: number, catchUp: CatchUp, limit: number): Due => {
  const due: Due = { ticks: [], last };
  const until = Math.min(missedUntil, now);
  if (catchUp !== "all" && until > last) {
    const missed = schedule.latest(last, until);
    if (missed !== undefined && catchUp === "latest") due.ticks.push(missed);
    due.last = missed ?? last;
  }
  while (due.ticks.length < limit) {
    const tick = schedule.next(due.last);
    if (tick === undefined || tick > now) break;
    due.ticks.push(tick);
    due.last = tick;
  }
  return due;
};
