/** Traffic that repeats itself: the mean rate of each part of the season, as the seasons before had it. */

const PARTS = 96;
const MEMORY = 0.5;

export interface Season {
  /** Calls per second; -1 for a part that hasn't been seen. */
  readonly rates: readonly number[];
  readonly part: number;
  readonly count: number;
  readonly spanMs: number;
}

export const seasonStart: Season = { rates: [], part: -1, count: 0, spanMs: 0 };

const partOf = (seasonMs: number, at: number): number => {
  const phase = (((at % seasonMs) + seasonMs) % seasonMs) / seasonMs;
  return Math.min(PARTS - 1, Math.floor(phase * PARTS));
};

export const observeSeason = (season: Season, seasonMs: number, at: number, count: number, spanMs: number): Season => {
  const part = partOf(seasonMs, at);
  if (part === season.part) return { ...season, count: season.count + count, spanMs: season.spanMs + spanMs };
  if (season.part === -1) return { rates: Array<number>(PARTS).fill(-1), part, count, spanMs };
  const rates = [...season.rates];
  const measured = (season.count / season.spanMs) * 1_000;
  const before = rates[season.part] ?? -1;
  rates[season.part] = before < 0 ? measured : before + MEMORY * (measured - before);
  return { rates, part, count, spanMs };
};

/** The rate at a time, 0 while the season before is not known. */
export const expectedOf = (season: Season, seasonMs: number, at: number): number => Math.max(0, season.rates[partOf(seasonMs, at)] ?? 0);
