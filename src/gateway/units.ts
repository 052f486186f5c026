/** Durations and times as they are written in a query string. */

/** The form that `durationMs` reads, for schemas. */
export const DURATION_PATTERN = "^\\d{1,9}(\\.\\d{1,3})?(ms|s|m|h)?$";
const DURATION = new RegExp(DURATION_PATTERN);
const UNIT_MS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** `500ms`, `30s`, `2m`, `1h`, or a plain number of seconds, in milliseconds; `undefined` for any other text. */
export const durationMs = (text: string): number | undefined => {
  const unit = DURATION.exec(text)?.[2] ?? "s";
  return DURATION.test(text) ? Math.round(Number.parseFloat(text) * (UNIT_MS[unit] as number)) : undefined;
};

/** The form that `timeMs` reads, for schemas. */
export const TIME_PATTERN = "^(\\d{1,15}|\\d{4}-\\d{2}-\\d{2}(T\\d{2}:\\d{2}(:\\d{2}(\\.\\d{1,9})?)?(Z|[+-]\\d{2}:\\d{2}))?)$";
const TIME = new RegExp(TIME_PATTERN);

/** Unix milliseconds, an ISO 8601 date (its start in UTC) or an ISO 8601 time with its zone; `undefined` for any other text. */
export const timeMs = (text: string): number | undefined => {
  if (!TIME.test(text)) return undefined;
  const ms = /^\d+$/.test(text) ? Number(text) : Date.parse(text);
  return Number.isNaN(ms) ? undefined : ms;
};
