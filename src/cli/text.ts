/** Values as people read them. */

/** `12:03:04.567` in the zone of this machine. */
export const timeOfDay = (ms: number): string => {
  const date = new Date(ms);
  const two = (number: number): string => String(number).padStart(2, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, "0")}`;
};

/** `2026-01-31 12:03:04` in the zone of this machine. */
export const dateAndTime = (ms: number): string => {
  const date = new Date(ms);
  const day = [date.getFullYear(), date.getMonth() + 1, date.getDate()].map((number) => String(number).padStart(2, "0")).join("-");
  return `${day} ${timeOfDay(ms).slice(0, 8)}`;
};

/** `12 ms`, `3.4 s`, `5 min`, `2.5 h`, `3 d`. */
export const duration = (ms: number): string => {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${short(ms / 1_000)} s`;
  if (ms < 3_600_000) return `${short(ms / 60_000)} min`;
  if (ms < 86_400_000) return `${short(ms / 3_600_000)} h`;
  return `${short(ms / 86_400_000)} d`;
};

const short = (number: number): string => String(Math.round(number * 10) / 10);

export const bytesText = (bytes: number): string => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const unit = bytes < 1_024 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10));
  return unit === 0 ? `${bytes} B` : `${(bytes / 1_024 ** unit).toFixed(1)} ${units[unit]}`;
};

/** One line of at most `limit` characters. */
export const oneLine = (text: string, limit = 60): string => {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length <= limit ? line : `${line.slice(0, limit - 1).toWellFormed()}…`;
};

/** A user's value: text as it is, everything else as JSON. */
export const valueText = (value: unknown): string => {
  if (value === undefined) return "";
  return typeof value === "string" ? value : JSON.stringify(value, undefined, 2);
};
